"""How much does attention help, and does the score matter?

French to English on the generated data set, whose gold alignments are known: no attention, dot,
general and concat, two seeds each.

Command: ./launch.sh, which is
    ./launch.sh sweep --config=configs/quickstart.py --workdir=runs/quickstart --workers=2
    ./launch.sh report --workdir=runs/quickstart
Cost: 8 runs, together under 5 minutes on 2 CPU cores
Expected: see experiments/quickstart/
"""

from configs import default
from seq2seq_jax.sweeps.grid import product


def get_config():
    config = default.get_config()
    config.data.name = "french"

    config.model.encoder.width = 64  # two directions: M = 128 = H, so that dot is defined
    config.model.decoder.width = 128

    config.data.buckets = 2  # two steps to compile are worth more here than less padding

    config.train.steps = 1000
    config.train.epochs = 0.0
    config.train.learning_rate = 4e-3
    config.train.schedule = "cosine"
    config.train.eval_every = 200

    config.evaluation.max_examples = 256
    config.evaluation.show = (
        "je suis étudiant",
        "les petites filles ne mangent pas le pain",
        "le professeur est grand et la voiture rouge est ancienne",
    )

    config.sweep.seeds = 2
    config.sweep.baseline = "score=none"
    return config


def sweep():
    return product({"model.attention.score": ["none", "dot", "general", "concat"]})
