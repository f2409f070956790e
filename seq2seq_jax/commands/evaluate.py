"""Evaluates a run at its best checkpoint: JSON on standard output, a table on standard error.

./launch.sh evaluate --workdir=RUN [--split=test] [--mode=forced --mode=greedy]
./launch.sh evaluate --workdir=RUN --mode=beam --beam=5 [--length_penalty=gnmt --length_alpha=0.6]
./launch.sh evaluate --workdir=RUN --workdir=OTHER --mode=beam --beam=5

Several runs are an ensemble, which has no mode forced or free.
"""

import json
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from seq2seq_jax.commands import common, search
from seq2seq_jax.config_checks import CHOICES


def define() -> flags.FlagValues:
    values = common.make_flags("platform")
    search.define(values)
    flags.DEFINE_enum(
        "split", "test", ["train", "valid", "test"], "Split of the data.", flag_values=values
    )
    flags.DEFINE_multi_enum(
        "mode",
        None,
        CHOICES["evaluation.modes"],
        "How tokens are chosen; may be repeated. Without it: forced and greedy, of an ensemble"
        " greedy; beam where --beam is given.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    common.parse(values, arguments)
    common.require(values, "workdir")
    modes = values.mode or [
        *(["forced"] if len(values.workdir) == 1 else []),
        "beam" if values.beam else "greedy",
    ]
    if len(values.workdir) > 1 and {"forced", "free"} & set(modes):
        raise common.UsageError("an ensemble has the modes greedy and beam only")
    common.use_platform(values.platform)
    metrics = search.load(values).evaluate(split=values.split, modes=tuple(modes))
    print(json.dumps(metrics, indent=2), flush=True)
    _print_table(metrics)
    return 0


def _print_table(metrics: Mapping[str, object]) -> None:
    width = max(map(len, metrics), default=0)
    for name, value in metrics.items():
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        print(f"{name:{width}}  {number}", file=sys.stderr)
