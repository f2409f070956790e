"""Every experiment: its folder says what was asked, and its table names real cells and metrics."""

import re
import runpy
import shlex

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.commands import evaluate
from seq2seq_jax.commands.common import parse
from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.published import read_published
from seq2seq_jax.sweeps import grid

ROOT = configs.PROJECT / "experiments"
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir())
TABLES = sorted(path.parent.name for path in ROOT.glob("*/table.py"))


@pytest.mark.parametrize("name", FOLDERS)
def test_readme_has_question_protocol_and_command_and_is_in_the_index(name):
    text = (ROOT / name / "README.md").read_text(encoding="utf-8")
    for word in ("**Question.**", "**Protocol.**", "**Command", "**Results"):
        assert word in text
    assert f"configs/{name}.py" in text
    assert (configs.PROJECT / "configs" / f"{name}.py").is_file()
    assert f"]({name}/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def ensembles(name):
    """The ensembles that a README's commands save in its sweep, each with its members' cells."""
    found = {}
    for line in (ROOT / name / "README.md").read_text(encoding="utf-8").splitlines():
        if match := re.search(rf"--save=runs/{name}/(\S+)/seed\d+ ", line):
            flags = evaluate.define()
            listed = re.search(r"(--workdir=\S+?){(\S+)}(\S+)", line)
            members = [listed[1] + cell + listed[3] for cell in listed[2].split(",")]
            words = shlex.split(line[: listed.start()])
            assert words[:2] == ["./launch.sh", "evaluate"]
            parse(flags, [*words[2:], *members])
            found[match[1]] = [folder.split("/")[-2] for folder in flags.workdir]
    return found


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_cells_or_ensembles_and_columns_are_metrics(name):
    table = runpy.run_path(str(ROOT / name / "table.py"))
    rows = {cell for cell in table["ROWS"].values() if cell is not None}
    assert rows
    cells, saved = set(grid.cell_names(configs.points(f"configs/{name}.py"))), ensembles(name)
    assert rows <= cells | set(saved)
    assert not cells & set(saved)  # an ensemble has a name of its own
    for members in saved.values():
        assert len(members) > 1 and set(members) <= cells
    assert set(table["COLUMNS"]) <= set(COLUMNS)


@pytest.mark.parametrize("name", TABLES)
def test_published_numbers_have_a_place_in_the_table(name):
    table = runpy.run_path(str(ROOT / name / "table.py"))
    published = read_published(ROOT / name / "published.csv")
    assert set(published) <= set(table["ROWS"])
    for row, numbers in published.items():
        assert set(numbers) <= set(table["COLUMNS"]), row
        for number in numbers.values():
            assert float(number.value) >= 0 and number.source and number.certainty
