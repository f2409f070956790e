"""Does a net that has learnt SCAN compose what it knows?

Lake & Baroni (2018): four splits of the navigation commands, each with the net that was best over
all experiments (LSTM, 2 layers of 200, dropout 0.5, no attention) and with the one that was best on
this split, and the first one on 1 to 64 % of the commands of the simple split.

Command: ./launch.sh sweep --config=configs/scan.py --workdir=runs/scan --workers=2
Cost: 75 runs, of 1 to 3 minutes each on one core
Expected: see experiments/scan/
"""

from configs import default
from seq2seq_jax.sweeps.grid import chain

SPLITS = ("simple", "length", "addprim_turn_left", "addprim_jump")
COMMANDS = 20_910  # of all splits together; the shares of the size curve are shares of these


def net(cell, layers, units, dropout, score="none"):
    """One of the paper's nets, as overrides; with attention it is additive, before the update."""
    return {
        "model.embedding": units,
        "model.encoder.cell": cell,
        "model.encoder.layers": layers,
        "model.encoder.width": units,
        "model.decoder.cell": cell,
        "model.decoder.layers": layers,
        "model.decoder.width": units,
        "model.dropout.input": dropout,
        "model.dropout.output": dropout,
        "model.attention.score": score,
        "model.attention.width": units,
    }


OVERALL_BEST = net("lstm", 2, 200, 0.5)
BEST = {
    "simple": net("lstm", 2, 200, 0.0),
    "length": net("gru", 1, 50, 0.5, "concat"),
    "addprim_turn_left": net("gru", 1, 100, 0.1, "concat"),
    "addprim_jump": net("lstm", 1, 100, 0.1, "concat"),
}


def get_config():
    config = default.get_config()
    config.data.name = "scan"
    config.data.batch_size = 32
    config.data.buckets = 8

    config.update_from_flattened_dict(OVERALL_BEST)
    config.model.encoder.bidirectional = False
    config.model.decoder.initial_state = "last"
    config.model.decoder.order = "bahdanau"

    config.teacher_forcing.ratio = 0.5
    config.teacher_forcing.granularity = "sequence"

    config.train.epochs = 0.0
    config.train.steps = 5000
    config.train.learning_rate = 4e-3
    config.train.schedule = "linear"
    config.train.clip_norm = 5.0
    config.train.eval_every = 500
    config.train.best_metric = "valid/exact_match"

    config.evaluation.batch_size = 256
    config.evaluation.max_length_factor = 0.0  # up to 48 actions, whatever the command's length
    config.evaluation.max_length_extra = 50
    config.evaluation.show = ("jump around left twice and walk",)

    config.sweep.seeds = 5
    config.sweep.baseline = "simple,overall-best"
    return config


def sweep():
    split, size, cell = "data.task.split", "data.train_size", "sweep.cell"
    return chain(
        [{cell: f"{name},overall-best", split: name} for name in SPLITS],
        [{cell: f"{name},best", split: name, **BEST[name]} for name in SPLITS],
        [
            {cell: f"simple,{share}-percent", size: COMMANDS * share // 100}
            for share in (1, 2, 4, 8, 16, 32, 64)
        ],
    )
