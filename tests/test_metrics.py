"""Metrics: Keras's and scikit-learn's numbers, accumulation, names, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clstm
from clstm import _serialize, losses, metrics

GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses_metrics.json").read_text())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", GOLDEN["metrics"], ids=lambda c: f"{c['metric']}-{c['config']}")
def test_keras(case, dtype):
    metric = getattr(metrics, case["metric"])(**case["config"])
    for _ in range(2):
        for y_true, y_pred, *weight in case["batches"]:
            metric.update_state(np.array(y_true), np.array(y_pred, dtype), *weight)
        assert type(metric.result()) is float
        assert metric.result() == pytest.approx(case["result"], rel=1e-5)
        metric.reset_state()
    assert metric.result() == 0.0


def test_scikit_learn():
    case = GOLDEN["sklearn"]
    y_true, y_pred, weight = (np.array(case[k]) for k in ("y_true", "y_pred", "sample_weight"))
    for name in ("Precision", "Recall", "BinaryAccuracy", "MeanSquaredError", "AUC"):
        metric = getattr(metrics, name)()
        metric.update_state(y_true, y_pred[:, None], weight)
        tolerance = 2e-3 if name == "AUC" else 1e-8
        assert metric.result() == pytest.approx(case["results"][name], rel=tolerance)
    exact = metrics.AUC(num_thresholds=1_000_001)
    exact.update_state(y_true, y_pred[:, None], weight)
    assert exact.result() == pytest.approx(case["results"]["AUC"], rel=1e-6)


ALL = [
    metrics.BinaryAccuracy,
    metrics.CategoricalAccuracy,
    metrics.MeanSquaredError,
    metrics.MeanAbsoluteError,
    metrics.Precision,
    metrics.Recall,
    metrics.AUC,
    lambda: metrics.AUC(curve="PR"),
    metrics.F1Score,
    lambda: metrics.FBetaScore("micro", 2.0, 0.4),
    lambda: metrics.FBetaScore("weighted", 0.5),
    lambda: metrics.TopKCategoricalAccuracy(2),
    lambda: metrics.ConfusionMatrix(3),
    lambda: metrics.R2Score(None),
    lambda: metrics.R2Score("variance_weighted_average", 2),
    metrics.MeanAbsolutePercentageError,
    metrics.SymmetricMeanAbsolutePercentageError,
    lambda: metrics.MeanAbsoluteScaledError([0.5, 1.0, 2.0]),
]


@settings(max_examples=60, deadline=None)
@given(
    make=st.sampled_from(ALL), weighted=st.booleans(), cut=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_batches_add_up(make, weighted, cut, seed):
    rng = np.random.default_rng(seed)
    y_true = np.eye(3)[rng.integers(0, 3, (10, 4))]
    y_pred = rng.dirichlet(np.ones(3), (10, 4))
    weight = rng.uniform(0, 2, (10, 4)) if weighted else None
    whole, parts = make(), make()
    whole.update_state(y_true, y_pred, weight)
    for rows in (slice(None, cut), slice(cut, None)):
        parts.update_state(y_true[rows], y_pred[rows], None if weight is None else weight[rows])
    np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-10)


@pytest.mark.parametrize("make", ALL)
def test_weight_zero_takes_rows_out_and_one_changes_nothing(make):
    rng = np.random.default_rng(3)
    y_true, y_pred = np.eye(3)[rng.integers(0, 3, 8)], rng.dirichlet(np.ones(3), 8)
    results = []
    for rows, weight in (
        (slice(0, 5), None),
        (slice(0, 5), np.ones(5)),
        (slice(None), np.arange(8) < 5),
        (slice(None), (np.arange(8) < 5).astype(np.float32)[:, None]),
    ):
        metric = make()
        metric.update_state(y_true[rows], y_pred[rows], weight)
        results.append(metric.result())
    for result in results:
        np.testing.assert_allclose(result, results[0], rtol=1e-12)


def test_mean():
    mean = metrics.Mean()
    mean.update_state(1.0, 3)
    mean.update_state(np.float64(5.0), 1)
    assert mean.result() == 2.0
    mean.reset_state()
    mean.update_state([1, 3, 5, 7])
    assert mean.result() == 4.0
    mean.reset_state()
    mean.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    assert mean.result() == 2.0
    mean.update_state(4, 2)
    assert mean.result() == 3.0


def test_auc_takes_predictions_at_and_beyond_the_ends():
    auc = metrics.AUC()
    auc.update_state([0, 0, 1, 1], np.array([[-0.5], [0.0], [1.0], [1.5]]))
    assert auc.result() == 1.0
    auc.reset_state()
    auc.update_state([1, 0], np.array([[0.0], [0.001]]))  # both below the first inner threshold
    assert auc.result() == 0.5


def test_a_prediction_at_the_threshold_is_negative():
    y_true, y_pred = [1, 1, 1, 0], np.full((4, 1), 0.5)
    for metric, expected in (
        (metrics.BinaryAccuracy(), 0.25),
        (metrics.Precision(), 0.0),
        (metrics.Recall(), 0.0),
    ):
        metric.update_state(y_true, y_pred)
        assert metric.result() == expected


@pytest.mark.parametrize("case", GOLDEN["accuracy"], ids=lambda c: "{y_shape}".format(**c))
def test_accuracy_fits_the_shapes(case):
    loss = losses.MeanSquaredError()
    metric = metrics.resolve(case["identifier"], loss, case["y_shape"], case["output_shape"])
    assert (type(metric).__name__, metric.name) == (case["class"], case["name"])


def test_resolve_names():
    loss = losses.BinaryCrossentropy()
    for name in ("mae", "mse", "MAE", "AUC", "auc", "precision", "Recall", "binary_accuracy"):
        assert metrics.resolve(name, loss, (None, 1), (None, 1)).name == name
    instance = metrics.Precision(name="p")
    assert metrics.resolve(instance, loss, (None, 1), (None, 1)) is instance
    assert instance.name == "p"
    for name, metric in (
        ("auc", metrics.AUC()),
        ("precision", metrics.Precision()),
        ("recall", metrics.Recall()),
        ("binary_accuracy", metrics.BinaryAccuracy()),
        ("mean_absolute_error", metrics.MeanAbsoluteError()),
    ):
        assert metric.name == name


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        ("f1_score F1Score", metrics.F1Score),
        ("fbeta_score f_beta_score FBetaScore", metrics.FBetaScore),
        ("top_k_categorical_accuracy", metrics.TopKCategoricalAccuracy),
        ("sparse_top_k_categorical_accuracy", metrics.SparseTopKCategoricalAccuracy),
        ("r2_score R2Score", metrics.R2Score),
        ("mape MAPE mean_absolute_percentage_error", metrics.MeanAbsolutePercentageError),
        ("smape sMAPE SMAPE", metrics.SymmetricMeanAbsolutePercentageError),
        ("perplexity Perplexity", metrics.Perplexity),
        ("coverage Coverage", metrics.Coverage),
    ],
)
def test_names(names, cls):
    for name in names.split():
        assert type(metrics.get(name)) is cls
    assert cls().name in [*names.split(), "symmetric_mean_absolute_percentage_error"]


@pytest.mark.parametrize("metric", [
    metrics.FBetaScore("macro", 2.0, 0.3), metrics.F1Score("micro"),
    metrics.TopKCategoricalAccuracy(2), metrics.SparseTopKCategoricalAccuracy(from_sorted_ids=True),
    metrics.ConfusionMatrix(3), metrics.R2Score(None, 2), metrics.Perplexity(True, -1),
    metrics.MeanAbsoluteScaledError([1.0, 2.0], name="m"), metrics.Coverage(1, 2),
], ids=lambda m: m.name)  # fmt: skip
def test_a_metric_comes_back_from_its_config(metric):
    config = json.loads(json.dumps(_serialize.to_config(metric)))
    assert metrics.get(config).get_config() == metric.get_config()


def test_resolve_makes_a_new_metric_for_each_name():
    first, second = (metrics.resolve("auc", None, (8,), (8, 1)) for _ in range(2))
    assert first is not second


def test_resolve_warns_of_logits():
    loss = losses.BinaryCrossentropy(from_logits=True)
    with pytest.warns(UserWarning, match="logits"):
        metrics.resolve("accuracy", loss, (8,), (8, 1))


@pytest.mark.parametrize("bad", [None, 3, metrics.AUC, losses.Huber()])
def test_resolve_refuses(bad):
    with pytest.raises(TypeError, match="expected a metric"):
        metrics.resolve(bad, None, (8,), (8, 1))


@pytest.mark.parametrize(
    ("metric", "arguments", "words"),
    [
        (metrics.BinaryAccuracy(), (np.ones(3), np.ones((4, 1))), ["y_true", "(4, 1)", "(3,)"]),
        (metrics.CategoricalAccuracy(), (np.ones(4), np.ones((4, 2))), ["y_true", "(4, 2)"]),
        (metrics.SparseCategoricalAccuracy(), (np.ones((4, 2)), np.ones((4, 2))), ["y_true"]),
        (metrics.MeanSquaredError(), (np.ones(3), np.ones((4, 1))), ["y_true", "(3,)"]),
        (metrics.MeanAbsoluteError(), (np.ones(4), np.ones((4, 1)), np.ones(3)),
         ["sample_weight", "(4,)", "(3,)"]),
        (metrics.Precision(), (np.ones(4), np.ones((4, 1)), np.ones(3)), ["sample_weight"]),
        (metrics.AUC(), (np.ones(4), np.ones((4, 1)), np.ones(3)), ["sample_weight"]),
        (metrics.AUC(), (np.ones(3), np.ones((4, 1))), ["y_true"]),
        (metrics.Mean(), (np.ones(3), np.ones(4)), ["sample_weight", "(3,)", "(4,)"]),
        (metrics.F1Score(), (np.ones(4), np.ones((4, 2))), ["y_true", "(4, 2)", "(4,)"]),
        (metrics.F1Score(), (np.ones(4), np.ones(4)), ["y_pred", "(B, F)", "(4,)"]),
        (metrics.F1Score(), ([[2, 0]], np.ones((1, 2))), ["y_true", "[0, 1]", "got 2"]),
        (metrics.F1Score(), ([[np.nan, 0]], np.ones((1, 2))), ["y_true", "NaN"]),
        (metrics.F1Score(), (np.ones((4, 2)), np.ones((4, 2)), np.ones(3)), ["sample_weight"]),
        (metrics.TopKCategoricalAccuracy(), (np.ones(4), np.ones((4, 2))), ["y_true", "(4, 2)"]),
        (metrics.TopKCategoricalAccuracy(), ([[np.nan, 0]], np.ones((1, 2))), ["y_true", "NaN"]),
        (metrics.SparseTopKCategoricalAccuracy(), ([3], np.ones((1, 3))),
         ["y_true", "[0, 3)", "received 3"]),
        (metrics.SparseTopKCategoricalAccuracy(), ([np.nan], np.ones((1, 3))), ["y_true", "NaN"]),
        (metrics.SparseTopKCategoricalAccuracy(from_sorted_ids=True), ([np.nan], np.ones((1, 3))),
         ["y_true", "NaN"]),
        (metrics.ConfusionMatrix(3), ([0, 3], np.ones((2, 3))), ["y_true", "[0, 3)", "received 3"]),
        (metrics.ConfusionMatrix(3), ([0, -1], np.ones((2, 3))), ["y_true", "received -1"]),
        (metrics.ConfusionMatrix(3), ([0, 1], np.ones((2, 2))), ["y_pred", "(B, 3)", "(2, 2)"]),
        (metrics.ConfusionMatrix(2), ([0, 1], np.ones((2, 1)), [1]), ["sample_weight", "(2,)"]),
        (metrics.R2Score(), (np.ones(3), np.ones((4, 1))), ["y_true", "(4, 1)", "(3,)"]),
        (metrics.R2Score(), ([np.nan], np.ones((1, 1))), ["y_true", "NaN"]),
        (metrics.R2Score(), (np.ones(4), np.ones(4)), ["y_pred", "(B, F)", "(4,)"]),
        (metrics.MeanAbsolutePercentageError(), ([np.nan], np.ones((1, 1))), ["y_true", "NaN"]),
        (metrics.SymmetricMeanAbsolutePercentageError(), ([1, 2], np.ones((1, 1))), ["y_true"]),
        (metrics.MeanAbsoluteScaledError([1.0, 2.0]), ([[1]], np.ones((1, 1))),
         ["scale", "expected 1 numbers", "got 2"]),
        (metrics.Perplexity(), ([3], np.ones((1, 3))), ["y_true", "[0, 3)", "received 3"]),
        (metrics.Perplexity(), ([np.nan], np.ones((1, 3))), ["y_true", "nan"]),
        (metrics.Perplexity(), ([0], np.ones(3)), ["y_pred", "(B, F)", "(3,)"]),
        (metrics.Coverage(), ([[1]], np.ones((1, 1))), ["y_pred", "two quantiles", "(1, 1)"]),
        (metrics.Coverage(), ([[1, 1]], np.ones((1, 3))), ["y_pred", "(1, 3)"]),
        (metrics.Coverage(upper=3), ([1], np.ones((1, 3))), ["upper", "3 quantiles", "got 3"]),
        (metrics.Coverage(), ([np.nan], np.ones((1, 3))), ["y_true", "NaN"]),
    ],
)  # fmt: skip
def test_bad_input_leaves_the_metric_as_it_was(metric, arguments, words):
    with pytest.raises(ValueError) as raised:
        metric.update_state(*arguments)
    for word in words:
        assert word in str(raised.value)
    assert not np.any(metric.result())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.Precision(1.5), "thresholds.*1.5"),
        (lambda: metrics.Recall(-1), "thresholds.*-1"),
        (lambda: metrics.AUC(1), "num_thresholds.*1"),
        (lambda: metrics.AUC(curve="roc curve"), "curve.*'roc curve'"),
        (lambda: metrics.F1Score("mean"), "average.*'mean'"),
        (lambda: metrics.FBetaScore(beta=0), "beta.*0"),
        (lambda: metrics.F1Score(threshold=1.5), "threshold.*1.5"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "k:.*0"),
        (lambda: metrics.SparseTopKCategoricalAccuracy(-1), "k:.*-1"),
        (lambda: metrics.ConfusionMatrix(1), "num_classes.*1"),
        (lambda: metrics.R2Score("mean"), "class_aggregation.*'mean'"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors.*-1"),
        (lambda: metrics.MeanAbsoluteScaledError(0), "scale.*0"),
        (lambda: metrics.naive_error(np.ones((2, 2, 2))), r"series.*\(2, 2, 2\)"),
        (lambda: metrics.naive_error([1, np.nan]), "series.*NaN"),
        (lambda: metrics.naive_error([1, 2, 3], 3), "seasonality.*3 steps.*got 3"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# --- forecasts and classes -----------------------------------------------------------------------


def test_smape_and_mase_by_hand():
    smape = metrics.SymmetricMeanAbsolutePercentageError()
    smape.update_state([[1.0], [-2.0], [0.0], [0.0]], [[3.0], [2.0], [0.0], [5.0]])
    assert smape.result() == pytest.approx((100 + 200 + 0 + 200) / 4)
    series = np.array([1.0, 3.0, 2.0, 7.0])
    assert metrics.naive_error(series) == pytest.approx((2 + 1 + 5) / 3)
    assert metrics.naive_error(series, 2) == pytest.approx((1 + 4) / 2)
    both = np.stack([series, 10 * series], axis=1)
    assert metrics.naive_error(both) == pytest.approx([8 / 3, 80 / 3])
    # A forecast as good as the naive one on the training series, whatever its unit.
    for unit in (1.0, 10.0):
        mase = metrics.MeanAbsoluteScaledError(metrics.naive_error(unit * series))
        mase.update_state(unit * series[1:, None], unit * series[:-1, None])
        assert mase.result() == pytest.approx(1.0)
    mase = metrics.MeanAbsoluteScaledError(metrics.naive_error(both))
    mase.update_state(both[1:], both[:-1], [1, 0, 1])
    assert mase.result() == pytest.approx((2 + 5) / 2 / (8 / 3))


def test_coverage():
    quantiles = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [5.0, 6.0, 7.0]])
    inside, above = metrics.Coverage(), metrics.Coverage(1, 2)
    for metric in (inside, above):
        metric.update_state([2.0, 0.5, 4.0], quantiles)
    assert inside.result() == pytest.approx(2 / 3)
    assert above.result() == pytest.approx(1 / 3)
    # Two labels: (lower, lower, upper, upper); steps with a weight.
    several = metrics.Coverage()
    labels = np.array([[[1.0, 9.0], [1.0, 1.0]]])
    several.update_state(labels, np.array([[[0.0, 0.0, 2.0, 2.0]] * 2]), [[1.0, 0.0]])
    assert several.result() == 0.5


def test_coverage_is_the_probability_of_the_interval():
    rng = np.random.default_rng(0)
    metric = metrics.Coverage()
    metric.update_state(rng.normal(size=20000), np.tile([-1.2815516, 1.2815516], (20000, 1)))
    assert metric.result() == pytest.approx(0.8, abs=0.01)


def test_perplexity_counts_steps_alike():
    rng = np.random.default_rng(1)
    metric, logs = metrics.Perplexity(ignore_class=-1), []
    for time in (3, 9):  # batches of other lengths
        p = rng.dirichlet(np.ones(4), (2, time))
        y, w = rng.integers(0, 4, (2, time)), rng.random((2, time)) < 0.6
        metric.update_state(np.where(w, y, -1), p)
        logs.append(-np.log(np.take_along_axis(p, y[..., None], -1)[..., 0][w]))
    assert metric.result() == pytest.approx(np.exp(np.concatenate(logs).mean()), rel=1e-6)
    uniform = metrics.Perplexity(from_logits=True)
    uniform.update_state([[1, 2]], np.zeros((1, 2, 7)))
    assert uniform.result() == pytest.approx(7.0)
    uniform.update_state([0], [[-1e6, 0.0]])
    assert uniform.result() == np.inf


def test_confusion_of_binary_and_one_hot_labels():
    p = np.array([[0.2], [0.9], [0.5], [0.7]])
    binary = metrics.ConfusionMatrix(2)
    binary.update_state([0, 0, 1, 1], p)
    assert binary.result().tolist() == [[1, 1], [1, 1]]
    logits = metrics.ConfusionMatrix(2, threshold=0.0)
    logits.update_state([0, 0, 1, 1], p - 0.6, [1, 2, 3, 4])
    assert logits.result().tolist() == [[1, 2], [3, 4]]
    rng = np.random.default_rng(2)
    y, scores = rng.integers(0, 3, (5, 4)), rng.random((5, 4, 3))
    sparse, one_hot = metrics.ConfusionMatrix(3), metrics.ConfusionMatrix(3)
    sparse.update_state(y, scores)
    one_hot.update_state(np.eye(3)[y], scores)
    np.testing.assert_array_equal(sparse.result(), one_hot.result())
    accuracy = metrics.SparseCategoricalAccuracy()
    accuracy.update_state(y, scores)
    assert np.trace(sparse.result()) / sparse.result().sum() == pytest.approx(accuracy.result())


def test_r2_of_labels_far_from_0_and_of_equal_labels():
    rng = np.random.default_rng(4)
    t = rng.normal(size=(60, 1)) + 1e9
    p = t + 0.5 * rng.normal(size=t.shape)
    metric = metrics.R2Score()
    for k in range(0, 60, 20):
        metric.update_state(t[k : k + 20], p[k : k + 20])
    expected = 1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum()
    assert metric.result() == pytest.approx(expected, rel=1e-6)
    for wrong, score in ((0.0, 1.0), (0.1, 0.0)):
        equal = metrics.R2Score()
        equal.update_state(np.full((7, 1), 0.1), np.full((7, 1), 0.1 + wrong))
        assert equal.result() == score


@pytest.mark.parametrize("make", ALL)
def test_a_batch_without_rows_changes_nothing(make):
    metric = make()
    metric.update_state(np.ones((0, 3)), np.ones((0, 3)))
    assert not np.any(metric.result() if not isinstance(metric, metrics.R2Score) else 0)
    rng = np.random.default_rng(8)
    for rows in (0, 5):
        t, p = np.eye(3)[rng.integers(0, 3, rows)], rng.random((rows, 3))
        metric.update_state(t, p)
    alone = make()
    alone.update_state(t, p)
    np.testing.assert_allclose(metric.result(), alone.result(), rtol=1e-12)


def test_another_number_of_outputs_is_an_error():
    for metric in (metrics.F1Score(), metrics.R2Score()):
        metric.update_state(np.eye(3), np.eye(3))
        before = metric.result()
        with pytest.raises(ValueError, match=r"y_pred: expected a last dimension of 3.*got 2"):
            metric.update_state(np.eye(2), np.eye(2))
        np.testing.assert_array_equal(metric.result(), before)


def test_all_metrics_in_a_training_with_masked_steps(capsys):
    """What masked steps hold, labels included, changes neither the losses nor the metrics."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 6, 3)).astype(np.float32)
    mask = np.arange(6) < rng.integers(2, 7, 8)[:, None]
    x[~mask] = 0
    one_hot, classes = np.eye(4)[rng.integers(0, 4, (8, 6))], rng.integers(0, 4, (8, 6))
    real = rng.normal(size=(8, 6, 1))
    one_hot[~mask], real[~mask], classes[~mask] = 0, 0, 0
    cases = [
        (4, "softmax", "categorical_focal_crossentropy", one_hot,
         ["f1_score", "top_k_categorical_accuracy", metrics.ConfusionMatrix(4)]),
        (4, "softmax", "sparse_categorical_crossentropy", classes,
         ["perplexity", metrics.SparseTopKCategoricalAccuracy(2)]),
        (3, "linear", "quantile", real, ["coverage"]),
        (2, "linear", "gaussian_nll", real, []),
        (2, "linear", "student_t_nll", real, []),
        (1, "linear", "log_cosh", real, ["r2_score", "smape", metrics.MeanAbsoluteScaledError(2)]),
    ]  # fmt: skip
    for units, activation, loss, y, chosen in cases:
        results = []
        for nothing in (0.0, np.nan) if y is real else (0, 77):
            clstm.set_seed(1)
            model = clstm.Sequential([
                clstm.Masking(input_shape=(6, 3)), clstm.LSTM(5, return_sequences=True),
                clstm.Dense(units, activation=activation)])  # fmt: skip
            model.compile("adam", loss, metrics=chosen)
            labels = np.where(mask.reshape(8, 6, *[1] * (y.ndim - 2)), y, nothing)
            history = model.fit(x, labels, epochs=2, batch_size=4, verbose=2).history
            results.append(history)
            assert history["loss"][1] < history["loss"][0]
        for name, values in results[0].items():
            np.testing.assert_array_equal(values, results[1][name], err_msg=name)
            assert np.isfinite(values).all()
    assert "f1_score: [" in capsys.readouterr().out


@pytest.mark.parametrize("metric", [
    metrics.AUC(), metrics.BinaryAccuracy(), metrics.CategoricalAccuracy(), metrics.F1Score(),
    metrics.MeanAbsoluteError(),
    metrics.MeanAbsolutePercentageError(), metrics.MeanAbsoluteScaledError(1.0),
    metrics.MeanSquaredError(),
    metrics.Precision(), metrics.R2Score(), metrics.Recall(),
    metrics.SymmetricMeanAbsolutePercentageError(),
    metrics.TopKCategoricalAccuracy(1),
], ids=lambda metric: metric.name)  # fmt: skip
def test_labels_that_are_nan_are_an_error(metric):
    labels, outputs = np.eye(3, dtype=np.float32), np.full((3, 3), 0.4, np.float32)
    metric.update_state(labels, outputs)
    before = metric.get_state()
    labels[1, 2] = np.nan
    with pytest.raises(ValueError, match="y_true: expected numbers, got NaN"):
        metric.update_state(labels, outputs)
    np.testing.assert_equal(metric.get_state(), before)
