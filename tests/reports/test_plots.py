import json

import matplotlib
import numpy as np
import pytest

from seq2seq_jax.reports import plots, style
from seq2seq_jax.reports.results import read_results
from tests.reports import fake_sweep


def titled(figure, title):
    (panel,) = [axes for axes in figure.axes if axes.get_title("left") == title]
    return panel


def lines_of(panel):
    """label -> (x, y) of the labelled lines."""
    return {
        line.get_label(): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in panel.lines
        if not line.get_label().startswith("_")
    }


def test_curves_are_means_over_seeds(tmp_path):
    figure = plots.learning_curves(read_results(fake_sweep.quickstart(tmp_path)))
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == ["perplexity (forced)", "exact match (%)", "BLEU", "AER (%)"]
    panel = titled(figure, "exact match (%)")
    x, y = lines_of(panel)["score=general"]
    assert x == [100, 200, 300, 400]
    # Seeds rise to 0.8 and 0.9: their mean is 85 % times 1/2, 3/4, 7/8, 15/16.
    assert y == pytest.approx([42.5, 63.75, 74.375, 79.6875])
    band = panel.collections[1].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((40.0, 84.375))  # least, greatest seed


def test_diagnostics_of_the_alignments_of_cells_that_attend(tmp_path):
    figure = plots.alignment_curves(read_results(fake_sweep.quickstart(tmp_path)))
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == [
        *("alignment entropy (nats)", "alignment coverage (%)"),
        *("monotonicity (%)", "gold distance (words)"),
    ]
    # Seeds rise to a share of 0.8 and 0.9; entropy is 2 less the share.
    for panel, last in zip(figure.axes, (2 - 0.796875, 77.8125, 81.875, 1.40625), strict=True):
        drawn = lines_of(panel)
        assert list(drawn) == ["score=general"]  # none does not attend
        assert drawn["score=general"][1][-1] == pytest.approx(last)
    # The one line of a sweep of two cells has its name below.
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["score=general"]


def test_a_cell_keeps_its_colour(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    fake_sweep.write_sweep(folder, {"new": {}, "score=none": {}, "score=general": {}})
    results = read_results(folder)  # the first cell has no runs yet
    expected = style.line_styles(results.cells)["score=general"][0]
    for draw in (plots.learning_curves, plots.scores_by_length):
        panel = draw(results).axes[0]
        (line,) = [line for line in panel.lines if line.get_label() == "score=general"]
        assert line.get_color() == expected
    colours = style.line_styles([str(i) for i in range(42)])
    assert len(set(colours.values())) == 42


def test_nothing_to_draw_yet(tmp_path):
    results = read_results(fake_sweep.write_sweep(tmp_path, {"a": {}}))
    for draw in (
        plots.learning_curves,
        plots.alignment_curves,
        plots.scores_by_length,
        plots.exposure_gap,
        plots.scores_by_ratio,
    ):
        assert draw(results) is None


def test_curves_of_a_run_under_way(tmp_path):
    fake_sweep.write_run(tmp_path / "a" / "seed0", curve=fake_sweep.curve(0.5)[:2])
    figure = plots.learning_curves(read_results(tmp_path))
    assert lines_of(titled(figure, "BLEU"))["a"] == ([100], [pytest.approx(22.5)])


def test_scores_by_length_count_the_right_sentences(tmp_path):
    # Source words: 3, 3, 10, 2, 7, 3. "none" gets 2, 4 and (seed 0 only) 5 wrong.
    figure = plots.scores_by_length(read_results(fake_sweep.quickstart(tmp_path)))
    panel = titled(figure, "exact match (%)")
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ["1-2\n1", "3-4\n3", "5-6\n0", "7-8\n1", "9-10\n1"]
    x, y = lines_of(panel)["score=none"]
    assert x == [0, 1, 3, 4]  # no sentence of 5 or 6 words
    assert y == pytest.approx([100, (200 / 3 + 100) / 2, 0, 0])
    assert lines_of(panel)["score=general"][1] == pytest.approx([100, 100, 100, 50])
    _, bleu = lines_of(titled(figure, "BLEU"))["score=general"]
    assert np.isnan(bleu[0])  # "we speak" has no 4-gram
    assert bleu[1:3] == pytest.approx([100, 100])


def test_scores_by_length_of_cells_with_other_tests(tmp_path):
    """Every cell has its own sentences, and no number of them stands below for all."""
    fake_sweep.write_sweep(tmp_path, {"short": {}, "_all": {}}, seeds=(0,))
    right = fake_sweep.references()
    for name, made in (("short", right[:2]), ("_all", right)):
        fake_sweep.write_run(tmp_path / name / "seed0", hypotheses=made, done=fake_sweep.done())
    figure = plots.scores_by_length(read_results(tmp_path))
    panel = titled(figure, "exact match (%)")
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        *("1-2", "3-4", "5-6", "7-8", "9-10")
    ]
    assert panel.get_xlabel() == "source words"
    drawn = {line.get_label(): line for line in panel.lines}
    assert drawn["short"].get_xdata().tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(drawn["short"].get_ydata(), [np.nan, 100, np.nan, np.nan])
    np.testing.assert_array_equal(drawn["_all"].get_ydata(), [100] * 4)
    # matplotlib's own legend leaves out names that begin with an underscore.
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["short", "_all"]


def test_exposure_gap_shows_both_perplexities(tmp_path):
    panel = plots.exposure_gap(read_results(fake_sweep.quickstart(tmp_path))).axes[0]
    drawn = lines_of(panel)
    assert drawn["gold fed (forced)"] == (pytest.approx([2.45, 2.15]), [0, 1])
    assert drawn["own tokens fed (free-running)"] == (pytest.approx([3.45, 3.15]), [0, 1])
    assert [text.get_text() for text in panel.texts] == ["×1.41", "×1.47"]
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "score=none",
        "score=general",
    ]


def test_what_has_diverged_is_not_drawn(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    for seed in (0, 1):
        path = folder / "score=none" / f"seed{seed}" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line |= {name: 1e304 for name in line if "perplexity" in name}
            line |= {name: float("nan") for name in line if name == "valid/bleu"}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = read_results(folder)
    panel = plots.exposure_gap(results).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["score=general"]
    curves = plots.learning_curves(results)
    for title in ("perplexity (forced)", "BLEU"):
        assert list(lines_of(titled(curves, title))) == ["score=general"]
    style.save_png(curves, tmp_path / "curves.png")


def ratio_sweep(folder, cells):
    """cells: name -> (overrides, exact match of each seed)."""
    fake_sweep.write_sweep(folder, {name: overrides for name, (overrides, _) in cells.items()})
    for name, (_, scores) in cells.items():
        for seed, score in enumerate(scores):
            run = folder / name / f"seed{seed}"
            final = {"test/exact_match": score, "test/perplexity": 4 - score}
            fake_sweep.write_run(run, final=final, done=fake_sweep.done())
    return read_results(folder)


def test_scores_by_ratio(tmp_path):
    cells = {
        "ratio=1": ({"teacher_forcing.ratio": 1.0}, [0.4, 0.6]),
        "ratio=0": ({"teacher_forcing.ratio": 0.0}, [0.2, 0.2]),
        "schedule=linear": (
            {"teacher_forcing.ratio": 1.0, "teacher_forcing.schedule": "linear"},
            [0.7, 0.8],
        ),
    }
    for overrides, _ in cells.values():
        overrides.setdefault("teacher_forcing.schedule", "constant")
        is_constant = overrides["teacher_forcing.schedule"] == "constant"
        overrides["teacher_forcing.decay"] = 1.0 if is_constant else 1e-4
    figure = plots.scores_by_ratio(ratio_sweep(tmp_path, cells))
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == ["exact match (%)", "perplexity (forced)"]
    panel = figure.axes[0]
    assert [container.get_label() for container in panel.containers] == ["constant ratio"]
    points, _, (bars,) = panel.containers[0]
    assert points.get_xdata().tolist() == [0.0, 1.0]
    assert points.get_ydata().tolist() == pytest.approx([20, 50])
    lengths = [top - bottom for (_, bottom), (_, top) in bars.get_segments()]
    assert lengths == pytest.approx([0, 2 * 20 / np.sqrt(2)])  # 2 sample deviations of 40, 60
    assert lines_of(panel)["schedule=linear"][1] == pytest.approx([75, 75])


def test_scores_by_ratio_has_a_line_for_each_other_setting(tmp_path):
    cells = {
        f"score={score},ratio={ratio}": (
            {"model.attention.score": score, "teacher_forcing.ratio": ratio},
            [0.1],
        )
        for score in ("dot", "general")
        for ratio in (0.0, 0.5, 1.0)
    }
    panel = plots.scores_by_ratio(ratio_sweep(tmp_path, cells)).axes[0]
    assert [container.get_label() for container in panel.containers] == [
        "score=dot",
        "score=general",
    ]


def test_one_ratio_is_no_sweep_of_ratios(tmp_path):
    cells = {"a": ({"teacher_forcing.ratio": 1.0}, [0.4])}
    assert plots.scores_by_ratio(ratio_sweep(tmp_path, cells)) is None


def alignment_line(**changes):
    return fake_sweep.line(5, fake_sweep.SENTENCES[5], "the black dogs") | changes


def test_alignment_shows_weights_words_and_gold():
    line = alignment_line(gold=[[0, 0], [2, 1]])
    panel = plots.alignment(line, title="score=dot").axes[0]
    np.testing.assert_allclose(panel.images[0].get_array()[..., 3], line["alignment"])
    sources = [label.get_text() for label in panel.get_xticklabels()]
    assert sources == ["les", "chiens", "noirs", "</s>"]
    targets = [label.get_text() for label in panel.get_yticklabels()]
    assert targets == ["the", "black", "dogs", "</s>"]
    boxes = {(box.get_x() + 0.5, box.get_y() + 0.5) for box in panel.patches}
    assert boxes == {(0, 0), (2, 1)}  # (source, target)
    assert panel.get_xlabel() == "score=dot"


def test_a_long_sentence_is_drawn_smaller():
    words = [f"w{i}" for i in range(400)]
    line = alignment_line(
        source_tokens=words, hypothesis_tokens=words[:200], alignment=np.eye(200, 400).tolist()
    )
    figure = plots.alignment(line)
    assert (figure.get_size_inches() < plots.LARGEST + 3).all()
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == words[::2]
    assert [label.get_text() for label in panel.get_yticklabels()] == words[:200]


def test_gold_links_are_of_the_reference_alone():
    assert not plots.alignment(alignment_line(reference="the other dogs")).axes[0].patches
    assert not plots.alignment(alignment_line(gold=None)).axes[0].patches


@pytest.mark.parametrize("alignment", [None, [], [[0.0] * 4] * 4])
def test_no_alignment_without_attention(alignment):
    assert plots.alignment(alignment_line(alignment=alignment)) is None


def test_words_are_text_whatever_they_hold(tmp_path):
    tokens = ["$a_b$", "</svg><script>", "日本語", "x" * 300]
    figure = plots.alignment(alignment_line(hypothesis_tokens=tokens), title="$a^ & <b>")
    style.save_png(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    svg = style.inline_svg(figure, 'a "label" <i>')
    assert "<script" not in svg
    assert "&lt;/svg&gt;&lt;script&gt;" in svg
    assert ">$a_b$</text>" in svg
    assert f">{'x' * 23}…</text>" in svg
    assert "日本語" in svg
    assert 'aria-label="a &quot;label&quot; &lt;i&gt;"' in svg


def test_svg_takes_the_colours_of_the_page_and_is_reproducible(tmp_path):
    results = read_results(fake_sweep.quickstart(tmp_path))
    svg = style.inline_svg(plots.learning_curves(results), "curves")
    assert "var(--ink)" in svg
    assert "var(--faint)" in svg
    assert not any(colour in svg for colour in (style.INK, style.FAINT, style.PAPER, "#000000"))
    assert svg == style.inline_svg(plots.learning_curves(results), "curves")
    assert "font-family" not in svg


def test_drawing_leaves_matplotlib_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    style.save_png(plots.alignment(alignment_line()), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
