"""cuDNN's LSTM against the scan.

Without a CUDA device a stand-in computes what the primitives of `jax.experimental.rnn` do, by the
reference that JAX's own tests compare cuDNN with; all around them is as it is on a GPU, where
`JAX_PLATFORMS=cuda` before pytest lets the real one run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental import rnn
from jax.interpreters import mlir

import seq2seq_jax
from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking.benchmark import benchmark
from seq2seq_jax.benchmarking.machine import Quiet
from seq2seq_jax.data import Vocabulary
from seq2seq_jax.models import cudnn
from seq2seq_jax.training.checkpoints import Checkpoints
from seq2seq_jax.training.deferred import deferred
from seq2seq_jax.training.step import init_state, make_train_step
from seq2seq_jax.types import SPECIALS, InputError
from tests.small import ROUNDING, SOURCE_SIZE, flat, rows, small_batch, small_model
from tests.training import tiny_run
from tests.training.test_step import KEY, SGD, config, hyper

REAL = cudnn.available()
LSTM = {"encoder.cell": "lstm", "encoder.layers": 2}
SOURCE = jnp.asarray(rows((5, 3, 0, 1, 2), 5, SOURCE_SIZE))


def reference(x, h_0, c_0, w, lengths, *, cudnn_allow_tf32, **sizes):
    weights = rnn.unpack_lstm_weights(
        w, *(sizes[key] for key in ("input_size", "hidden_size", "num_layers", "bidirectional"))
    )
    return rnn.lstm_ref(x, h_0, c_0, *weights, lengths, *sizes.values())


def spoil(array, where):
    """NaN where somebody must not look."""
    return jnp.where(jnp.broadcast_to(where, array.shape), jnp.nan, array)


def padding(x, lengths):
    return (jnp.arange(x.shape[1])[None] >= lengths[:, None])[..., None]


def forward(x, h_0, c_0, w, lengths, **params):
    """Nothing is promised of padding, and with a row of length 0 it fails."""
    y, *last = reference(x, h_0, c_0, w, lengths, **params)
    found = [spoil(y, padding(x, lengths)), *last, jnp.zeros(1)]
    return [spoil(each, (lengths < 1).any()) for each in found]


def backward(dy, dh, dc, x, h_0, c_0, w, y, reserved, lengths, **params):
    """As `forward`; gradients that come in at padding spoil all."""
    _, pull = jax.vjp(lambda *inputs: reference(*inputs, lengths, **params), x, h_0, c_0, w)
    dx, *others = pull((dy, dh, dc))
    outside = padding(x, lengths)
    wrong = (lengths < 1).any() | jnp.where(outside, dy != 0, False).any()
    return [spoil(each, wrong) for each in (spoil(dx, outside), *others)]


@pytest.fixture
def on_gpu(monkeypatch):
    """As if there were a CUDA device, if there is none."""
    if REAL:
        return
    for primitive, function in ((rnn.rnn_fwd_p, forward), (rnn.rnn_bwd_p, backward)):
        mlir.register_lowering(primitive, mlir.lower_fun(function), platform="cpu")
    name = "compute_rnn_workspace_reserve_space_sizes"
    monkeypatch.setattr(rnn.gpu_rnn, name, lambda *sizes: (1, 1), raising=False)
    monkeypatch.setattr(cudnn, "available", lambda: True)


@pytest.fixture(params=["stand-in", "cuDNN"])
def either(request, on_gpu):
    if (request.param == "cuDNN") != REAL:
        pytest.skip("no CUDA device here" if not REAL else "a CUDA device is here")


def outcome(**overrides):
    """(memory, gradient of the parameters), where each number of the memory has its own weight."""
    graphdef, params = small_model(**LSTM, **overrides)

    def total(params):
        memory = nnx.merge(graphdef, params).encoder(SOURCE)
        leaves = memory.memory_BSM, *jax.tree.leaves(memory.final)
        weights = (jnp.cos(jnp.arange(x.size)).reshape(x.shape) for x in leaves)
        return sum(jnp.sum(x * w) for x, w in zip(leaves, weights, strict=True)), memory

    # As training does it: `deferred` evaluates the program of the gradient anew.
    with jax.default_matmul_precision("highest"):
        gradient, memory = jax.jit(deferred(jax.grad(total, has_aux=True)))(params)
    return memory, flat(gradient["encoder"])


def assert_same(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **ROUNDING), one, other)


@pytest.mark.parametrize("both", [True, False])
def test_memory_carries_and_gradients_are_those_of_the_scan(both, either):
    options = {
        "encoder.bidirectional": both,
        "encoder.residual": both,
        "encoder.reverse_source": not both,
    }
    scan, gradient = outcome(**options)
    other, its_gradient = outcome(**options, **{"encoder.kernel": "cudnn"})
    assert_same(other, scan)
    assert_same(its_gradient, gradient)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in gradient.values())


def program(function, *inputs):
    return jax.make_jaxpr(function)(*inputs).jaxpr


def calls(jaxpr, name):
    """The operations of this name, inner ones too."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == name:
            yield eqn
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from calls(inner, name)


@pytest.mark.parametrize("there", [True, False])
def test_an_update_calls_cudnn_twice_a_layer_or_is_the_scan_s(there, on_gpu, monkeypatch):
    monkeypatch.setattr(cudnn, "available", lambda: there)
    batch = jax.tree.map(jnp.asarray, small_batch())

    def update(kernel):
        model = LSTM | {"encoder.kernel": kernel}
        graphdef, params = small_model(**model)
        step = make_train_step(config(model, accumulation=2), graphdef, SGD)
        arguments = init_state(params, SGD, 0.0), batch, hyper(), KEY
        return program(functools.partial(step, forced=True), *arguments)

    found = update("cudnn")
    counts = [len(list(calls(found, name))) for name in ("rnn_fwd", "rnn_bwd")]
    assert counts == ([2, 2] if there else [0, 0])
    assert (str(found) == str(update("scan"))) != there


@pytest.mark.parametrize(
    ("setting", "tf32"),
    [
        (None, False),
        ("highest", False),
        ("float32", False),
        ("F32_F32_F32", False),
        ("high", True),
        ("bfloat16", True),
        ("TF32_TF32_F32", True),
    ],
)
def test_float32_unless_less_is_asked_for(setting, tf32, on_gpu):
    graphdef, params = small_model(**LSTM, **{"encoder.kernel": "cudnn"})

    def total(params):
        return nnx.merge(graphdef, params).encoder(SOURCE).memory_BSM.sum()

    with jax.default_matmul_precision(setting):
        jaxpr = program(jax.grad(total), params)
    found = [*calls(jaxpr, "rnn_fwd"), *calls(jaxpr, "rnn_bwd")]
    assert [eqn.params["cudnn_allow_tf32"] for eqn in found] == [tf32] * 4


def test_jax_still_has_no_rule_for_several_at_once(on_gpu):
    """With one, the refusals of populations could go."""
    graphdef, params = small_model(**LSTM, **{"encoder.kernel": "cudnn"})
    members = jax.tree.map(lambda x: jnp.stack([x, x]), params)
    with pytest.raises(NotImplementedError, match="Batching rule for 'rnn_fwd'"):
        program(jax.vmap(lambda p: nnx.merge(graphdef, p).encoder(SOURCE).memory_BSM), members)


def test_a_run_is_used_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(cudnn, "available", lambda: False)
    own = tiny_run.tiny_config()
    own.model.encoder.update({"cell": "lstm", "kernel": "cudnn"})
    configs.save(own, tmp_path / "config.json")
    letters = Vocabulary("space", False, "none", (*SPECIALS, *"abcdef"))
    (tmp_path / "vocabulary").mkdir()
    for side in ("source", "target"):
        letters.save(tmp_path / "vocabulary" / f"{side}.json")
    store = Checkpoints(tmp_path / "checkpoints", 1)
    store.save_best(5, tiny_run.tiny_model(own)[1])
    store.close()
    (tmp_path / "DONE").touch()
    run = seq2seq_jax.train(own, tmp_path)  # it has ended, so there is nothing to train
    assert run.step == 5
    (found,) = run.translate(["a b c"])
    assert np.isfinite(found.score)


def cudnn_config():
    changes = {"model.encoder.cell": "lstm", "model.encoder.kernel": "cudnn"}
    return configs.load("configs/default.py", changes)


def test_without_a_cuda_device_training_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(cudnn, "available", lambda: False)
    workdir = tmp_path / "run"
    device = jax.default_backend()
    words = rf"model\.encoder\.kernel = cudnn .* device here is {device}; take .* = scan"
    with pytest.raises(InputError, match=words):
        seq2seq_jax.train(cudnn_config(), workdir)
    assert not workdir.exists()
    with pytest.raises(InputError, match=words):
        benchmark("luong", cudnn_config(), Quiet(0.0, 1.0), windows=1, updates=1, sentences=1)


def test_several_devices_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cudnn, "available", lambda: True)
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    with pytest.raises(InputError, match=r"and there are 4; set CUDA_VISIBLE_DEVICES=0"):
        seq2seq_jax.train(cudnn_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_parameters_are_those_of_the_scan():
    one, other = (small_model(**LSTM, **{"encoder.kernel": k})[1] for k in ("scan", "cudnn"))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert [x.shape for x in jax.tree.leaves(one)] == [x.shape for x in jax.tree.leaves(other)]
