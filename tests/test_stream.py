"""`model.stream`: a model that is fed one step at a time."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Embedding, Input, Sequential


def model(**options):
    clstm.set_seed(3)
    return Sequential([LSTM(20, input_shape=(None, 4), return_sequences=True, **options),
                       Dense(6, activation="relu"), LSTM(8), Dense(2)])  # fmt: skip


def sequences(rows=3, time=7):
    return np.random.default_rng(1).normal(size=(rows, time, 4)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"projection": 5}])
def test_steps_give_what_the_sequence_gives(options):
    m, x = model(**options), sequences()
    stream = m.stream(3)
    for t in range(x.shape[1]):
        y = stream.step(x[:, t])
    assert y.shape == (3, 2)
    np.testing.assert_allclose(y, m.predict(x), rtol=0, atol=1e-6)


def test_steps_of_the_native_backend_have_the_same_bits():
    if not any(isa != "scalar" for isa in clstm.config.available_isas()):
        pytest.skip("this CPU has no instruction set with native kernels")
    m, x = model(), sequences()
    stream = m.stream(3)
    for t in range(x.shape[1]):
        y = stream.step(x[:, t])
    np.testing.assert_array_equal(y, m.predict(x))


def test_tokens():
    clstm.set_seed(3)
    m = Sequential([Embedding(9, 5), LSTM(6), Dense(1)])
    ids = np.array([[1, 8, 3], [0, 2, 2]])
    wanted = m.predict(ids)
    stream = m.stream(2)
    for t in range(3):
        y = stream.step(ids[:, t])
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


def test_reset_of_some_rows_begins_new_sequences_there():
    m, x = model(), sequences()
    stream = m.stream(3)
    stream.step(x[:, 0])
    stream.reset([1])
    y = stream.step(x[:, 1])
    np.testing.assert_allclose(y[1], m.predict(x[1:2, 1:2])[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(y[2], m.predict(x[2:3, :2])[0], rtol=0, atol=1e-6)
    stream.reset()
    assert not any(a.any() for state in stream.state for a in state)


def test_the_state_can_be_kept_and_given_back():
    m, x = model(), sequences()
    stream = m.stream(3)
    stream.step(x[:, 0])
    state = stream.state
    first = stream.step(x[:, 1])
    stream.state = state
    np.testing.assert_array_equal(stream.step(x[:, 1]), first)
    state[0][0][...] = np.nan  # a copy
    assert np.isfinite(stream.step(x[:, 2])).all()


def test_the_weights_are_those_of_the_time_it_was_made():
    m, x = model(), sequences()
    stream, wanted = m.stream(3), m.predict(x[:, :1])
    for layer in m.layers:
        for weight in layer.params.values():
            weight[...] = 0
    np.testing.assert_array_equal(stream.step(x[:, 0]), wanted)


def test_wrong_uses():
    stream = model().stream(3)
    with pytest.raises(ValueError, match=r"x: expected shape \(3, 4\), got \(2, 4\)"):
        stream.step(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="state: expected 2 states"):
        stream.state = []
    with pytest.raises(ValueError, match=r"state: expected 2 states.*, got NoneType"):
        stream.state = None
    with pytest.raises(ValueError, match=r"state\[0\]: expected shape \(3, 20\)"):
        stream.state = [(np.zeros((3, 4)), np.zeros((3, 20))), (np.zeros((3, 8)),) * 2]
    with pytest.raises(ValueError, match=r"state\[1\]: expected 2 arrays.*, got tuple of 1"):
        stream.state = [(np.zeros((3, 20)), np.zeros((3, 20))), (np.zeros((3, 8)),)]
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        model().stream(0)
    with pytest.raises(ValueError, match="read step by step, without masks, got Bidir"):
        Sequential([clstm.Bidirectional(LSTM(3), input_shape=(None, 2))]).stream()
    with pytest.raises(ValueError, match="expected at least one LSTM"):
        Sequential([Dense(3, input_shape=(2,))]).stream()
    with pytest.raises(ValueError, match="expected a built one"):
        Sequential([LSTM(3)]).stream()


def test_an_embedding_that_masks_is_refused():
    masked = Sequential([Input((None,)), Embedding(5, 3, mask_zero=True), LSTM(3)])
    with pytest.raises(ValueError, match="without masks, got Embedding"):
        masked.stream(2)


@pytest.mark.parametrize("rows", [[3], [-1], [0.5], [True, False]])
def test_rows_to_reset_are_checked(rows):
    with pytest.raises(ValueError, match="rows: expected"):
        model().stream(3).reset(rows)
