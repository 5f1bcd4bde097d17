import numpy as np
import pytest

import clstm
from clstm import random
from clstm.layers.dropout import dropout_mask


@pytest.fixture(autouse=True)
def as_before():
    state = random.get_state()
    yield
    random.set_state(state)


def test_the_seed_decides_the_keys():
    clstm.set_seed(5)
    first = [random.next_key() for _ in range(1000)]
    assert len(set(first)) == 1000 and all(0 <= key < 2**64 for key in first)
    clstm.set_seed(5)
    assert [random.next_key() for _ in range(1000)] == first
    clstm.set_seed(6)
    assert not set(first) & {random.next_key() for _ in range(1000)}


def test_states_go_on():
    clstm.set_seed(2**64 - 1)
    random.next_key()
    state = random.get_state()
    first = [random.next_key() for _ in range(3)]
    random.set_state(state)
    assert [random.next_key() for _ in range(3)] == first
    state["calls"] = 99  # a copy
    assert random.get_state()["calls"] == 4


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError),
     (None, TypeError)],
)  # fmt: skip
def test_bad_seeds(seed, error):
    before = random.get_state()
    with pytest.raises(error, match="seed: "):
        clstm.set_seed(seed)
    assert random.get_state() == before


def test_numpy_seeds():
    clstm.set_seed(np.uint64(2**63))
    assert random.get_state() == {"seed": 2**63, "calls": 0}


@pytest.mark.parametrize("state", [{}, {"seed": 1}, {"seed": -1, "calls": 0}, 3,
                                   {"seed": 1, "calls": -1},
                                   {"seed": 1, "calls": "a"}])  # fmt: skip
def test_bad_states(state):
    before = random.get_state()
    with pytest.raises((ValueError, TypeError), match=r"state|seed"):
        random.set_state(state)
    assert random.get_state() == before


def test_generators():
    clstm.set_seed(1)
    a, b = random.generator().random(4), random.generator().random(4)
    assert (a != b).all()
    np.testing.assert_array_equal(random.generator(3).random(4), random.generator(3).random(4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_masks(dtype):
    masks = {}
    threads = clstm.config.get_num_threads()
    try:
        for count in (1, 2, 3, 5):
            clstm.config.set_num_threads(count)
            clstm.set_seed(4)
            masks[count] = dropout_mask((321, 123), 0.3, dtype)
    finally:
        clstm.config.set_num_threads(threads)
    for mask in masks.values():
        np.testing.assert_array_equal(mask, masks[1])
    one = masks[1]
    assert set(np.unique(one)) == {0, np.dtype(dtype).type(1 / 0.7)}
    share = (one == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / one.size)
    assert (dropout_mask((321, 123), 0.3, dtype) != one).any()
    assert (dropout_mask((5, 5), 0.0, dtype) == 1).all()


def test_first_weights_do_not_depend_on_dtype():
    weights = []
    for dtype in ("float32", "float64"):
        clstm.set_seed(8)
        layer = clstm.LSTM(3, dtype=dtype)
        layer(np.zeros((1, 2, 2)))
        weights.append(layer.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b.astype("f4"))
