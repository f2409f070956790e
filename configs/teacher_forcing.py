"""How often should the decoder see its own output in training?

Bengio et al.'s question (2015), with attention general: the teacher-forcing ratio fixed at 0, 1/4,
1/2, 3/4 and 1, and falling from 1 to 0 by three schedules; at 1/2, who shares a coin, and what
replaces gold. On the generated French (`teacher_forcing.py`), on Tatoeba's pairs
(`teacher_forcing.py:tatoeba`, whose folder holds fra.txt) or on CMUdict
(`teacher_forcing.py:g2p`). The report shows the gap between forced and free-running perplexity.

Command: ./launch.sh sweep --config=configs/teacher_forcing.py --workdir=runs/teacher_forcing
    or, with --config=configs/teacher_forcing.py:g2p, --config.data.dir=FOLDER
Cost: 48 runs, on one core of 1 to 2 minutes (french, g2p) or 4 to 10 (tatoeba, bfloat16) each
Expected: see experiments/teacher_forcing/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import chain, product

# Updates, and the inverse sigmoid's k that is at 1/2 after half of them: k ln k = updates / 2.
LENGTHS = {"french": (1000, 107.0), "g2p": (1500, 150.0), "tatoeba": (2800, 253.0)}


def get_config(data="french"):
    config = _laboratory.base(data)
    config.train.steps, _ = LENGTHS[data]
    config.train.best_metric = "valid/bleu"  # the forced loss would favour ratio 1
    config.evaluation.modes = ("forced", "free", "greedy")

    config.sweep.seeds = 3
    config.sweep.baseline = "ratio=1.0"
    return config


def sweep(data="french"):
    cell = "sweep.cell"
    ratio, schedule, decay, granularity, feed = (
        f"teacher_forcing.{key}" for key in ("ratio", "schedule", "decay", "granularity", "feed")
    )
    steps, k = LENGTHS[data]
    return chain(
        product({ratio: [0.0, 0.25, 0.5, 0.75, 1.0]}),
        [  # at 1/2 after half of the updates
            {cell: "schedule=linear", schedule: "linear", decay: 1 / steps},
            {cell: "schedule=exponential", schedule: "exponential", decay: 0.5 ** (2 / steps)},
            {cell: "schedule=inverse_sigmoid", schedule: "inverse_sigmoid", decay: k},
        ],
        product({ratio: [0.5]}, {granularity: ["step", "sequence", "batch"]}),
        product(
            {ratio: [0.5]},
            {feed: ["sample", "gumbel", "top_k_mixture", "softmax_mixture", "uniform"]},
        ),
    )
