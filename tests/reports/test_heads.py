import numpy as np
import pytest

from seq2seq_jax.reports.heads import alignment_heads
from seq2seq_jax.reports.results import read_results
from tests.reports import fake_sweep

NOTHING = float("nan")


def heads_sweep(folder, **finals):
    """Cells of two seeds; `finals` are their "test/" metrics in the first seed, {}: not done."""
    fake_sweep.write_sweep(folder, {name: {} for name in finals})
    for name, final in finals.items():
        for seed, test in enumerate((final, dict.fromkeys(final, 9.0))):
            done = fake_sweep.done() if final else None
            run = folder / name / f"seed{seed}"
            fake_sweep.write_run(run, final=fake_sweep.prefixed("test", test), done=done)
    return read_results(folder)


def shown(figure):
    """title -> the numbers as they are printed, a list for each row."""
    panels = {}
    for panel in figure.axes:
        rows, columns = panel.images[0].get_array().shape[:2]
        numbers = np.full((rows, columns), "", object)
        for text in panel.texts:
            x, y = text.get_position()
            numbers[y, x] = text.get_text()
        panels[panel.get_title("left")] = numbers.tolist()
    return panels


def test_heads_of_every_cell_in_the_first_seed(tmp_path):
    two = {"aer": 0.2, "aer/head0": 0.25, "aer/head1": 0.5, "alignment_entropy": 1.0}
    two |= {"alignment_entropy/head0": 0.5, "alignment_entropy/head1": 1.5}
    two |= {"aer/headx": 0.1}  # of no head that we know
    twelve = {"aer": 0.5} | {f"aer/head{n}": n / 12 for n in reversed(range(12))}
    results = heads_sweep(tmp_path, one={"aer": 0.3}, two=two, twelve=twelve, live={})
    figure = alignment_heads(results)
    rest = [""] * 10
    assert shown(figure) == {
        "alignment entropy (nats)": [["0.50", "1.50", *rest, "1.00"], [""] * 13],
        "AER (%)": [
            ["25.0", "50.0", *rest, "20.0"],
            [f"{100 * n / 12:.1f}" for n in range(12)] + ["50.0"],
        ],
    }
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["two", "twelve"]
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels == [*map(str, range(12)), "mean"]


def test_darker_is_more_and_the_numbers_stay_readable(tmp_path):
    shares = {"alignment_coverage/head0": 0.4, "alignment_coverage/head1": 0.8}
    results = heads_sweep(tmp_path, two=shares | {"alignment_coverage": 0.6})
    (panel,) = alignment_heads(results).axes
    opacity = np.asarray(panel.images[0].get_array())[..., 3]
    np.testing.assert_allclose(opacity, [[0.26, 0.52, 0.39]])


@pytest.mark.parametrize("metric", ["aer", "loss/head0"])
def test_no_heads_no_picture(tmp_path, metric):
    assert alignment_heads(heads_sweep(tmp_path, one={metric: 0.3})) is None
