"""What each key of a config may hold: types, choices and ranges, each with reason and fix."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seq2seq_jax.config_rules import METRICS, rules

# Plain names, so that checking a config imports no JAX; tests/test_configs.py compares them with
# the registries of the code.
TASKS = ("french", "scan", "copy", "reverse", "sort", "addition")
DATA = (*TASKS, "text", "tfds:NAME")
SCORES = (
    "none",
    "dot",
    "scaled_dot",
    "cosine",
    "general",
    "biaffine",
    "linear",
    "concat",
    "normed_concat",
    "location",
)
NORMALIZERS = ("softmax", "sparsemax", "entmax15", "entmax", "sigmoid", "hard", "gumbel")
WINDOWS = ("global", "local_m", "local_p", "monotonic", "chunkwise")
MEMORY_TERMS = ("none", "location", "coverage")
CELLS = ("elman", "gru", "lstm")
FEEDS = ("argmax", "sample", "gumbel", "top_k_mixture", "softmax_mixture", "uniform")
KINDS = ("recurrent", "transformer")
POSITIONS = ("sinusoidal", "learned", "rotary")

_TOKENS = ("space", "word", "character", "unigram", "bpe")
_UNICODE = ("none", "nfc", "nfkc")

CHOICES: dict[str, tuple[str, ...]] = {
    "data.source.tokens": _TOKENS,
    "data.source.unicode": _UNICODE,
    "data.target.tokens": _TOKENS,
    "data.target.unicode": _UNICODE,
    "data.order": ("seed", "shared"),
    "data.task.split": ("simple", "length", "addprim_jump", "addprim_turn_left"),
    "model.dtype": ("float32", "bfloat16"),
    "model.tied_embeddings": ("none", "output", "all"),
    "model.encoder.kind": KINDS,
    "model.encoder.cell": CELLS,
    "model.encoder.kernel": ("scan", "cudnn"),
    "model.decoder.kind": KINDS,
    "model.decoder.cell": CELLS,
    "model.decoder.initial_state": ("zero", "last", "bridge"),
    "model.decoder.order": ("luong", "bahdanau", "gnmt"),
    "model.decoder.context_gate": ("none", "source", "target", "both"),
    "model.attention.score": SCORES,
    "model.attention.fixed_context": ("initial", "every_input"),
    "model.attention.normalizer": NORMALIZERS,
    "model.attention.window": WINDOWS,
    "model.attention.memory_term": MEMORY_TERMS,
    "model.attention.scale": ("fixed", "learned"),
    "model.transformer.norm": ("pre", "post"),
    "model.transformer.positions": POSITIONS,
    "model.transformer.activation": ("relu", "gated"),
    "train.optimizer": ("adam", "sgd", "adadelta"),
    "train.schedule": ("constant", "linear", "cosine", "inverse_sqrt", "halving", "plateau"),
    "train.best_metric": tuple(METRICS),
    "teacher_forcing.schedule": ("constant", "linear", "exponential", "inverse_sigmoid"),
    "teacher_forcing.granularity": ("token", "step", "sequence", "batch"),
    "teacher_forcing.feed": FEEDS,
    "teacher_forcing.gradient": ("none", "through"),
    "evaluation.modes": ("forced", "free", "greedy", "beam"),  # a tuple of them
    "evaluation.length_penalty": ("none", "average", "power", "gnmt"),
}


class Range(NamedTuple):
    """Numbers from `low` to `high`; an open end is left out itself."""

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'above' if self.low_open else 'at least'} {self.low:g}"
        high = f"{'below' if self.high_open else 'at most'} {self.high:g}"
        parts = [low] * (self.low > -math.inf) + [high] * (self.high < math.inf)
        return " and ".join(parts) or "finite"


COLDEST = 1e-6  # temperature; what is divided by less may overflow
_FROM_0, _FROM_1, _ABOVE_0 = Range(0), Range(1), Range(0, low_open=True)
_SHARE, _BELOW_1, _SEED = Range(0, 1), Range(0, 1, high_open=True), Range(0, 2**31 - 1)

RANGES: dict[str, Range] = {
    "seed": _SEED,
    "data.seed": _SEED,
    "data.train_size": _FROM_0,
    "data.valid_size": _FROM_0,
    "data.test_size": _FROM_0,
    "data.task.min_length": _FROM_0,
    "data.task.max_length": _FROM_0,
    "data.task.symbols": _FROM_0,
    "data.source.min_frequency": _FROM_1,
    "data.source.max_vocabulary": _FROM_0,
    "data.source.max_length": _FROM_0,
    "data.target.min_frequency": _FROM_1,
    "data.target.max_vocabulary": _FROM_0,
    "data.target.max_length": _FROM_0,
    "data.batch_size": _FROM_1,
    "data.buckets": _FROM_1,
    "data.workers": _FROM_0,
    "data.prefetch": _FROM_1,
    "model.embedding": _FROM_1,
    "model.dropout.input": _BELOW_1,
    "model.dropout.output": _BELOW_1,
    "model.encoder.width": _FROM_1,
    "model.encoder.layers": _FROM_1,
    "model.decoder.width": _FROM_1,
    "model.decoder.layers": _FROM_1,
    "model.attention.width": _FROM_1,
    "model.attention.heads": _FROM_1,
    "model.attention.temperature": Range(COLDEST),
    "model.attention.max_positions": _FROM_1,
    "model.attention.window_width": _FROM_1,
    "model.attention.chunk_width": _FROM_1,
    "model.attention.monotonic_offset": Range(-math.inf),
    "model.attention.location_filters": _FROM_1,
    "model.attention.location_width": _FROM_1,
    "model.transformer.heads": _FROM_1,
    "model.transformer.mlp_width": _FROM_1,
    "model.transformer.max_positions": _FROM_1,
    "model.forget_bias": Range(-math.inf),
    "train.steps": _FROM_0,
    "train.epochs": _FROM_0,
    "train.learning_rate": _ABOVE_0,
    "train.warmup_steps": _FROM_0,
    "train.halving_start": _SHARE,
    "train.halving_every": Range(0, 1, low_open=True),
    "train.plateau_patience": _FROM_1,
    "train.plateau_factor": Range(0, 1, low_open=True, high_open=True),
    "train.adam_b1": _BELOW_1,
    "train.adam_b2": _BELOW_1,
    "train.momentum": _BELOW_1,
    "train.weight_decay": _FROM_0,
    "train.clip_norm": _FROM_0,
    "train.label_smoothing": _BELOW_1,
    "train.coverage_loss": _FROM_0,
    "train.guided_alignment": _FROM_0,
    "train.accumulation": _FROM_1,
    "train.ema_decay": _BELOW_1,
    "train.log_every": _FROM_1,
    "train.eval_every": _FROM_1,
    "train.patience": _FROM_0,
    "train.keep_checkpoints": _FROM_1,
    "teacher_forcing.ratio": _SHARE,
    "teacher_forcing.floor": _SHARE,
    "teacher_forcing.decay": _FROM_0,
    "teacher_forcing.temperature": Range(COLDEST),
    "teacher_forcing.top_k": _FROM_1,
    "teacher_forcing.passes": _FROM_0,
    "evaluation.batch_size": _FROM_1,
    "evaluation.max_examples": _FROM_0,
    "evaluation.beam": _FROM_1,
    "evaluation.length_alpha": Range(-10, 10),  # a power of thousands of tokens is a float32
    "evaluation.coverage_penalty": _FROM_0,
    "evaluation.min_length": _FROM_0,
    "evaluation.block_ngrams": _FROM_0,
    "evaluation.max_length_factor": _FROM_0,
    "evaluation.max_length_extra": _FROM_0,
    "sweep.seeds": _FROM_1,
}


def problems(config: ConfigDict, given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """All that is wrong; the rules between keys are asked only where each value is sound.

    Args:
      config: the config.
      given: its leaves, dotted key -> value.
      known: the leaves of the defaults.
    """
    found = [unknown(key, known) for key in given if key not in known]
    found += [f"{key}: missing; start from configs/default.py" for key in known if key not in given]
    for key, value in given.items():
        if key in known and (problem := _value_problem(key, value, known[key])):
            found.append(problem)
    return found or list(rules(config))


def _value_problem(key: str, value: Any, default: Any) -> str:
    """What is wrong with one value, or an empty string."""
    if value is None:
        return f"{key} = None: every key has a value; the default is {default!r}"
    if type(value) is not type(default):
        expected, got = type(default).__name__, type(value).__name__
        return f"{key} = {value!r}: expected {expected}, not {got}"
    if key in RANGES and value not in RANGES[key]:
        return f"{key} = {value!r}: has to be {RANGES[key]}"
    if key == "data.name" and value not in DATA and not (value[:5] == "tfds:" and value[5:]):
        return f"{key} = {value!r}: not one of {', '.join(DATA)}{nearest(value, DATA)}"
    for name in value if isinstance(value, tuple) else (value,):
        if key in CHOICES and name not in CHOICES[key]:
            names = CHOICES[key]
            return f"{key} = {name!r}: not one of {', '.join(names)}{nearest(str(name), names)}"
    return ""


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say of a key that does not exist."""
    return f"{key}: no such key{nearest(key, known)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The words "; did you mean X?", looking at whole dotted names first, then at their last part;
    nothing where none is near."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    if not close:
        ends = {full.rsplit(".", 1)[-1]: full for full in names}
        close = [ends[e] for e in difflib.get_close_matches(name.rsplit(".", 1)[-1], ends, n=1)]
    return f"; did you mean {close[0]}?" if close else ""
