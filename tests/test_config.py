import subprocess
import sys

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax import config_checks as checks
from seq2seq_jax.types import InputError

DEFAULT = "configs/default.py"


def problems(overrides):
    with pytest.raises(InputError) as caught:
        configs.load(DEFAULT, overrides)
    return str(caught.value)


def test_default_is_valid_and_locked():
    config = configs.load(DEFAULT)
    with pytest.raises(AttributeError):
        config.model.new_key = 1
    with pytest.raises(AttributeError):
        configs.defaults().new_key = 1


def test_overrides_keep_their_types():
    config = configs.load(
        DEFAULT, {"model.attention.score": "concat", "train.epochs": 3, "seed": 4}
    )
    assert config.model.attention.score == "concat"
    assert type(config.train.epochs) is float
    assert config.seed == 4


def test_all_problems_at_once():
    text = problems(
        {
            "model.atention.score": "dot",
            "seed": "a",
            "model.attention.score": "genral",
            "train.learning_rate": -1.0,
        }
    )
    assert "4 problems" in text
    assert "model.atention.score: no such key; did you mean model.attention.score?" in text
    assert "seed = 'a': expected int, not str" in text
    assert "model.attention.score = 'genral': not one of none, dot" in text
    assert "did you mean general?" in text
    assert "train.learning_rate = -1.0: has to be above 0" in text


def test_short_name_finds_its_section():
    assert "learning_rate: no such key; did you mean train.learning_rate?" in problems(
        {"learning_rate": 1.0}
    )


# What is assigned -> words of reason and fix.
BAD_VALUES = [
    ({"train.best_metric": None}, "train.best_metric = None: every key has a value"),
    ({"data.seed": True}, "data.seed = True: expected int, not bool"),
    ({"data.seed": -1}, "at least 0"),
    ({"model.dropout.input": 1.0}, "at least 0 and below 1"),
    ({"train.halving_every": 0.0}, "above 0 and at most 1"),
    ({"train.learning_rate": float("nan")}, "has to be above 0"),
    ({"model.forget_bias": float("inf")}, "has to be finite"),
    ({"data.name": "tfds:"}, "not one of french, scan"),
    ({"data.name": "frensh"}, "did you mean french?"),
    ({"evaluation.modes": ("forced", "gredy")}, "'gredy': not one of forced, free, greedy"),
    ({"train.best_metric": "valid/belu"}, "did you mean valid/bleu?"),
    ({"train.best_metric": "bleu"}, "not one of valid/loss"),
]

BAD_COMBINATIONS = [
    ({"train.steps": 5}, "exactly one has to be positive"),
    ({"train.epochs": 0.0}, "exactly one has to be positive"),
    ({"train.eval_every": 75}, "no multiple of train.log_every = 50"),
    ({"data.train": "a.tsv"}, "data.name = french does not read; set data.name = text"),
    (
        {"data.source.tokens": "bpe", "data.source.max_vocabulary": 4},
        "the number of pieces, as 8000; 4 of them are special",
    ),
    ({"train.accumulation": 3}, "no multiple of train.accumulation = 3"),
    ({"train.schedule": "inverse_sqrt"}, "train.warmup_steps"),
    ({"evaluation.modes": ("greedy",)}, "add it to evaluation.modes"),
    ({"train.best_metric": "valid/perplexity_free"}, "mode free; add it to evaluation.modes"),
    (
        {"train.best_metric": "valid/bleu", "evaluation.modes": ("forced",)},
        "mode greedy; add it to evaluation.modes",
    ),
    ({"train.best_metric": "valid/aer", "model.attention.score": "none"}, "needs alignments"),
    ({"model.attention.score": "dot"}, "the memory is 256 wide"),
    (
        {"model.attention.score": "scaled_dot", "model.encoder.bidirectional": False}
        | {"model.decoder.width": 64},
        "the memory is 128 wide",
    ),
    (
        {"model.attention.score": "none", "model.decoder.initial_state": "zero"},
        "take bridge or last, or fixed_context = every_input",
    ),
    ({"model.decoder.initial_state": "last"}, "make them equal, or take bridge"),
    (
        {"model.decoder.initial_state": "last", "model.decoder.cell": "lstm"},
        "the cells differ (gru, lstm)",
    ),
    (
        {"model.decoder.initial_state": "last", "model.decoder.layers": 2},
        "layers differ (1, 2)",
    ),
    *(
        ({"model.attention.score": score}, "multiplies the decoder's state with the memory")
        for score in ("cosine", "linear")
    ),
    *(
        ({"model.attention.score": "none", f"model.attention.{key}": value}, f"take {neutral}")
        for key, value, neutral in (
            ("window", "local_m", "global"),
            ("normalizer", "hard", "softmax"),
            ("heads", 2, 1),
            ("temperature", 0.5, 1.0),
        )
    ),
    (
        {"model.attention.score": "none", "model.attention.match_parameters": True},
        "has nothing to match",
    ),
    *(
        (
            {"model.attention.score": score, "model.attention.memory_term": "coverage"},
            f"added to the keys of a score, and {score} has none",
        )
        for score in ("none", "location")
    ),
    (
        {"model.attention.window": "monotonic", "model.attention.normalizer": "sparsemax"},
        "normalizer = sparsemax would never be used",
    ),
    (
        {"model.attention.score": "location", "model.attention.match_parameters": True}
        | {"model.attention.heads": 4},
        "lacks the projection that match_parameters",
    ),
    (
        {"model.attention.window": "monotonic", "model.attention.temperature": 0.5},
        "which window = monotonic does not use",
    ),
    (
        {"model.attention.score": "none", "model.decoder.context_gate": "both"},
        "weighs a context",
    ),
    *(
        ({"model.encoder.cell": "lstm", "model.encoder.kernel": "cudnn"} | changes, words)
        for changes, words in (
            ({"model.encoder.cell": "gru"}, "is made for model.encoder.cell = lstm"),
            ({"model.encoder.kind": "transformer"}, "is made for model.encoder.kind = recurrent"),
            ({"model.dtype": "bfloat16"}, "is made for model.dtype = float32, and it is bfloat16"),
        )
    ),
    ({"model.attention.heads": 3}, "does not divide model.decoder.width, 128"),
    (
        {"model.attention.heads": 4, "model.encoder.width": 65},
        "does not divide the memory's width, 130",
    ),
    (
        {"train.coverage_loss": 1.0, "model.attention.score": "none"},
        "train.coverage_loss has no alignment to judge",
    ),
    (
        {"train.guided_alignment": 1.0, "model.attention.score": "none"},
        "train.guided_alignment has no alignment to judge",
    ),
    ({"model.tied_embeddings": "output"}, "model.embedding = 64 has to equal"),
    (
        {"model.tied_embeddings": "all", "model.embedding": 128},
        "needs data.joint_vocabulary = True",
    ),
    (
        {"teacher_forcing.schedule": "linear", "teacher_forcing.ratio": 0.2}
        | {"teacher_forcing.floor": 0.5},
        "teacher_forcing.floor = 0.5 is above",
    ),
    ({"teacher_forcing.schedule": "exponential"}, "needs 0 < k < 1"),
    (
        {"teacher_forcing.schedule": "inverse_sigmoid", "teacher_forcing.decay": 0.5},
        "needs k >= 1",
    ),
    (
        {"evaluation.max_length_factor": 0.0, "evaluation.max_length_extra": 0},
        "no token could be generated",
    ),
    (
        {"evaluation.replace_unknown": True, "model.attention.score": "none"},
        "evaluation.replace_unknown needs alignments",
    ),
    (
        {"evaluation.coverage_penalty": 0.2, "model.attention.score": "none"},
        "evaluation.coverage_penalty needs alignments",
    ),
    (
        {"evaluation.length_alpha": 0.6, "evaluation.length_penalty": "average"},
        "evaluation.length_alpha = 0.6 has no effect with evaluation.length_penalty = average",
    ),
    ({"data.name": "text"}, "needs data.train"),
    ({"data.name": "text", "data.train": "a.tsv"}, "needs data.valid or data.valid_size"),
    ({"data.task.min_length": 9, "data.task.max_length": 3}, "data.task.min_length = 9 is above"),
    ({"data.target.tokens": "bpe"}, "data.target.tokens = bpe needs data.target.max_vocabulary"),
]


@pytest.mark.parametrize(("overrides", "words"), [*BAD_VALUES, *BAD_COMBINATIONS])
def test_bad_config_says_why(overrides, words):
    assert words in problems(overrides)


# The nearest good neighbours of the combinations above.
GOOD = [
    {"train.steps": 5, "train.epochs": 0.0},
    {"model.attention.score": "dot", "model.encoder.width": 64},
    {"model.attention.score": "scaled_dot", "model.encoder.bidirectional": False},
    {"model.attention.score": "none", "model.decoder.initial_state": "zero"}
    | {"model.attention.fixed_context": "every_input"},
    {"model.attention.score": "none", "model.decoder.order": "bahdanau"},
    {"model.attention.score": "dot", "model.attention.match_parameters": True},
    {"model.attention.window": "chunkwise", "model.attention.normalizer": "sparsemax"},
    {"model.decoder.initial_state": "last", "model.encoder.width": 64},
    {"model.tied_embeddings": "all", "model.embedding": 128, "data.joint_vocabulary": True},
    {"data.joint_vocabulary": True, "data.target.tokens": "bpe"},  # the source's options count
    {"model.encoder.kernel": "cudnn", "model.encoder.cell": "lstm"},
    {"model.decoder.kind": "transformer", "model.encoder.cell": "lstm"}
    | {"model.encoder.kernel": "cudnn"},
    {"teacher_forcing.ratio": 0.2, "teacher_forcing.floor": 0.5},  # constant: no floor is read
    {"teacher_forcing.schedule": "exponential", "teacher_forcing.decay": 0.99},
    {"evaluation.length_alpha": 0.6, "evaluation.length_penalty": "power"},
    {"data.name": "tfds:multi30k/de_en"},
    {"data.name": "text", "data.train": "a.tsv", "data.valid": "b.tsv"},
]


@pytest.mark.parametrize("overrides", GOOD)
def test_good_config_passes(overrides):
    configs.load(DEFAULT, overrides)


def test_every_number_has_a_range_and_every_table_names_keys():
    known = configs.flatten(configs.defaults())
    numbers = {key for key, value in known.items() if type(value) in (int, float)}
    assert set(checks.RANGES) == numbers
    free_text = {"data.name", "data.dir", "data.train", "data.valid", "data.test"}
    free_text |= {"sweep.cell", "sweep.baseline"}
    strings = {key for key, value in known.items() if isinstance(value, str)}
    assert set(checks.CHOICES) == strings - free_text | {"evaluation.modes"}


def test_differences_leave_out_the_sweep():
    old = configs.load(DEFAULT)
    new = configs.load(DEFAULT, {"seed": 1, "sweep.seeds": 9, "train.epochs": 2.0})
    assert configs.differences(old, old) == []
    assert configs.differences(old, new) == [
        "seed was 0 and is now 1",
        "train.epochs was 10.0 and is now 2.0",
    ]


def test_no_jax_is_imported():
    code = "import sys, seq2seq_jax.config, seq2seq_jax.sweeps.grid; print('jax' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
