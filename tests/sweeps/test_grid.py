import pytest

from seq2seq_jax.sweeps import grid
from seq2seq_jax.types import InputError


def test_product_gives_every_combination_last_axis_fastest():
    points = grid.product({"a.x": [1, 2], "b": ["p"]}, {"c": [True, False]})
    assert points == [
        {"a.x": 1, "b": "p", "c": True},
        {"a.x": 1, "b": "p", "c": False},
        {"a.x": 2, "b": "p", "c": True},
        {"a.x": 2, "b": "p", "c": False},
    ]


def test_product_and_chain_take_lists_of_points():
    points = grid.chain([{"a": 1}], {"a": [2, 3]}, [{"b": 0}])
    assert points == [{"a": 1}, {"a": 2}, {"a": 3}, {"b": 0}]
    assert len(grid.product({"c": [1, 2]}, points)) == 8


def test_zip_pairs_values():
    assert grid.zip_({"a": [1, 2]}, {"b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert grid.zip_({"a": [1, 2], "b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(InputError, match="not 2, 1"):
        grid.zip_({"a": [1, 2]}, {"b": [3]})


def test_axes_must_not_overlap_and_need_lists():
    with pytest.raises(InputError, match="two axes of the sweep set a"):
        grid.product({"a": [1]}, {"a": [2]})
    with pytest.raises(InputError, match="axis a needs a list"):
        grid.product({"a": "dot"})


def test_names_are_short_where_they_can_be():
    points = grid.product(
        {"model.attention.score": ["general"], "teacher_forcing.ratio": [0.5, 1.0]}
    )
    assert grid.cell_names(points) == ["score=general,ratio=0.5", "score=general,ratio=1.0"]


def test_names_are_longer_where_the_last_part_is_not_enough():
    points = grid.product({"model.encoder.cell": ["gru"]}, {"model.decoder.cell": ["lstm"]})
    assert grid.cell_names(points) == ["encoder.cell=gru,decoder.cell=lstm"]
    # A key that is the ending of another.
    assert grid.cell_names([{"seed": 1, "data.seed": 2}]) == ["seed=1,data.seed=2"]


def test_names_depend_on_the_sweep_and_agree():
    points = grid.chain([{}], {"train.schedule": ["linear"]}, {"forcing.schedule": ["linear"]})
    names = grid.cell_names(points)
    assert names == ["base", "train.schedule=linear", "forcing.schedule=linear"]


def test_names_are_safe_and_unique():
    values = ["a/b", "a b", "../x", "", ("p", "q"), "é", "x" * 300]
    names = grid.cell_names([{"k": value} for value in values])
    assert len(set(names)) == len(values)
    assert not any(set(name) & set("/ \\:*?\"'<>|$") or name.startswith(".") for name in names)
    assert max(map(len, names)) <= grid.LONGEST
    assert names[4] == "k=p+q"
    # The name of a cell does not depend on the order of its neighbours.
    assert grid.cell_names([{"k": value} for value in reversed(values)]) == names[::-1]


def test_a_cell_may_name_itself():
    points = [{"sweep.cell": name, "a.b": i} for i, name in enumerate(["best, no dropout", ""])]
    assert grid.cell_names([*points, {"a.b": 2}]) == ["best,-no-dropout", "b=1", "b=2"]
    (long,) = grid.cell_names([{"sweep.cell": "語" * 90}])
    assert 250 < len(long.encode()) <= grid.LONGEST_BYTES and long.startswith("語")
    (fits,) = grid.cell_names([{"sweep.cell": "語" * 80}])
    assert fits == "語" * 80
    with pytest.raises(InputError, match=r"sweep\.cell = '\.\.': no name of a folder"):
        grid.cell_names([{"sweep.cell": ".."}])


def test_baseline():
    assert grid.baseline("", ["a", "b"]) == "a"
    assert grid.baseline("b", ["a", "b"]) == "b"
    with pytest.raises(InputError, match="did you mean score=none"):
        grid.baseline("score=nome", ["score=none", "score=dot"])
