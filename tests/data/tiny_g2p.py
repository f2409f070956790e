"""CMUdict's files with two words to test, of which the first has two pronunciations."""

from pathlib import Path


def write_g2p(folder: Path, train: str) -> None:
    (folder / "g014b2b.train").write_text(train)
    (folder / "g014b2b.words").write_text("ABBE\nABLE\n")
    (folder / "g014b2b.ref").write_text("ABBE\tAE B IY\tAE B EY\nABLE\tEY B AH L\n")
