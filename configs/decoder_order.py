"""When should a decoder attend, and what should it do with the context?

The orders of Luong, Bahdanau and GNMT with two layers, each with and without input feeding, and
the context gates, on the generated French (`decoder_order.py`) or on CMUdict g2p
(`decoder_order.py:g2p`).

Command: ./launch.sh sweep --config=configs/decoder_order.py --workdir=runs/decoder_order
    or, with --config=configs/decoder_order.py:g2p, --config.data.dir=FOLDER
Cost: 9 runs
Expected: see experiments/decoder_order/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import chain, product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.model.decoder.layers = 2
    config.sweep.baseline = "order=luong,input_feeding=False"
    return config


def sweep():
    order, feeding, gate = (
        f"model.decoder.{key}" for key in ("order", "input_feeding", "context_gate")
    )
    return chain(
        product({order: ["luong", "bahdanau", "gnmt"]}, {feeding: [False, True]}),
        product({gate: ["source", "target", "both"]}),
    )
