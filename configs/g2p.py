"""How near to the published error rates do the attention mechanisms come, letters to phonemes?

CMUdict in the PRONASYL-2007 split: no attention, global attention with three scores, the local
windows, and location-sensitive attention, in a model of a size that people publish with.

The folder has to hold g014b2b.train, .words and .ref, plain or .gz.

Command: ./launch.sh sweep --config=configs/g2p.py --workdir=runs/g2p --workers=2 \
    --config.data.dir=FOLDER
Cost: 7 runs of about 25 minutes each on one core
Expected: see experiments/g2p/
"""

from configs import default
from seq2seq_jax.sweeps.grid import chain, product


def get_config():
    config = default.get_config()
    config.data.name = "tfds:cmudict_g2p"
    config.data.source.tokens = "character"
    config.data.batch_size = 128
    config.data.buckets = 8

    config.model.embedding = 128
    config.model.encoder.cell = "lstm"
    config.model.encoder.width = 256
    config.model.decoder.cell = "lstm"
    config.model.decoder.width = 512
    config.model.decoder.input_feeding = True
    config.model.attention.width = 256
    config.model.attention.window_width = 4
    config.model.dropout.input = 0.2
    config.model.dropout.output = 0.3

    config.train.epochs = 12.0
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 400
    config.train.schedule = "linear"
    config.train.label_smoothing = 0.1
    config.train.clip_norm = 5.0
    config.train.eval_every = 800
    config.train.best_metric = "valid/exact_match"

    config.evaluation.max_length_factor = 1.0
    config.evaluation.max_length_extra = 8
    config.evaluation.show = ("STUDENT",)

    config.sweep.baseline = "score=general"
    return config


def sweep():
    score, window, term = (f"model.attention.{key}" for key in ("score", "window", "memory_term"))
    return chain(
        product({score: ["none", "dot", "general", "concat"]}),
        product({score: ["general"]}, {window: ["local_m", "local_p"]}),
        product({score: ["concat"]}, {term: ["location"]}),
    )
