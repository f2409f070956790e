"""A run: its folder, and what can be done with it. The commands are thin shells over this."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import Data, Vocabulary, load_data
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths, padding_share
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.environment import write_environment
from seq2seq_jax.evaluation.evaluator import MODES, Evaluator
from seq2seq_jax.evaluation.metrics import signatures
from seq2seq_jax.evaluation.predictions import as_line, write_json, write_lines
from seq2seq_jax.models.seq2seq import count_parameters, initialize
from seq2seq_jax.rng import named
from seq2seq_jax.training import loop
from seq2seq_jax.training.checkpoints import restore_best
from seq2seq_jax.training.mesh import data_mesh, replicated
from seq2seq_jax.types import InputError

SIDES = ("source", "target")


class Run:
    """A trained model and its folder.

    `config`, `parameters` (how many), `step` (of the parameters in use: the best), and `metrics`,
    a data frame with a row for each line of metrics.jsonl.
    """

    def __init__(self, workdir: str | Path):
        """Reads a run folder. Raises InputError where it is none, or nothing was evaluated yet."""
        self.workdir = Path(workdir)
        self.config = configs.read(self.workdir / "config.json")
        self.source, self.target = _load_vocabularies(self.workdir)
        graphdef, like = _initialize(self.config, self.source, self.target)
        saved = restore_best(self.workdir / "checkpoints", like)
        self.step, self.parameters = saved.step, count_parameters(saved.tree)
        self._graphdef, self._params = graphdef, jax.device_put(saved.tree)
        self._translator = Translator(graphdef, self.source, self.target, self.config.evaluation)

    @property
    def metrics(self):
        import pandas

        # pandas.read_json would round the numbers.
        lines = (self.workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return pandas.DataFrame([json.loads(line) for line in lines])

    @property
    def model(self):
        """The trained model, an nnx.Module: `encoder`, `decoder`."""
        return nnx.merge(self._graphdef, self._params)

    def translate(self, texts: Sequence[str]) -> list[Translation]:
        """Greedy translations, in order; an empty text gives an empty translation."""
        sources = [self.source.encode(text) for text in texts]
        return self._translator(self._params, sources)

    def evaluate(self, split: str = "test", modes: Sequence[str] = MODES) -> dict[str, float]:
        """Metrics of a split of the run's own data; writes predictions/SPLIT.{json,jsonl}."""
        data = load_data(self.config.data, (self.source, self.target))
        evaluator = Evaluator(self.config, self._graphdef, data, _shapes(self.config, data))
        return _evaluate(self.workdir, evaluator, self._params, self.step, split, modes)


def load_run(workdir: str | Path) -> Run:
    """The run in `workdir`, with the parameters of its best step."""
    return Run(workdir)


def train(config: ConfigDict, workdir: str | Path) -> Run:
    """One run from config to test scores; called again, it goes on where it was stopped.

    Raises InputError where the folder holds a run of another config, and for all bad input.
    """
    configs.validate(config)
    workdir = Path(workdir)
    if (workdir / "DONE").exists():
        _same_config(config, workdir)
        return Run(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    if (workdir / "config.json").exists():
        _same_config(config, workdir)
    else:
        configs.save(config, workdir / "config.json")
    (workdir / "FAILED").unlink(missing_ok=True)
    write_environment(workdir)

    data = _load_data(config, workdir)
    encoded = data.encoded["train"]
    shapes = _shapes(config, data)
    seed = order_seed(config)
    batches = Batches(encoded.source, encoded.target, shapes, config.data.batch_size, seed)
    graphdef, params = _initialize(config, data.source, data.target)
    print(_summary(config, data, batches, count_parameters(params)), flush=True)

    evaluator = Evaluator(config, graphdef, data, shapes)

    def validate(params, step: int) -> dict[str, float]:
        modes, limit = config.evaluation.modes, config.evaluation.max_examples
        metrics = evaluator(params, "valid", modes, limit).metrics
        return {f"valid/{name}": value for name, value in metrics.items()}

    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    result = loop.train(config, workdir, (graphdef, params), batches, validate)
    best = restore_best(workdir / "checkpoints", like)
    # Where training had them, so that the programs of the validation serve again.
    params = jax.device_put(best.tree, replicated(data_mesh(config.data.batch_size)))
    metrics = _evaluate(workdir, evaluator, params, best.step, "test", MODES)
    _show(workdir, evaluator.translator, params, config.evaluation.show)
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
    return Run(workdir)


def _initialize(config: ConfigDict, source: Vocabulary, target: Vocabulary):
    key = named(jax.random.key(config.seed), "model")
    return initialize(config.model, len(source), len(target), key)


def _load_data(config: ConfigDict, workdir: Path) -> Data:
    """The data, with the run's own vocabularies where it has some, else saving them."""
    folder = workdir / "vocabulary"
    if all((folder / f"{side}.json").exists() for side in SIDES):
        return load_data(config.data, _load_vocabularies(workdir))
    data = load_data(config.data)
    folder.mkdir(exist_ok=True)
    data.source.save(folder / "source.json")
    data.target.save(folder / "target.json")
    return data


def _load_vocabularies(workdir: Path) -> tuple[Vocabulary, Vocabulary]:
    source, target = (Vocabulary.load(workdir / "vocabulary" / f"{side}.json") for side in SIDES)
    return source, target


def order_seed(config: ConfigDict) -> int:
    """The seed of the order in which training sees the examples."""
    return config.seed if config.data.order == "seed" else config.data.seed


def _shapes(config: ConfigDict, data: Data):
    """The batch shapes of training."""
    encoded = data.encoded["train"]
    pairs = lengths(encoded.source, encoded.target)
    return choose_buckets(pairs, config.data.buckets, config.data.batch_size)


def _same_config(config: ConfigDict, workdir: Path) -> None:
    if changed := configs.differences(configs.read(workdir / "config.json"), config):
        raise InputError(
            f"{workdir} holds a run of another config; take another --workdir, or remove it:\n  "
            + "\n  ".join(changed)
        )


def _summary(config: ConfigDict, data: Data, batches: Batches, parameters: int) -> str:
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in data.encoded.items())
    shapes = ", ".join(f"{s}x{t}" for s, t in batches.shapes)
    padding = padding_share(batches.lengths_N2, batches.shapes, batches.batch_size)
    lines = [
        *data.notes,
        f"{config.data.name}: {sizes} pairs; vocabularies of {len(data.source):,} and "
        f"{len(data.target):,} tokens",
        f"batches of {batches.batch_size} in shapes {shapes} (source x target), "
        f"{padding:.1%} padding, {batches.per_epoch:,} an epoch",
        f"{parameters:,} parameters",
    ]
    return "\n".join(lines)


def _evaluate(
    workdir: Path, evaluator: Evaluator, params, step: int, split: str, modes: Sequence[str]
) -> dict[str, float]:
    """Scores a split and writes predictions/SPLIT.json, and SPLIT.jsonl with the translations."""
    metrics, translations = evaluator(params, split, modes)
    folder = workdir / "predictions"
    folder.mkdir(exist_ok=True)
    facts = {"step": step, "modes": list(modes), "metrics": metrics} | signatures()
    write_json(folder / f"{split}.json", facts)
    if translations:
        pairs = getattr(evaluator.data.pairs, split)
        reference = evaluator.data.target.normalize_text
        lines = (
            as_line(i, pair.source, reference(pair.target), found, pair.alignment)
            for i, (pair, found) in enumerate(zip(pairs, translations, strict=True))
        )
        write_lines(folder / f"{split}.jsonl", lines)
    return metrics


def _show(workdir: Path, translator: Translator, params, texts: Sequence[str]) -> None:
    """Writes predictions/show.jsonl: the sentences whose alignments the report draws."""
    if texts:
        found = translator(params, [translator.source.encode(text) for text in texts])
        pairs = enumerate(zip(texts, found, strict=True))
        lines = (as_line(i, text, None, translation, None) for i, (text, translation) in pairs)
        write_lines(workdir / "predictions" / "show.jsonl", lines)
