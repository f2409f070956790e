"""Does it help to tell attention where to look?

Guided alignment (Chen et al. 2016) in three weights, none among them, with the scores general and
concat, on the generated French, whose gold links are known. Luong's order: the alignment of a step
is made with the state that predicts its word.

Command: ./launch.sh sweep --config=configs/guided_alignment.py --workdir=runs/guided_alignment
Cost: 6 runs
Expected: see experiments/guided_alignment/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import product


def get_config():
    config = _laboratory.base("french")
    config.sweep.baseline = "guided_alignment=0.0,score=general"
    return config


def sweep():
    return product(
        {"train.guided_alignment": [0.0, 0.1, 1.0]},
        {"model.attention.score": ["general", "concat"]},
    )
