"""What a config may hold: choices, ranges, and the rules between keys, each with reason and fix."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seq2seq_jax.config_rules import transformer_rules

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

# Metrics on valid that may choose the best checkpoint -> modes of which one has to be evaluated.
METRICS = {
    "valid/loss": ("forced",),
    "valid/perplexity": ("forced",),
    "valid/perplexity_free": ("free",),
    "valid/token_accuracy": ("forced",),
    "valid/exact_match": ("greedy",),
    "valid/bleu": ("greedy",),
    "valid/chrf": ("greedy",),
    "valid/aer": ("forced",),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "data.source.tokens": _TOKENS,
    "data.source.unicode": _UNICODE,
    "data.target.tokens": _TOKENS,
    "data.target.unicode": _UNICODE,
    "data.task.split": ("simple", "length", "addprim_jump", "addprim_turn_left"),
    "model.dtype": ("float32", "bfloat16"),
    "model.tied_embeddings": ("none", "output", "all"),
    "model.encoder.kind": KINDS,
    "model.encoder.cell": CELLS,
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
    "evaluation.modes": ("forced", "free", "greedy"),  # a tuple of them
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
    "model.attention.temperature": _ABOVE_0,
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
    "train.accumulation": _FROM_1,
    "train.ema_decay": _BELOW_1,
    "train.log_every": _FROM_1,
    "train.eval_every": _FROM_1,
    "train.patience": _FROM_0,
    "train.keep_checkpoints": _FROM_1,
    "teacher_forcing.ratio": _SHARE,
    "teacher_forcing.floor": _SHARE,
    "teacher_forcing.decay": _FROM_0,
    "teacher_forcing.temperature": _ABOVE_0,
    "teacher_forcing.top_k": _FROM_1,
    "teacher_forcing.passes": _FROM_0,
    "evaluation.batch_size": _FROM_1,
    "evaluation.max_examples": _FROM_0,
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
    return found or list(_rules(config))


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


def _rules(config: ConfigDict) -> Iterator[str]:
    """The rules between keys; each answer says what, why and the fix."""
    yield from _data_rules(config.data)
    yield from _model_rules(config)
    yield from _train_rules(config)
    yield from _forcing_rules(config.teacher_forcing, config.model.decoder)
    if config.evaluation.max_length_factor == config.evaluation.max_length_extra == 0:
        yield (
            "evaluation.max_length_factor and evaluation.max_length_extra are both 0, so that no"
            " token could be generated; set one of them"
        )


def _data_rules(data: ConfigDict) -> Iterator[str]:
    if data.name == "text" and not data.train:
        yield 'data.name = text needs data.train, as "train.de train.en" or "pairs.tsv"'
    if data.name == "text" and not data.valid and not data.valid_size:
        yield "data.name = text needs data.valid or data.valid_size (pairs held out of train)"
    low, high = data.task.min_length, data.task.max_length
    if low and high and low > high:
        yield f"data.task.min_length = {low} is above data.task.max_length = {high}"
    for name in ("source", "target"):
        side = data[name]
        if side.tokens in ("unigram", "bpe") and not side.max_vocabulary:
            yield (
                f"data.{name}.tokens = {side.tokens} needs data.{name}.max_vocabulary: the number"
                " of pieces, as 8000"
            )


def _model_rules(config: ConfigDict) -> Iterator[str]:
    model = config.model
    encoder, decoder, attention = model.encoder, model.decoder, model.attention
    both = encoder.kind == "recurrent" and encoder.bidirectional
    memory = encoder.width * (2 if both else 1)
    widths = (
        f"the memory is {memory} wide (model.encoder.width = {encoder.width}"
        f"{', twice for two directions' if both else ''}),"
        f" model.decoder.width is {decoder.width}; make them equal"
    )
    yield from attention_rules(attention, decoder.width, memory, widths)
    yield from transformer_rules(model)
    carries = decoder.kind == "recurrent"
    if (
        carries
        and attention.score == "none"
        and attention.fixed_context == "initial"
        and decoder.initial_state == "zero"
    ):
        yield (
            "model.attention.score = none with fixed_context = initial hands the source to the"
            " decoder through its initial state alone, which initial_state = zero leaves empty;"
            " take bridge or last, or fixed_context = every_input"
        )
    if carries and decoder.initial_state == "last" and encoder.kind == "recurrent":
        reason = "model.decoder.initial_state = last copies the encoder's last states"
        if encoder.cell != decoder.cell:
            yield f"{reason}: the cells differ ({encoder.cell}, {decoder.cell}); take bridge"
        if encoder.layers != decoder.layers:
            yield f"{reason}: layers differ ({encoder.layers}, {decoder.layers}); take bridge"
        if memory != decoder.width:
            yield f"{reason}: {widths}, or take bridge"
    if model.tied_embeddings != "none" and model.embedding != decoder.width:
        yield (
            f"model.tied_embeddings = {model.tied_embeddings} uses the embedding as the output"
            f" matrix: model.embedding = {model.embedding} has to equal model.decoder.width ="
            f" {decoder.width}"
        )
    if model.tied_embeddings == "all" and not config.data.joint_vocabulary:
        yield "model.tied_embeddings = all needs data.joint_vocabulary = True; or take output"


def attention_rules(
    attention: ConfigDict, query: int, memory: int, widths: str
) -> Iterator[str]:
    """Choices that do not go together; `widths` says where those of query and memory come from."""
    score, where = attention.score, "model.attention"
    direct = score in ("dot", "scaled_dot", "cosine", "linear") and not attention.match_parameters
    if direct and memory != query:
        yield (
            f"{where}.score = {score} multiplies the decoder's state with the memory directly:"
            f" {widths}, or take general"
        )
    if score == "none":
        for key, neutral in (("window", "global"), ("normalizer", "softmax"), ("heads", 1)):
            if attention[key] != neutral:
                yield (
                    f"{where}.{key} = {attention[key]} has no effect with {where}.score = none;"
                    f" take {neutral}, or a score"
                )
    if score == "none" and attention.match_parameters:
        yield (
            f"{where}.match_parameters has nothing to match with {where}.score = none; set it to"
            " False, or take a score"
        )
    if score in ("none", "location") and attention.memory_term != "none":
        yield (
            f"{where}.memory_term = {attention.memory_term} is added to the keys of a score, and"
            f" {score} has none; take memory_term = none, or another score"
        )
    if attention.window == "monotonic" and attention.normalizer != "softmax":
        yield (
            f"{where}.window = monotonic decides by a sigmoid of its own, so that normalizer ="
            f" {attention.normalizer} would never be used; take softmax, or window = chunkwise"
        )
    for width, name in ((query, "model.decoder.width"), (memory, "the memory's width")):
        if width % attention.heads:
            yield (
                f"{where}.heads = {attention.heads} does not divide {name}, {width}; take a divisor"
            )


def _train_rules(config: ConfigDict) -> Iterator[str]:
    train, modes = config.train, config.evaluation.modes
    if (train.steps > 0) == (train.epochs > 0):
        yield (
            f"train.steps = {train.steps} and train.epochs = {train.epochs}: exactly one has to be"
            " positive, the other 0"
        )
    if train.eval_every % train.log_every:
        yield (
            f"train.eval_every = {train.eval_every} is no multiple of train.log_every ="
            f" {train.log_every}: an evaluation would fall between two lines of the log"
        )
    if config.data.batch_size % train.accumulation:
        yield (
            f"data.batch_size = {config.data.batch_size} is no multiple of train.accumulation ="
            f" {train.accumulation}: the micro-batches would differ in size"
        )
    if train.schedule == "inverse_sqrt" and not train.warmup_steps:
        yield "train.schedule = inverse_sqrt falls from train.warmup_steps on; set it, as 400"
    if not set(METRICS[train.best_metric]) & set(modes):
        yield (
            f"train.best_metric = {train.best_metric} is measured in mode"
            f" {' or '.join(METRICS[train.best_metric])}; add it to evaluation.modes = {modes}"
        )
    if train.best_metric == "valid/aer" and config.model.attention.score == "none":
        yield "train.best_metric = valid/aer needs alignments, which score = none does not have"


def _forcing_rules(forcing: ConfigDict, decoder: ConfigDict) -> Iterator[str]:
    schedule, decay = forcing.schedule, forcing.decay
    if schedule != "constant" and forcing.floor > forcing.ratio:
        yield (
            f"teacher_forcing.floor = {forcing.floor} is above teacher_forcing.ratio ="
            f" {forcing.ratio}, where the schedule starts"
        )
    if schedule == "exponential" and not 0 < decay < 1:
        yield f"teacher_forcing.decay = {decay}: exponential (k**i) needs 0 < k < 1, as 0.999"
    if schedule == "inverse_sigmoid" and decay < 1:
        yield f"teacher_forcing.decay = {decay}: inverse_sigmoid, k/(k + exp(i/k)), needs k >= 1"
    if forcing.feed == "uniform" and forcing.gradient == "through":
        yield (
            "teacher_forcing.gradient = through has nothing to flow through with"
            " teacher_forcing.feed = uniform, which asks no prediction; take none"
        )
    if forcing.passes and decoder.kind != "transformer":
        yield (
            f"teacher_forcing.passes = {forcing.passes} is for model.decoder.kind = transformer,"
            " which goes over a whole target at once; a recurrent decoder takes its steps one by"
            " one in each pass, and passes = 0 is exact in a single one"
        )


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
