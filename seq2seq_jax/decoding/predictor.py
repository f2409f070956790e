"""One model, or several, as a search sees them: tokens so far in, p(next token) out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from seq2seq_jax.decoding.shrinking import axes_of_rows
from seq2seq_jax.models.seq2seq import Seq2Seq
from seq2seq_jax.types import BOS, PAD, UNK


class Prediction(NamedTuple):
    """What follows a token. `logit_BV` is log p(next token) up to a constant in each row;
    `alignment_BS` is the mean over heads, and over those models that attend."""

    states: Any
    logit_BV: Float[Array, "B V"]
    alignment_BS: Float[Array, "B S"]


class Predictor:
    """p(y_t | y_<t, x), of an ensemble the mean of its models' (Sutskever et al. 2014, table 1).

    `states` and `sources` have one entry a model. `never_V` is -inf for PAD and BOS, which no
    search may choose, and for UNK where not `unknown`; it is 0 for all others.
    """

    def __init__(self, models: Sequence[Seq2Seq], unknown: bool = True):
        self.models = models
        size = models[0].decoder.output_bias.shape[0]
        never = [PAD, BOS] if unknown else [PAD, BOS, UNK]
        self.never_V = jnp.zeros(size).at[jnp.array(never)].set(-jnp.inf)

    def start(
        self,
        source_BS: Int[Array, "B S"],
        temperature: Float[Array, ""] | None,
        positions: int,
    ) -> tuple[tuple, tuple]:
        """(states before the first token, sources). `positions`: room for so many tokens;
        `temperature` is the attention's, each model's own if None."""
        started = [
            model.decoder.start(model.encoder(source_BS), temperature, positions=positions)
            for model in self.models
        ]
        states, sources = zip(*started, strict=True)
        return states, sources

    def axes_of_sources(self, source_BS: Int[Array, "B S"]) -> tuple:
        """The axes of the rows in `sources`, for `until_done`."""
        return axes_of_rows(lambda source_BS: self.start(source_BS, None, 1)[1], source_BS)

    def __call__(self, states: tuple, token_B: Int[Array, " B"], sources: tuple) -> Prediction:
        parts = [
            self._one(model, state, token_B, source)
            for model, state, source in zip(self.models, states, sources, strict=True)
        ]
        after, logits, alignments = zip(*parts, strict=True)
        if len(parts) == 1:
            logit_BV = logits[0]  # no normaliser: who needs one sums over the words anyway
        else:
            logit_BV = jax.nn.logsumexp(jnp.stack([*map(jax.nn.log_softmax, logits)]), axis=0)
        attending = [
            alignment_BS
            for alignment_BS, model in zip(alignments, self.models, strict=True)
            if model.decoder.attends
        ]
        alignments = attending or alignments  # zeros where nobody attends
        return Prediction(after, logit_BV, sum(alignments) / len(alignments))

    @staticmethod
    def _one(model: Seq2Seq, state, token_B, source):
        decoder = model.decoder
        state, readout_BH = decoder.step(state, decoder.embedding(token_B), source)
        return state, decoder.logits(readout_BH), state.attention.alignment_BNS.mean(axis=1)
