"""Which score translates real, short sentences best?

French to English on the Tatoeba pairs of the best-known attention tutorials, words in lower case;
no attention, dot, general and concat, two seeds each.

The folder that `data.dir` names has to hold fra.txt, fra.txt.gz or fra-eng.zip; the data are
CC-BY 2.0 FR.

Command: ./launch.sh sweep --config=configs/tatoeba.py --workdir=runs/tatoeba \
    --config.data.dir=FOLDER
Cost: 8 runs, of about 12 minutes each on one core
Expected: see experiments/tatoeba/
"""

from configs import default
from configs._laboratory import tatoeba
from seq2seq_jax.sweeps.grid import product


def get_config():
    config = default.get_config()
    tatoeba(config)
    config.model.embedding = 128
    config.model.encoder.width = 64  # two directions: M = 128 = H, so that dot is defined
    config.model.decoder.width = 128
    config.model.attention.width = 128
    config.model.dropout.input = 0.1

    config.train.epochs = 5.0
    config.train.schedule = "linear"
    config.train.learning_rate = 4e-3
    config.train.log_every = 50
    config.train.eval_every = 500

    config.sweep.seeds = 2
    config.sweep.baseline = "score=none"
    return config


def sweep():
    return product({"model.attention.score": ["none", "dot", "general", "concat"]})
