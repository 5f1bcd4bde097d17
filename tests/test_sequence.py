"""Teacher forcing and scheduled sampling: what a model reads while it learns to write."""

import numpy as np
import pytest

import clstm
from clstm.sequence import scheduled_sampling, shift_right

TOKENS = np.array([[5, 6, 7, 2], [8, 2, 0, 0]], np.int32)
INPUTS = [[1, 5, 6, 7], [1, 8, 0, 0]]


def test_shift_right():
    found = shift_right(TOKENS, 1)
    assert found.dtype == np.int32 and found.tolist() == INPUTS
    assert TOKENS[0, 0] == 5  # as it was
    assert shift_right([[3, 9]], 9, padding=-1).tolist() == [[9, 3]]


def test_no_tokens_are_replaced_at_a_rate_of_0_and_all_at_1():
    logits = np.full((2, 4, 9), -1e9)
    logits[0, range(4), [3, 4, 3, 4]] = logits[1, range(4), [5, 6, 7, 8]] = 0
    assert scheduled_sampling(INPUTS, logits, 0).tolist() == INPUTS
    assert scheduled_sampling(INPUTS, logits, 1).tolist() == [[1, 3, 4, 3], [1, 5, 0, 0]]


def test_shares_are_those_of_rate_and_softmax():
    inputs = np.ones((400, 100), int)
    logits = np.log(np.tile([0.7, 0.001, 0.2, 0.1], (400, 100, 1)))
    found = scheduled_sampling(inputs, logits, 0.5, padding=0, seed=3)[:, 1:]
    shares = np.bincount(found.ravel(), minlength=4) / found.size
    p = np.array([0, 0.001, 0.2, 0.1]) / 0.301  # the padding is not drawn
    expected = 0.5 * p + [0, 0.5, 0, 0]
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.25 / found.size))


def test_seeds():
    logits = np.zeros((2, 4, 9), np.float32)
    assert (scheduled_sampling(INPUTS, logits, 1, seed=1)
            == scheduled_sampling(INPUTS, logits, 1, seed=1)).all()  # fmt: skip
    clstm.set_seed(0)
    first, second = (scheduled_sampling(INPUTS, logits, 1) for _ in range(2))
    clstm.set_seed(0)
    assert (first == scheduled_sampling(INPUTS, logits, 1)).all() and (first != second).any()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: shift_right([1, 2], 1), "tokens: expected shape"),
    (lambda: shift_right([[1.5]], 1), "tokens: expected"),
    (lambda: shift_right(TOKENS, 0), "start: expected another token than padding, got 0"),
    (lambda: shift_right(TOKENS, "a"), "start: expected"),
    (lambda: scheduled_sampling(INPUTS, np.zeros((2, 3, 9)), 0.5), "logits: expected shape"),
    (lambda: scheduled_sampling(INPUTS, np.full((2, 4, 9), np.nan), 0.5), "logits: .* NaN"),
    (lambda: scheduled_sampling(INPUTS, np.zeros((2, 4, 9)), 1.5), "rate: expected"),
    (lambda: scheduled_sampling([1], np.zeros((2, 4, 9)), 0.5), "inputs: expected shape"),
])  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
