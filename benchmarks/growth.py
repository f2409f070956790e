"""How the time and the memory of a training update grow, one axis at a time.

    PYTHONPATH=. .venv/bin/python benchmarks/growth.py [--axis=batch ...] [--folder=FOLDER]

Batch, length, vocabulary and hidden size around the workload `luong`, the number of members around
`small`. Every batch is of one shape and full, so that no padding blurs an axis. Writes PLATFORM.csv
and PLATFORM.png into the folder (benchmarks/growth); the platform is the best one that JAX finds,
JAX_PLATFORMS=cpu asks for another.

Columns of the CSV: `axis` and `value`; `seconds` an update of all members, the median of some
windows, `seconds_min` and `seconds_max`; `tokens_per_second`, target tokens of all members;
`product_seconds`, what the matrix products alone would take; `gflops`, their operations over
`seconds`; `temporary_mib` and `state_mib`, beside and in the train state.
"""

import argparse
import csv
import gc
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from seq2seq_jax.benchmarking.machine import look_around
from seq2seq_jax.benchmarking.members import Members, make_lanes
from seq2seq_jax.benchmarking.products import operations, seconds_alone
from seq2seq_jax.benchmarking.workloads import full_batch, make_config, make_examples
from seq2seq_jax.commands.common import use_cores
from seq2seq_jax.data.batching import stack
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.reports.style import COLOURS, new_figure, save_png, styled
from seq2seq_jax.types import Batch

WINDOWS, SECONDS = 3, 0.6  # a window is as many updates as fit, one at least
BATCHES = (32, 64, 128, 256, 512)
LENGTHS = (8, 16, 32, 64)
VOCABULARIES = (1_000, 2_000, 8_000, 32_000)
WIDTHS = (128, 256, 512, 1024)
MEMBERS = {"cpu": (1, 2, 4, 8, 16), "gpu": (1, 2, 4, 8, 16, 32, 64), "tpu": (1, 4, 16, 64)}
PANELS = {
    "seconds": "seconds an update",
    "tokens_per_second": "target tokens a second",
    "temporary_mib": "temporary memory, MiB",
}


class Point(NamedTuple):
    """What is trained: all that differs between points."""

    workload: str = "luong"
    rows: int = 128
    shape: Shape = (16, 16)
    sizes: tuple[int, int] = (8_000, 6_000)
    width: int = 512
    members: int = 1


def axes(platform: str) -> dict[str, dict[int, Point]]:
    """The points of each axis by their values."""
    base = Point()
    small = Point("small", 64, (9, 13), (0, 0), 128)  # the sizes are its data's own
    return {
        "batch": {n: base._replace(rows=n) for n in BATCHES},
        "length": {n: base._replace(shape=(n, n)) for n in LENGTHS},
        "vocabulary": {n: base._replace(sizes=(n, n)) for n in VOCABULARIES},
        "hidden": {n: base._replace(width=n) for n in WIDTHS},
        "population": {n: small._replace(members=n) for n in MEMBERS[platform]},
    }


def prepare(point: Point) -> tuple[Members, Batch]:
    """The update of a point and its batch."""
    changed = {
        "data.batch_size": point.rows,
        "model.encoder.width": point.width // 2,  # a direction
        "model.decoder.width": point.width,
        "model.attention.width": point.width,
    }
    configs = [make_config(point.workload, {**changed, "seed": r}) for r in range(point.members)]
    sizes = point.sizes
    if not any(sizes):
        sizes = tuple(map(len, make_examples(point.workload, configs[0]).vocabularies))
    graphdef, lanes = make_lanes(configs, sizes)
    batches = [full_batch(sizes, point.rows, point.shape, r) for r in range(point.members)]
    batch = batches[0] if point.members == 1 else stack(batches)
    return Members(lanes, graphdef), batch


def measure(point: Point) -> dict[str, Any]:
    """The columns of a point, `axis` and `value` left out."""
    update, batch = prepare(point)
    update.seconds([batch])  # compiles
    updates = max(1, int(SECONDS / update.seconds([batch])))
    update.seconds([batch] * updates)  # memory that is new to the process comes page by page
    windows = [update.seconds([batch] * updates) / updates for _ in range(WINDOWS)]
    seconds, products = float(np.median(windows)), update.products(batch)
    return {
        "seconds": seconds,
        "seconds_min": min(windows),
        "seconds_max": max(windows),
        "tokens_per_second": batch.target_BT.size / seconds,
        "product_seconds": seconds_alone(products),
        "gflops": operations(products) / seconds / 1e9,
        "temporary_mib": update.temporary_bytes(batch) / 2**20,
        "state_mib": update.state_bytes() / 2**20,
    }


def measure_all(chosen: Mapping[str, Mapping[int, Point]]) -> Iterator[dict[str, Any]]:
    """A row of the CSV for each point; one that lies on several axes is measured once."""
    known: dict[Point, dict[str, Any]] = {}
    for axis, points in chosen.items():
        for value, point in points.items():
            if point not in known:
                known[point] = measure(point)
                gc.collect()  # the state, before there is another one
            yield {"axis": axis, "value": value, **known[point]}


@styled
def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A column of panels for each axis, a row for each of PANELS."""
    names = list(dict.fromkeys(row["axis"] for row in rows))
    figure = new_figure(2.9 * len(names) + 0.6, 2.5 * len(PANELS))
    panels = figure.subplots(len(PANELS), len(names), sharex="col", sharey="row", squeeze=False)
    for column, axis in enumerate(names):
        own = [row for row in rows if row["axis"] == axis]
        for panel, what in zip(panels[:, column], PANELS, strict=True):
            _draw(panel, own, what)
        panels[0, column].set_title(axis)
        panels[-1, column].set_xlabel(axis)
    for panel, label in zip(panels[:, 0], PANELS.values(), strict=True):
        panel.set_ylabel(label)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _draw(panel: Axes, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    values = [row["value"] for row in rows]
    panel.plot(values, [row[what] for row in rows], "o-", color=COLOURS[0], ms=4, label="measured")
    if what == "seconds":
        least, most = ([row[f"seconds_{end}"] for row in rows] for end in ("min", "max"))
        panel.fill_between(values, least, most, color=COLOURS[0], alpha=0.18, lw=0)
        alone = [row["product_seconds"] for row in rows]
        panel.plot(values, alone, "--", color=COLOURS[1], label="products alone")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(values, [f"{value:,}" for value in values])
    panel.minorticks_off()
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(lambda y, _: f"{y:,g}")


def write(rows: Sequence[Mapping[str, Any]], stem: Path) -> tuple[Path, Path]:
    """As a table and as a picture; gives their files."""
    table, picture = stem.with_suffix(".csv"), stem.with_suffix(".png")
    save_png(draw(rows), picture)  # makes the folder
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return table, picture


def of_other_axes(table: Path, axes: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a table that is there already, if any, but for these axes."""
    if not table.exists():
        return []
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["axis"] not in axes]
    kinds = {"axis": str, "value": int}
    return [{key: kinds.get(key, float)(text) for key, text in row.items()} for row in rows]


def main() -> None:
    start = time.perf_counter()
    use_cores()  # before JAX begins, which the next line lets it
    platform = jax.default_backend()
    possible = axes(platform)
    parser = argparse.ArgumentParser(description="See the top of this file.")
    parser.add_argument("--axis", action="append", choices=possible, help="all without it")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "growth")
    flags = parser.parse_args()
    chosen = {axis: points for axis, points in possible.items() if axis in (flags.axis or possible)}
    print(f"{environment()['device']}; {look_around(before=True)}")
    print(f"GLIBC_TUNABLES: {os.environ.get('GLIBC_TUNABLES', 'none')}")
    rows = []
    for row in measure_all(chosen):
        rows.append(row)
        share = row["product_seconds"] / row["seconds"]
        print(
            f"{row['axis']:10} {row['value']:>6,}: {row['seconds'] * 1e3:8.2f} ms, "
            f"{row['tokens_per_second']:9,.0f} tokens a second, {row['gflops']:8,.1f} GFLOP/s "
            f"(alone the products take {share:.0%}), {row['temporary_mib']:8,.1f} MiB temporary",
            flush=True,
        )
    rows += of_other_axes(flags.folder / f"{platform}.csv", chosen)
    rows.sort(key=lambda row: [*possible].index(row["axis"]))
    written = " and ".join(str(path) for path in write(rows, flags.folder / platform))
    print(f"wrote {written} after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
