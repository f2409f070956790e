import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from seq2seq_jax.data import Data, Encoded
from seq2seq_jax.data.batching import Batches
from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation import memory
from seq2seq_jax.evaluation.assembly import evaluate as evaluate_split
from seq2seq_jax.evaluation.assembly import evaluation_shapes, shapes_of
from seq2seq_jax.evaluation.ensemble import Ensemble
from seq2seq_jax.evaluation.evaluator import Evaluator
from seq2seq_jax.evaluation.metrics import scores, total
from seq2seq_jax.evaluation.run import Translates
from seq2seq_jax.types import EOS, SPECIALS, UNK, InputError, Pair, Splits
from tests.small import SOURCE_SIZE, TARGET_SIZE, small_batch, small_config, small_model

DIAGNOSED = {
    *("alignment_entropy", "alignment_coverage", "alignment_monotonicity", "padding_weight"),
    *("aer", "gold_distance"),
}
# Four examples: with links, with no link, with links that are not known, with one link.
GOLD = (((0, 0), (3, 2)), (), None, ((1, 3),))


def small_data(gold):
    batch = small_batch(targets=(4, 2, 1, 5))
    sides = [[row[row > 0] for row in ids] for ids in (batch.source_BS, batch.target_BT)]
    vocabularies = [
        Vocabulary("space", False, "nfc", (*SPECIALS, *map(str, range(size - len(SPECIALS)))))
        for size in (SOURCE_SIZE, TARGET_SIZE)
    ]
    texts = [[" ".join(map(str, row[:-1])) for row in side] for side in sides]
    pairs = [Pair(*texts, links) for *texts, links in zip(*texts, gold, strict=True)]
    return Data(*vocabularies, Splits([], [], pairs), {"test": Encoded(*sides)})


def evaluation(batch_size, gold=GOLD, mode="forced", shapes=((8, 8),), **model):
    config = small_config(**model)
    config.evaluation.batch_size = batch_size
    graphdef, params = small_model(**model)
    evaluator = Evaluator(config, graphdef, small_data(gold), shapes)
    return evaluator(params, "test", [mode])


def evaluate(*args, **kwargs):
    return evaluation(*args, **kwargs).metrics


@pytest.fixture(scope="module")
def whole():
    return evaluation(batch_size=4)


@pytest.fixture
def metrics(whole):
    return whole.metrics


def test_forced_evaluation_tells_how_the_model_attends(metrics):
    assert set(metrics) == {"loss", "perplexity", "token_accuracy"} | DIAGNOSED
    assert metrics["padding_weight"] == 0.0
    assert 0 < metrics["alignment_entropy"] < np.log(5)
    assert all(0 < metrics[name] <= 1 for name in DIAGNOSED if name.endswith(("age", "ity")))
    assert 0 < metrics["gold_distance"] < 5


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_and_padding_change_nothing(whole, batch_size):
    """One a batch: the third has no known links. Three: two rows only fill up the second batch."""
    found = evaluation(batch_size, shapes=((6, 7),))
    assert found.metrics == pytest.approx(whole.metrics, rel=1e-5)
    for name, counts_NC in whole.statistics[""].items():
        np.testing.assert_allclose(found.statistics[""][name], counts_NC, rtol=1e-5)


def test_few_shapes_by_the_lengths_of_what_is_evaluated():
    """A long pair that only trains makes none, and where one is asked for it gets its own."""
    sizes = {"train": [20, 5, 5], "valid": [2, 3, 4, 5, 6, 7], "test": [9, 2, 3]}
    parts = {name: [np.full(n, EOS, np.int32) for n in own] for name, own in sizes.items()}
    encoded = {name: Encoded(part, part) for name, part in parts.items()}
    data = dataclasses.replace(small_data(GOLD), encoded=encoded)
    config = small_config()
    config.evaluation.batch_size = 1
    shapes = evaluation_shapes(config, data)
    assert len(shapes) == 3 and shapes[-1] == (9, 9)
    evaluator = Evaluator(config, small_model()[0], data, shapes)
    assert evaluator._shapes(np.array([[9, 9], [3, 3]])) == shapes
    assert evaluator._shapes(np.array([[20, 20], [3, 3]])) == (*shapes, (20, 20))


@pytest.mark.parametrize(
    ("shapes", "limit", "words"),
    [
        (
            shapes_of,
            4 * 8 * 20 * 30,
            "train, pair 2: 20 source tokens, train, pair 1: 30 target tokens; .* of 8 as",
        ),
        (
            evaluation_shapes,
            4 * 2 * 9 * 7,
            "test, pair 1: 9 source tokens, valid, pair 1: 7 target tokens; .* of 2 as",
        ),
    ],
)
def test_pairs_that_no_memory_holds_are_named(shapes, limit, words, monkeypatch):
    """A batch is as long as the longest of each side. Evaluation asks nothing of training's."""
    sizes = {"train": ([5, 20], [30, 4]), "valid": ([2, 3], [7, 3]), "test": ([9, 2], [2, 2])}
    encoded = {
        name: Encoded(*([np.full(n, EOS, np.int32) for n in side] for side in own))
        for name, own in sizes.items()
    }
    data = dataclasses.replace(small_data(GOLD), encoded=encoded)
    config = small_config()
    config.data.batch_size, config.evaluation.batch_size = 16, 2
    config.train.accumulation = 2
    monkeypatch.setattr(memory.processor, "memory", lambda: limit)
    shapes(config, data)
    monkeypatch.setattr(memory.processor, "memory", lambda: limit - 1)
    with pytest.raises(InputError, match=words):
        shapes(config, data)
    config.model.attention.score = "none"
    shapes(config, data)


def test_gold_alignments_are_of_a_whole_batch_however_it_is_accumulated(monkeypatch):
    encoded = {"train": Encoded(*[[np.full(10, EOS, np.int32)]] * 2)}
    data = dataclasses.replace(small_data(GOLD), encoded=encoded)
    config = small_config()
    config.data.batch_size, config.train.accumulation = 16, 4
    monkeypatch.setattr(memory.processor, "memory", lambda: 4 * 16 * 10 * 10 - 1)
    shapes_of(config, data)
    config.train.guided_alignment = 1.0
    with pytest.raises(InputError, match="a batch of 16 as long"):
        shapes_of(config, data)


def test_what_is_no_split_and_no_list_is_named():
    evaluator = Evaluator(small_config(), small_model()[0], small_data(GOLD), [(4, 4)])
    with pytest.raises(InputError, match=r"split='tst': .*; there are test"):
        evaluator({}, "tst", ["forced"])
    with pytest.raises(InputError, match=r"modes='greedy': .*\['greedy'\]"):
        evaluator({}, "test", "greedy")
    with pytest.raises(InputError, match=r"texts='je suis': .*\['je suis'\]"):
        object.__new__(Translates).translate("je suis")


def test_statistics_are_those_of_each_sentence(whole):
    """The targets have 4, 2, 1 and 5 tokens; the gold 2, no, unknown and 1 links."""
    statistics = whole.statistics[""]
    assert statistics["nats"][:, 1].tolist() == [4, 2, 1, 5]
    assert statistics["links"][:, 0].tolist() == [2, 0, 0, 1]
    assert (statistics["links"][2] == 0).all()
    assert scores(total(statistics)).items() <= whole.metrics.items()


def test_without_gold_links_there_is_nothing_to_compare_with():
    found = evaluate(batch_size=4, gold=(None,) * 4)
    assert DIAGNOSED - set(found) == {"aer", "gold_distance"}


@pytest.mark.parametrize(
    ("mode", "score"), [("forced", "none"), ("free", "general")], ids=["no attention", "free"]
)
def test_no_diagnostics(mode, score):
    assert not DIAGNOSED & set(evaluate(4, mode=mode, **{"attention.score": score}))


def test_several_heads_have_numbers_of_their_own():
    found = evaluate(4, **{"attention.heads": 2})
    for name in DIAGNOSED - {"aer"}:
        heads = [found[f"{name}/head{n}"] for n in (0, 1)]
        assert found[name] == pytest.approx(np.mean(heads), rel=1e-5)
    assert {"aer", "aer/head0", "aer/head1"} < set(found)
    assert found["alignment_entropy/head0"] != found["alignment_entropy/head1"]


def test_another_temperature_is_the_same_program():
    """Members of a population share an evaluator, and one set of parameters serves all here."""
    config = small_config()
    graphdef, params = small_model()
    evaluator = Evaluator(config, graphdef, small_data(GOLD), ((8, 8),))
    one, other = (evaluator.at(t)(params, "test", ["forced"]).metrics for t in (1.0, 0.25))
    assert evaluator._score._cache_size() == 1
    assert one == pytest.approx(evaluator(params, "test", ["forced"]).metrics)
    own = evaluate(batch_size=config.evaluation.batch_size, **{"attention.temperature": 0.25})
    assert other == pytest.approx(own, rel=1e-5)
    assert other["alignment_entropy"] < one["alignment_entropy"]


class Ignorant(Translator):
    """A translator that knows no word, and attends to the first one of the source."""

    def __init__(self):
        pass

    def search(self, params, sources, strategy):
        found = ["<unk>", "</s>"], [], np.eye(8)[[0, 7]], [UNK, EOS]
        return [[Translation("<unk>", -1.0, -1.0, *found)] for _ in sources]


@pytest.fixture
def replacing():
    """An evaluator whose config replaces unknown words."""
    config = small_config()
    config.evaluation.replace_unknown = True
    evaluator = Evaluator(config, small_model()[0], small_data(GOLD), ((8, 8),))
    evaluator.translator = Ignorant()
    return evaluator


def test_words_of_several_characters():
    """Their links by plain sums over the characters, a space being of the word before it."""
    config, (graphdef, params) = small_config(), small_model()
    data = small_data(GOLD)
    kinds = [dataclasses.replace(side, kind="character") for side in (data.source, data.target)]
    pair = Pair("ab c", "de", ((0, 0), (1, 0)))
    encoded = Encoded([np.array([4, 5, 6, 7, EOS])], [np.array([4, 5, EOS])])
    data = Data(*kinds, Splits([], [], [pair]), {"test": encoded})
    evaluator = Evaluator(config, graphdef, data, ((8, 8),))
    metrics = evaluator(params, "test", ["forced"]).metrics
    batch = Batches(encoded.source, encoded.target, ((8, 8),), 1)[0]
    _, alignment_BTNS = evaluator._score(params, batch, None, forced=True)
    weight_TS = np.asarray(alignment_BTNS, np.float64)[0, :2, 0]
    *first, second, end = weight_TS.mean(axis=0)[:5]
    first = sum(first)
    assert metrics["gold_distance"] == pytest.approx(
        ((second + 2 * end) + (first + end)) / 2, rel=1e-5
    )
    proposed = int(end < max(first, second))
    assert metrics["aer"] == pytest.approx(1 - 2 * proposed / (proposed + 2))


def test_gold_links_are_drawn_where_tokens_are_words(replacing, tmp_path):
    lines = []
    for kind in ("space", "word"):
        data = replacing.data
        replacing.data = dataclasses.replace(
            data, target=dataclasses.replace(data.target, kind=kind)
        )
        evaluate_split(tmp_path, replacing, (), 1, "test", ["greedy"])
        text = (tmp_path / "predictions" / "test.jsonl").read_text(encoding="utf-8")
        lines.append([json.loads(line)["gold"] for line in text.splitlines()])
    assert lines == [[[[0, 0], [3, 2]], [], None, [[1, 3]]], [None] * 4]


def test_a_test_replaces_unknown_words_and_a_validation_does_not(replacing, tmp_path):
    """Twins that test otherwise share a training, so that nothing of it may differ."""
    sources = [pair.source.split() for pair in replacing.data.pairs.test]
    found = replacing((), "test", ["greedy"]).translations["greedy"]
    assert [one.text for one in found] == ["<unk>"] * len(sources)
    evaluate_split(tmp_path, replacing, (), 1, "test", ["greedy"])
    lines = (tmp_path / "predictions" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["hypothesis"] for line in lines] == [
        words[0] if words else "<unk>" for words in sources
    ]


def test_an_ensemble_replaces_unknown_words(replacing, monkeypatch):
    run = SimpleNamespace(workdir=None, config=SimpleNamespace(evaluation=replacing.evaluation))
    ensemble = Ensemble.__new__(Ensemble)
    ensemble.runs, ensemble.config = [run], run.config
    ensemble._translator, ensemble._parts = replacing.translator, []
    monkeypatch.setattr(
        "seq2seq_jax.evaluation.ensemble.load_again", lambda config, folder: replacing.data
    )
    found, _ = ensemble._scored("test", ["greedy"])
    sources = [pair.source.split() for pair in replacing.data.pairs.test]
    assert [one.text for one in found.translations["greedy"]] == [
        words[0] if words else "<unk>" for words in sources
    ]
