"""How far does a decoder have to look?

Global, local and monotonic windows with the score general, with one head and with four, on the
generated French (`windows.py`), where noun and adjective change places, or on CMUdict g2p
(`windows.py:g2p`), where hardly anything does.

Command: ./launch.sh sweep --config=configs/windows.py --workdir=runs/windows
    or, with --config=configs/windows.py:g2p, --config.data.dir=FOLDER
Cost: 10 runs
Expected: see experiments/windows/
"""

from configs import _laboratory
from seq2seq_jax.sweeps.grid import product


def get_config(data="french"):
    config = _laboratory.base(data)
    config.model.attention.window_width = 4
    config.sweep.baseline = "heads=1,window=global"
    return config


def sweep():
    return product(
        {"model.attention.heads": [1, 4]},
        {"model.attention.window": ["global", "local_m", "local_p", "monotonic", "chunkwise"]},
    )
