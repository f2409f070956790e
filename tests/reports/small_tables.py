"""Small sweeps with known numbers, and their tables in each format."""

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.grids import printed
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.published import read_published
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.tables import make_table
from tests.reports import fake_sweep


def table_of(folder, comparisons=(), published=None):
    numbers = read_published(published) if published else {}
    return make_table(read_results(folder), list(comparisons), Paper(published=numbers))


def markdown(table):
    return formats.markdown(printed(table))


def latex(table):
    return formats.latex(printed(table))


def console(table):
    return formats.console(printed(table))


def one_metric(folder, metric, **cells):
    """A sweep where each cell's seeds have these final values."""
    seeds = range(max(len(values) for values in cells.values()))
    fake_sweep.write_sweep(folder, {name: {} for name in cells}, seeds=seeds)
    for name, values in cells.items():
        for seed, value in enumerate(values):
            final = {f"test/{metric}": value}
            run = folder / name / f"seed{seed}"
            fake_sweep.write_run(run, final=final, done=fake_sweep.done())
    return folder


def published_file(folder, *lines):
    path = folder / "published.csv"
    path.write_text("\n".join(("row,metric,value,source,certainty", *lines)) + "\n")
    return path
