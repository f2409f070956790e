"""Evaluates a run at its best checkpoint: JSON on standard output, a table on standard error.

./launch.sh evaluate --workdir=RUN [--split=test] [--mode=forced --mode=greedy]
"""

import json
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from seq2seq_jax.commands import common
from seq2seq_jax.config_checks import CHOICES


def define() -> flags.FlagValues:
    values = common.make_flags("workdir", "platform")
    flags.DEFINE_enum(
        "split", "test", ["train", "valid", "test"], "Split of the data.", flag_values=values
    )
    flags.DEFINE_multi_enum(
        "mode",
        ["forced", "greedy"],
        CHOICES["evaluation.modes"],
        "How tokens are chosen; may be repeated.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    common.parse(values, arguments)
    common.require(values, "workdir")
    common.use_platform(values.platform)
    from seq2seq_jax.evaluation.run import load_run

    run = load_run(values.workdir)
    metrics = run.evaluate(split=values.split, modes=tuple(values.mode))
    print(json.dumps(metrics, indent=2), flush=True)
    _print_table(metrics)
    return 0


def _print_table(metrics: Mapping[str, object]) -> None:
    width = max(map(len, metrics), default=0)
    for name, value in metrics.items():
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        print(f"{name:{width}}  {number}", file=sys.stderr)
