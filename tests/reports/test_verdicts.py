import math

import pytest

from seq2seq_jax.reports.published import Published, read_published
from seq2seq_jax.reports.verdicts import same_order, verdict
from seq2seq_jax.types import InputError


def published(value, low="", high="", certainty="read in the paper"):
    return Published(value, "a paper", certainty, low, high)


@pytest.mark.parametrize(
    ("number", "mean", "sd", "words"),
    [
        (published("20.0", "19.0", "20.5"), 19.0, 9.0, "within"),
        (published("20.0", "19.0", "20.5"), 18.94, 9.0, "below"),
        (published("20.0", "19.0", "20.5"), 18.96, 9.0, "within"),  # prints as 19.0
        (published("20.0", "19.0", "20.5"), 20.6, None, "above"),
        (published("20.0"), 21.9, 1.0, "within (our spread)"),
        (published("20.0"), 22.1, 1.0, "above (our spread)"),
        (published("20.0"), 17.9, 1.0, "below (our spread)"),
        (published("20.0"), 20.0, None, "within (no spread)"),
        (published("20.0"), 20.1, None, "above (no spread)"),
        (published("20.0"), 19.9, None, "below (no spread)"),
        (published("20.0", certainty="P (mem)"), 20.0, 1.0, "unverified"),
        (published("20.0", certainty="unverified"), 20.0, 1.0, "unverified"),
        (published("20.0", certainty="from memory"), 20.0, 1.0, "unverified"),
        (published("20.0", certainty="two second-hand notes"), 20.0, 1.0, "unverified"),
        (published("20.0", certainty="a memorandum"), 20.0, None, "within (no spread)"),
        (published("20.0"), math.nan, math.nan, "diverged"),
    ],
)
def test_verdicts(number, mean, sd, words):
    assert verdict(number, mean, sd, digits=1) == words


def test_how_published_numbers_are_written():
    assert published("28.30").text == "28.30"
    assert published("21.78", "21.73", "21.83").text == "21.78 (21.73 to 21.83)"
    assert published("13.8", certainty="(mem)").text == "13.8 (unverified)"


def test_spreads_are_read(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(
        "row,metric,value,low,high,source,certainty\n\n"
        'a,bleu,20,19,21,"x, y",P\na,chrf,-3.5,,,x,P\n'
    )
    numbers = read_published(path)["a"]
    assert numbers["bleu"] == Published("20", "x, y", "P", "19", "21")
    assert numbers["chrf"] == Published("-3.5", "x", "P")


def test_encodings_of_spreadsheets(tmp_path):
    path = tmp_path / "published.csv"
    text = "row,metric,value,source,certainty\na,bleu,20,Café,P\n"
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_published(path)["a"]["bleu"].source == "Café"
    path.write_bytes(text.encode("cp1252"))
    with pytest.raises(InputError, match=r"published\.csv:2: not UTF-8"):
        read_published(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,bleu,about 5,x,P,,", r":2: expected a number as value, found 'about 5'"),
        ("a,bleu,5,x,P,4,", r":2: expected a number as high, found ''"),
        ("a,bleu,5,x,P,6,7", r":2: expected low <= value <= high, found 6, 5, 7"),
        ("a,bleu,5,,P,,", r":2: source is empty"),
        ("a,bleu,5,x, ,,", r":2: certainty is empty"),
        ("a,bleu,5,x,P,,\na,bleu,6,x,P,,", r":3: bleu of 'a' stands here a second time"),
        ("a,blue,5,x,P,,", r":2: unknown metric 'blue'; did you mean bleu\?"),
        ("a,bleu,5,x,P,,,", r":2: expected 7 fields, found 8"),
    ],
)
def test_wrong_numbers_are_named(tmp_path, line, message):
    path = tmp_path / "published.csv"
    path.write_text(f"row,metric,value,source,certainty,low,high\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_published(path)


def test_pairs_in_the_published_order():
    # Of the pairs of 1, 2, 2, 3 five have an order; ours keeps 1 < 2, 1 < 2, 1 < 3 and 2 < 3.
    rows = [("a", 1.0, 10.0), ("b", 2.0, 30.0), ("c", 2.0, 20.0), ("d", 3.0, 25.0)]
    assert same_order(rows) == (4, 5)
    assert same_order([("a", 1.0, 5.0), ("b", 2.0, 5.0)]) == (0, 1)  # ours tells no difference
    assert same_order([("a", 1.0, 5.0), ("b", 2.0, math.nan)]) == (0, 1)
    assert same_order(rows[:1]) == same_order([]) == (0, 0)
    # A cell in two rows: not against itself, and against another one once for each number.
    assert same_order([*rows, ("a", 1.0, 10.0)]) == (4, 5)
    assert same_order([("a", 1.0, 10.0), ("a", 1.5, 10.0), ("d", 3.0, 25.0)]) == (2, 2)
