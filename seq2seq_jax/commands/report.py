"""Reports a sweep or a run, at any time: table, significance, curves, pictures.

./launch.sh report --workdir=SWEEP [--format=md,csv,latex,html] [--published=FILE.csv]
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
    flags.DEFINE_list("format", list(FORMATS), f"Any of {', '.join(FORMATS)}.", flag_values=values)
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    common.parse(values, arguments)
    common.require(values, "workdir")
    if wrong := [name for name in values.format if name not in FORMATS]:
        raise common.UsageError(f"--format={wrong[0]}: not one of {', '.join(FORMATS)}")
    from seq2seq_jax.reports.report import write_report

    print(write_report(values.workdir, tuple(values.format), values.published).console)
    return 0
