"""Metrics: Keras's and scikit-learn's numbers, accumulation, names, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clstm import losses, metrics

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
    assert parts.result() == pytest.approx(whole.result(), rel=1e-12)


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
    assert results == pytest.approx([results[0]] * 4, rel=1e-12)


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
    ],
)  # fmt: skip
def test_bad_input_leaves_the_metric_as_it_was(metric, arguments, words):
    with pytest.raises(ValueError) as raised:
        metric.update_state(*arguments)
    for word in words:
        assert word in str(raised.value)
    assert metric.result() == 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.Precision(1.5), "thresholds.*1.5"),
        (lambda: metrics.Recall(-1), "thresholds.*-1"),
        (lambda: metrics.AUC(1), "num_thresholds.*1"),
        (lambda: metrics.AUC(curve="roc curve"), "curve.*'roc curve'"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
