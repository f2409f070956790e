"""How near to the tutorials does each kind of attention come on image captions?

Multi30k (task 1), words in lower case, a bidirectional GRU with dropout: no attention, three
scores, input feeding, Bahdanau's order, and a Transformer. `multi30k.py` is German to English,
`multi30k.py:fr_en` French to English. Published for German: 28.30 BLEU on test 2016, greedy
(bidirectional GRU with additive attention).

The folder has to hold train, val and test_2016_flickr in both languages, plain or .gz.

Command: ./launch.sh sweep --config=configs/multi30k.py --workdir=runs/multi30k --workers=2 \
    --seeds=3 --config.data.dir=FOLDER
Cost: 7 runs a seed, of about 22 minutes each on one core
Expected: see experiments/multi30k/
"""

from configs import default

SHOWN = {
    "de_en": "ein mann schläft in einem grünen raum auf einem sofa .",
    "fr_en": "un homme dort dans une pièce verte sur un canapé .",
}


def get_config(languages="de_en"):
    config = default.get_config()
    config.data.name = f"tfds:multi30k/{languages}"
    config.data.buckets = 8
    for side in (config.data.source, config.data.target):
        side.tokens = "word"
        side.lowercase = True
        side.min_frequency = 2

    config.model.embedding = 256
    config.model.encoder.width = 256  # two directions: M = 512 = H, so that dot is defined
    config.model.decoder.width = 512
    config.model.attention.width = 256
    config.model.attention.fixed_context = "every_input"  # of the cell without attention
    config.model.dropout.input = 0.4
    config.model.dropout.output = 0.3

    config.train.epochs = 10.0
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 400
    config.train.schedule = "linear"
    config.train.label_smoothing = 0.1
    config.train.eval_every = 450  # updates; a pass has about 455
    config.train.best_metric = "valid/bleu"  # the smoothed loss ranks otherwise

    config.evaluation.beam = 5  # of the test, besides greedy
    config.evaluation.length_penalty = "average"
    config.evaluation.show = (SHOWN[languages],)

    config.sweep.baseline = "none"
    return config


def sweep():
    cell, score, temperature = (
        "sweep.cell",
        "model.attention.score",
        "model.attention.temperature",
    )
    # Scores that are products of 512 terms grow fast under Adam, until a softmax hands back no
    # gradient; divided by sqrt(512) they grow more slowly. See experiments/multi30k/.
    products = {temperature: 22.6}
    return [
        {cell: "none", score: "none"},
        {cell: "dot", score: "dot", **products},
        {cell: "general", score: "general", **products},
        {cell: "concat", score: "concat"},
        {
            cell: "general+feeding",
            score: "general",
            "model.decoder.input_feeding": True,
            **products,
        },
        {cell: "concat+bahdanau", score: "concat", "model.decoder.order": "bahdanau"},
        {
            cell: "transformer",
            "model.encoder.kind": "transformer",
            "model.encoder.layers": 3,
            "model.decoder.kind": "transformer",
            "model.decoder.layers": 3,
            "model.decoder.width": 256,
            score: "scaled_dot",
            "model.attention.heads": 4,
            "model.dropout.input": 0.2,
            "model.dropout.output": 0.2,
        },
    ]
