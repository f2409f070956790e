"""The rules between the keys of a config, each with reason and fix."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from seq2seq_jax.types import SPECIALS

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


def rules(config: ConfigDict) -> Iterator[str]:
    """The rules between keys; each answer says what, why and the fix."""
    yield from _data_rules(config.data)
    yield from _model_rules(config)
    yield from _train_rules(config)
    yield from _forcing_rules(config.teacher_forcing, config.model.decoder)
    yield from _search_rules(config.evaluation, config.model.attention.score != "none")


def _data_rules(data: ConfigDict) -> Iterator[str]:
    if data.name == "text" and not data.train:
        yield 'data.name = text needs data.train, as "train.de train.en" or "pairs.tsv"'
    if data.name == "text" and not data.valid and not data.valid_size:
        yield "data.name = text needs data.valid or data.valid_size (pairs held out of train)"
    for split in ("train", "valid", "test"):
        if data.name != "text" and data[split]:
            yield (
                f"data.{split} names files, which data.name = {data.name} does not read; set"
                " data.name = text"
            )
    low, high = data.task.min_length, data.task.max_length
    if low and high and low > high:
        yield f"data.task.min_length = {low} is above data.task.max_length = {high}"
    for name in ("source",) if data.joint_vocabulary else ("source", "target"):
        side = data[name]
        if side.tokens in ("unigram", "bpe") and side.max_vocabulary <= len(SPECIALS):
            yield (
                f"data.{name}.tokens = {side.tokens} needs data.{name}.max_vocabulary: the number"
                f" of pieces, as 8000; {len(SPECIALS)} of them are special"
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
    yield from _transformer_rules(model)
    yield from _cudnn_rules(model)
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
    if (
        attention.score == "none"
        and attention.fixed_context == "initial"
        and decoder.context_gate != "none"
    ):
        yield (
            f"model.decoder.context_gate = {decoder.context_gate} weighs a context, and"
            " model.attention.score = none with fixed_context = initial has none; take none, or"
            " fixed_context = every_input"
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


def attention_rules(attention: ConfigDict, query: int, memory: int, widths: str) -> Iterator[str]:
    """Choices that do not go together; `widths` says where those of query and memory come from."""
    score, where = attention.score, "model.attention"
    direct = score in ("dot", "scaled_dot", "cosine", "linear") and not attention.match_parameters
    if direct and memory != query:
        yield (
            f"{where}.score = {score} multiplies the decoder's state with the memory directly:"
            f" {widths}, or take general"
        )
    if score == "none":
        unread = {"window": "global", "normalizer": "softmax", "heads": 1, "temperature": 1.0}
        for key, neutral in unread.items():
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
    if score == "location" and attention.match_parameters and attention.heads > 1:
        yield (
            f"{where}.score = location looks at no memory, so that with several heads it lacks the"
            " projection that match_parameters would have to make up for; take heads = 1"
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
    if attention.window == "monotonic" and attention.temperature != 1:
        yield (
            f"{where}.temperature = {attention.temperature} divides the scores in front of the"
            " normaliser, which window = monotonic does not use; take 1.0, or window = chunkwise"
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
            " positive, the other 0, as with --config.train.epochs=0"
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
    for name in ("coverage_loss", "guided_alignment"):
        if train[name] and config.model.attention.score == "none":
            yield (
                f"train.{name} has no alignment to judge with model.attention.score = none; set it"
                " to 0, or take a score"
            )
    if train.best_metric == "valid/aer" and config.model.attention.score == "none":
        yield "train.best_metric = valid/aer needs alignments, which score = none does not have"


def _search_rules(evaluation: ConfigDict, attends: bool) -> Iterator[str]:
    if evaluation.max_length_factor == evaluation.max_length_extra == 0:
        yield (
            "evaluation.max_length_factor and evaluation.max_length_extra are both 0, so that no"
            " token could be generated; set one of them"
        )
    penalty, alpha = evaluation.length_penalty, evaluation.length_alpha
    if alpha != 1 and penalty in ("none", "average"):
        yield (
            f"evaluation.length_alpha = {alpha} has no effect with evaluation.length_penalty ="
            f" {penalty}; take power or gnmt"
        )
    for name in ("replace_unknown", "coverage_penalty"):
        if evaluation[name] and not attends:
            yield f"evaluation.{name} needs alignments, which score = none does not have"


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


def _cudnn_rules(model: ConfigDict) -> Iterator[str]:
    if model.encoder.kernel != "cudnn":
        return
    for key, value, needed in (
        ("model.encoder.kind", model.encoder.kind, "recurrent"),
        ("model.encoder.cell", model.encoder.cell, "lstm"),
        ("model.dtype", model.dtype, "float32"),
    ):
        if value != needed:
            yield (
                f"model.encoder.kernel = cudnn is made for {key} = {needed}, and it is {value};"
                f" take {needed}, or model.encoder.kernel = scan"
            )


def _transformer_rules(model: ConfigDict) -> Iterator[str]:
    """What a Transformer cannot do, or has no meaning for."""
    encoder, decoder, attention = model.encoder, model.decoder, model.attention
    for name, side in (("encoder", encoder), ("decoder", decoder)):
        if side.kind == "transformer":
            heads, where = model.transformer.heads, f"model.{name}.width = {side.width}"
            if side.width % heads:
                yield f"model.transformer.heads = {heads} does not divide {where}; take a divisor"
            elif model.transformer.positions == "rotary" and side.width // heads % 2:
                yield (
                    f"model.transformer.positions = rotary turns pairs: {where} over"
                    f" model.transformer.heads = {heads} is odd; take an even width for each head"
                )
    if encoder.kind == "transformer":
        if encoder.reverse_source:
            yield (
                "model.encoder.reverse_source has no meaning for a Transformer, which reads all"
                " words at once; take False"
            )
        if decoder.kind == "recurrent" and decoder.initial_state == "last":
            yield (
                "model.decoder.initial_state = last copies the encoder's last states, and a"
                " Transformer encoder has none; take bridge, or zero"
            )
    if decoder.kind == "transformer":
        for key, neutral in (
            ("order", "luong"),
            ("context_gate", "none"),
            ("input_feeding", False),
        ):
            if decoder[key] != neutral:
                yield (
                    f"model.decoder.{key} = {decoder[key]} is about a recurrent update and readout,"
                    f" which a Transformer decoder does not have; take {neutral}"
                )
        before = "looks at the step before, and a Transformer decoder makes all steps at once"
        if attention.memory_term != "none":
            yield f"model.attention.memory_term = {attention.memory_term} {before}; take none"
        if attention.window in ("monotonic", "chunkwise"):
            yield f"model.attention.window = {attention.window} {before}; take global, or local_p"
        if attention.score == "none" and attention.fixed_context == "initial":
            yield (
                "model.attention.score = none with fixed_context = initial hands the source over in"
                " the initial state, which a Transformer decoder does not have; take every_input"
            )
