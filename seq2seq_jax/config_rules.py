"""Rules between the keys of a Transformer, each with reason and fix."""

from collections.abc import Iterator

from ml_collections import ConfigDict


def transformer_rules(model: ConfigDict) -> Iterator[str]:
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
