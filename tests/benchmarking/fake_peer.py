"""An arm for peers that needs no PyTorch: a few lines of Python that speak the protocol."""

import sys

from seq2seq_jax.benchmarking.peers import Arm

# Writes down who is asked what. A window of n updates takes n seconds by its own account.
PROGRAM = """
import json, os, sys
name, folder = sys.argv[1:]
print(json.dumps({"program": "Fake 1", "threads": 1, "parameters": 7, "products_per_second": 2e9}))
sys.stdout.flush()
for line in sys.stdin:
    command, count = line.split()
    with open(folder + "/log", "a") as log:
        log.write(f"{name} {command} {count} {os.environ.get('MARK', '-')}\\n")
    if count == "13":
        sys.exit("unlucky")
    answer = {"seconds": float(count), "targets": 100, "losses": [2.5], "idle_share": 0.01}
    print(json.dumps({**answer, "sentences": 10, "tokens": 30}))
    sys.stdout.flush()
"""


def arm(name, program=PROGRAM, **environment):
    return Arm(name, [sys.executable, "-c", program, name], environment)
