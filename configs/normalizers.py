"""What does the map from scores to weights change: accuracy, sharpness, agreement with gold links?

All normalisers with the score general, and softmax at two other temperatures, on the generated
French (`normalizers.py`) or on CMUdict g2p (`normalizers.py:g2p`).

Command: ./launch.sh sweep --config=configs/normalizers.py --workdir=runs/normalizers
    or, with --config=configs/normalizers.py:g2p, --config.data.dir=FOLDER
Cost: 9 runs
Expected: see experiments/normalizers/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import chain, product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.sweep.baseline = "normalizer=softmax"
    return config


def sweep():
    normalizer, temperature = (f"model.attention.{key}" for key in ("normalizer", "temperature"))
    names = ["softmax", "sparsemax", "entmax15", "entmax", "sigmoid", "hard", "gumbel"]
    return chain(
        product({normalizer: names}),
        product({normalizer: ["softmax"]}, {temperature: [0.5, 2.0]}),
    )
