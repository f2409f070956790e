"""Growth of time and memory: what is measured at each point, never how long it took."""

import csv

import pytest

from benchmarks import growth
from benchmarks.growth import Point
from seq2seq_jax.benchmarking import workloads
from tests.benchmarking.tiny import TINY

CHANGES = {
    "batch": "rows",
    "length": "shape",
    "vocabulary": "sizes",
    "hidden": "width",
    "population": "members",
}


@pytest.mark.parametrize("platform", growth.MEMBERS)
def test_an_axis_changes_one_thing(platform):
    for name, points in growth.axes(platform).items():
        values = {field: {getattr(p, field) for p in points.values()} for field in Point._fields}
        assert [field for field, found in values.items() if len(found) > 1] == [CHANGES[name]]
        assert len(values[CHANGES[name]]) == len(points) > 3


def test_one_point(monkeypatch):
    def make_tiny(name, changes):
        return workloads.make_config(name, {**TINY, **changes})

    monkeypatch.setattr(growth, "make_config", make_tiny)
    monkeypatch.setattr(growth, "SECONDS", 0)
    monkeypatch.setattr(growth, "seconds_alone", lambda products: 1.0)
    found = growth.measure(Point("g2p", 4, (3, 5), (7, 9), 6, members=2))
    assert found["tokens_per_second"] * found["seconds"] == pytest.approx(2 * 4 * 5)
    assert found["seconds_min"] <= found["seconds"] <= found["seconds_max"]
    # The output layer alone, forward and for both gradients: 2 members, 4 x 5 tokens, 9 words.
    assert found["gflops"] * 1e9 * found["seconds"] > 3 * 2 * 2 * 20 * 6 * 9
    assert 0 < found["state_mib"] < 1 and 0 < found["temporary_mib"] < 1


def test_a_point_of_two_axes_is_measured_once_and_all_is_written(monkeypatch, tmp_path):
    measured = []

    def measure(point):
        measured.append(point)
        names = ("seconds", "seconds_min", "seconds_max", "product_seconds")
        rest = ("tokens_per_second", "temporary_mib")
        return dict.fromkeys((*names, *rest), float(len(measured)))

    monkeypatch.setattr(growth, "measure", measure)
    base, other = Point(), Point(rows=256)
    rows = list(growth.measure_all({"batch": {128: base, 256: other}, "length": {16: base}}))
    assert measured == [base, other]
    assert [row["seconds"] for row in rows] == [1, 2, 1]

    table, picture = growth.write(rows, tmp_path / "new" / "cpu")
    with table.open(encoding="utf-8") as file:
        assert [(row["axis"], row["value"]) for row in csv.DictReader(file)] == [
            ("batch", "128"),
            ("batch", "256"),
            ("length", "16"),
        ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    titles = [panel.get_title(loc="left") for panel in growth.draw(rows).axes[:2]]
    assert titles == ["batch", "length"]

    # Of an axis that is measured by itself the others keep what they had.
    assert growth.of_other_axes(table, {"batch"}) == rows[2:]
    assert growth.of_other_axes(tmp_path / "none.csv", {"batch"}) == []
