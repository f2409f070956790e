"""Times training and greedy translation of a fixed workload.

    ./launch.sh benchmark [--workload=luong] [--score=concat ...] [--json=FILE]

Prints target tokens and sentences a second (median, least and most of several windows), the time
from the start of the process to the end of the first update, compilations, padding and memory; the
temporary memory is that of the compiled training step, for each batch shape. Workloads: luong
(sentences like Multi30k's, embeddings 256, LSTMs of 512, input feeding), small (SCAN, 128), g2p
(words like CMUdict's, 128) and transformer (Multi30k's, 3 + 3 layers of 256). Everything else of a
config is set by --config.KEY=VALUE. Another busy process ruins the timings: the table says whether
the machine was quiet.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from seq2seq_jax.commands import common

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
    return values


def main(arguments: Sequence[str]) -> int:
    overrides, others = common.split_overrides(arguments)
    values = define()
    common.parse(values, others)
    short = [
        f"--config.{key}={values[name].value}"
        for name, key in SHORT.items()
        if values[name].value is not None
    ]
    settings = common.parse_overrides([*short, *overrides])
    from seq2seq_jax.benchmarking.machine import look_around
    from seq2seq_jax.benchmarking.workloads import make_config

    config = make_config(values.workload, settings)
    before = look_around(before=True)
    with tempfile.TemporaryDirectory() as empty:
        if values.cold:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = empty
        common.use_platform(values.platform)
        from seq2seq_jax.benchmarking.benchmark import benchmark, table

        result = benchmark(
            values.workload,
            config,
            before,
            windows=values.windows,
            updates=values.updates,
            sentences=values.sentences,
        )
    result["cold"] = values.cold
    print(table(result))
    if values.json:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        Path(values.json).write_text(text, encoding="utf-8")
        print(f"wrote {values.json}", file=sys.stderr)
    return 0
