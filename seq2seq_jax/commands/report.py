"""Reports a sweep or a run, at any time: table, significance, curves, pictures.

./launch.sh report --workdir=SWEEP [--table=experiments/NAME] [--baseline=CELL]
    [--diff=OTHER_SWEEP] [--format=md,csv,latex,html]
"""

from collections.abc import Sequence

from absl import flags

from seq2seq_jax.commands import common

FORMATS = ("md", "csv", "latex", "html")


def define() -> flags.FlagValues:
    values = common.make_flags("workdir")
    flags.DEFINE_string(
        "published",
        None,
        "CSV of published numbers to show beside ours: row, metric, value, source, certainty.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "table",
        None,
        "Folder like experiments/scan: its table.py says which rows and columns in which order, its"
        " published.csv what stands beside ours.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "baseline", "", "Cell to compare with; otherwise the sweep's baseline.", flag_values=values
    )
    flags.DEFINE_string(
        "diff", None, "Folder of another sweep to compare with, cell by cell.", flag_values=values
    )
    flags.DEFINE_list("format", list(FORMATS), f"Any of {', '.join(FORMATS)}.", flag_values=values)
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    common.parse(values, arguments)
    common.require(values, "workdir")
    if wrong := [name for name in values.format if name not in FORMATS]:
        raise common.UsageError(f"--format={wrong[0]}: not one of {', '.join(FORMATS)}")
    if values.published and values.table:
        raise common.UsageError("--table has published numbers of its own; leave --published out")
    from seq2seq_jax.reports.report import write_report

    report = write_report(
        values.workdir,
        formats=tuple(values.format),
        published=values.published,
        paper=values.table,
        baseline=values.baseline,
        diff=values.diff,
    )
    print(report.console)
    return 0
