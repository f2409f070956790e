"""Do Luong et al.'s (2015) steps and attention variants rank as they did in the paper?

The ladder of their table 1 (source reversal, dropout, attention, input feeding, local attention)
and the ten variants of their table 4, English to German. `luong2015.py` is a small version on
Multi30k's image captions; `luong2015.py:wmt14` has the paper's sizes and training and needs WMT'14
(4.5 million pairs, prepared by tensorflow-datasets) and GPUs.

The folder of `multi30k` has to hold train, val and test_2016_flickr as .en and .de.

Command: ./launch.sh sweep --config=configs/luong2015.py --workdir=runs/luong2015 --workers=2 \
    --config.data.dir=FOLDER --config.model.dtype=bfloat16
    or, at the paper's size, --config=configs/luong2015.py:wmt14
Cost: 14 trainings (the last cell takes one over) of 12 to 18 minutes each on one core (multi30k),
    half as long again in float32; a week each on one GPU of 2015 (wmt14)
Expected: see experiments/luong2015/
"""

from configs import default


def get_config(data="multi30k"):
    config = default.get_config()
    config.model.encoder.cell = "lstm"
    config.model.encoder.bidirectional = False
    config.model.encoder.reverse_source = True
    config.model.decoder.cell = "lstm"
    config.model.decoder.initial_state = "last"
    config.model.decoder.input_feeding = True
    config.model.dropout.input = 0.2
    config.model.dropout.output = 0.2
    config.model.attention.window_width = 10
    for side in (config.data.source, config.data.target):
        side.tokens = "word"
        side.max_length = 50
    if data == "multi30k":
        _multi30k(config)
    elif data == "wmt14":
        _wmt14(config)
    else:
        raise ValueError(f"{data!r}: this experiment runs on multi30k or wmt14, as FILE.py:wmt14")
    config.sweep.baseline = "global-location"
    return config


def _multi30k(config):
    """A quarter of the width, half of the layers, Adam, 6 passes."""
    config.data.name = "tfds:multi30k/en_de"
    config.data.batch_size = 128
    config.data.buckets = 8
    for side in (config.data.source, config.data.target):
        side.lowercase = True
        side.min_frequency = 2
    _size(config, layers=2, width=256)
    config.train.epochs = 6.0
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 200
    config.train.schedule = "linear"
    config.train.eval_every = 250
    config.evaluation.show = ("a man sleeps on a sofa in a green room .",)


def _wmt14(config):
    """Section 4.1: the nets with dropout train 12 passes, with the rate halved after 8.

    The paper divides the gradient by the sentences of a batch and we by its tokens, about 25 a
    sentence: its rate of 1 and norm of 5 are 25 and 0.2 here.
    """
    config.data.name = "tfds:wmt14_translate/de-en"
    config.data.columns = ("en", "de")
    config.data.batch_size = 128
    config.data.buckets = 10
    for side in (config.data.source, config.data.target):
        side.max_vocabulary = 50_000
    _size(config, layers=4, width=1000)
    config.train.optimizer = "sgd"
    config.train.learning_rate = 25.0
    config.train.clip_norm = 0.2
    config.train.schedule = "halving"
    config.train.epochs = 12.0
    config.train.halving_start = 8 / 12
    config.train.halving_every = 1 / 12
    config.train.eval_every = 5000


def _size(config, layers, width):
    config.model.embedding = width
    config.model.encoder.layers = layers
    config.model.encoder.width = width
    config.model.decoder.layers = layers
    config.model.decoder.width = width
    config.model.attention.width = width


def sweep(data="multi30k"):
    cell, score, window = "sweep.cell", "model.attention.score", "model.attention.window"
    feeding, temperature = "model.decoder.input_feeding", "model.attention.temperature"
    plain = {"model.dropout.input": 0.0, "model.dropout.output": 0.0}
    products = {}
    if data == "wmt14":  # section 4.1: without dropout 10 passes, with the rate halved after 5
        plain |= {"train.epochs": 10.0, "train.halving_start": 0.5, "train.halving_every": 0.1}
    else:  # divided by sqrt(256) under Adam: see configs/multi30k.py
        products = {temperature: 16.0}
    return [
        {
            cell: "base",
            score: "none",
            feeding: False,
            "model.encoder.reverse_source": False,
            **plain,
        },
        {cell: "base+reverse", score: "none", feeding: False, **plain},
        {cell: "base+reverse+dropout", score: "none", feeding: False},
        {cell: "base+reverse+dropout+location", score: "location", feeding: False},
        {cell: "global-location", score: "location"},
        *(
            {
                cell: f"{where}-{name}",
                window: where,
                score: name,
                **(products if name != "concat" else {}),
            }
            for where in ("global", "local_m", "local_p")
            for name in ("dot", "general", "concat")
        ),
        {
            cell: "local_p-general+unk",
            window: "local_p",
            score: "general",
            **products,
            "evaluation.replace_unknown": True,
        },
    ]
