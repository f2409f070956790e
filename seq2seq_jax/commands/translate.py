"""Translates its arguments, or else standard input: a line out for a line in.

Tokens that the model does not know are read as <unk> and named on standard error.

./launch.sh translate --workdir=RUN [TEXT ...]
./launch.sh translate --workdir=RUN < source.txt > translation.txt
./launch.sh translate --workdir=RUN --attention=alignment.png "je suis étudiant"
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from absl import flags

from seq2seq_jax.commands import common
from seq2seq_jax.types import InputError

CHUNK = 256  # lines translated together
SHOWN = 10  # unknown tokens that are named


def define() -> flags.FlagValues:
    values = common.make_flags("workdir", "platform")
    flags.DEFINE_string(
        "attention",
        None,
        "File for the picture of the alignment, of one sentence; .png, .svg or .pdf.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    texts = common.parse_some(values, arguments)
    common.require(values, "workdir")
    if values.attention and len(texts) != 1:
        raise common.UsageError("--attention draws one sentence: give it as the one argument")
    common.use_platform(values.platform)
    from seq2seq_jax.evaluation.run import load_run

    run = load_run(values.workdir)
    # A terminal wants its answer at once.
    chunk = 1 if not texts and sys.stdin.isatty() else CHUNK
    lines = iter(texts) if texts else read_lines(sys.stdin.buffer)
    unknown: Counter[str] = Counter()
    while part := list(itertools.islice(lines, chunk)):
        for text in translate_lines(run, part):
            print(text, flush=chunk == 1)
        sys.stdout.flush()
        for line in part:
            unknown.update(run.source.unknown(line))
    if unknown:
        print(about_unknown(unknown), file=sys.stderr)
    if values.attention:
        _draw(run, texts[0], Path(values.attention))
    return 0


def translate_lines(run, lines: Sequence[str]) -> list[str]:
    """The translations in the order of the lines; an empty line stays one."""
    full = [line for line in lines if line.strip()]
    translated = iter(run.translate(full) if full else [])
    return [next(translated).text if line.strip() else "" for line in lines]


def about_unknown(unknown: Counter[str]) -> str:
    """A line about the tokens that the run's vocabulary lacks; they were read as <unk>."""
    most = ", ".join(token for token, _ in unknown.most_common(SHOWN))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return f"warning: {unknown.total()} unknown tokens were read as <unk>: {most}{more}"


def read_lines(stream: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream without their ends. Raises InputError with the number of a bad one."""
    for number, raw in enumerate(stream, start=1):
        try:
            yield raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input, line {number}: not UTF-8 ({error.reason} at byte {error.start});"
                " convert it, as with iconv -f latin1 -t utf-8"
            ) from None


def _draw(run, text: str, path: Path) -> None:
    from seq2seq_jax.evaluation.predictions import as_line
    from seq2seq_jax.reports import plots

    figure = plots.alignment(as_line(0, text, None, run.translate([text])[0], None))
    if figure is None:
        raise InputError("--attention: a model without attention has no alignment to draw")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"alignment: {path}", file=sys.stderr)
