"""Which choices of an architecture matter? Britz et al.'s tables (2017), at a quarter of the size.

German to English on Multi30k: attention (kind and dimension), cell, embedding, depth, direction and
beam, one change at a time from a bidirectional GRU encoder, a decoder of two layers and additive
attention. Widths are a quarter of the paper's, and cells bear the paper's names for them: `Add-512`
has 128 dimensions here.

The folder has to hold train, val and test_2016_flickr as .de and .en, plain or .gz.

Command: ./launch.sh sweep --config=configs/britz2017.py --workdir=runs/britz2017 --workers=2 \
    --config.data.dir=FOLDER --config.model.dtype=bfloat16
Cost: 30 trainings, of about 8 minutes each on one core; the six cells of beams share the baseline's
Expected: see experiments/britz2017/
"""

from configs import default
from seq2seq_jax.sweeps.grid import chain

CELL, SCORE, EMBEDDING = "sweep.cell", "model.attention.score", "model.embedding"
ENCODER, DECODER = "model.encoder", "model.decoder"


def get_config():
    config = default.get_config()
    config.data.name = "tfds:multi30k/de_en"
    config.data.batch_size = 128
    config.data.buckets = 8
    for side in (config.data.source, config.data.target):
        side.tokens = "word"
        side.lowercase = True
        side.min_frequency = 2

    config.model.embedding = 128
    config.model.encoder.width = 128
    config.model.decoder.width = 128
    config.model.decoder.layers = 2
    config.model.attention.score = "concat"
    config.model.attention.width = 128
    config.model.dropout.input = 0.2

    config.train.epochs = 5.0
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 200
    config.train.schedule = "linear"
    config.train.clip_norm = 5.0
    config.train.eval_every = 250

    config.evaluation.show = ("ein mann schläft in einem grünen raum auf einem sofa .",)

    config.sweep.baseline = "baseline"
    return config


def sweep():
    return chain(
        [{CELL: "baseline"}],
        [{CELL: f"Add-{4 * width}", "model.attention.width": width} for width in (32, 64, 256)],
        [  # the product of two projections
            {
                CELL: f"Mul-{4 * width}",
                SCORE: "dot",
                "model.attention.match_parameters": True,
                "model.attention.width": width,
            }
            for width in (32, 64, 128, 256)
        ],
        [
            {CELL: "None-State", SCORE: "none"},
            {CELL: "None-Input", SCORE: "none", "model.attention.fixed_context": "every_input"},
        ],
        [
            {CELL: "LSTM", f"{ENCODER}.cell": "lstm", f"{DECODER}.cell": "lstm"},
            {CELL: "Vanilla-Dec", f"{DECODER}.cell": "elman"},
        ],
        [{CELL: f"Embedding-{4 * width}", EMBEDDING: width} for width in (32, 64, 256, 512)],
        _depth(),
        _direction(),
        [{CELL: f"B{width}", "evaluation.beam": width} for width in (3, 5, 10, 25)],
        [
            {
                CELL: f"B10-LP-{alpha}",
                "evaluation.beam": 10,
                "evaluation.length_penalty": "gnmt",
                "evaluation.length_alpha": alpha,
            }
            for alpha in (0.5, 1.0)
        ],
    )


def _depth():
    """Layers of the encoder count both directions in the paper: `Enc-2` is the baseline."""
    return [
        {CELL: "Enc-4", f"{ENCODER}.layers": 2},
        {CELL: "Enc-8", f"{ENCODER}.layers": 4},
        {CELL: "Enc-8-Res", f"{ENCODER}.layers": 4, f"{ENCODER}.residual": True},
        {CELL: "Dec-1", f"{DECODER}.layers": 1},
        {CELL: "Dec-4", f"{DECODER}.layers": 4},
        {CELL: "Dec-4-Res", f"{DECODER}.layers": 4, f"{DECODER}.residual": True},
        {CELL: "Dec-8", f"{DECODER}.layers": 8},
        {CELL: "Dec-8-Res", f"{DECODER}.layers": 8, f"{DECODER}.residual": True},
    ]


def _direction():
    """One direction, with the source as it is or reversed (R), at the same width a direction."""
    return [
        {
            CELL: f"Uni-{layers}{'R' * turned}",
            f"{ENCODER}.bidirectional": False,
            f"{ENCODER}.layers": layers,
            f"{ENCODER}.reverse_source": turned,
        }
        for layers in (1, 2, 4)
        for turned in (False, True)
    ]
