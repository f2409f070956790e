"""Evaluates a run at its best checkpoint: JSON on standard output, tables on standard error.

Metrics, `intervals` (95 %, bootstrap over sentences), and scores `by_length` of the source.

./launch.sh evaluate --workdir=RUN [--split=test] [--mode=forced --mode=greedy]
./launch.sh evaluate --workdir=RUN --mode=beam --beam=5 [--length_penalty=gnmt --length_alpha=0.6]
./launch.sh evaluate --workdir=RUN --files="other.de other.en"
./launch.sh evaluate --workdir=RUN --workdir=OTHER --mode=greedy [--save=SWEEP/NAME/seed0]

Several runs are an ensemble, which has no mode forced or free. With --save its test is a row of the
sweep's report.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from seq2seq_jax.commands import common, search
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.types import InputError


def define() -> flags.FlagValues:
    values = common.make_flags("platform")
    search.define(values)
    flags.DEFINE_enum(
        "split", "test", ["train", "valid", "test"], "Split of the data.", flag_values=values
    )
    flags.DEFINE_string(
        "files",
        "",
        "Other pairs to test on: two parallel files, separated by a space, a third one with their"
        " gold links if there is one, or one TSV. Nothing is written.",
        flag_values=values,
    )
    flags.DEFINE_multi_enum(
        "mode",
        None,
        CHOICES["evaluation.modes"],
        "How tokens are chosen; may be repeated. Without it: forced and greedy, of an ensemble"
        " greedy; beam where --beam is given.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "save",
        None,
        "Of an ensemble: the folder for its test, SWEEP/NAME/seed<k>, which `report` shows as a row"
        " of the sweep.",
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
    search.check(values, beam="beam" in modes)
    if values["beam"].present and "beam" not in modes:
        raise common.UsageError("--beam is for --mode=beam")
    if values.save and (len(values.workdir) == 1 or values.split != "test"):
        raise common.UsageError(
            "--save is for the test of an ensemble: give --workdir several times and no other split"
        )
    if values.files and (values.save or values["split"].present):
        raise common.UsageError(
            "--files are other pairs than a split's: without --split and --save"
        )
    common.use_platform(values.platform)
    model = search.load(values)
    if "beam" in modes and values.beam is None and model.config.evaluation.beam == 1:
        raise InputError("--mode=beam with evaluation.beam = 1 is greedy search: give --beam=5")
    if values.save:
        found = model.save(values.save, modes)
    else:
        found = model.evaluation(values.split, tuple(modes), values.files)
    if len(values.workdir) == 1 and (values.files or not model.is_own):
        note = "nothing was written: predictions/ is for the best step, searched as its config says"
        print(note, file=sys.stderr)
    parts = {name: found[name] for name in found if name.startswith(("intervals", "by_length"))}
    print(json.dumps(found["metrics"] | parts, indent=2), flush=True)
    print(table(found), file=sys.stderr)
    return 0


def table(found: Mapping[str, Any]) -> str:
    """Metrics with their intervals, then scores by the length of the source, as plain text."""
    rows = [["metric", "value", "95% interval"]]
    for name, value in found["metrics"].items():
        limits = found["intervals"].get(name, [])
        rows.append([name, f"{value:.4f}", " to ".join(f"{limit:.4f}" for limit in limits)])
    lines = _aligned(rows)
    for part in (found[name] for name in found if name.startswith("by_length")):
        header = [name.replace("words", "source words") for name in part[0]]
        lines += ["", *_aligned([header, *(list(map(_text, line.values())) for line in part)])]
    return "\n".join(lines)


def _text(value: object) -> str:
    """A bin's limits, a count, or a score that may not be known."""
    if isinstance(value, list):
        return "-".join(map(str, dict.fromkeys(value)))
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
