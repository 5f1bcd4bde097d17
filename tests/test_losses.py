"""Losses and their gradients: finite differences, Keras's and scikit-learn's numbers, bad input."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clstm
from clstm import _serialize, config, losses
from clstm._kernels import _pointwise

GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses_metrics.json").read_text())

PROBABILITIES = [
    losses.BinaryCrossentropy(),
    losses.BinaryCrossentropy(label_smoothing=0.1),
    losses.CategoricalCrossentropy(),
    losses.CategoricalCrossentropy(label_smoothing=0.1),
    losses.SparseCategoricalCrossentropy(),
    losses.SparseCategoricalCrossentropy(ignore_class=1),
    losses.BinaryFocalCrossentropy(),
    losses.BinaryFocalCrossentropy(True, 0.75, 0.5, label_smoothing=0.1),
    losses.CategoricalFocalCrossentropy(),
    losses.CategoricalFocalCrossentropy(gamma=0.5, label_smoothing=0.1),
    losses.KLDivergence(),
    losses.Poisson(),
]
LOGITS = [
    losses.BinaryCrossentropy(from_logits=True),
    losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.CategoricalCrossentropy(from_logits=True),
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.SparseCategoricalCrossentropy(from_logits=True),
    losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
    losses.MeanSquaredError(),
    losses.MeanAbsoluteError(),
    losses.Huber(),
    losses.Huber(delta=0.25),
    losses.BinaryFocalCrossentropy(from_logits=True),
    losses.BinaryFocalCrossentropy(True, 0.75, 0.5, from_logits=True, label_smoothing=0.1),
    losses.CategoricalFocalCrossentropy(from_logits=True),
    losses.CategoricalFocalCrossentropy(gamma=0.5, from_logits=True, label_smoothing=0.1),
    losses.LogCosh(),
    losses.CosineSimilarity(),
    losses.Quantile(),
    losses.Quantile(0.3),
    losses.GaussianNLL(),
    losses.StudentTNLL(),
    losses.StudentTNLL(df=1.5, min_scale=0.1),
]
OF_DISTRIBUTIONS = (losses.Quantile, losses.GaussianNLL, losses.StudentTNLL)
ALL = PROBABILITIES + LOGITS


def label(loss):
    return f"{type(loss).__name__}-{loss.get_config()}"


def example(loss, shape, rng, dtype=np.float64):
    """Labels and predictions that fit the loss; shape is that of the labels of numbers."""
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        y_true = rng.integers(0, shape[-1], shape[:-1])
    elif isinstance(loss, (losses.CategoricalCrossentropy, losses.KLDivergence)):
        y_true = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    elif isinstance(loss, losses.BinaryCrossentropy):
        y_true = rng.integers(0, 2, shape)
    elif isinstance(loss, losses.Poisson):
        y_true = rng.poisson(2.0, shape)
    else:
        y_true = rng.normal(size=shape)
    if isinstance(loss, OF_DISTRIBUTIONS):
        count = len(loss.quantiles) if isinstance(loss, losses.Quantile) else 2
        shape = (*shape[:-1], count * shape[-1])
    in_unit = loss in PROBABILITIES
    y_pred = rng.uniform(0.05, 0.95, shape) if in_unit else rng.normal(0, 2, shape)
    return y_true, y_pred.astype(dtype)


def finite_differences(loss, y_true, y_pred, step=1e-6, **kwargs):
    gradient = np.empty_like(y_pred)
    for index in np.ndindex(y_pred.shape):
        ends = []
        for sign in (1, -1):
            moved = y_pred.copy()
            moved[index] += sign * step
            ends.append(loss(y_true, moved, **kwargs))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


@pytest.mark.parametrize("loss", ALL, ids=label)
@pytest.mark.parametrize("weighting", ["none", "rows", "steps", "mask", "mask rows", "both"])
def test_gradient_is_the_finite_difference(loss, weighting):
    rng = np.random.default_rng(7)
    shape = (3, 4, 3)
    y_true, y_pred = example(loss, shape, rng)
    kwargs = {}
    if weighting in ("rows", "both"):
        kwargs["sample_weight"] = rng.uniform(0, 2, 3)
    if weighting == "steps":
        kwargs["sample_weight"] = rng.uniform(0, 2, (3, 4))
    if weighting in ("mask", "both"):
        kwargs["mask"] = rng.random((3, 4)) < 0.6
    if weighting == "mask rows":
        kwargs["mask"] = np.array([True, False, True])
    before = y_pred.copy()
    value, gradient = loss.value_and_gradient(y_true, y_pred, **kwargs)
    expected = finite_differences(loss, y_true, y_pred, **kwargs)
    assert type(value) is float
    assert np.array_equal(y_pred, before)
    assert np.linalg.norm(gradient - expected) <= 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("case", GOLDEN["losses"], ids=lambda c: f"{c['loss']}-{c['config']}")
def test_keras(case):
    loss = getattr(losses, case["loss"])(**case["config"])
    y_true, y_pred = np.array(case["y_true"]), np.array(case["y_pred"], np.float32)
    weighting = {k: np.array(case[k]) for k in ("sample_weight", "mask") if k in case}
    value, gradient = loss.value_and_gradient(y_true, y_pred, **weighting)
    assert value == pytest.approx(case["value"], rel=2e-6, abs=1e-7)
    assert gradient.dtype == np.float32
    # Keras differentiates log(clip(p)) as written and rounds in other places.
    np.testing.assert_allclose(gradient, case["gradient"], rtol=2e-5, atol=1e-7)


def test_golden_cases_tell_masked_from_unmasked():
    plain, _, masked, *_ = GOLDEN["losses"]
    assert "mask" in masked and masked["value"] != plain["value"]
    assert masked["gradient"][1] == [0.0]


def test_scikit_learn():
    case = GOLDEN["sklearn"]
    y_true, y_pred, weight = (np.array(case[k]) for k in ("y_true", "y_pred", "sample_weight"))
    y_pred = y_pred[:, None]
    for name in ("BinaryCrossentropy", "MeanSquaredError"):
        # scikit-learn divides by the sum of the weights.
        value = getattr(losses, name)()(y_true, y_pred, weight * len(weight) / weight.sum())
        # Its log_loss clips probabilities of exactly 0 and 1 elsewhere.
        inside = np.all((y_pred > 0) & (y_pred < 1))
        assert value == pytest.approx(case["results"][name], rel=1e-9 if inside else 1e-2)


@pytest.mark.parametrize("loss", ALL, ids=label)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (1, 2)])
def test_gradient_has_the_shape_and_dtype_of_y_pred(loss, dtype, shape):
    rng = np.random.default_rng(1)
    y_true, y_pred = example(loss, shape, rng, dtype)
    for kwargs in ({}, {"sample_weight": np.ones(shape[0])}, {"mask": np.ones(shape[0], bool)}):
        value, gradient = loss.value_and_gradient(y_true, y_pred, **kwargs)
        assert gradient.dtype == dtype and gradient.shape == y_pred.shape
        assert value == loss(y_true, y_pred, **kwargs)


@pytest.mark.parametrize("loss", ALL, ids=label)
def test_strided_predictions(loss):
    rng = np.random.default_rng(2)
    y_true, y_pred = example(loss, (4, 5, 3), rng)
    strided = np.asfortranarray(y_pred)
    value, gradient = loss.value_and_gradient(y_true, strided)
    expected_value, expected = loss.value_and_gradient(y_true, y_pred)
    assert value == expected_value
    assert np.array_equal(gradient, expected)


@pytest.mark.parametrize("z", [1e4, -1e4, 100.0, -100.0, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(z, dtype):
    binary = losses.BinaryCrossentropy(from_logits=True)
    for t in (0.0, 1.0):
        value, gradient = binary.value_and_gradient([[t]], np.array([[z]], dtype))
        assert value == pytest.approx(max(z, 0) - t * z + np.log1p(np.exp(-abs(z))), rel=1e-6)
        sigmoid = 1 / (1 + np.exp(-z)) if z > 0 else np.exp(z) / (1 + np.exp(z))
        assert gradient[0, 0] == pytest.approx(sigmoid - t, rel=1e-6)
    logits = np.array([[z, 0.0, -z]], dtype)
    p = np.exp(logits.astype(np.float64) - np.abs(z))
    p /= p.sum()
    for k in range(3):
        one_hot = np.eye(3)[[k]]
        for value, gradient in (
            losses.CategoricalCrossentropy(True).value_and_gradient(one_hot, logits),
            losses.SparseCategoricalCrossentropy(True).value_and_gradient([k], logits),
        ):
            expected = abs(z) - logits[0, k] + np.log(np.exp(logits[0] - abs(z)).sum())
            assert value == pytest.approx(expected, rel=1e-6)
            np.testing.assert_allclose(gradient, p - one_hot, rtol=1e-6, atol=1e-7)


def test_clipped_probabilities_are_finite_without_gradient():
    p = np.array([[0.0], [1.0], [0.0], [1.0]], np.float32)
    value, gradient = losses.BinaryCrossentropy().value_and_gradient([1, 0, 0, 1], p)
    assert 7 < value < 8.1
    assert not gradient.any()
    p = np.array([[1.0, 0.0, 0.0]], np.float32)
    for k, low in ((0, 0.0), (2, 16.0)):
        for value, gradient in (
            losses.SparseCategoricalCrossentropy().value_and_gradient([k], p),
            losses.CategoricalCrossentropy().value_and_gradient(np.eye(3)[[k]], p),
        ):
            assert low <= value < 16.2 and not gradient.any()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6), steps=st.integers(1, 5), units=st.integers(2, 4),
    which=st.integers(0, len(ALL) - 1), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_masked_steps_do_not_matter(rows, steps, units, which, seed):
    """A masked batch is the batch of its valid steps."""
    rng = np.random.default_rng(seed)
    loss = ALL[which]
    y_true, y_pred = example(loss, (rows, steps, units), rng)
    weight, mask = rng.uniform(0, 2, (rows, steps)), rng.random((rows, steps)) < 0.5
    value, gradient = loss.value_and_gradient(y_true, y_pred, weight, mask)
    assert not gradient[~mask].any()
    if not mask.any():
        assert value == 0.0
        return
    expected_value, expected = loss.value_and_gradient(y_true[mask], y_pred[mask], weight[mask])
    assert value == pytest.approx(expected_value, rel=1e-12, abs=1e-300)
    np.testing.assert_allclose(gradient[mask], expected, rtol=1e-12)


def test_masked_labels_may_be_anything():
    mask = np.array([[True, False], [True, True]])
    y_true = np.array([[1.0, np.nan], [0.0, 1.0]])
    y_pred = np.full((2, 2, 1), 0.3)
    value, gradient = losses.BinaryCrossentropy().value_and_gradient(y_true, y_pred, mask=mask)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    y_pred = np.full((2, 2, 3), 1 / 3)
    loss = losses.SparseCategoricalCrossentropy()
    assert loss([[0, -1], [2, 1]], y_pred, mask=mask) == pytest.approx(np.log(3))


def test_sample_weight_leaves_the_divisor():
    y_true, y_pred = np.zeros((4, 1)), np.ones((4, 1))
    assert losses.MeanSquaredError()(y_true, y_pred, [2, 0, 0, 0]) == 0.5
    assert losses.MeanSquaredError()(y_true, y_pred, [[2], [0], [0], [0]]) == 0.5
    mask = [True, True, False, False]
    assert losses.MeanSquaredError()(y_true, y_pred, [2, 0, 0, 0], mask) == 1.0


def test_values_are_summed_in_float64():
    n = 1 << 22
    y_pred = np.full((n, 1), 0.1, np.float32)
    value = losses.MeanAbsoluteError()(np.zeros((n, 1), np.float32), y_pred)
    assert value == pytest.approx(float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize(
    ("y_shape", "p_shape"),
    [((4,), (4, 1)), ((4, 1), (4,)), ((4,), (4,)), ((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3))],
)
def test_a_last_dimension_of_one_is_added_or_dropped(y_shape, p_shape):
    y_true, y_pred = np.zeros(y_shape), np.full(p_shape, 0.5)
    value, gradient = losses.MeanSquaredError().value_and_gradient(y_true, y_pred)
    assert value == 0.25
    assert gradient.shape == p_shape


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float32", "bool"])
def test_label_dtypes(dtype):
    y_true = np.array([1, 0], dtype)
    p = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    expected = -(np.log(0.75) + np.log(0.5)) / 2
    assert losses.SparseCategoricalCrossentropy()(y_true, p) == pytest.approx(expected)
    assert losses.BinaryCrossentropy()(y_true, p[:, 1:]) == pytest.approx(expected)


def test_lists_are_taken():
    value, gradient = losses.MeanSquaredError().value_and_gradient([[1], [2]], [[1.0], [4.0]])
    assert value == 2.0 and gradient.tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "kwargs", "error", "words"),
    [
        (losses.MeanSquaredError(), np.zeros(3), np.zeros((4, 1)), {}, ValueError,
         ["y_true", "(4, 1)", "(3,)"]),
        (losses.BinaryCrossentropy(), np.zeros((4, 1)), np.zeros((4, 2)), {}, ValueError,
         ["y_true", "(4, 2)", "(4, 1)"]),
        (losses.CategoricalCrossentropy(), np.zeros(4), np.zeros((4, 3)), {}, ValueError,
         ["y_true", "(4, 3)", "(4,)", "SparseCategoricalCrossentropy"]),
        (losses.SparseCategoricalCrossentropy(), np.zeros((4, 3)), np.ones((4, 3)), {}, ValueError,
         ["y_true", "(4,)", "(4, 3)"]),
        (losses.SparseCategoricalCrossentropy(), [0, 3], np.ones((2, 3)), {}, ValueError,
         ["y_true", "[0, 3)", "received 3"]),
        (losses.SparseCategoricalCrossentropy(), [-1, 0], np.ones((2, 3)), {}, ValueError,
         ["y_true", "[0, 3)", "received -1"]),
        (losses.SparseCategoricalCrossentropy(), [0.5, 0], np.ones((2, 3)), {}, ValueError,
         ["y_true", "whole numbers", "received 0.5"]),
        (losses.SparseCategoricalCrossentropy(), [0, np.nan], np.ones((2, 3)), {}, ValueError,
         ["y_true", "whole numbers", "received nan"]),
        (losses.SparseCategoricalCrossentropy(), [0], np.ones(3), {}, ValueError,
         ["y_pred", "(B, C)", "(3,)"]),
        (losses.BinaryCrossentropy(), [np.nan, 0], np.full((2, 1), 0.5), {}, ValueError,
         ["y_true", "NaN"]),
        (losses.CategoricalCrossentropy(True), [[np.nan, 0]], np.ones((1, 2)), {}, ValueError,
         ["y_true", "NaN"]),
        (losses.Huber(), [np.nan, 0], np.ones((2, 1)), {"sample_weight": [1, 1]}, ValueError,
         ["y_true", "NaN"]),
        (losses.MeanSquaredError(), [1, 0], np.ones((2, 1)), {"sample_weight": [1]}, ValueError,
         ["sample_weight", "(2,)", "received (1,)"]),
        (losses.MeanSquaredError(), np.ones((2, 3, 1)), np.ones((2, 3, 1)),
         {"sample_weight": np.ones((2, 4))}, ValueError,
         ["sample_weight", "(2,) or (2, 3)", "received (2, 4)"]),
        (losses.MeanSquaredError(), [1, 0], np.ones((2, 1)), {"sample_weight": 1.0}, ValueError,
         ["sample_weight", "(2,)", "received ()"]),
        (losses.MeanSquaredError(), [1, 0], np.ones((2, 1)), {"mask": [True]}, ValueError,
         ["mask", "(2,)", "received (1,)"]),
        (losses.MeanSquaredError(), np.ones((0, 1)), np.ones((0, 1)), {}, ValueError,
         ["y_pred", "row", "(0, 1)"]),
        (losses.BinaryFocalCrossentropy(), [2, 0], np.full((2, 1), 0.5), {}, ValueError,
         ["y_true", "[0, 1]", "received 2"]),
        (losses.CategoricalFocalCrossentropy(), [[1.5, 0]], np.ones((1, 2)), {}, ValueError,
         ["y_true", "[0, 1]", "received 1.5"]),
        (losses.CategoricalFocalCrossentropy(), [[np.nan, 0]], np.ones((1, 2)), {}, ValueError,
         ["y_true", "NaN"]),
        (losses.CategoricalFocalCrossentropy([1.0, 2.0, 3.0]), [[1, 0]], np.ones((1, 2)), {},
         ValueError, ["alpha", "expected 2 numbers", "got 3"]),
        (losses.KLDivergence(), [[-0.5, 0]], np.ones((1, 2)), {}, ValueError,
         ["y_true", "[0, 1]", "received -0.5"]),
        (losses.KLDivergence(), [[np.nan, 0]], np.ones((1, 2)), {}, ValueError, ["y_true", "NaN"]),
        (losses.KLDivergence(), [1, 0], np.ones(2), {}, ValueError, ["y_pred", "(B, F)", "(2,)"]),
        (losses.CosineSimilarity(), [1, 0], np.ones(2), {}, ValueError, ["y_pred", "(2,)"]),
        (losses.CosineSimilarity(), np.ones((2, 3)), np.ones((2, 2)), {}, ValueError,
         ["y_true", "(2, 2)", "(2, 3)"]),
        (losses.Poisson(), [[-1]], np.ones((1, 1)), {}, ValueError,
         ["y_true", "[0, inf]", "received -1"]),
        (losses.Poisson(), [[np.nan]], np.ones((1, 1)), {}, ValueError, ["y_true", "NaN"]),
        (losses.Quantile(), np.ones((4, 1)), np.ones((4, 4)), {}, ValueError,
         ["y_pred", "expected (B, 3 F)", "(4, 4)"]),
        (losses.Quantile(), np.ones((4, 3)), np.ones((4, 3)), {}, ValueError,
         ["y_true", "(4, 1)", "(4, 3)"]),
        (losses.Quantile(0.5), [[np.nan]], np.ones((1, 1)), {}, ValueError, ["y_true", "NaN"]),
        (losses.GaussianNLL(), np.ones(4), np.ones((4, 3)), {}, ValueError,
         ["y_pred", "2 parameters", "(4, 3)"]),
        (losses.GaussianNLL(), np.ones((4, 2)), np.ones((4, 2)), {}, ValueError,
         ["y_true", "(4, 1)", "(4, 2)"]),
        (losses.StudentTNLL(), [np.nan], np.ones((1, 2)), {}, ValueError, ["y_true", "NaN"]),
        (losses.MeanSquaredError(), ["a"], np.ones((1, 1)), {}, TypeError, ["y_true", "numbers"]),
        (losses.SparseCategoricalCrossentropy(), ["a"], np.ones((1, 2)), {}, TypeError,
         ["y_true", "numbers"]),
        (losses.MeanSquaredError(), [1], np.array([["a"]]), {}, TypeError, ["y_pred", "numbers"]),
    ],
)  # fmt: skip
def test_bad_input(loss, y_true, y_pred, kwargs, error, words):
    with pytest.raises(error) as raised:
        loss.value_and_gradient(y_true, y_pred, **kwargs)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), ["label_smoothing", "1.5"]),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=-1), ["label_smoothing", "-1"]),
        (lambda: losses.Huber(delta=0), ["delta", "0"]),
        (lambda: losses.BinaryFocalCrossentropy(alpha=1.5), ["alpha", "1.5"]),
        (lambda: losses.BinaryFocalCrossentropy(gamma=-1), ["gamma", "-1"]),
        (lambda: losses.CategoricalFocalCrossentropy(alpha=[0.5, -1]), ["alpha", "-1"]),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=np.nan), ["gamma", "nan"]),
        (lambda: losses.Quantile([0.1, 1.0]), ["quantiles", "1.0"]),
        (lambda: losses.Quantile([]), ["quantiles", "none"]),
        (lambda: losses.GaussianNLL(0), ["min_scale", "0"]),
        (lambda: losses.StudentTNLL(df=0), ["df", "0"]),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=".*".join(words)):
        make()


def test_nan_predictions_give_a_nan_loss():
    value, gradient = losses.MeanSquaredError().value_and_gradient([1.0], np.array([[np.nan]]))
    assert np.isnan(value) and np.isnan(gradient).all()


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        ("binary_crossentropy bce BCE BinaryCrossentropy", losses.BinaryCrossentropy),
        ("categorical_crossentropy CategoricalCrossentropy", losses.CategoricalCrossentropy),
        (
            "sparse_categorical_crossentropy SparseCategoricalCrossentropy",
            losses.SparseCategoricalCrossentropy,
        ),
        ("mean_squared_error mse MSE MeanSquaredError", losses.MeanSquaredError),
        ("mean_absolute_error mae MAE MeanAbsoluteError", losses.MeanAbsoluteError),
        ("huber Huber", losses.Huber),
        ("kl_divergence kld KLD KLDivergence", losses.KLDivergence),
        ("poisson Poisson", losses.Poisson),
        ("log_cosh logcosh LogCosh", losses.LogCosh),
        ("cosine_similarity CosineSimilarity", losses.CosineSimilarity),
        (
            "binary_focal_crossentropy BinaryFocalCrossentropy",
            losses.BinaryFocalCrossentropy,
        ),
        (
            "categorical_focal_crossentropy CategoricalFocalCrossentropy",
            losses.CategoricalFocalCrossentropy,
        ),
        ("quantile pinball Quantile", losses.Quantile),
        ("gaussian_nll GaussianNLL", losses.GaussianNLL),
        ("student_t_nll StudentTNLL", losses.StudentTNLL),
    ],
)
def test_names(names, cls):
    for name in names.split():
        assert type(losses.get(name)) is cls


@pytest.mark.parametrize("loss", ALL, ids=label)
def test_a_loss_comes_back_from_its_config(loss):
    config = json.loads(json.dumps(_serialize.to_config(loss)))
    assert losses.get(config).get_config() == loss.get_config()


@pytest.mark.parametrize("loss", ALL, ids=label)
def test_check_raises_what_the_loss_would(loss):
    y_true, y_pred = example(loss, (4, 3, 2), np.random.default_rng(0))
    loss.check(y_true, y_pred.shape)
    nan = np.array(y_true, np.float64)
    nan[1] = np.nan
    for call in (lambda: loss.check(nan, y_pred.shape), lambda: loss(nan, y_pred)):
        with pytest.raises(ValueError, match="y_true"):
            call()
    if loss.label_range is not None:
        with pytest.raises(ValueError, match="y_true must hold labels in"):
            loss.check(y_true - 5.0, y_pred.shape)


def test_crossentropy_fits_the_shapes():
    for name in ("crossentropy", "ce", "CE"):
        assert isinstance(losses.resolve(name, (8,), (8, 1)), losses.BinaryCrossentropy)
        sparse = losses.resolve(name, (None, 5), (None, 5, 3))
        assert isinstance(sparse, losses.SparseCategoricalCrossentropy)
        assert isinstance(losses.resolve(name, (8, 3), (8, 3)), losses.CategoricalCrossentropy)
    assert isinstance(losses.resolve("mse", (8, 3), (8, 3)), losses.MeanSquaredError)


@pytest.mark.parametrize("wrong", [-1.0, 2.0, 255.0])
def test_binary_labels_are_probabilities(wrong):
    loss = losses.BinaryCrossentropy()
    y, p = np.array([[0.0], [wrong]]), np.full((2, 1), 0.5)
    for call in (lambda: loss(y, p), lambda: loss.check(y, (2, 1))):
        with pytest.raises(ValueError, match=r"y_true must hold labels in \[0, 1\], received"):
            call()
    assert loss(y, p, mask=[True, False]) > 0  # what is masked may hold anything


def binary_crossentropy_terms(t, p, smoothing):
    """What the kernel of that name computes, in NumPy and p's dtype: values, d."""
    t = t * (1 - smoothing) + smoothing / 2
    q = np.minimum(np.maximum(p, 1e-7), 1 - 1e-7)
    return -(t * np.log(q) + (1 - t) * np.log(1 - q)), (q - t) / (q * (1 - q)) * (q == p)


@pytest.fixture(params=config.available_isas())
def isa(request):
    kept = config.get_isa()
    config.set_isa(request.param)
    yield
    config.set_isa(kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 37, 1 << 15])
def test_binary_crossentropy_kernel(isa, dtype, n):
    rng = np.random.default_rng(n)
    p = rng.random(n).astype(dtype)
    p[:: max(n // 4, 1)] = rng.choice([0, 1, 1e-9, np.nan], p[:: max(n // 4, 1)].shape)
    t = np.where(rng.random(n) < 0.5, rng.random(n), rng.integers(0, 2, n)).astype(dtype)
    for smoothing in (0.0, 0.1):
        values, d = np.empty_like(p), np.empty_like(p)
        assert _pointwise.binary_crossentropy(t, p, values, d, smoothing, 1e-7)
        expected_values, expected_d = binary_crossentropy_terms(t, p, smoothing)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(values, expected_values, rtol=4 * eps, atol=4 * eps)
        np.testing.assert_allclose(d, expected_d, rtol=4 * eps)
    t[n // 2] = 1.5
    assert not _pointwise.binary_crossentropy(t, p, values, d, 0.1, 1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (200, 1), (70, 37)])
def test_column_sums_kernel(isa, dtype, shape):
    a = np.random.default_rng(0).normal(size=shape).astype(dtype)
    sums = np.ones(shape[1], dtype)
    _pointwise.add_column_sums(a, sums)
    np.testing.assert_allclose(sums, 1 + a.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)


# --- large vocabularies --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_logits_may_take_their_place(dtype):
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(4, 5, 33)).astype(dtype) * 6, rng.integers(0, 33, (4, 5))
    mask, weight = rng.random((4, 5)) < 0.7, rng.random(4)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    kept = z.copy()
    value, d = loss.value_and_gradient(t, z, weight, mask)
    np.testing.assert_array_equal(z, kept)
    over, same = loss.value_and_gradient(t, z, weight, mask, overwrite=True)
    assert same is z and over == value
    np.testing.assert_array_equal(z, d)
    p = np.exp(kept - kept.max(axis=-1, keepdims=True).astype(np.float64))
    p /= p.sum(axis=-1, keepdims=True)
    factors = (weight[:, None] * mask / mask.sum())[..., None]
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(d, (p - np.eye(33)[t]) * factors, atol=tolerance)
    terms = -np.log(np.take_along_axis(p, t[..., None], axis=-1))
    np.testing.assert_allclose(value, (terms * factors).sum(), rtol=tolerance)


@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
def test_training_holds_one_array_of_all_logits(metrics):
    clstm.set_seed(0)
    model = clstm.Sequential([clstm.Embedding(50, 16), clstm.LSTM(16, return_sequences=True),
                              clstm.Dense(5000)])  # fmt: skip
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=metrics)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 50, (16, 30)), rng.integers(0, 5000, (16, 30))
    model.train_on_batch(x, y)
    tracemalloc.start()
    model.train_on_batch(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.9 * x.size * 5000 * 4


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("wrong", [-0.25, 1.5, np.inf])
def test_labels_of_categories_are_shares(from_logits, wrong):
    loss = losses.CategoricalCrossentropy(from_logits=from_logits)
    t, p = np.eye(3), np.full((3, 3), 1 / 3)
    t[2, 0] = wrong
    for call in (loss.value_and_gradient, lambda t, p: loss.check(t, p.shape)):
        with pytest.raises(ValueError, match=rf"labels in \[0, 1\], received {wrong}"):
            call(t, p)
