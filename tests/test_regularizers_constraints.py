"""Penalties against finite differences, projections against their definitions."""

import numpy as np
import pytest

from clstm import constraints, regularizers

W = np.random.default_rng(5).normal(size=(4, 3))


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
        step = 1e-6
        for index in np.ndindex(w.shape):
            up, down = w.copy(), w.copy()
            up[index] += step
            down[index] -= step
            slope = (regularizer(up) - regularizer(down)) / (2 * step)
            assert (grad - start)[index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


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
    for make in (regularizers.L1, lambda v: regularizers.L1L2(l1=v)):
        with pytest.raises(error, match="l1: expected"):
            make(value)


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
