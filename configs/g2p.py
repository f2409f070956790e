"""How near to the published error rates do the attention mechanisms come, letters to phonemes?

CMUdict in the PRONASYL-2007 split: no attention, global attention with three scores, the local
windows, and location-sensitive attention, in a model of a size that people publish with.

The folder has to hold g014b2b.train, .words and .ref, plain or .gz.

Command: ./launch.sh sweep --config=configs/g2p.py --workdir=runs/g2p --workers=2 \
    --config.data.dir=FOLDER --config.model.dtype=bfloat16
Cost: 7 runs of 45 to 60 minutes each on one core
Expected: see experiments/g2p/
"""

from configs import default


def get_config():
    config = default.get_config()
    config.data.name = "tfds:cmudict_g2p"
    config.data.source.tokens = "character"
    config.data.batch_size = 128
    config.data.buckets = 8

    config.model.embedding = 128
    config.model.encoder.cell = "lstm"
    config.model.encoder.layers = 2
    config.model.encoder.width = 256
    config.model.decoder.cell = "lstm"
    config.model.decoder.width = 512
    config.model.attention.width = 256
    config.model.attention.window_width = 4
    config.model.dropout.input = 0.1
    config.model.dropout.output = 0.2

    config.train.epochs = 10.0
    config.train.learning_rate = 3e-3
    config.train.warmup_steps = 400
    config.train.schedule = "linear"
    config.train.label_smoothing = 0.1
    config.train.clip_norm = 5.0
    config.train.eval_every = 800
    config.train.best_metric = "valid/exact_match"

    config.evaluation.max_length_factor = 1.0
    config.evaluation.max_length_extra = 8
    config.evaluation.show = ("STUDENT",)

    config.sweep.baseline = "none"
    return config


def sweep():
    cell, score, window = "sweep.cell", "model.attention.score", "model.attention.window"
    # Divided by sqrt(512): see configs/multi30k.py.
    products = {"model.attention.temperature": 22.6}
    return [
        {cell: "none", score: "none"},
        {cell: "dot", score: "dot", **products},
        {cell: "general", score: "general", **products},
        {cell: "concat", score: "concat"},
        {cell: "local_m", score: "general", window: "local_m", **products},
        {cell: "local_p", score: "general", window: "local_p", **products},
        {cell: "location-sensitive", score: "concat", "model.attention.memory_term": "location"},
    ]
