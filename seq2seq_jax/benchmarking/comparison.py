"""This program beside another one: ratios of windows that were taken one after the other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seq2seq_jax.benchmarking.peers import Peer
from seq2seq_jax.benchmarking.training import Training
from seq2seq_jax.benchmarking.translation import Searched

IDLE = 0.05  # of a core; a program that waits and takes more disturbs the other one


def compare(
    searches: Mapping[str, Searched], peer: Peer, training: Training | None = None
) -> dict[str, Any]:
    """What the peer reached, and ours / theirs pair by pair."""
    answers = [answer for windows in peer.windows.values() for answer in windows]
    searched = {}
    for name, ours in searches.items():
        translated = peer.windows[name]
        rates = [answer["sentences"] / answer["seconds"] for answer in translated]
        searched[name] = {
            "sentences_per_second": spread(rates),
            "ratio": spread(_ratios(ours.sentences_per_second, rates)),
            "mean_tokens": translated[0]["tokens"] / translated[0]["sentences"],
        }
    return {
        "name": peer.arm.name,
        **peer.description,
        **(_trained(training, peer) if training else {}),
        "searches": searched,
        "idle_share": {
            "ours": max(answer["ours_idle_share"] for answer in answers),
            "theirs": max(answer["idle_share"] for answer in answers),
        },
    }


def _trained(training: Training, peer: Peer) -> dict[str, Any]:
    tokens = [answer["targets"] / answer["seconds"] for answer in peer.windows["train"]]
    return {
        "first_loss": peer.warm_up["train"]["losses"][0],
        "our_first_loss": training.first_loss,
        "tokens_per_second": spread(tokens),
        "training_ratio": spread(_ratios(training.tokens_per_second, tokens)),
    }


def _training_rows(peer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "target tokens a second", show_spread(peer["tokens_per_second"])
    yield "ours / theirs, training", show_spread(peer["training_ratio"], "pairs", 2)
    losses = f"{peer['first_loss']:.5f}; ours {peer['our_first_loss']:.5f}"
    yield "loss of the first update", losses


def _searched(searches: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for name, found in searches.items():
        yield f"{name} sentences a second", show_spread(found["sentences_per_second"])
        yield f"ours / theirs, {name}", show_spread(found["ratio"], "pairs", 2)
        yield "tokens of a translation", f"{found['mean_tokens']:.1f}"


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def spread(values: list[float]) -> dict[str, Any]:
    """Median, least and most of the windows, and all of them."""
    median, least, most = np.median(values), min(values), max(values)
    return {"median": float(median), "min": least, "max": most, "windows": values}


def show_spread(found: Mapping[str, Any], what: str = "windows", digits: int = 0) -> str:
    """As `2.13 [2.08 to 2.20, 5 pairs]`."""
    median, least, most = (f"{found[key]:,.{digits}f}" for key in ("median", "min", "max"))
    return f"{median}  [{least} to {most}, {len(found['windows'])} {what}]"


def rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result says about its peers, as (what, how much)."""
    found = []
    for peer in result["against"]:
        idle = peer["idle_share"]
        disturbs = max(idle.values()) > IDLE
        found += [
            ("", ""),
            ("against", f"{peer['program']}, {peer['name']}, threads: {peer['threads']}"),
            *(_training_rows(peer) if "training_ratio" in peer else ()),
            *_searched(peer["searches"]),
            ("parameters", f"{peer['parameters']:,}"),
            ("product of 2048 x 2048", f"{peer['products_per_second'] / 1e9:,.1f} GFLOP/s"),
            (
                "busy while it should wait",
                f"theirs {idle['theirs']:.1%}, ours {idle['ours']:.1%} of a core"
                + (", NOT IDLE" if disturbs else ""),
            ),
        ]
    return found
