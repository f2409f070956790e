"""Translates its arguments, or else standard input: a line out for a line in.

Standard input is translated in batches and answered in its order; in a terminal there is a prompt,
and each line is answered at once. An empty line gives an empty line. Tokens that the model does not
know are read as <unk> and named on standard error, and so are lines that were cut for their length.
A text that begins with - stands behind --.

./launch.sh translate --workdir=RUN [--beam=5] [TEXT ...]
./launch.sh translate --workdir=RUN < source.txt > translation.txt
./launch.sh translate --workdir=RUN --beam=5 --n_best=5 < source.txt > translations.jsonl
./launch.sh translate --workdir=RUN --sample --top_p=0.9 --n_best=3 "je suis étudiant"
./launch.sh translate --workdir=RUN --workdir=OTHER "je suis étudiant"
./launch.sh translate --workdir=RUN --attention=alignment.png "je suis étudiant"
./launch.sh translate --workdir=RUN --pharaoh=links.txt < source.txt

With --n_best each line is a JSON object: the source, and its translations with their scores.
"""

import codecs
import contextlib
import importlib
import io
import itertools
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from seq2seq_jax.commands import common, search
from seq2seq_jax.types import EOS, InputError

if TYPE_CHECKING:  # at run time it would import JAX before the device is chosen
    from seq2seq_jax.decoding.translate import Translation

PICTURES = (".png", ".svg", ".pdf")
SHOWN = 10  # unknown tokens, and lines that were cut, that are named
SAMPLING = ("temperature", "top_k", "top_p", "seed")


def define() -> flags.FlagValues:
    values = common.make_flags("platform")
    search.define(values)
    flags.DEFINE_integer(
        "n_best",
        0,
        "JSON lines with so many translations of each source, as many as the beam at most, best"
        " first; or, with --sample, as they were drawn. 0: text, the best one.",
        0,
        flag_values=values,
    )
    flags.DEFINE_boolean("sample", False, "Draw each token.", flag_values=values)
    flags.DEFINE_float("temperature", 1.0, "Divides the logits drawn from.", flag_values=values)
    flags.DEFINE_integer(
        "top_k", 0, "Draw from so many likeliest tokens; 0: all.", flag_values=values
    )
    flags.DEFINE_float(
        "top_p", 1.0, "Draw from the likeliest tokens of this mass.", flag_values=values
    )
    flags.DEFINE_integer("seed", 0, "Of what is drawn.", flag_values=values)
    flags.DEFINE_string(
        "dictionary",
        None,
        "With --replace_unknown: file of WORD TAB TRANSLATION for such words.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "buffer", 1024, "Lines translated together, and then answered.", 1, flag_values=values
    )
    flags.DEFINE_integer(
        "longest", 400, "Source tokens after which a line is cut.", 1, flag_values=values
    )
    flags.DEFINE_string(
        "pharaoh",
        None,
        "File for the alignments, a line each: SOURCE-TARGET word numbers from 0.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "attention",
        None,
        "File for the picture of the alignment, of one sentence; .png, .svg or .pdf.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    values = define()
    texts = common.parse_some(values, arguments, "; a text that begins with - stands behind --")
    common.require(values, "workdir")
    if values.attention and len(texts) != 1:
        raise common.UsageError("--attention draws one sentence: give it as the one argument")
    if values.attention and Path(values.attention).suffix.lower() not in PICTURES:
        raise common.UsageError(f"--attention={values.attention}: a name in {', '.join(PICTURES)}")
    if values.dictionary and not values.replace_unknown:
        raise common.UsageError("--dictionary needs --replace_unknown")
    if not values.sample and (set_ := [name for name in SAMPLING if values[name].present]):
        raise common.UsageError(f"--{set_[0]} needs --sample")
    if values.sample and values["beam"].present:
        raise common.UsageError("--sample and --beam are two ways to search: give one of them")
    if not texts and sys.stdin is None:
        raise common.UsageError("standard input is closed: give a text")
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")  # as its input is read
    common.use_platform(values.platform)
    terminal = not texts and sys.stdin.isatty()
    translate = Translate(values)
    given = map(os.fsencode, texts) if texts else sys.stdin.buffer
    lines = prompt() if terminal else translate.decode(given)
    with open(values.pharaoh or os.devnull, "w", encoding="utf-8") as links:
        # A terminal wants its answer at once.
        while part := list(itertools.islice(lines, 1 if terminal else values.buffer)):
            answers = translate(part)
            for line, found in zip(part, answers, strict=True):
                # A model of characters may know a line feed.
                text = found[0].text.replace("\n", " ")
                print(as_json(line, found) if values.n_best else text)
                print(pharaoh(found[0]), file=links)
            sys.stdout.flush()
            links.flush()
    for message in translate.warnings():
        print(message, file=sys.stderr)
    if values.attention:
        _draw(line, found[0], Path(values.attention))
    return 0


class Translate:
    """Lines in, translations out, as the flags say; keeps in mind what it has to warn of."""

    def __init__(self, values: flags.FlagValues):
        from seq2seq_jax.decoding.strategies import BeamSearch, Sample
        from seq2seq_jax.decoding.unknown import read_dictionary

        self.model = search.load(values)
        evaluation, count = self.model.config.evaluation, max(values.n_best, 1)
        if values.sample:
            sampling: dict[str, Any] = {name: values[name].value for name in SAMPLING}
            self.strategy = Sample(count, **sampling)
        elif evaluation.beam > 1 or count > 1:
            self.strategy = BeamSearch.of(evaluation, count)
        else:
            self.strategy = None
        search.check(values, beam=isinstance(self.strategy, BeamSearch))
        for name in ("pharaoh", "attention"):
            if values[name].value and not self.model.attends:
                raise InputError(f"--{name}: a model without attention has no aligned words")
        known = read_dictionary(Path(values.dictionary)) if values.dictionary else {}
        self.dictionary = {self.model.source.normalize_text(word): known[word] for word in known}
        self.replaces, self.longest = evaluation.replace_unknown, values.longest
        self.lines = 0
        self.unknown: Counter[str] = Counter()
        self.cut: list[int] = []
        self.undecoded: list[int] = []

    def decode(self, stream: Iterable[bytes]) -> Iterator[str]:
        """The lines of a stream without their ends; a byte that is not UTF-8 becomes U+FFFD."""
        for number, raw in enumerate(stream, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError:
                line = raw.decode("utf-8", errors="replace")
                self.undecoded.append(number)
            yield line.rstrip("\r\n")

    def __call__(self, lines: Sequence[str]) -> list[list]:
        """The translations of each line, at least one."""
        from seq2seq_jax.decoding.unknown import replace_unknown

        source = self.model.source
        words = [source.tokenize(line) for line in lines]
        for number, tokens in enumerate(words, start=self.lines + 1):
            if len(tokens) > self.longest:
                self.cut.append(number)
                del tokens[self.longest :]
            self.unknown.update(source.unknown(tokens))
        sources = [source.ids(tokens) for tokens in words]
        found = self.model.search(sources, self.strategy, self.lines)
        self.lines += len(lines)
        if not self.replaces:
            return found
        return [
            [replace_unknown(one, tokens, self.model.target, self.dictionary) for one in of_line]
            for tokens, of_line in zip(words, found, strict=True)
        ]

    def warnings(self) -> Iterator[str]:
        if self.unknown:
            yield about_unknown(self.unknown)
        if self.cut:
            yield (
                f"warning: {len(self.cut)} lines were cut after {self.longest} tokens (--longest):"
                f" {_numbers(self.cut)}"
            )
        if self.undecoded:
            yield (
                f"warning: {len(self.undecoded)} lines are not UTF-8:"
                f" {_numbers(self.undecoded)}; convert them, as with iconv -f latin1 -t utf-8"
            )


def _numbers(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:SHOWN])) + (", ..." if lines[SHOWN:] else "")


def as_json(line: str, found: Sequence["Translation"]) -> str:
    """A source and its translations as one line."""
    translations = [
        {
            "text": one.text,
            "score": _number(one.score),
            "log_probability": _number(one.log_probability),
        }
        for one in found
    ]
    return json.dumps({"source": line, "translations": translations}, ensure_ascii=False)


def _number(score: float) -> float | None:
    """None where not even one hypothesis was allowed: JSON has no infinity."""
    return score if math.isfinite(score) else None


def pharaoh(found: "Translation") -> str:
    """SOURCE-TARGET for each target token: the source token with its largest weight.

    Counted from 0, without end tokens; the links are those that AER counts (`hard_links`).
    """
    import numpy as np

    from seq2seq_jax.evaluation.alignment import hard_links

    words = len(found.source_tokens) - 1
    count = len(found.tokens) - (found.ids[-1:] == [EOS])
    if not count:
        return ""
    sizes = np.array([words]), np.array([count])
    link_T = hard_links(found.alignment[None, :, None], *sizes)[0, :, 0]
    return " ".join(f"{s}-{t}" for t, s in enumerate(link_T) if s >= 0)


def about_unknown(unknown: Counter[str]) -> str:
    """A line about the tokens that the run's vocabulary lacks; they were read as <unk>."""
    most = ", ".join(token for token, _ in unknown.most_common(SHOWN))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return f"warning: {unknown.total()} unknown tokens were read as <unk>: {most}{more}"


def prompt() -> Iterator[str]:
    """What is typed in a terminal, until Ctrl-D."""
    with contextlib.suppress(ImportError):  # not every Python has it
        importlib.import_module("readline")  # gives input() a history and arrow keys
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are not UTF-8
    seen = sys.stdout.isatty()  # a prompt has no place in a file of translations
    with contextlib.suppress(EOFError):
        while True:
            yield input("> " if seen else "")
    if seen:
        print()


def _draw(text: str, found, path: Path) -> None:
    from seq2seq_jax.evaluation.predictions import as_line
    from seq2seq_jax.reports import plots

    figure = plots.alignment(as_line(0, text, None, found, None))
    if figure is None:
        raise InputError("--attention: the translation is empty, so that there is nothing to draw")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"alignment: {path}", file=sys.stderr)
