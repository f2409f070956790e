"""The real data beside the project, where it is present."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(name: str) -> Path:
    """The folder of one data set; the test skips where it is absent."""
    if not (FOLDER / name).is_dir():
        pytest.skip(f"no real data: ../shared/data/{name} is absent")
    return FOLDER / name
