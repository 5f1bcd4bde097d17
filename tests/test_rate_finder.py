"""The learning-rate finder: what it finds, and that it changes nothing."""

import copy

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Sequential, find_learning_rate
from clstm import optimizers as O

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 6, 3)).astype("f4")
Y = X[:, :, 0].sum(axis=1)


def model(optimizer="adam", **options):
    clstm.set_seed(1)
    made = Sequential([LSTM(8, input_shape=(6, 3), dropout=0.1), Dense(1)])
    made.compile(optimizer, "mse", metrics=["mae"], **options)
    return made


def state(made):
    optimizer = made.optimizer
    return copy.deepcopy((made.get_weights(), optimizer.slots, optimizer.get_state(),
                          optimizer.get_config(), clstm.random.get_state()))  # fmt: skip


def equal(one, two):
    if isinstance(one, np.ndarray):
        return one.tobytes() == two.tobytes()
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


@pytest.mark.parametrize("trained", [False, True])
def test_it_leaves_all_as_it_was(trained):
    made = model(O.Adam(use_ema=True, gradient_accumulation_steps=2))
    if trained:
        made.fit(X, Y, batch_size=10, verbose=0)
    optimizer, before = made.optimizer, state(made)
    find_learning_rate(made, X, Y, batch_size=16)
    assert made.optimizer is optimizer and equal(before, state(made))
    other = model(O.Adam(use_ema=True, gradient_accumulation_steps=2))
    if trained:
        other.fit(X, Y, batch_size=10, verbose=0)
    for one in (made, other):
        clstm.set_seed(2)
        one.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert equal(made.get_weights(), other.get_weights())


def test_the_suggestion_trains_well():
    made = model("sgd")
    found = find_learning_rate(made, X, Y, batch_size=32, steps=120)
    assert 10 <= len(found.rates) == len(found.losses) == len(found.smoothed) <= 120
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 10, 120)[: len(found.rates)])
    assert 1e-3 < found.suggestion < 3
    ends = []
    for rate in (1e-6, found.suggestion):
        again = model(O.SGD(rate))
        ends.append(again.fit(X, Y, epochs=10, verbose=0).history["loss"][-1])
    assert ends[1] < 0.7 * ends[0]


def test_smoothing_and_end():
    made = model("sgd")
    found = find_learning_rate(made, X, Y, steps=200, highest=1e6, smoothing=0.5)
    assert len(found.losses) < 200
    weights = 0.5 ** np.arange(len(found.losses))
    expected = [np.average(found.losses[k::-1], weights=weights[: k + 1])
                for k in range(len(found.losses))]  # fmt: skip
    np.testing.assert_allclose(found.smoothed, expected, rtol=1e-6)


def test_a_loss_that_only_rises_has_no_suggestion():
    made = Sequential([Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(3,))])
    made.compile("sgd", "mse")
    x = RNG.normal(size=(64, 3))
    found = find_learning_rate(made, x, x.sum(axis=1) + 0 * x[:, 0], lowest=100, highest=1e4)
    assert found.suggestion is None


def test_after_an_error_and_from_iterables():
    made = model()
    before = state(made)
    with pytest.raises(FloatingPointError):
        find_learning_rate(made, X, np.full(96, 3e38))
    assert equal(before, state(made))
    batches = [(X[k : k + 8], Y[k : k + 8]) for k in range(0, 96, 8)]

    class Batches:
        def __iter__(self):
            return iter(batches)

    assert len(find_learning_rate(made, Batches(), steps=40).rates) > 12
    assert len(find_learning_rate(made, iter(batches), steps=40).rates) == 12
    with pytest.raises(ValueError, match=r"x: .*10 batches, got 4"):
        find_learning_rate(made, iter(batches[:4]), steps=40)
    assert equal(before, state(made))


def test_plot(tmp_path):
    found = find_learning_rate(model("sgd"), X, Y)
    figure = found.plot(tmp_path / "rates.png")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and (tmp_path / "rates.png").stat().st_size > 1000
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["smoothed"].get_ydata(), found.smoothed)
    np.testing.assert_array_equal(lines["each batch"].get_xdata(), found.rates)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lowest": 0}, ValueError, "lowest: .*> 0"),
        ({"lowest": 2, "highest": 1}, ValueError, "highest: .*> 2"),
        ({"steps": 9}, ValueError, "steps: .*10, got 9"),
        ({"steps": "all"}, TypeError, "steps: "),
        ({"smoothing": 1}, ValueError, "smoothing: "),
        ({"batch_size": 0}, ValueError, "batch_size: "),
        ({"y": None}, ValueError, "y: expected labels"),
        ({"model": 3}, TypeError, "model: "),
    ],
)
def test_errors(options, error, words):
    made = model()
    before = state(made)
    with pytest.raises(error, match=words):
        find_learning_rate(**({"model": made, "x": X, "y": Y} | options))
    assert equal(before, state(made))
