"""How often should the decoder see its own output in training?

Attention general on the generated French; the teacher-forcing ratio fixed at 0, 1/4, 1/2, 3/4 and
1, and falling from 1 to 0 by the three schedules of Bengio et al. (2015). The report shows the gap
between forced and free-running perplexity.

Command: ./launch.sh sweep --config=configs/teacher_forcing.py --workdir=runs/teacher_forcing
Cost: 24 runs, about a quarter of an hour on 2 CPU cores with --workers=2
Expected: see experiments/teacher_forcing/
"""

from configs import default
from seq2seq_jax.sweeps.grid import chain, product

STEPS = 1000


def get_config():
    config = default.get_config()
    config.data.name = "french"
    config.data.buckets = 2

    config.model.encoder.width = 64

    config.train.steps = STEPS
    config.train.epochs = 0.0
    config.train.learning_rate = 4e-3
    config.train.schedule = "cosine"
    config.train.best_metric = "valid/bleu"  # the forced loss would favour ratio 1

    config.evaluation.modes = ("forced", "free", "greedy")
    config.evaluation.max_examples = 256
    config.evaluation.show = ("je suis étudiant",)

    config.sweep.seeds = 3
    config.sweep.baseline = "ratio=1.0"
    return config


def sweep():
    ratio, schedule, decay = (f"teacher_forcing.{key}" for key in ("ratio", "schedule", "decay"))
    return chain(
        product({ratio: [0.0, 0.25, 0.5, 0.75, 1.0]}),
        # At 1/2 after 500, 495 and 499 updates.
        [
            {schedule: "linear", decay: 1 / STEPS},
            {schedule: "exponential", decay: 0.9986},
            {schedule: "inverse_sigmoid", decay: 107.0},
        ],
    )
