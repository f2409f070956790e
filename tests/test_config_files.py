"""Files: of Python, with a config and the cells of a sweep, and the JSON that runs keep."""

import json

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.types import InputError

DEFAULT = "configs/default.py"


def write(folder, body, sweep=""):
    path = folder / "experiment.py"
    path.write_text(
        "from configs import default\n\n\ndef get_config():\n    config = default.get_config()\n"
        f"    {body}\n    return config\n{sweep}"
    )
    return str(path)


def test_a_file_cannot_leave_its_config_open(tmp_path):
    assert configs.load(write(tmp_path, "config.unlock()")).is_locked


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "config.train.lerning_rate = 1.0",
            "line 6: lerning_rate: no such key; did you mean learn",
        ),
        ("config.model.atention.score = 'dot'", "atention: no such key; did you mean attention?"),
        ("config['lerning_rate'] = 1.0", "did you mean learning_rate?"),
        ("config.train.steps = 'x'", "line 6: TypeError"),
        ("x = (1", "SyntaxError"),
        ("1 / 0", "line 6: ZeroDivisionError"),
    ],
)
def test_error_in_a_file_names_file_and_line(tmp_path, body, words):
    path = write(tmp_path, body)
    with pytest.raises(InputError) as caught:
        configs.load(path)
    assert path in str(caught.value)
    assert words in str(caught.value)


def test_none_and_missing_keys_in_a_file(tmp_path):
    with pytest.raises(InputError, match=r"model\.dtype = None"):
        configs.load(write(tmp_path, "config.model.dtype = None"))
    path = tmp_path / "own.py"
    path.write_text(
        "import ml_collections\n"
        "def get_config():\n    return ml_collections.ConfigDict({'seed': 1, 'sed': 2})\n"
    )
    with pytest.raises(InputError) as caught:
        configs.load(str(path))
    assert "sed: no such key; did you mean seed?" in str(caught.value)
    assert "train.steps: missing; start from configs/default.py" in str(caught.value)


def test_argument_reaches_the_file(tmp_path):
    path = tmp_path / "sized.py"
    path.write_text(
        "from configs import default\ndef get_config(width='8'):\n"
        "    config = default.get_config()\n    config.model.embedding = int(width)\n"
        "    return config\n"
    )
    assert configs.load(str(path)).model.embedding == 8
    assert configs.load(f"{path}:32").model.embedding == 32
    path = write(tmp_path, "pass")
    with pytest.raises(InputError, match=r"get_config\(\) takes no argument, .* gives 'big'"):
        configs.load(f"{path}:big")


def test_files_are_found_from_anywhere_else_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs.load(DEFAULT)
    with pytest.raises(InputError, match=r"no config file configs/defalt.py .* configs/default.py"):
        configs.load("configs/defalt.py")
    write(tmp_path, "config.seed = 3")
    assert configs.load("experiment.py").seed == 3


def test_no_get_config_and_a_wrong_return(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("x = 1\n")
    with pytest.raises(InputError, match=r"has no get_config\(\)"):
        configs.load(str(path))
    path.write_text("def get_config():\n    return {'a': 1}\n")
    with pytest.raises(InputError, match="returned dict, not a ConfigDict"):
        configs.load(str(path))


def test_points(tmp_path):
    assert configs.points(DEFAULT) == [{}]
    sweep = "\n\ndef sweep():\n    return [{'seed': 1}, {'seed': %d}]\n"
    assert configs.points(write(tmp_path, "pass", sweep % 2)) == [{"seed": 1}, {"seed": 2}]
    (tmp_path / "same").mkdir()
    with pytest.raises(InputError, match="more than once"):
        configs.points(write(tmp_path / "same", "pass", sweep % 1))
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="gives no cell"):
        configs.points(write(tmp_path / "none", "pass", "\n\ndef sweep():\n    return []\n"))


@pytest.mark.parametrize(
    "cells", ["{'seed': [0, 1]}", "['seed']", "None", "[{1: 2}]", "iter([{'seed': 1}])"]
)
def test_points_of_a_wrong_form(tmp_path, cells):
    path = write(tmp_path, "pass", f"\n\ndef sweep():\n    return {cells}\n")
    with pytest.raises(InputError, match="has to return a list of cells, each a mapping"):
        configs.points(path)


def test_points_of_numpy_are_plain(tmp_path):
    code = "\n\ndef sweep():\n    import numpy as np\n    return [{'a': np.float64(0.5)}]\n"
    ((value,),) = (cell.values() for cell in configs.points(write(tmp_path, "pass", code)))
    assert (value, type(value)) == (0.5, float)


def test_points_depend_on_the_argument_where_sweep_takes_one(tmp_path):
    path = write(tmp_path, "pass", "\n\ndef sweep(seed=5):\n    return [{'seed': int(seed)}]\n")
    assert configs.points(path) == [{"seed": 5}]
    assert configs.points(f"{path}:7") == [{"seed": 7}]
    (tmp_path / "none").mkdir()
    path = write(tmp_path / "none", "pass", "\n\ndef sweep():\n    return [{'seed': 1}]\n")
    assert configs.points(f"{path}:7") == [{"seed": 1}]


def test_json_keeps_everything(tmp_path):
    config = configs.load(
        DEFAULT, {"evaluation.show": ("je suis étudiant",), "data.columns": ("de", "en")}
    )
    configs.save(config, tmp_path / "config.json")
    again = configs.read(tmp_path / "config.json")
    assert configs.flatten(again) == configs.flatten(config)
    assert again.evaluation.show == ("je suis étudiant",)
    assert again.evaluation.modes == ("forced", "greedy")
    assert again.is_locked
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_reading_older_and_broken_files(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"seed": 7}))
    assert configs.read(path).seed == 7
    assert configs.read(path).train.epochs == configs.defaults().train.epochs
    for text in ("{", "[1]", '{"sed": 7}', '{"seed": "x"}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"config\.json: not a config of this version"):
            configs.read(path)
    with pytest.raises(InputError, match="is this the folder of a run"):
        configs.read(tmp_path / "none.json")
