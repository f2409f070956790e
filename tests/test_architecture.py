"""The rules of the house that a program can check (docs/design.md, section 1)."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "seq2seq_jax"
LINES = 400
# A module imports from folders before its own and from its own. The top holds words and configs.
FOLDERS = ["", "data", "models", "training", "decoding", "evaluation", "sweeps", "reports"]
FOLDERS += ["benchmarking", "commands"]
# The top-level modules that are of a layer of their own: the doors to everything below.
DOORS = {"seq2seq_jax/__init__.py", "seq2seq_jax/__main__.py"}
# These answer quickly because they leave the heavy libraries alone.
LIGHT = ["config", "config_checks", "types", "sweeps", "commands", "data.tasks", "__main__"]

FILES = sorted(PACKAGE.rglob("*.py"))
CODE = [*FILES, *sorted((ROOT / "configs").glob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, everywhere: bool = True) -> list[str]:
    """The modules that a file imports; `everywhere` counts imports inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree)) if everywhere else _outside_functions(tree)
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _outside_functions(node: ast.AST) -> list[ast.AST]:
    found = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            found += [child, *_outside_functions(child)]
    return found


def folder_of(module: str) -> str:
    """`seq2seq_jax.models.attention.scores.SCORES` -> `models`; modules of the top -> ``."""
    parts = module.split(".")[1:]
    return parts[0] if parts and parts[0] in FOLDERS else ""


def test_the_rules_see_the_files():
    assert len(FILES) > 30
    assert {folder_of("seq2seq_jax.models.attention.scores.X"), folder_of("seq2seq_jax.rng")} == {
        "models",
        "",
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path):
    if name_of(path) in DOORS:
        return
    own = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""
    for module in imports(path):
        if module.split(".")[0] == "seq2seq_jax":
            level = FOLDERS.index(folder_of(module))
            assert level <= FOLDERS.index(own), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=name_of)
def test_no_file_grows_past_its_budget(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES, f"{lines} lines: split it by meaning"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_tensorflow_is_never_imported(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "tensorflow"]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_config_key_is_read_with_a_hidden_default(path):
    """`.get(` and getattr with a default on anything that is called like a part of a config."""
    if name_of(path) in ("seq2seq_jax/config.py", "seq2seq_jax/config_checks.py"):
        return
    parts = {"config", "train", "model", "data", "evaluation", "forcing", "encoder", "decoder"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function, read = node.func, None
        if isinstance(function, ast.Attribute) and function.attr == "get":
            read = function.value
        elif isinstance(function, ast.Name) and function.id == "getattr" and len(node.args) == 3:
            read = node.args[0]
        words = ast.unparse(read).replace("_", ".").split(".") if read else []
        assert not parts & set(words), f"{name_of(path)}, line {node.lineno}"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_annotations_stay_objects_for_the_shape_checks(path):
    assert "__future__.annotations" not in imports(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_light_modules_import_nothing_heavy(path):
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if not module.startswith(tuple(LIGHT)):
        return
    heavy = {
        "jax",
        "flax",
        "optax",
        "orbax",
        "grain",
        "pandas",
        "matplotlib",
        "tensorflow_datasets",
    }
    assert not heavy & {name.split(".")[0] for name in imports(path, everywhere=False)}


def test_base_names_of_tests_are_unique():
    names = [path.name for path in TESTS]
    assert sorted(names) == sorted(set(names))


def test_every_public_module_says_what_it_is():
    silent = [
        name_of(path)
        for path in CODE
        if (tree := ast.parse(path.read_text(encoding="utf-8"))).body
        and not ast.get_docstring(tree)
    ]
    assert not silent


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["train", "--help"]])
def test_help_imports_no_jax(arguments):
    code = (
        "import sys, seq2seq_jax.__main__ as m; status = m.main(sys.argv[1:]);"
        "print('\\n', status, sorted({'jax', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.stdout.splitlines()[-1].strip() == "0 []"
