"""lbfgs: against least squares and SciPy on the model's own loss; errors; what stays."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Dropout, Sequential, lbfgs

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5, 3)), RNG.normal(size=40)


def model(dtype="float64", **options):
    clstm.set_seed(1)
    made = Sequential([LSTM(4, input_shape=(5, 3), dtype=dtype), Dense(1, dtype=dtype, **options)])
    made.compile("adam", "mse")
    return made


def test_least_squares():
    x, w = RNG.normal(size=(30, 4)), RNG.normal(size=4)
    y = x @ w + 0.3 + 0.1 * RNG.normal(size=30)
    made = Sequential([Dense(1, input_shape=(4,), dtype="float64")])
    made.compile("sgd", "mse")
    found = lbfgs(made, x, y, tolerance=1e-9)
    best = np.linalg.lstsq(np.c_[x, np.ones(30)], y, rcond=None)[0]
    kernel, bias = made.get_weights()
    np.testing.assert_allclose([*kernel[:, 0], *bias], best, rtol=1e-6)
    assert found.converged and found.loss == pytest.approx(made.evaluate(x, y), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_lstm_with_penalties(dtype):
    made = model(dtype, kernel_regularizer="l2")
    start = made.evaluate(X, Y)
    found = lbfgs(made, X, Y, max_iterations=60)
    assert found.loss == pytest.approx(made.evaluate(X, Y), rel=1e-5)
    assert found.loss < 0.5 * start and 0 < found.iterations <= found.evaluations
    assert made.optimizer.iterations == 0
    adam = model(dtype, kernel_regularizer="l2")
    adam.fit(X, Y, batch_size=40, epochs=found.evaluations, verbose=0)
    assert found.loss < adam.evaluate(X, Y)  # as many gradients


def test_the_same_bits_on_any_threads(restore):
    found = []
    for threads in (1, 3):
        clstm.config.set_num_threads(threads)
        made = model("float32")
        lbfgs(made, X, Y, max_iterations=20)
        found.append(b"".join(w.tobytes() for w in made.get_weights()))
    assert found[0] == found[1]


def test_frozen_weights_and_dropout():
    clstm.set_seed(1)
    made = Sequential([LSTM(4, input_shape=(5, 3)), Dropout(0.5), Dense(1)])
    made.layers[0].trainable = False
    made.compile("adam", "mse")
    before, state = made.get_weights(), clstm.random.get_state()
    one = lbfgs(made, X, Y)
    assert clstm.random.get_state() == state
    moved = [(a != b).any() for a, b in zip(before, made.get_weights(), strict=True)]
    assert moved == [False] * 3 + [True] * 2
    assert one.loss == pytest.approx(made.evaluate(X, Y), rel=1e-5)


def test_an_interrupt_keeps_the_last_iteration(monkeypatch):
    whole = model()
    lbfgs(whole, X, Y, max_iterations=3)
    made, runs = model(), []
    forward = made._executor.forward

    def stops(*args, **options):
        runs.append(args)
        if len(runs) == 9:
            raise KeyboardInterrupt
        return forward(*args, **options)

    monkeypatch.setattr(made._executor, "forward", stops)
    with pytest.raises(KeyboardInterrupt):
        lbfgs(made, X, Y, max_iterations=50)
    monkeypatch.undo()
    start = model().evaluate(X, Y)
    assert made.evaluate(X, Y) < start


def test_errors():
    made = model()
    before = made.get_weights()
    for options, error, words in [
        ({"max_iterations": 0}, ValueError, "max_iterations: "),
        ({"tolerance": 0}, ValueError, "tolerance: "),
        ({"memory": 1.5}, TypeError, "memory: "),
        ({"y": None}, ValueError, "y: expected labels"),
        ({"y": Y[:3]}, ValueError, "y: "),
        ({"x": X[:0], "y": Y[:0]}, ValueError, "x: .*at least one row"),
        ({"model": None}, TypeError, "model: "),
        ({"y": np.full(40, 1e300)}, FloatingPointError, "the loss became inf"),
    ]:
        with pytest.raises(error, match=words), np.errstate(all="ignore"):
            lbfgs(**({"model": made, "x": X, "y": Y} | options))
    assert all((a == b).all() for a, b in zip(before, made.get_weights(), strict=True))
    with pytest.raises(ValueError, match=r"model: .*no constraints"):
        lbfgs(model(kernel_constraint="non_neg"), X, Y)
    for layer in made.layers:
        layer.trainable = False
    made.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"model: .*weights to train"):
        lbfgs(made, X, Y)
    stateful = Sequential([LSTM(2, stateful=True, input_shape=(5, 3)), Dense(1)])
    stateful.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"model: .*stateful"):
        lbfgs(stateful, X, Y)
