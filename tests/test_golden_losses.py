"""Losses and metrics beside Keras's and scikit-learn's float64 numbers, and SciPy's densities."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from clstm import losses, metrics

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import golden_io

CASES = golden_io.load("keras_losses.npz")


def of_kind(kind):
    return [pytest.param(c, id=c.name) for c in CASES.values() if c.config["kind"] == kind]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", of_kind("loss"))
def test_losses_of_keras(case, dtype):
    loss = getattr(losses, case.config["name"])(**case.config["config"])
    value, gradient = loss.value_and_gradient(case.t, case.p.astype(dtype), case.w, case.mask)
    if dtype == np.float32:
        tolerance = {"rtol": 2e-5, "atol": 1e-6}
    elif case.config["name"] in ("BinaryFocalCrossentropy", "LogCosh", "Poisson"):
        tolerance = {"rtol": 5e-7, "atol": 1e-13}  # Keras takes means in float32
    else:
        tolerance = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(value, case.value, **tolerance)
    np.testing.assert_allclose(gradient, case.gradient, **tolerance)
    assert gradient.dtype == dtype


def test_the_cases_tell_all_weightings_and_arguments_apart():
    values = [c.value for c in CASES.values() if c.config["name"] == "BinaryFocalCrossentropy"]
    assert len(np.unique(values)) == len(values) == 50
    names = {c.config["name"] for c in CASES.values() if c.config["kind"] == "loss"}
    assert names == {"KLDivergence", "Poisson", "LogCosh", "CosineSimilarity",
                     "BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", of_kind("metric"))
def test_metrics_of_keras(case, dtype):
    config = dict(case.config["config"])
    metric = getattr(metrics, case.config["name"])(**config)
    for _ in range(2):
        for t, p, w in zip(case.list("t"), case.list("p"), case.list("w") or [None] * 2,
                           strict=True):  # fmt: skip
            metric.update_state(t, p.astype(dtype), w)
        # Keras adds 1e-7 to the divisors of F scores and takes sums in float32.
        np.testing.assert_allclose(metric.result(), case.result, rtol=2e-6, atol=1e-6)
        metric.reset_state()
    assert metric.result() == 0.0


def test_metrics_of_scikit_learn():
    case = CASES["sklearn-numbers-0"]
    p = np.exp(case.scores)
    for metric, t, outputs, expected in (
        (metrics.R2Score(None), case.targets, case.outputs, case.r2),
        (metrics.MeanAbsolutePercentageError(), case.targets, case.outputs, 100 * case.mape),
        (metrics.ConfusionMatrix(5), case.numbers, case.scores, case.confusion),
        (metrics.Perplexity(from_logits=True), case.numbers, case.scores, np.exp(case.log_loss)),
        (metrics.Perplexity(), case.numbers, p / p.sum(1, keepdims=True), np.exp(case.log_loss)),
    ):
        for rows in (slice(None, 4), slice(4, None)):
            metric.update_state(t[rows], outputs[rows], case.w[rows])
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("df", [0.5, 1.0, 4.0, 300.0, np.inf])
def test_likelihoods_of_scipy(df):
    rng = np.random.default_rng(0)
    t = rng.normal(0, 3, (6, 4, 2))
    p = rng.normal(0, 3, (6, 4, 4))
    loss = losses.GaussianNLL(1e-3) if df == np.inf else losses.StudentTNLL(df, 1e-3)
    mean, scale = p[..., :2], np.logaddexp(0, p[..., 2:]) + 1e-3
    for found, expected in zip(loss.parameters(p), (mean, scale), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    terms = -stats.t.logpdf(t, df, mean, scale)
    assert loss(t, p) == pytest.approx(terms.mean(), rel=1e-12)
    w, mask = rng.random((6, 4)), rng.random((6, 4)) < 0.5
    assert loss(t, p, w, mask) == pytest.approx((terms * w[..., None])[mask].mean(), rel=1e-12)


@pytest.mark.parametrize("make", [losses.GaussianNLL, losses.StudentTNLL])
@pytest.mark.parametrize("raw", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_likelihoods_are_finite_for_any_scale(make, raw, dtype):
    p = np.array([[1e3, raw]], dtype)
    value, gradient = make().value_and_gradient([[-1e3]], p)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert gradient[0, 0] > 0


def test_a_fit_of_the_likelihood_finds_mean_and_deviation():
    y = np.random.default_rng(3).normal(2.0, 0.5, (4000, 1))
    loss, p = losses.GaussianNLL(), np.zeros((1, 2))
    for _ in range(400):
        p -= 0.2 * loss.value_and_gradient(y, np.repeat(p, len(y), 0))[1].sum(0)
    mean, scale = loss.parameters(p)
    np.testing.assert_allclose([mean[0, 0], scale[0, 0]], [y.mean(), y.std()], rtol=1e-6)


def test_pinball_of_scikit_learn():
    case = CASES["sklearn-numbers-0"]
    q = case.config["config"]["quantiles"]
    w = case.w * len(case.w) / case.w.sum()  # scikit-learn divides by the sum of the weights
    value = losses.Quantile(q)(case.y, case.predicted_quantiles, w)
    assert value == pytest.approx(case.pinball.mean(), rel=1e-12)
    for k, one in enumerate(q):
        value = losses.Quantile(one)(case.y, case.predicted_quantiles[:, k : k + 1], w)
        assert value == pytest.approx(case.pinball[k], rel=1e-12)


def test_quantiles_of_several_labels_come_quantile_by_quantile():
    rng = np.random.default_rng(1)
    t, p = rng.normal(size=(5, 3, 2)), rng.normal(size=(5, 3, 6))
    q = (0.2, 0.5, 0.8)
    parts = [losses.Quantile(one)(t, p[..., 2 * k : 2 * k + 2]) for k, one in enumerate(q)]
    assert losses.Quantile(q)(t, p) == pytest.approx(np.mean(parts), rel=1e-14)
    half = losses.Quantile(0.5).value_and_gradient([[1.0]], np.array([[1.0]]))
    assert half == (0.0, 0.0)


@pytest.mark.parametrize("z", [1e4, -1e4, 100.0, -100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_focal_losses_of_extreme_logits(z, dtype):
    binary = losses.BinaryFocalCrossentropy(from_logits=True)
    several = losses.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True)
    for t in (0.0, 1.0):
        for value, gradient in (
            binary.value_and_gradient([[t]], np.array([[z]], dtype)),
            several.value_and_gradient([[t, 1 - t]], np.array([[z, 0]], dtype)),
        ):
            wrong = (z > 0) != (t == 1)
            assert value == pytest.approx(abs(z) if wrong else 0, abs=1e-12)
            assert gradient[0, 0] == pytest.approx(np.sign(z) if wrong else 0, abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_focal_losses_of_certain_predictions_are_finite(gamma):
    for t in (0.0, 1.0):
        for p in (0.0, 1.0):
            for loss, outputs in (
                (losses.BinaryFocalCrossentropy(gamma=gamma), [[p]]),
                (losses.CategoricalFocalCrossentropy(gamma=gamma), [[p, 1 - p]]),
            ):
                labels = [[t]] if len(outputs[0]) == 1 else [[t, 1 - t]]
                value, gradient = loss.value_and_gradient(labels, outputs)
                assert np.isfinite(value) and np.isfinite(gradient).all()


def test_gamma_0_is_the_crossentropy():
    rng = np.random.default_rng(5)
    t, z = rng.integers(0, 2, (7, 3)), rng.normal(size=(7, 3))
    for focal, plain in (
        (losses.BinaryFocalCrossentropy(gamma=0, from_logits=True),
         losses.BinaryCrossentropy(from_logits=True)),
        (losses.CategoricalFocalCrossentropy(alpha=1, gamma=0, from_logits=True),
         losses.CategoricalCrossentropy(from_logits=True)),
    ):  # fmt: skip
        value, gradient = focal.value_and_gradient(t, z)
        expected, expected_gradient = plain.value_and_gradient(t, z)
        assert value == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-15)


def test_a_vector_of_length_0_has_a_cosine():
    value, gradient = losses.CosineSimilarity().value_and_gradient([[3.0, 4.0]], np.zeros((1, 2)))
    assert value == 0.0
    np.testing.assert_allclose(gradient, [[-0.6e7, -0.8e7]])


ROWS = [
    losses.LogCosh(), losses.CosineSimilarity(), losses.KLDivergence(), losses.Poisson(),
    losses.Quantile(), losses.GaussianNLL(), losses.StudentTNLL(),
    losses.BinaryFocalCrossentropy(), losses.BinaryFocalCrossentropy(from_logits=True),
    losses.CategoricalFocalCrossentropy(), losses.CategoricalFocalCrossentropy(from_logits=True),
]  # fmt: skip


@pytest.mark.parametrize("loss", ROWS, ids=lambda c: f"{type(c).__name__}-{c.get_config()}")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_has_the_same_bits_in_any_batch(loss, dtype):
    rng = np.random.default_rng(9)
    p = rng.uniform(0.01, 0.99, (32, 6)).astype(dtype)
    labels = 2 if isinstance(loss, losses.Quantile) else 3 if hasattr(loss, "parameters") else 6
    t = rng.uniform(0, 1, (32, labels))
    for k in (0, 1, 17, 31):
        row = np.zeros(32)
        row[k] = 32  # undoes, exactly, the division by the rows
        value, gradient = loss.value_and_gradient(t, p, row)
        alone, expected = loss.value_and_gradient(t[k : k + 1], p[k : k + 1])
        assert value == pytest.approx(alone, rel=1e-15)
        np.testing.assert_array_equal(gradient[k], expected[0])
