"""launch.sh in a project of its own, with stand-ins for uv, nvidia-smi and the package."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements.cuda.lock", "requirements.tpu.lock")
TOOLS = ("readlink", "dirname", "cmp", "cp", "rm", "mkdir", "grep")
PACKAGE = "import os, sys; print('ran', os.getcwd(), *sys.argv[1:])\n"


class Project:
    def __init__(self, folder: Path):
        self.root = folder / "a project"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.cwd = folder / "elsewhere"
        for path in (self.root / "seq2seq_jax", self.bin, self.cwd):
            path.mkdir(parents=True)
        shutil.copy(ROOT / "launch.sh", self.root)
        (self.root / "seq2seq_jax" / "__init__.py").touch()
        (self.root / "seq2seq_jax" / "__main__.py").write_text(PACKAGE)
        for lock in LOCKS:
            (self.root / lock).write_text(f"# {lock}\n")
        self.program("uv", f'echo "$@" >> "{self.calls}"')
        self.program("nvidia-smi", "exit 9")
        for name in [*TOOLS, "flock", "env", "bash"]:
            (self.bin / name).symlink_to(shutil.which(name))
        self.venv = self.root / ".venv"

    def program(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str, status: int = 0, link: Path | None = None, **environment: str):
        answer = subprocess.run(
            [link or self.root / "launch.sh", *arguments],
            cwd=self.cwd,
            env={
                "PATH": str(self.bin),
                "PYTHON": sys.executable,
                "HOME": "/nowhere",
                **environment,
            },
            capture_output=True,
            text=True,
        )
        assert answer.returncode == status, answer.stderr
        return answer

    def installed(self) -> list[str]:
        """The lock files that were installed from, in order."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [Path(call.split(" -r ")[1]).name for call in calls]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_first_start_sets_up_and_the_next_does_not(project):
    first = project.run("translate", "--workdir=x", "je suis")
    assert first.stdout == f"ran {project.cwd} translate --workdir=x je suis\n"
    assert project.installed() == ["requirements.lock"]
    assert "--require-hashes" in project.calls.read_text()
    again = project.run("--help")
    assert again.stdout == f"ran {project.cwd} --help\n"
    assert again.stderr == ""
    assert project.installed() == ["requirements.lock"]


def test_a_link_starts_the_project_that_it_leads_to(project):
    link = project.cwd / "start"
    link.symlink_to(project.root / "launch.sh")
    assert "ran" in project.run("train", link=link).stdout
    assert project.venv.exists() and not (project.cwd / ".venv").exists()


def test_files_of_the_current_folder_hide_no_module(project):
    (project.cwd / "seq2seq_jax").mkdir()
    (project.cwd / "json.py").write_text("raise SystemExit('the wrong json')")
    (project.root / "seq2seq_jax" / "__main__.py").write_text("import json\n" + PACKAGE)
    assert project.run("train").stdout.startswith("ran")


def test_status_of_the_command_is_passed_on(project):
    (project.root / "seq2seq_jax" / "__main__.py").write_text("raise SystemExit(7)")
    project.run("train", status=7)


def test_changed_lock_is_installed(project):
    project.run("train")
    (project.root / "requirements.lock").write_text("# another\n")
    project.run("train")
    project.run("train")
    assert project.installed() == ["requirements.lock"] * 2


def test_failed_set_up_is_done_again(project):
    project.program("uv", "exit 1")
    lock = project.root / "requirements.lock"
    lock.write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    failed = project.run("train", status=1, PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null")
    assert "trying pip" in failed.stderr
    assert "same command tries again" in failed.stderr
    # What an interrupted installation leaves: an environment that runs, with half a package in it.
    (project.venv / "half a package").touch()
    project.program("uv", f'echo "$@" >> "{project.calls}"')
    assert "not finished: starting afresh" in project.run("train").stderr
    assert not (project.venv / "half a package").exists()
    assert project.installed() == ["requirements.lock"]
    assert project.run("train").stderr == ""


def test_set_up_that_is_killed_is_done_again(project):
    project.program("uv", f'touch "{project.calls}"; sleep 30 & wait')
    process = subprocess.Popen(
        [project.root / "launch.sh", "train"],
        env={"PATH": f"{project.bin}:/usr/bin:/bin", "PYTHON": sys.executable, "HOME": "/nowhere"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not project.calls.exists():
        time.sleep(0.02)
    os.killpg(process.pid, 9)
    process.wait()
    project.calls.unlink()
    project.program("uv", f'echo "$@" >> "{project.calls}"')
    assert "starting afresh" in project.run("train").stderr
    assert project.installed() == ["requirements.lock"]


def test_cut_off_update_is_not_taken_for_the_old_set_up(project):
    project.run("train")
    # A changed lock was being installed, and then changed back.
    (project.venv / "seq2seq_jax.unfinished").touch()
    assert "starting afresh" in project.run("train").stderr


def test_environment_whose_python_is_gone_is_made_again(project):
    project.run("train")
    (project.venv / "bin" / "python").unlink()
    (project.venv / "bin" / "python").symlink_to("/nowhere/python")
    assert project.run("train").stdout.startswith("ran")
    assert project.installed() == ["requirements.lock"] * 2


def test_someone_elses_environment_is_kept(project):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.venv], check=True)
    (project.venv / "theirs").touch()
    project.run("train")
    assert (project.venv / "theirs").exists()


def test_cuda_where_a_gpu_is_visible(project):
    project.program("nvidia-smi", "echo 'GPU 0: something (UUID: 1)'")
    project.run("train")
    # Once set up for CUDA, the driver is not asked again.
    project.program("nvidia-smi", "exit 9")
    project.run("train")
    assert project.installed() == ["requirements.cuda.lock"]


def test_driver_without_gpu_means_cpu(project):
    project.program("nvidia-smi", "echo 'No devices found.'")
    project.run("train")
    assert project.installed() == ["requirements.lock"]


def test_accelerator_can_be_chosen(project):
    project.program("nvidia-smi", "echo 'GPU 0: something (UUID: 1)'")
    project.run("train", SEQ2SEQ_JAX_ACCELERATOR="cpu")
    project.run("train", SEQ2SEQ_JAX_ACCELERATOR="tpu")
    assert project.installed() == ["requirements.lock", "requirements.tpu.lock"]
    wrong = project.run("train", status=1, SEQ2SEQ_JAX_ACCELERATOR="gpu")
    assert "choose cpu, cuda or tpu" in wrong.stderr


def test_python_that_is_too_old(project):
    project.program(
        "python3", 'case "$2" in *version_info\\ \\<*) exit 1;; *) echo " ($4 is 3.9)";; esac'
    )
    answer = project.run("train", status=1, PYTHON="")
    assert "Python 3.11 or newer is needed and was not found" in answer.stderr
    assert "PYTHON=/path/to/python" in answer.stderr
    assert not project.venv.exists()


def test_index_of_pip_reaches_uv(project):
    project.program("uv", f'echo "$UV_DEFAULT_INDEX -r x" >> "{project.calls}"')
    project.run("train", PIP_INDEX_URL="file:///a/mirror")
    assert project.calls.read_text() == "file:///a/mirror -r x\n"


def test_without_arguments_the_quickstart_runs(project):
    lines = project.run().stdout.splitlines()
    assert lines == [
        f"ran {project.cwd} sweep --config=configs/quickstart.py --workdir=runs/quickstart"
        " --workers=2",
        f"ran {project.cwd} report --workdir=runs/quickstart",
    ]


def test_quickstart_reports_what_there_is_and_still_fails(project):
    (project.root / "seq2seq_jax" / "__main__.py").write_text(
        PACKAGE + "sys.exit(5 if sys.argv[1] == 'sweep' else 0)\n"
    )
    answer = project.run(status=5)
    assert "report --workdir" in answer.stdout


def test_locks_name_hashes_and_no_host():
    for name in LOCKS:
        text = (ROOT / name).read_text()
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(pins) > 60
        assert all("==" in line for line in pins)
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text and "--index" not in text
