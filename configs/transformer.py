"""Recurrent or Transformer: which side matters, and what do norm, positions and MLP change?

Every encoder with every decoder; then, for Transformers on both sides, post-norm, learned and
rotary positions, a gated MLP, and additive cross-attention; on the generated French
(`transformer.py`) or on CMUdict g2p (`transformer.py:g2p`).

Command: ./launch.sh sweep --config=configs/transformer.py --workdir=runs/transformer
    or, with --config=configs/transformer.py:g2p, --config.data.dir=FOLDER
Cost: 9 runs
Expected: see experiments/transformer/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import chain, product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.model.embedding = 128
    config.model.encoder.bidirectional = False  # so that M = 128 for both kinds of encoder
    config.model.encoder.width = 128
    config.model.encoder.layers = 2
    config.model.decoder.layers = 2
    config.model.attention.score = "scaled_dot"
    config.model.attention.heads = 4
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 200
    config.sweep.baseline = "encoder.kind=transformer,decoder.kind=transformer"
    return config


def sweep():
    encoder, decoder = "model.encoder.kind", "model.decoder.kind"
    kinds = ["recurrent", "transformer"]
    both = {encoder: ["transformer"], decoder: ["transformer"]}
    part = "model.transformer"
    return chain(
        product({encoder: kinds, decoder: kinds}),
        product(both, {f"{part}.norm": ["post"]}),
        product(both, {f"{part}.positions": ["learned", "rotary"]}),
        product(both, {f"{part}.activation": ["gated"]}),
        product(both, {"model.attention.score": ["concat"]}),
    )
