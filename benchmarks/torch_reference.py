"""The benchmark's workloads in PyTorch: training and translation on demand.

`./launch.sh benchmark --vs=torch` runs this program beside its own and lets the two take turns. The
models are in `torch_models.py`. PyTorch and NumPy are all that is needed.

    python benchmarks/torch_reference.py FOLDER

FOLDER holds what the benchmark wrote: config.json, examples.npz and weights.npz (the initial
parameters, so that both sides begin as the same function). Commands come on standard input, one a
line; each gets a line of JSON on standard output, and so does the start:

    train N    N updates, on the next N batches
    greedy N   translations of the first N sources
    beam N     the same by beam search
    quit
"""

import contextlib
import functools
import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch_models import BOS, EOS, PAD, Recurrent, Transformer, fill

SETTLE = 0.25  # seconds; some kinds of OpenMP let idle threads spin for 0.2 s before they sleep


class Program:
    """The model, its optimiser, and the examples it is fed."""

    def __init__(self, folder):
        config = self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        torch.set_num_threads(config["threads"])
        random.seed(config["seed"])
        with np.load(folder / "examples.npz") as file:
            self.source, self.target = (
                np.split(file[side], file[f"{side}_start"][1:-1]) for side in ("source", "target")
            )
            self.batches_UB = file["batches_UB"]
        kind = {"recurrent": Recurrent, "transformer": Transformer}
        model, train = config["model"], config["train"]
        model["positions"] = config["positions"]
        self.model = kind[model["encoder"]["kind"]](model, config["vocabularies"])
        with np.load(folder / "weights.npz") as weights:
            fill(self.model, weights)
        betas = train["adam_b1"], train["adam_b2"]
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=train["learning_rate"], betas=betas, fused=True
        )
        self.updates = 0

    def describe(self):
        return {
            "program": f"PyTorch {torch.__version__}",
            "threads": torch.get_num_threads(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "products_per_second": product_rate(),
        }

    def precision(self):
        if self.config["model"]["dtype"] == "float32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", getattr(torch, self.config["model"]["dtype"]))

    def next_batch(self):
        """Source, its lengths and target, as wide as the longest row."""
        rows = self.batches_UB[self.updates % len(self.batches_UB)]
        self.updates += 1
        rows = rows[rows >= 0]
        source, lengths = pad([self.source[row] for row in rows])
        return source, lengths, pad([self.target[row] for row in rows])[0]

    def train(self, count):
        batches, losses = [self.next_batch() for _ in range(count)], []
        ratio, clip = self.config["teacher_forcing"]["ratio"], self.config["train"]["clip_norm"]
        start = time.perf_counter()
        for batch in batches:
            self.optimizer.zero_grad()
            with self.precision():
                loss = self.model(*batch, ratio)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), clip)
            self.optimizer.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        targets = sum(int((target != PAD).sum()) for _, _, target in batches)
        return {"seconds": seconds, "targets": targets, "losses": losses}

    def greedy(self, count):
        return self.translate(count, self.model.greedy)

    def beam(self, count):
        size = self.config["evaluation"]["beam"]
        return self.translate(count, functools.partial(self.model.beam, size=size))

    def translate(self, count, search):
        """In batches of like lengths. Unless `ends` is set, none ends before its limit, here as in
        the benchmark itself; PAD and BOS are never chosen."""
        settings, bias, tokens = self.config["evaluation"], self.model.output.bias, 0
        size, factor = settings["batch_size"], settings["max_length_factor"]
        learned = bias.detach().clone()
        with torch.no_grad():
            bias[[PAD, BOS] if self.config["ends"] else [PAD, BOS, EOS]] = -1e9
        start = time.perf_counter()
        sources = sorted(self.source[:count], key=len)
        for first in range(0, len(sources), size):
            source, lengths = pad(sources[first : first + size])
            limit = [int(round(factor * (length - 1), 6)) for length in lengths.tolist()]
            limit = torch.tensor(limit) + settings["max_length_extra"]
            with self.precision():
                found = search(source, lengths, limit)
            tokens += sum(len(row) - row.count(PAD) for row in found.tolist())
        seconds = time.perf_counter() - start
        with torch.no_grad():
            bias.copy_(learned)
        return {"seconds": seconds, "sentences": len(sources), "tokens": tokens}


def pad(rows):
    """(ids, as wide as the longest row; lengths)"""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), PAD)
    for into, row in zip(ids, rows, strict=True):
        into[: len(row)] = torch.from_numpy(row)
    return ids, lengths


def product_rate(size=2048):
    """Operations a second of a product of two square matrices, the best of five."""
    matrix, seconds = torch.ones(size, size), []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def main(folder):
    # Whatever else prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    program = Program(Path(folder))
    answer = program.describe()
    while True:
        time.sleep(SETTLE)
        busy, start = time.process_time(), time.perf_counter()
        print(json.dumps(answer), file=answers, flush=True)
        command, *count = sys.stdin.readline().split() or ["quit"]
        if command == "quit":
            return
        # The share of a core that this program took while others were at work.
        share = (time.process_time() - busy) / (time.perf_counter() - start)
        commands = {"train": program.train, "greedy": program.greedy, "beam": program.beam}
        answer = commands[command](int(*count))
        answer["idle_share"] = share


if __name__ == "__main__":
    main(sys.argv[1])
