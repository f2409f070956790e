"""Writes a small sweep folder in the exact format of a real one, with known numbers."""

import json
from pathlib import Path

SENTENCES = [
    ("je suis étudiant", "i am a student", [(0, 0), (1, 1), (2, 3)]),
    ("le chat dort", "the cat sleeps", [(0, 0), (1, 1), (2, 2)]),
    ("elle est très grande et la petite maison est belle", None, []),
    ("nous parlons", "we speak", [(0, 0), (1, 1)]),
    ("vous ne mangez pas de pommes rouges", "you do not eat red apples", [(0, 0), (2, 3)]),
    ("les chiens noirs", "the black dogs", [(0, 0), (1, 2), (2, 1)]),
]
LONG = "she is very tall and the small house is beautiful"
SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
COMMAND = "./launch.sh sweep --config=configs/quickstart.py --workdir=runs/quickstart"


def references() -> list[str]:
    return [target or LONG for _, target, _ in SENTENCES]


def write_sweep(folder: Path, cells: dict[str, dict], seeds=(0, 1), **more) -> Path:
    """sweep.json alone; cells: name -> overrides. The runs are written by `write_run`."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "config": "configs/quickstart.py",
        "command": COMMAND,
        "cells": [{"name": name, "overrides": overrides} for name, overrides in cells.items()],
        "seeds": list(seeds),
        "baseline": next(iter(cells)),
        **more,
    }
    (folder / "sweep.json").write_text(json.dumps(spec))
    return folder


def write_run(
    folder: Path,
    *,
    config: dict | None = None,
    final: dict | None = None,
    curve: list[dict] | None = None,
    hypotheses: list[str] | None = None,
    beam: list[str] | None = None,
    done: dict | None = None,
    failed: str | None = None,
    alignment: bool = True,
) -> Path:
    """One run; without done and failed it looks like one under way.

    hypotheses: the greedy translations of the first sentences; beam: those of beam search.
    """
    (folder / "predictions").mkdir(parents=True)
    seed = int(folder.name.removeprefix("seed")) if folder.name.startswith("seed") else 0
    own = {"data": {"dir": folder.parent.name}}  # no cell trains as another does
    resolved = {"seed": seed, "model": {"attention": {"score": "dot"}}, **(config or own)}
    (folder / "config.json").write_text(json.dumps(resolved))
    environment = {
        "versions": {"jax": "0.10.2", "flax": "0.12.8"},
        "platform": "cpu",
        "device": "AMD EPYC",
        "devices": 1,
        "cores": 2,
        "commit": "abc123",
        "command": "./launch.sh train",
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    lines = [*(curve or []), *([{"step": 400, **final}] if final else [])]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, made in (("test", hypotheses), ("test.beam", beam)):
        rows = [line(i, SENTENCES[i], own, alignment) for i, own in enumerate(made or [])]
        if rows:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "predictions" / f"{name}.jsonl").write_text(text)
    if hypotheses is not None:
        rows = [line(0, SENTENCES[0], hypotheses[0], alignment)]
        show = {**rows[0], "gold": None}
        (folder / "predictions" / "show.jsonl").write_text(json.dumps(show) + "\n")
        evaluation = {"step": 400, "modes": ["forced", "greedy"], "bleu_signature": SIGNATURE}
        (folder / "predictions" / "test.json").write_text(json.dumps(evaluation))
    if done is not None:
        (folder / "DONE").write_text(json.dumps(done))
    if failed is not None:
        (folder / "FAILED").write_text(failed)
    return folder


def write_ensemble(folder: Path, members: list[str], **run) -> Path:
    """What `evaluate --save` leaves: a run's files, but ensemble.json for the config."""
    write_run(folder, **run)
    (folder / "config.json").unlink()
    made_of = {"members": members, "steps": [300] * len(members), "average": [1] * len(members)}
    (folder / "ensemble.json").write_text(json.dumps(made_of))
    return folder


def line(index: int, sentence: tuple, hypothesis: str, alignment: bool = True) -> dict:
    """A line of predictions/<split>.jsonl; the alignment is a soft diagonal."""
    source, target, gold = sentence
    source_tokens, tokens = [*source.split(), "</s>"], [*hypothesis.split(), "</s>"]
    rows = []
    for t in range(len(tokens)):
        weights = [1 / (1 + 3 * abs(s - t)) for s in range(len(source_tokens))]
        rows.append([round(w / sum(weights), 3) for w in weights])
    return {
        "index": index,
        "source": source,
        "reference": target or LONG,
        "hypothesis": hypothesis,
        "score": -1.5,
        "source_tokens": source_tokens,
        "hypothesis_tokens": tokens,
        "alignment": rows if alignment else None,
        "gold": [list(link) for link in gold],
    }


def diagnostics(share: float, heads: int = 1) -> dict[str, float]:
    """Metrics of alignments that get sharper as `share` grows; head n differs from the mean."""
    mean = {
        "aer": 0.9 - 0.6 * share,
        "alignment_entropy": 2 - share,
        "alignment_coverage": 0.3 + 0.6 * share,
        "alignment_monotonicity": 0.5 + 0.4 * share,
        "padding_weight": 0.0,
        "gold_distance": 3 - 2 * share,
    }
    several = range(heads if heads > 1 else 0)
    return mean | {
        f"{name}/head{n}": value * (1 + (n - (heads - 1) / 2) / 10)
        for name, value in mean.items()
        for n in several
    }


def prefixed(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in metrics.items()}


def curve(top: float, diagnosed: bool = True) -> list[dict]:
    """Training and validation lines up to step 400 that approach `top` exact match."""
    lines = []
    for step in (100, 200, 300, 400):
        share = top * (1 - 0.5 ** (step / 100))
        lines.append({"step": step, "train/loss": 3.0 / step, "train/ratio": 1.0})
        lines.append(
            {
                "step": step,
                "valid/loss": 2 - share,
                "valid/perplexity": 8 - 6 * share,
                "valid/perplexity_free": 10 - 6 * share,
                "valid/exact_match": share,
                "valid/bleu": 90 * share,
                **prefixed("valid", diagnostics(share) if diagnosed else {}),
            }
        )
    return lines


def done(parameters: int = 12345, seconds: float = 60.0) -> dict:
    return {
        "step": 400,
        "best_step": 300,
        "seconds": seconds,
        "parameters": parameters,
        "reason": "finished",
    }


def quickstart(folder: Path) -> Path:
    """Two finished cells of two seeds each; none is the baseline and is bad at long sentences."""
    write_sweep(
        folder,
        {
            "score=none": {"model.attention.score": "none"},
            "score=general": {"model.attention.score": "general"},
        },
    )
    right = references()
    for score, cell_seed, wrong, exact, top in (
        ("none", 0, [2, 4, 5], 0.50, 0.5),
        ("none", 1, [2, 4], 0.60, 0.6),
        ("general", 0, [2], 0.80, 0.8),
        ("general", 1, [], 0.90, 0.9),
    ):
        hypotheses = [f"{r} wrong" if i in wrong else r for i, r in enumerate(right)]
        write_run(
            folder / f"score={score}" / f"seed{cell_seed}",
            config={"model": {"attention": {"score": score}}},
            final={
                "test/exact_match": exact,
                "test/bleu": 100 * exact - 3,
                "test/perplexity": 3 - exact,
                "test/perplexity_free": 4 - exact,
                **prefixed("test", diagnostics(exact, heads=2) if score != "none" else {}),
            },
            curve=curve(top, diagnosed=score != "none"),
            hypotheses=hypotheses,
            done=done(20000 if score == "general" else 12345, 60.0 + 10 * cell_seed),
            alignment=score != "none",
        )
    return folder
