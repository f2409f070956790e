"""What stands under the table: how it was made, and what is missing from it."""

from typing import Any

import pandas as pd

from seq2seq_jax.evaluation.bootstrap import RESAMPLES
from seq2seq_jax.reports.columns import BEAM
from seq2seq_jax.reports.differences import Difference
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.significance import not_comparable
from seq2seq_jax.training import groups

SIGNIFICANT = 0.05


def made_by(results: Results) -> list[tuple[str, str]]:
    """(title, text) of what somebody needs to make the results again."""
    known = results.environments
    seeds = ", ".join(str(seed) for seed in sorted(set(results.runs["seed"])))
    versions = [environment["versions"] for environment in known if "versions" in environment]
    rows = [
        ("Command", results.command),
        ("Config", results.config),
        ("Seeds", f"{seeds} ({results.progress})"),
        ("Together", _together(results)),
        ("Device", _several([_device(item) for item in known if "device" in item])),
        ("Platform", _several([item["platform"] for item in known if "platform" in item])),
        ("Commit", _several([item["commit"] for item in known if "commit" in item])),
        (
            "Versions",
            _several([", ".join(f"{name} {item[name]}" for name in item) for item in versions]),
        ),
    ]
    return [(title, text) for title, text in rows if text]


def _together(results: Results) -> str:
    """How many runs shared a program: their seconds are no cost of a run alone."""
    count = sum((folder / groups.NAME).exists() for folder in results.folders.values())
    if not count:
        return ""
    return f"{count} of {len(results.trained)} runs shared programs; the seconds are a program's"


def signatures(results: Results, metrics: list[str]) -> list[str]:
    """sacrebleu's signatures of the metrics shown."""
    tested = [
        results.evaluation(cell, seed, "test")
        for cell in results.cells
        for seed in results.finished(cell)
    ]
    notes = []
    for metric, name in (("bleu", "BLEU"), ("chrf", "chrF"), ("ter", "TER")):
        key = f"{metric}_signature"
        found = [test[key] for test in tested if key in test]
        if {metric, metric + BEAM} & set(metrics) and found:
            notes.append(f"{name} signature: {_several(found)}")
    return notes


def ensembles(results: Results) -> list[str]:
    """What every ensemble is made of."""
    notes = []
    for cell, seed in results.folders:
        made_of = results.ensemble(cell, seed)
        if made_of["members"]:
            names, averaged = ", ".join(made_of["members"]), max(made_of["average"], default=1)
            each = f", each the mean of {averaged} checkpoints" if averaged > 1 else ""
            notes.append(
                f"Ensemble: {cell}, seed {seed}: the probabilities of {names}{each}, averaged at "
                "each step; its parameters and seconds are the sums of theirs."
            )
    return notes


def reading(other: str, spread: bool, differences: list[Difference]) -> list[str]:
    """How to read the marks of a table that compares with `other`."""
    notes = []
    if spread:
        notes.append("± is the sample standard deviation over seeds (n - 1).")
    if any(item.p is not None for item in differences):
        notes.append(
            f"† differs from {other} at p < {SIGNIFICANT} over sentences: "
            f"two-sided paired bootstrap over test sentences (Koehn 2004), {RESAMPLES} resamples, "
            "scores averaged over seeds; not corrected for the number of comparisons."
        )
    if any(item.p_seeds is not None for item in differences):
        notes.append(
            f"‡ differs from {other} at p < {SIGNIFICANT} over seeds: two-sided "
            "Welch t-test of the seeds' scores, unpaired; it takes them as independent and normal, "
            "and with few seeds it sees large differences only; not corrected for the number of "
            "comparisons."
        )
    return notes


def not_compared(results: Results) -> list[str]:
    """The cells that the bootstrap does not compare with the baseline, by the reason."""
    cells: dict[str, list[str]] = {}
    for cell, reason in results.not_compared.items():
        cells.setdefault(reason, []).append(cell)
    return [
        f"{'Not compared with' if not_comparable(results, names[0]) else 'No bootstrap against'} "
        f"{results.baseline} ({reason}): {', '.join(names)}"
        for reason, names in cells.items()
    ]


def same_trainings(results: Results) -> list[str]:
    """The cells whose seeds say nothing of the difference from the baseline's."""
    others = [cell for cell in results.cells if cell != results.baseline]
    names = [cell for cell in others if results.same_training(cell, results.baseline)]
    if not names:
        return []
    trained = f"the same trainings as {results.baseline}, searched otherwise"
    return [f"No test over seeds ({trained}): {', '.join(names)}"]


def verdicts(given: list[str]) -> list[str]:
    """What the verdicts mean that are in the table."""
    if not given:
        return []
    rules = {
        "(our spread)": "(our spread): the source gives no spread; value ± 2 of our standard "
        "deviations over seeds is taken instead.",
        "(no spread)": "(no spread): the source gives no spread and we have one seed, so the two "
        "numbers are compared as they are.",
        "unverified": "unverified: nobody here has seen the published number in its source, so "
        "there is no verdict.",
    }
    texts = [
        "Verdict: where our mean stands, as printed, beside the published spread (low to high); "
        "above and below are about the number, not about its worth.",
        *(text for mark, text in rules.items() if any(mark in verdict for verdict in given)),
    ]
    return [" ".join(texts)]


def padding(results: Results) -> list[str]:
    """Every run that has ever attended to padding, which none may."""
    logged = pd.concat([results.finals, results.curves])
    found = logged[logged["metric"].str.contains("padding_weight") & (logged["value"] != 0)]
    return [
        f"Attention on padding, which must be exactly 0: {cell}, seed {seed}: up to "
        f"{part['value'].max(skipna=False):.2g} of a target token's weight"
        for (cell, seed), part in found.groupby(["cell", "seed"], sort=False)
    ]


def missing(results: Results) -> list[str]:
    """Every run that has not ended well, with the reason, and every file that could not be read."""
    notes = []
    for run in results.runs.to_dict("records"):
        name = f"{run['cell']}, seed {run['seed']}"
        if run["state"] == "failed":
            notes.append(f"Failed: {name}: {run['reason']}")
        elif run["state"] in ("running", "stopped"):
            # A missing step is None in a column of nothing else, and NaN among numbers.
            known = run["step"] is not None and run["step"] == run["step"]
            step = f"step {int(run['step'])} so far" if known else "no step logged yet"
            notes.append(f"Not finished: {name}: {step}")
        elif run["state"] == "missing":
            notes.append(f"Not started: {name}")
    notes += _without(results)
    return notes + [f"Not read: {problem}" for problem in dict.fromkeys(results.problems)]


def _without(results: Results) -> list[str]:
    """Every finished run that lacks what finished runs have: a mean would be of fewer seeds."""
    runs = [(cell, seed) for cell in results.cells for seed in results.finished(cell)]
    scored = set(zip(results.finals["cell"], results.finals["seed"], strict=True))
    written = {run for run in runs if results.has_predictions(*run)}
    return [
        f"No {what} of the test: {cell}, seed {seed}"
        for what, those in (("metrics", scored), ("translations", written))
        for cell, seed in runs
        if those and (cell, seed) not in those
    ]


def _device(environment: dict[str, Any]) -> str:
    """`2 x NVIDIA H100`, `AMD EPYC, 2 cores`"""
    facts: dict[str, Any] = {"devices": 1, "platform": "", "cores": 0} | environment
    count = f"{facts['devices']} x " if facts["devices"] > 1 else ""
    cores = facts["cores"] if facts["platform"] == "cpu" else 0
    of_cores = f", {cores} core{'s' if cores > 1 else ''}" if cores else ""
    return f"{count}{facts['device']}{of_cores}"


def _several(texts: list[str]) -> str:
    """The different ones among texts of all runs, which usually are one."""
    return " | ".join(dict.fromkeys(str(text) for text in texts if text))
