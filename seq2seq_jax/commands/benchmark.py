"""Times training and translation of a fixed workload.

    ./launch.sh benchmark [--workload=luong] [--score=concat ...] [--json=FILE]

Prints target tokens and sentences a second (median, least and most of several windows), the time
from the start of the process to the end of the first update, compilations, padding and memory; the
temporary memory is that of the compiled training step, for each batch shape. Workloads: luong
(sentences like Multi30k's, embeddings 256, LSTMs of 512, input feeding), small (SCAN, 128), g2p
(words like CMUdict's, 128) and transformer (Multi30k's, 3 + 3 layers of 256). Translation is
greedy, with --beam=5 also by beam search. Everything else of a config is set by
--config.KEY=VALUE. Another busy process ruins the timings: the table says whether the machine was
quiet.

    ./launch.sh benchmark --vs=torch [--torch-python=PYTHON] [--torch-avx512]

lets benchmarks/torch_reference.py, the same in PyTorch, take turns with it and prints ours / theirs
for each pair of windows. PyTorch is no part of this project: the flag says how to get it.

    ./launch.sh benchmark --population=16

trains so many members of the workload, each with a seed of its own, in one program and one after
another, in turns, on batches of the shape that an epoch spends most positions on. Prints the
seconds of an update, the target tokens a second of all members, memory, and how many times faster
the one program is. Nothing is translated.

    ./launch.sh benchmark --run=RUN --beam=5 [--vs=torch ...]

translates the test sentences of a trained run, which end where it ends them. Nothing is trained.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from seq2seq_jax import config as configs
from seq2seq_jax.commands import common
from seq2seq_jax.processor import keep_memory_for

WORKLOADS = ["luong", "small", "g2p", "transformer"]
# Flags that are short for --config.KEY=VALUE.
SHORT = {
    "score": "model.attention.score",
    "window": "model.attention.window",
    "memory_term": "model.attention.memory_term",
    "order": "model.decoder.order",
    "ratio": "teacher_forcing.ratio",
    "batch": "data.batch_size",
    "precision": "model.dtype",
    "beam": "evaluation.beam",
}


def define() -> flags.FlagValues:
    values = common.make_flags("platform")
    flags.DEFINE_enum("workload", "small", WORKLOADS, "What to run.", flag_values=values)
    for name, key in SHORT.items():
        flags.DEFINE_string(name, None, f"Short for --config.{key}.", flag_values=values)
    flags.DEFINE_integer("windows", 5, "Times to measure.", 1, flag_values=values)
    flags.DEFINE_integer("updates", 20, "Updates a window.", 1, flag_values=values)
    flags.DEFINE_integer("sentences", 1000, "Sentences to translate.", 1, flag_values=values)
    flags.DEFINE_string("json", None, "File for the results as JSON.", flag_values=values)
    flags.DEFINE_boolean(
        "cold",
        False,
        "Start with an empty compilation cache, so that the first update and the compilations take"
        " as long as on a new machine.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "population", None, "Members to train in one program.", 2, flag_values=values
    )
    flags.DEFINE_string("run", None, "A trained run to translate with.", flag_values=values)
    flags.DEFINE_enum("vs", None, ["torch"], "Who takes turns with it.", flag_values=values)
    flags.DEFINE_string(
        "torch-python",
        None,
        "The Python that has PyTorch; without it the one at work.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "torch-avx512",
        False,
        "Besides PyTorch as installed, let its matrix library (MKL) take this processor for"
        " Intel's, so that it uses the widest instructions there are: 512 bits with avx512f, else"
        " 256. Needs a C compiler.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "torch-batches",
        "like",
        ["like", "same"],
        "like: sorted by length, with little padding; same: those of our own training.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    overrides, others = common.split_overrides(arguments)
    values = define()
    common.parse(values, others)
    for name in ("torch-python", "torch-avx512", "torch-batches"):
        if values[name].present and not values.vs:
            raise common.UsageError(f"--{name} needs --vs=torch")
    for name in ("vs", "cold", "sentences", "beam"):
        if values[name].present and values.population:
            raise common.UsageError(f"--population times updates alone: leave out --{name}")
    for name in ("workload", "updates", "population", "cold", "torch-batches"):
        if values[name].present and values.run:
            raise common.UsageError(f"--run times translation alone: leave out --{name}")
    if values.json:
        _refuse_unwritable(Path(values.json))
    short = [
        f"--config.{key}={values[name].value}"
        for name, key in SHORT.items()
        if values[name].value is not None
    ]
    settings = common.parse_overrides([*short, *overrides])
    measure = _translate if values.run else _train_and_translate
    with tempfile.TemporaryDirectory() as scratch:
        result, text = measure(values, settings, Path(scratch))
    print(text)
    if values.json:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        Path(values.json).write_text(text, encoding="utf-8")
        print(f"wrote {values.json}", file=sys.stderr)
    return 0


def _refuse_unwritable(path: Path) -> None:
    """What is measured must not be lost at the end."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise common.UsageError(f"--json={path}: name a file, in a folder that can be written to")


def _train_and_translate(
    values: flags.FlagValues, settings: Mapping[str, Any], scratch: Path
) -> tuple[dict[str, Any], str]:
    """A workload: the result, and its table."""
    from seq2seq_jax.benchmarking.machine import look_around
    from seq2seq_jax.benchmarking.torch_arms import refuse
    from seq2seq_jax.benchmarking.workloads import make_config

    config = make_config(values.workload, settings)
    before = look_around(before=True)
    if values.vs:
        refuse(values.workload, config)
    arms = _arms(values, scratch)
    if values.cold:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{scratch}/cache"
    keep_memory_for(config.model)
    common.use_platform(values.platform)
    from seq2seq_jax.benchmarking import benchmark, together

    asked = values.workload, config, before
    counts = {"windows": values.windows, "updates": values.updates}
    if values.population:
        result = together.benchmark_population(*asked, values.population, **counts)
        return result, benchmark.table(together.rows(result))
    result = benchmark.benchmark(
        *asked,
        **counts,
        sentences=values.sentences,
        cold=bool(values.cold),
        arms=arms,
        same_batches=values["torch-batches"].value == "same",
    )
    return result, benchmark.table(benchmark.rows(result))


def _translate(
    values: flags.FlagValues, settings: Mapping[str, Any], scratch: Path
) -> tuple[dict[str, Any], str]:
    """A trained run: the result, and its table."""
    from seq2seq_jax.benchmarking.machine import look_around
    from seq2seq_jax.benchmarking.torch_arms import refuse_run

    fixed = [key for key in settings if not key.startswith("evaluation.")]
    if fixed:
        raise common.UsageError(f"--run: {fixed[0]} is the run's own; evaluation.* can be set")
    folder = Path(values.run)
    if values.vs:
        config = configs.read(folder / "config.json")
        config.update_from_flattened_dict(dict(settings))
        refuse_run(config)
    before = look_around(before=True)
    arms = _arms(values, scratch)
    common.use_platform(values.platform)
    from seq2seq_jax.benchmarking import benchmark, trained
    from seq2seq_jax.evaluation.run import load_run

    search = {key.removeprefix("evaluation."): value for key, value in settings.items()}
    run = load_run(folder, evaluation=search)
    result = trained.benchmark_run(
        run, before, windows=values.windows, sentences=values.sentences, arms=arms
    )
    return result, benchmark.table(trained.rows(result))


def _arms(values: flags.FlagValues, scratch: Path):
    if not values.vs:
        return []
    from seq2seq_jax.benchmarking.torch_arms import make_arms

    python, avx512 = (values[f"torch-{name}"].value for name in ("python", "avx512"))
    return make_arms(python, bool(avx512), scratch)
