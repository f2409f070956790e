import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.encoders import reversed_order
from seq2seq_jax.models.layers import Noise
from seq2seq_jax.models.recurrent import CELLS
from tests import reference
from tests.small import ROUNDING, SOURCE_SIZE, flat, nested, rows, small_model

H = 3
LENGTHS = (5, 3, 0, 1, 2)
SOURCE = jnp.asarray(rows(LENGTHS, 5, SOURCE_SIZE))


@functools.cache
def encoder(**overrides):
    graphdef, params = small_model(**{f"encoder.{k}": v for k, v in overrides.items()})
    return jax.jit(lambda ids, noise=None: nnx.merge(graphdef, params).encoder(ids, noise)), {
        "embedding": flat(params)["encoder/embedding/table"],
        "layers": nested(flat(params))["encoder"]["layers"],
    }


def compose(p, ids, *, cell, directions, residual):
    """(memory, last carries of the layers) of one example, by the reference's cells."""
    x = p["embedding"][ids]
    finals = []
    for layer in range(len(p["layers"])):
        outputs, carries = [], []
        for direction in range(directions):
            xs = x[::-1] if direction else x
            cells = p["layers"][str(layer)][str(direction)]
            along = reference.run(cell, xs, cells, reference.zeros(cell, H))
            hs = [carry[0] for carry in along]
            outputs.append(hs[::-1] if direction else hs)
            carries.append(along[-1])
        h = np.concatenate(outputs, axis=-1)
        finals.append([np.concatenate(entry) for entry in zip(*carries, strict=True)])
        x = x + h if residual and layer else h
    return x, finals


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_and_directions_compose(cell, reverse, layers=2):
    """Residual and unidirectional where `reverse`, to cover each with few programs."""
    encode, p = encoder(
        cell=cell,
        layers=layers,
        residual=reverse,
        bidirectional=not reverse,
        reverse_source=reverse,
    )
    memory = encode(SOURCE)
    directions = 1 if reverse else 2
    assert memory.memory_BSM.shape == (5, 5, H * directions)
    assert len(memory.final) == layers
    for row, length in enumerate(LENGTHS):
        if not length:
            continue
        ids = np.array(SOURCE)[row, :length]
        order = np.arange(length)
        if reverse:
            order[:-1] = order[:-1][::-1]  # the words turn round, the end token stays last
        want, finals = compose(p, ids[order], cell=cell, directions=directions, residual=reverse)
        np.testing.assert_allclose(memory.memory_BSM[row, :length], want[order], **ROUNDING)
        for got, final in zip(memory.final, finals, strict=True):
            for got_entry, entry in zip(got, final, strict=True):
                np.testing.assert_allclose(got_entry[row], entry, **ROUNDING)
        np.testing.assert_array_equal(memory.summary_BM[row], memory.final[-1][0][row])


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_batch_size_and_order_change_nothing(reverse):
    encode, _ = encoder(bidirectional=True, reverse_source=reverse)
    memory = encode(SOURCE)
    order = np.array([3, 0, 1])
    other = encode(jnp.pad(SOURCE[order], ((0, 0), (0, 4))))
    close = {"rtol": 1e-6, "atol": 1e-7}
    np.testing.assert_allclose(other.memory_BSM[:, :5], memory.memory_BSM[order], **close)
    np.testing.assert_array_equal(other.memory_BSM[:, 5:], 0.0)
    np.testing.assert_allclose(other.summary_BM, memory.summary_BM[order], **close)
    np.testing.assert_array_equal(other.valid_BS[:, :5], memory.valid_BS[order])
    assert not other.valid_BS[:, 5:].any()
    # A row of padding alone is zeros: no NaN, no bias that comes through.
    np.testing.assert_array_equal(memory.memory_BSM[2], 0.0)
    np.testing.assert_array_equal(memory.summary_BM[2], 0.0)


def test_reversal_turns_words_and_leaves_the_end_token_and_padding():
    ids_BS = jnp.array([[4, 5, 6, 2, 0], [7, 2, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    want = [[6, 5, 4, 2, 0], [7, 2, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    order_BS = np.asarray(reversed_order(jnp.asarray(ids_BS != 0)))
    once = np.take_along_axis(np.asarray(ids_BS), order_BS, 1)
    np.testing.assert_array_equal(once, want)
    np.testing.assert_array_equal(np.take_along_axis(once, order_BS, 1), ids_BS)


def test_source_reversal_changes_what_is_read_first_and_not_where_it_stands():
    """Forward cell over reversed words: position s still belongs to word s of the source."""
    encode, _ = encoder(bidirectional=False, reverse_source=True)
    before = np.array(encode(SOURCE).memory_BSM)
    changed = SOURCE.at[0, 1].set(SOURCE[0, 1] % 4 + 4 + 1)
    assert changed[0, 1] != SOURCE[0, 1]
    moved = (np.array(encode(changed).memory_BSM) != before).any(axis=-1)
    # Words 3, 2 are read before word 1; it, word 0 and the end token after it change.
    np.testing.assert_array_equal(moved[0], [True, True, False, False, True])
    assert not moved[1:].any()


class TestDropout:
    KEY = jax.random.key(5)
    IDS = jnp.full((3, 6), 7)

    def noise(self, input=0.0, output=0.0):
        return Noise(self.KEY, jnp.float32(input), jnp.float32(output))

    def encode(self, noise, same_over_time=False, layers=1):
        graphdef, params = small_model(
            **{"dropout.same_over_time": same_over_time, "encoder.layers": layers}
        )
        run = jax.jit(lambda ids, noise: nnx.merge(graphdef, params).encoder(ids, noise))
        return run(self.IDS, noise)

    def test_rate_0_is_no_dropout(self):
        noisy, clean = self.encode(self.noise(), layers=2), self.encode(None, layers=2)
        jax.tree.map(np.testing.assert_array_equal, noisy, clean)

    @pytest.mark.parametrize("same", [False, True])
    def test_output_masks_are_shared_over_time_when_asked(self, same):
        clean_BSM = np.array(self.encode(None, same).memory_BSM)
        noisy_BSM = np.array(self.encode(self.noise(output=0.5), same).memory_BSM)
        kept = noisy_BSM != 0
        np.testing.assert_allclose(noisy_BSM[kept], 2 * clean_BSM[kept], rtol=1e-6)
        assert 0.3 < kept.mean() < 0.7
        assert (kept == kept[:, :1]).all() == same
        assert (kept[0] != kept[1]).any()  # examples differ

    @pytest.mark.parametrize("same", [False, True])
    def test_input_masks_are_shared_over_time_when_asked(self, same):
        """One word everywhere: an input mask shared over time feeds the same vector at each step,
        so that the backward cell at position 0 equals the forward one at the end."""
        graphdef, params = small_model(**{"dropout.same_over_time": same})
        layers = params["encoder"]["layers"][0]
        params = jax.tree.map(lambda x: x, params)
        params["encoder"]["layers"][0] = {**layers, 1: layers[0]}
        encode = jax.jit(lambda p, noise: nnx.merge(graphdef, p).encoder(self.IDS, noise))
        memory_BSM = encode(params, self.noise(input=0.5)).memory_BSM
        symmetric = np.allclose(memory_BSM[:, 0, H:], memory_BSM[:, -1, :H], atol=1e-6)
        assert symmetric == same
        clean_BSM = encode(params, None).memory_BSM
        assert not np.allclose(memory_BSM, clean_BSM, atol=1e-3)
