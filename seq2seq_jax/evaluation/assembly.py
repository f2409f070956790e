"""What a training is made of, from its config to its test scores; one run or several share it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import Data, Vocabulary, gold_shares, load_data
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths, padding_share
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.evaluation.bootstrap import intervals
from seq2seq_jax.evaluation.environment import write_environment
from seq2seq_jax.evaluation.evaluator import MODES, Evaluation, Evaluator, references_of
from seq2seq_jax.evaluation.lengths import by_length
from seq2seq_jax.evaluation.memory import refuse_what_cannot_fit
from seq2seq_jax.evaluation.metrics import PREDICTIONS, TEXT_COUNTS, signatures
from seq2seq_jax.evaluation.predictions import as_line
from seq2seq_jax.files import write_json, write_lines
from seq2seq_jax.models.seq2seq import count_parameters, initializer
from seq2seq_jax.rng import named
from seq2seq_jax.training import groups
from seq2seq_jax.training.checkpoints import restore_best
from seq2seq_jax.training.loop import Result
from seq2seq_jax.types import InputError

SIDES = ("source", "target")
PAIRS = "pairs.json"  # beside the vocabularies: checksums of the splits
EVALUATION_SHAPES = 3  # at most


class Assembly:
    """Data, batches, model and evaluation of a config.

    `folders` are those of the runs that are trained with it. A run keeps the vocabularies that it
    began with; those of the first folder that has some serve all, and are saved where they lack.
    """

    def __init__(self, config: ConfigDict, folders: Sequence[Path]):
        self.config = config
        self.data = _load_data(config, folders)
        encoded = self.data.encoded["train"]
        self.batches = Batches(
            encoded.source,
            encoded.target,
            shapes_of(config, self.data),
            config.data.batch_size,
            order_seed(config),
            gold_shares(self.data) if config.train.guided_alignment else None,
        )
        sizes = len(self.data.source), len(self.data.target)
        self.graphdef, self._draw = initializer(config.model, *sizes)
        key = jax.random.key(0)
        self.like = jax.eval_shape(self._draw, key)  # the parameters' shapes and types
        shapes = evaluation_shapes(config, self.data)
        self.evaluator = Evaluator(config, self.graphdef, self.data, shapes)

    def check(self, config: ConfigDict) -> None:
        """Raises InputError where the validation cannot give what a run chooses its best step by;
        `config` is its own, of this signature."""
        links = (pair.alignment for pair in self.data.pairs.valid)
        if config.train.best_metric == "valid/aer" and not any(links):
            raise InputError(
                "train.best_metric = valid/aer needs gold links, and no pair of the validation has"
                " any; take valid/loss, or valid/bleu"
            )

    def params(self, seed: int):
        """The parameters that a run with this seed begins with."""
        return self._draw(named(jax.random.key(seed), "model"))

    def summary(self) -> str:
        data, batches = self.data, self.batches
        sizes = ", ".join(f"{len(part):,} {split}" for split, part in data.encoded.items())
        shapes = ", ".join(f"{s}x{t}" for s, t in batches.shapes)
        padding = padding_share(batches.lengths_N2, batches.shapes, batches.batch_size)
        lines = [
            *data.notes,
            f"{self.config.data.name}: {sizes} pairs; vocabularies of {len(data.source):,} and "
            f"{len(data.target):,} tokens",
            f"batches of {batches.batch_size} in shapes {shapes} (source x target), "
            f"{padding:.1%} padding, {batches.per_epoch:,} an epoch",
            f"{count_parameters(self.like):,} parameters",
        ]
        return "\n".join(lines)


def begin(config: ConfigDict, workdir: Path) -> None:
    """The folder of a run that starts or goes on. Raises InputError for one of another config."""
    workdir.mkdir(parents=True, exist_ok=True)
    if groups.begun(workdir):
        same_config(config, workdir)
    else:
        if (workdir / "config.json").exists():
            configs.read(workdir / "config.json")  # a folder of something else is left alone
            groups.clear(workdir)
        configs.save(config, workdir / "config.json")
    (workdir / "FAILED").unlink(missing_ok=True)
    write_environment(workdir)


def validation(config: ConfigDict, evaluator: Evaluator) -> Callable[..., dict[str, float]]:
    """The evaluation of a training: (params, step) -> metrics."""

    def validate(params, step: int) -> dict[str, float]:
        modes, limit = config.evaluation.modes, config.evaluation.max_examples
        # From the host, if there are several devices: one of them evaluates.
        metrics = evaluator(jax.device_put(params), "valid", modes, limit).metrics
        return {f"valid/{name}": value for name, value in metrics.items()}

    return validate


def finish(config: ConfigDict, workdir: Path, evaluator: Evaluator, like, result: Result) -> None:
    """Tests the best parameters of a trained run and writes DONE; `like`: their shapes."""
    best = restore_best(workdir / "checkpoints", like)
    params = jax.device_put(best.tree)
    modes = [mode for mode in MODES if mode != "beam" or config.evaluation.beam > 1]
    metrics = evaluate(workdir, evaluator, params, best.step, "test", modes)["metrics"]
    show(workdir, evaluator.translator, [params], config.evaluation.show)
    line = {"step": best.step} | {f"test/{name}": value for name, value in metrics.items()}
    with (workdir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    done = {
        "step": result.step,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 1),
        "parameters": count_parameters(like),
        "reason": result.reason,
    }
    write_json(workdir / "DONE", done)


def evaluate(
    workdir: Path | None,
    evaluator: Evaluator,
    params,
    step: int,
    split: str,
    modes: Sequence[str],
) -> dict[str, Any]:
    """Scores a split; gives what `write_evaluation` does, which writes where there is a workdir."""
    replaces = evaluator.evaluation.replace_unknown
    found = evaluator(params, split, modes, counts=tuple(TEXT_COUNTS), replaces=replaces)
    return write_evaluation(workdir, found, evaluator.data, split, step, modes)


def write_evaluation(
    workdir: Path | None, found: Evaluation, data: Data, split: str, step: int, modes: Sequence[str]
) -> dict[str, Any]:
    """Writes predictions/SPLIT.json, and the translations: greedy ones into SPLIT.jsonl, those of
    beam search into SPLIT.beam.jsonl. Without a workdir nothing is written.

    What it gives, and SPLIT.json holds, is `step`, `modes` and all of `summary`; SPLIT.json keeps
    what it has of the same step in other modes.
    """
    facts = {"step": step, "modes": list(modes)} | summary(found, data, split)
    if workdir is None:
        return facts
    folder = workdir / "predictions"
    folder.mkdir(exist_ok=True)
    path = folder / f"{split}.json"
    write_json(path, _joined(path, facts))
    pairs = getattr(data.pairs, split)
    references = references_of(data, pairs)
    # Reports draw gold links among tokens, and links count words.
    words = {data.source.kind, data.target.kind} == {"space"}
    for mode, translations in found.translations.items():
        lines = (
            as_line(i, pair.source, own, one, pair.alignment if words else None)
            for i, (pair, own, one) in enumerate(zip(pairs, references, translations, strict=True))
        )
        write_lines(folder / f"{split}{PREDICTIONS[mode]}.jsonl", lines)
    return facts


def _joined(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """With what the file holds of the same step; of what both have the file's is replaced."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return facts
    if before["step"] != facts["step"]:
        return facts
    both = {name: before[name] | facts[name] for name in ("metrics", "intervals")}
    return before | facts | both | {"modes": list(dict.fromkeys(before["modes"] + facts["modes"]))}


def summary(found: Evaluation, data: Data, split: str) -> dict[str, Any]:
    """What a whole split's evaluation tells.

    `metrics`; `intervals`, metric: [low, high], 95 % by bootstrap over sentences; `by_length`, the
    lines of `lengths.by_length` (`by_length_beam` those of beam search); sacrebleu's signatures.
    """
    words = [len(ids) - 1 for ids in data.encoded[split].source]
    facts: dict[str, Any] = {"metrics": found.metrics, "intervals": {}}
    for ending, part in found.statistics.items():
        limits = intervals(part)
        facts["intervals"] |= {f"{metric}{ending}": pair for metric, pair in limits.items()}
        if "matches" in part:
            facts[f"by_length{ending}"] = by_length(part, words)
    return facts | signatures(references_of(data, getattr(data.pairs, split)))


def same_config(config: ConfigDict, workdir: Path) -> None:
    if changed := configs.differences(configs.read(workdir / "config.json"), config):
        raise InputError(
            f"{workdir} holds a run of another config; take another --workdir, or remove it:\n  "
            + "\n  ".join(changed)
        )


def load_vocabularies(workdir: Path) -> tuple[Vocabulary, Vocabulary]:
    source, target = (Vocabulary.load(workdir / "vocabulary" / f"{side}.json") for side in SIDES)
    return source, target


def shapes_of(config: ConfigDict, data: Data):
    """The batch shapes of training. Raises InputError for pairs that no memory holds."""
    encoded = data.encoded["train"]
    pairs = lengths(encoded.source, encoded.target)
    shapes = choose_buckets(pairs, config.data.buckets, config.data.batch_size)
    rows = config.data.batch_size
    if not config.train.guided_alignment:  # gold alignments are there of a whole batch at once
        rows //= config.train.accumulation
    refuse_what_cannot_fit(config, data, ["train"], shapes[-1], rows)
    return shapes


def evaluation_shapes(config: ConfigDict, data: Data):
    """The batch shapes of evaluation, few and by the lengths of what is evaluated: a split of a
    thousand pairs has eight batches, and each shape costs two or three programs.

    Raises InputError for pairs that no memory holds.
    """
    rows = config.evaluation.batch_size
    splits = [split for split in data.encoded if split != "train"]
    parts = [data.encoded[split] for split in splits]
    pairs = np.concatenate([lengths(part.source, part.target) for part in parts])
    shapes = choose_buckets(pairs, EVALUATION_SHAPES, rows)
    refuse_what_cannot_fit(config, data, splits, shapes[-1], rows)
    return shapes


def order_seed(config: ConfigDict) -> int:
    """The seed of the order in which training sees the examples."""
    return config.seed if config.data.order == "seed" else config.data.seed


def load_again(config: ConfigDict, folder: Path) -> Data:
    """The data of a run that has begun. Raises InputError where the pairs are others now."""
    data = load_data(config.data, load_vocabularies(folder))
    path = folder / "vocabulary" / PAIRS
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else data.checksums
    changed = [
        f"{part} had {before[part]} and has {now}"
        for part, now in data.checksums.items()
        if part in before and before[part] != now  # an earlier version kept none of links
    ]
    if changed:
        raise InputError(
            f"{folder} began with other pairs, so that its test may hold what it has trained on;"
            " put the data back as they were, or train in another folder:\n  "
            + "\n  ".join(changed)
        )
    return data


def _load_data(config: ConfigDict, folders: Sequence[Path]) -> Data:
    """The data, with the vocabularies of a folder that has some, else saving them."""
    having = [f for f in folders if all((f / "vocabulary" / f"{s}.json").exists() for s in SIDES)]
    data = load_again(config, having[0]) if having else load_data(config.data)
    for folder in folders:
        if folder not in having:
            (folder / "vocabulary").mkdir(exist_ok=True)
            data.source.save(folder / "vocabulary" / "source.json")
            data.target.save(folder / "vocabulary" / "target.json")
            write_json(folder / "vocabulary" / PAIRS, data.checksums)
    return data


def show(workdir: Path, translator: Translator, params: list, texts: Sequence[str]) -> None:
    """Writes predictions/show.jsonl: the sentences whose alignments the report draws.

    `params`: those of each model of the translator.
    """
    if texts:
        found = translator(params, [translator.source.encode(text) for text in texts])
        pairs = enumerate(zip(texts, found, strict=True))
        lines = (as_line(i, text, None, translation, None) for i, (text, translation) in pairs)
        write_lines(workdir / "predictions" / "show.jsonl", lines)
