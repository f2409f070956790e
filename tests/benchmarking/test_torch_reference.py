"""The PyTorch program is the same model as ours: the same loss from the same weights.

Runs where PyTorch can be imported, by this Python or by that of SEQ2SEQ_JAX_TORCH_PYTHON.
"""

import os

import pytest

from seq2seq_jax.benchmarking import (
    benchmark,
    machine,
    peers,
    torch_arms,
    torch_input,
    training,
    workloads,
)
from seq2seq_jax.types import InputError

RECURRENT = {
    "data.batch_size": 8,
    "data.buckets": 1,
    "model.embedding": 3,
    "model.encoder.width": 2,
    "model.decoder.width": 4,
    "model.attention.width": 5,
    "evaluation.batch_size": 4,
}
TRANSFORMER = {
    "data.batch_size": 8,
    "data.buckets": 1,
    "model.embedding": 8,
    "model.encoder.width": 8,
    "model.decoder.width": 8,
    "model.transformer.mlp_width": 6,
    "evaluation.batch_size": 4,
}
# No coin falls on this side, yet both programs go step by step and score each step.
STEPS = {"teacher_forcing.ratio": 1 - 1e-7}
SECOND_BIASES = 4 * (2 * 2 + 4)  # of the LSTMs: PyTorch has two where one does the same

VARIANTS = {
    "dot, beam": ("g2p", {**RECURRENT, "model.attention.score": "dot", "evaluation.beam": 3}),
    "general, feeding": ("g2p", {**RECURRENT, "model.decoder.input_feeding": True}),
    "concat, step by step": ("g2p", {**RECURRENT, **STEPS, "model.attention.score": "concat"}),
    "bahdanau, feeding": (
        "g2p",
        {**RECURRENT, "model.decoder.order": "bahdanau", "model.decoder.input_feeding": True},
    ),
    "transformer, beam": ("transformer", {**TRANSFORMER, "evaluation.beam": 2}),
    "transformer, step by step": ("transformer", {**TRANSFORMER, **STEPS}),
}


@pytest.fixture(scope="module")
def python():
    try:
        return torch_arms.find_python(os.environ.get("SEQ2SEQ_JAX_TORCH_PYTHON"))
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", VARIANTS)
def test_both_are_the_same_function_of_the_same_weights(python, name, monkeypatch, tmp_path):
    monkeypatch.setattr(workloads, "EXAMPLES", 30)
    monkeypatch.setattr(machine, "SPIN", 0.001)
    monkeypatch.setattr(peers, "SETTLE", 0.0)
    monkeypatch.setattr(training, "seconds_alone", lambda products: 1.0)
    # Two threads on two busy cores wait for one another.
    monkeypatch.setattr(torch_input, "environment", lambda: {"cores": 1})
    workload, changes = VARIANTS[name]
    config, quiet = workloads.make_config(workload, changes), machine.Quiet(0.0, 1.0)
    result = benchmark.benchmark(
        workload,
        config,
        quiet,
        windows=1,
        updates=2,
        sentences=10,
        arms=torch_arms.make_arms(python, False, tmp_path),
        same_batches=True,
    )
    (theirs,) = result["against"]
    assert theirs["first_loss"] == pytest.approx(result["training"]["first_loss"], rel=2e-6)
    assert set(theirs["searches"]) == set(result["searches"])
    for name, found in result["searches"].items():
        assert theirs["searches"][name]["mean_tokens"] == found["mean_tokens"]
    more = 0 if workload == "transformer" else SECOND_BIASES
    assert theirs["parameters"] == result["parameters"] + more
