"""Penalties against finite differences, projections against their definitions."""

import numpy as np
import pytest

from clstm import (
    LSTM,
    ActivityRegularization,
    Bidirectional,
    Dense,
    Embedding,
    Sequential,
    SpatialDropout1D,
    constraints,
    regularizers,
)

W = np.random.default_rng(5).normal(size=(4, 3))
COSINES = np.abs(np.corrcoef(np.hstack([W, -W])))  # of rows whose mean is 0: their correlations


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(), 0.01 * np.abs(W).sum()),
        (regularizers.L1(0.3), 0.3 * np.abs(W).sum()),
        (regularizers.L2(), 0.01 * (W**2).sum()),
        (regularizers.L2(0.3), 0.3 * (W**2).sum()),
        (regularizers.L1L2(), 0.0),
        (regularizers.L1L2(0.1, 0.2), 0.1 * np.abs(W).sum() + 0.2 * (W**2).sum()),
        (regularizers.get("l1_l2"), 0.01 * np.abs(W).sum() + 0.01 * (W**2).sum()),
        (regularizers.OrthogonalRegularizer(0.3), 0.3 * (COSINES.sum() - 4) / 12),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_penalty_and_gradient(regularizer, expected, dtype):
    w = W.astype(dtype)
    penalty = regularizer(w)
    assert type(penalty) is float
    assert penalty == pytest.approx(expected, rel=1e-6 if dtype == np.float32 else 1e-12)
    start = np.full_like(w, 0.5)
    grad = start.copy()
    regularizer.add_gradient(w, grad)
    assert grad.dtype == dtype
    assert np.array_equal(w, W.astype(dtype))
    if dtype == np.float64:
        assert_slopes(regularizer, w, grad - start)


def assert_slopes(regularizer, w, gradient, step=1e-6):
    for index in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[index] += step
        down[index] -= step
        slope = (regularizer(up) - regularizer(down)) / (2 * step)
        assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_vectors(mode):
    regularizer = regularizers.OrthogonalRegularizer(0.5, mode)
    w = np.random.default_rng(6).normal(size=(3, 5))
    w[1] *= 5e-5  # shorter than Keras's least norm, which counts instead
    gradient = np.zeros_like(w)
    regularizer.add_gradient(w, gradient)
    assert_slopes(regularizer, w, gradient)
    assert regularizer(3 * np.eye(4)[:3]) == 0
    assert regularizer(np.ones((1, 1))) == 0
    with pytest.raises(ValueError, match=r"expected a matrix, got shape \(3,\)"):
        regularizer(np.ones(3))


def test_temporal_l2():
    regularizer = regularizers.TemporalL2(0.3)
    y = np.random.default_rng(6).normal(size=(2, 4, 3))
    assert regularizer(y) == pytest.approx(0.3 * (np.diff(y, axis=1) ** 2).sum())
    gradient = np.zeros_like(y)
    regularizer.add_gradient(y, gradient)
    assert_slopes(regularizer, y, gradient)
    assert regularizer(y[:, :1]) == 0
    with pytest.raises(ValueError, match=r"TemporalL2: expected shape \(B, T, features\)"):
        regularizer(y[0])


D = {"dtype": "float64"}
IDS = np.array([[1, 2, 3, 4], [4, 4, 0, 1], [2, 0, 0, 3]])
X = np.random.default_rng(7).normal(size=(3, 4, 2))


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ([Dense(3, activation="tanh", activity_regularizer="l1_l2", **D)], X),
        ([LSTM(3, return_sequences=True, activity_regularizer=regularizers.TemporalL2(), **D),
          SpatialDropout1D(0, activity_regularizer="l2", **D)], X),  # TAR and AR
        ([LSTM(3, num_layers=2, activity_regularizer="l2", **D)], X),
        ([Embedding(5, 2, activity_regularizer="l1", **D), LSTM(2, **D)], IDS),
        ([Bidirectional(LSTM(2, return_sequences=True, **D), activity_regularizer="l2")], X),
        ([Bidirectional(LSTM(2, **D), merge_mode=None, activity_regularizer="l2")], X),
        ([LSTM(2, recurrent_regularizer=regularizers.OrthogonalRegularizer(), **D),
          ActivityRegularization(0.1, 0.2, **D)], X),
    ],
)  # fmt: skip
def test_gradients_of_a_model_with_penalties(layers, x):
    """Central differences of the loss, against one step of SGD at a rate of 1."""
    model = Sequential(layers)
    model.build(x.shape)
    rng = np.random.default_rng(8)
    weights = [rng.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1.0
    y = [rng.normal(size=np.shape(p)) for p in listed(model.predict(x, verbose=0))]
    y = y if len(y) > 1 else y[0]

    def loss(shift):
        model.set_weights([w + shift * d for w, d in zip(weights, directions, strict=True)])
        return np.ravel(model.test_on_batch(x, y))[0]

    directions = [rng.normal(size=w.shape) for w in weights]
    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    loss(0)
    model.train_on_batch(x, y)
    taken = zip(weights, model.get_weights(), directions, strict=True)
    assert sum(((w - new) * d).sum() for w, new, d in taken) == pytest.approx(slope, rel=1e-7)


def listed(value):
    return value if isinstance(value, list) else [value]


def test_l1_has_no_gradient_at_zero():
    grad = np.zeros(2)
    regularizers.L1(0.5).add_gradient(np.zeros(2), grad)
    assert not grad.any()


def test_regularizer_names():
    assert type(regularizers.get("l1")) is regularizers.L1
    assert type(regularizers.get("L2")) is regularizers.L2
    for name in ("l1_l2", "l1l2", "L1L2"):
        assert regularizers.get(name).get_config() == {"l1": 0.01, "l2": 0.01}
    assert regularizers.get(None) is None


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)]
)
def test_bad_factors(value, error):
    for name, make in (("l1", regularizers.L1), ("l1", lambda v: regularizers.L1L2(l1=v)),
                       ("l2", regularizers.TemporalL2), ("l1", ActivityRegularization),
                       ("factor", regularizers.OrthogonalRegularizer)):  # fmt: skip
        with pytest.raises(error, match=f"{name}: expected"):
            make(value)
    with pytest.raises(ValueError, match="mode: expected 'rows' or 'columns', got 'both'"):
        regularizers.OrthogonalRegularizer(mode="both")


@pytest.mark.parametrize(
    "options",
    [{"bias_regularizer": regularizers.OrthogonalRegularizer()},
     {"bias_constraint": constraints.MaxNorm(axis=1)}],
)  # fmt: skip
def test_what_does_not_fit_a_weight_raises_when_it_is_made(options):
    layer = Dense(2, **options)
    with pytest.raises(ValueError, match=r"matrix|axis"):
        layer(np.ones((1, 3)))
    assert not layer.params and not layer.built


def norms(w, axis=0):
    return np.sqrt((w**2).sum(axis=axis))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1, (0, 1), [0]])
def test_norm_constraints(dtype, axis):
    w, axes = W.astype(dtype), tuple(axis) if isinstance(axis, list) else axis
    before = w.copy()
    found = norms(w, axes)
    for constraint, expected in (
        (constraints.MaxNorm(1.5, axis), np.minimum(found, 1.5)),
        (constraints.UnitNorm(axis), np.ones_like(found)),
        (constraints.MinMaxNorm(1.8, 2.2, 1.0, axis), np.clip(found, 1.8, 2.2)),
        (constraints.MinMaxNorm(1.8, 2.2, 0.25, axis),
         0.25 * np.clip(found, 1.8, 2.2) + 0.75 * found),
    ):  # fmt: skip
        projected = constraint(w)
        assert projected.dtype == dtype and projected.shape == w.shape
        np.testing.assert_allclose(norms(projected, axes), expected, rtol=2e-6)
        assert np.array_equal(w, before)
        cosine = (projected * w).sum(axes) / norms(projected, axes) / found
        np.testing.assert_allclose(cosine, 1, rtol=1e-5)


def test_defaults():
    assert constraints.MaxNorm().get_config() == {"max_value": 2, "axis": 0}
    assert constraints.UnitNorm().get_config() == {"axis": 0}
    assert constraints.MinMaxNorm().get_config() == {
        "min_value": 0.0,
        "max_value": 1.0,
        "rate": 1.0,
        "axis": 0,
    }


def test_zero_vectors_stay():
    for constraint in (constraints.MaxNorm(), constraints.UnitNorm(), constraints.MinMaxNorm(0.5)):
        assert not constraint(np.zeros((3, 2))).any()


def test_non_neg():
    assert np.array_equal(constraints.NonNeg()(W), np.where(W > 0, W, 0))


def test_constraint_names():
    for name, cls in (
        ("max_norm", constraints.MaxNorm),
        ("non_neg", constraints.NonNeg),
        ("unit_norm", constraints.UnitNorm),
        ("min_max_norm", constraints.MinMaxNorm),
    ):
        assert type(constraints.get(name)) is cls


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: constraints.MaxNorm(-1), "max_value.*-1"),
        (lambda: constraints.MinMaxNorm(2.0, 1.0), "max_value: .* >= 2, got 1.0"),
        (lambda: constraints.MinMaxNorm(rate=1.5), "rate.*1.5"),
    ],
)
def test_bad_constraints(make, words):
    with pytest.raises(ValueError, match=words):
        make()
