"""How near to the tutorials does each score come on image captions?

German to English on Multi30k (task 1), words in lower case, a bidirectional GRU with dropout; no
attention, general and concat. Published for the last: 28.30 BLEU on test 2016, greedy
(bidirectional GRU with additive attention).

The folder has to hold train, val and test_2016_flickr as .de and .en, plain or .gz.

Command: ./launch.sh sweep --config=configs/multi30k.py --workdir=runs/multi30k \
    --config.data.dir=FOLDER
Cost: 3 runs
Expected: see experiments/multi30k/
"""

from configs import default
from seq2seq_jax.sweeps.grid import product


def get_config():
    config = default.get_config()
    config.data.name = "tfds:multi30k/de_en"
    for side in (config.data.source, config.data.target):
        side.tokens = "word"
        side.lowercase = True
        side.min_frequency = 2

    config.model.embedding = 128
    config.model.encoder.width = 128
    config.model.decoder.width = 256
    config.model.attention.width = 256
    config.model.dropout.input = 0.2

    config.train.epochs = 3.0
    config.train.schedule = "linear"
    config.train.learning_rate = 4e-3
    config.train.log_every = 50
    config.train.eval_every = 500

    config.evaluation.show = ("ein mann schläft in einem grünen raum auf einem sofa .",)

    config.sweep.baseline = "score=none"
    return config


def sweep():
    return product({"model.attention.score": ["none", "general", "concat"]})
