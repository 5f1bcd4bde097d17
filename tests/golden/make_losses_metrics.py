"""Makes losses_metrics.json: losses and metrics of Keras 3 and scikit-learn on small inputs.

    KERAS_BACKEND=jax python tests/golden/make_losses_metrics.py

Gradients are those of Keras's losses by JAX, in float32. Floats are written with 9 digits, enough
for every float32.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import sklearn
import sklearn.metrics
from keras import losses, metrics
from keras.src.backend.common.masking import set_keras_mask
from keras.src.trainers.compile_utils import get_metric

rng = np.random.default_rng(20240229)


def rounded(value):
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        return array.tolist()
    # + 0.0 turns -0 into 0.
    return (np.vectorize(lambda v: float(f"{v:.9g}"))(array) + 0.0).tolist()


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype("float32")


def one_hot(labels, classes):
    return np.eye(classes, dtype="float32")[labels]


def loss_case(name, config, y_true, y_pred, sample_weight=None, mask=None):
    y_pred = np.asarray(y_pred, "float32")
    loss = getattr(losses, name)(**config)

    def value(p):
        p = p + 0.0  # a new tensor: the mask is an attribute
        if mask is not None:
            set_keras_mask(p, mask)
        return loss(y_true, p, sample_weight=sample_weight)

    result, gradient = jax.value_and_grad(value)(y_pred)
    case = {
        "loss": name,
        "config": config,
        "y_true": rounded(y_true),
        "y_pred": rounded(y_pred),
        "value": rounded(result),
        "gradient": rounded(gradient),
    }
    if sample_weight is not None:
        case["sample_weight"] = rounded(sample_weight)
    if mask is not None:
        case["mask"] = rounded(mask)
    return case


def loss_cases():
    b, t, f, c = 4, 3, 2, 5
    w_b = rng.uniform(0, 2, b).astype("float32")
    w_bt = rng.uniform(0, 2, (b, t)).astype("float32")
    m_b = np.array([True, False, True, True])
    m_bt = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], bool)
    ones = np.array([0, 1, 1, 0], "float32")
    z1 = rng.normal(0, 2, (b, 1))
    p1 = 1 / (1 + np.exp(-z1))
    y_btf = rng.integers(0, 2, (b, t, f)).astype("float32")
    z_btf = rng.normal(0, 2, (b, t, f))
    p_btf = 1 / (1 + np.exp(-z_btf))
    k_b, k_bt = rng.integers(0, c, b), rng.integers(0, c, (b, t))
    z_bc, z_btc = rng.normal(0, 2, (b, c)), rng.normal(0, 2, (b, t, c))
    real_btf = rng.normal(0, 2, (b, t, f))
    logits = {"from_logits": True}
    yield loss_case("BinaryCrossentropy", {}, ones, p1)
    yield loss_case("BinaryCrossentropy", {}, ones[:, None], p1, w_b)
    yield loss_case("BinaryCrossentropy", {}, ones[:, None], p1, None, m_b)
    yield loss_case("BinaryCrossentropy", {}, ones[:, None], [[0.0], [1.0], [0.5], [1.0]])
    yield loss_case("BinaryCrossentropy", {"label_smoothing": 0.2}, ones[:, None], p1)
    yield loss_case("BinaryCrossentropy", logits, ones[:, None], z1)
    yield loss_case("BinaryCrossentropy", logits, ones[:, None], [[-80], [90], [-30], [40]])
    for config, pred in (({}, p_btf), (logits, z_btf)):
        yield loss_case("BinaryCrossentropy", config, y_btf, pred)
        yield loss_case("BinaryCrossentropy", config, y_btf, pred, w_bt)
        yield loss_case("BinaryCrossentropy", config, y_btf, pred, None, m_bt)
        yield loss_case("BinaryCrossentropy", config, y_btf, pred, w_bt, m_bt)
    for config, pred in (({}, softmax), (logits, np.asarray)):
        smooth = {**config, "label_smoothing": 0.1}
        soft = softmax(rng.normal(0, 1, (b, c)))
        yield loss_case("CategoricalCrossentropy", config, one_hot(k_b, c), pred(z_bc))
        yield loss_case("CategoricalCrossentropy", config, soft, pred(z_bc), w_b)
        yield loss_case("CategoricalCrossentropy", smooth, one_hot(k_b, c), pred(z_bc), w_b)
        yield loss_case(
            "CategoricalCrossentropy", config, one_hot(k_bt, c), pred(z_btc), w_bt, m_bt
        )
        ignore = {**config, "ignore_class": int(k_bt[0, 0])}
        outside = np.where(m_bt, k_bt, -1)
        yield loss_case("SparseCategoricalCrossentropy", config, k_b, pred(z_bc))
        yield loss_case("SparseCategoricalCrossentropy", config, k_b[:, None], pred(z_bc), w_b)
        yield loss_case("SparseCategoricalCrossentropy", config, k_bt, pred(z_btc), None, m_bt)
        yield loss_case("SparseCategoricalCrossentropy", ignore, k_bt, pred(z_btc), w_bt)
        yield loss_case("SparseCategoricalCrossentropy", ignore, k_bt, pred(z_btc), None, m_bt)
        ignore = {**config, "ignore_class": -1}
        yield loss_case("SparseCategoricalCrossentropy", ignore, outside, pred(z_btc))
    unnormalised = rng.uniform(0.1, 3, (b, c))
    yield loss_case("CategoricalCrossentropy", {}, one_hot(k_b, c), unnormalised)
    yield loss_case("SparseCategoricalCrossentropy", {}, k_b, unnormalised)
    for name, config in (
        ("MeanSquaredError", {}),
        ("MeanAbsoluteError", {}),
        ("Huber", {}),
        ("Huber", {"delta": 0.3}),
    ):
        yield loss_case(name, config, real_btf[:, 0, 0], z_bc[:, :1])
        yield loss_case(name, config, real_btf, z_btf)
        yield loss_case(name, config, real_btf, z_btf, w_bt)
        yield loss_case(name, config, real_btf, z_btf, w_bt, m_bt)
        yield loss_case(name, config, real_btf[:, 0], z_btf[:, 0], w_b, m_b)


def metric_case(name, config, batches):
    metric = getattr(metrics, name)(**config)
    for batch in batches:
        metric.update_state(*batch)
    return {
        "metric": name,
        "config": config,
        "batches": [[rounded(array) for array in batch] for batch in batches],
        "result": rounded(metric.result()),
    }


def batches_of(y_true, y_pred, *weights):
    arrays = (y_true, y_pred, *weights)
    return [tuple(a[:3] for a in arrays), tuple(a[3:] for a in arrays)]


def metric_cases():
    b, t, f, c = 7, 3, 2, 4
    w_b = rng.uniform(0, 2, b).astype("float32")
    w_bt = rng.uniform(0, 2, (b, t)).astype("float32")
    y = rng.integers(0, 2, (b, 1)).astype("float32")
    p = np.clip(0.3 * y + rng.uniform(0, 0.7, (b, 1)), 0, 1).astype("float32")
    y_btf = rng.integers(0, 2, (b, t, f)).astype("float32")
    p_btf = rng.uniform(0, 1, (b, t, f)).astype("float32")
    k_bt = rng.integers(0, c, (b, t))
    q_btc = softmax(rng.normal(0, 1, (b, t, c)) + 2 * one_hot(k_bt, c))
    for name in ("BinaryAccuracy", "MeanSquaredError", "MeanAbsoluteError"):
        yield metric_case(name, {}, batches_of(y, p))
        yield metric_case(name, {}, batches_of(y[:, 0], p))
        yield metric_case(name, {}, batches_of(y, p, w_b))
        yield metric_case(name, {}, batches_of(y_btf, p_btf))
        yield metric_case(name, {}, batches_of(y_btf, p_btf, w_bt))
    yield metric_case("BinaryAccuracy", {"threshold": 0.3}, batches_of(y, p))
    yield metric_case("CategoricalAccuracy", {}, batches_of(one_hot(k_bt, c), q_btc))
    yield metric_case("CategoricalAccuracy", {}, batches_of(one_hot(k_bt, c), q_btc, w_bt))
    yield metric_case("SparseCategoricalAccuracy", {}, batches_of(k_bt, q_btc))
    yield metric_case("SparseCategoricalAccuracy", {}, batches_of(k_bt, q_btc, w_bt))
    yield metric_case("SparseCategoricalAccuracy", {}, batches_of(k_bt[:, :1], q_btc[:, 0], w_b))
    for name, configs in (
        ("Precision", ({}, {"thresholds": 0.3})),
        ("Recall", ({}, {"thresholds": 0.3})),
        ("AUC", ({}, {"curve": "PR"}, {"num_thresholds": 7}, {"num_thresholds": 7, "curve": "PR"})),
    ):
        for config in configs:
            yield metric_case(name, config, batches_of(y, p))
            yield metric_case(name, config, batches_of(y[:, 0], p, w_b))
            yield metric_case(name, config, batches_of(y_btf, p_btf))
            yield metric_case(name, config, batches_of(y_btf, p_btf, w_bt))
    yield metric_case("Precision", {}, batches_of(y, np.zeros_like(p)))
    yield metric_case("AUC", {}, batches_of(np.ones_like(y), p))


def accuracy_cases():
    for y_shape, output_shape in (
        ((8,), (8, 1)),
        ((8, 1), (8, 1)),
        ((8,), (8, 3)),
        ((8, 1), (8, 3)),
        ((8, 3), (8, 3)),
        ((8, 5), (8, 5, 1)),
        ((8, 5), (8, 5, 3)),
        ((8, 5, 1), (8, 5, 3)),
        ((8, 5, 3), (8, 5, 3)),
    ):
        for identifier in ("accuracy", "acc", "Accuracy"):
            metric = get_metric(identifier, np.zeros(y_shape), np.zeros(output_shape))
            yield {
                "identifier": identifier,
                "y_shape": y_shape,
                "output_shape": output_shape,
                "class": type(metric).__name__,
                "name": metric.name,
            }


def sklearn_case():
    y = rng.integers(0, 2, 200)
    p = np.clip(rng.normal(0.35 + 0.3 * y, 0.2), 0, 1)
    w = rng.uniform(0, 2, 200)
    hard = p > 0.5
    return {
        "y_true": rounded(y),
        "y_pred": rounded(p),
        "sample_weight": rounded(w),
        "results": {
            "Precision": rounded(sklearn.metrics.precision_score(y, hard, sample_weight=w)),
            "Recall": rounded(sklearn.metrics.recall_score(y, hard, sample_weight=w)),
            "BinaryAccuracy": rounded(sklearn.metrics.accuracy_score(y, hard, sample_weight=w)),
            "AUC": rounded(sklearn.metrics.roc_auc_score(y, p, sample_weight=w)),
            "BinaryCrossentropy": rounded(sklearn.metrics.log_loss(y, p, sample_weight=w)),
            "MeanSquaredError": rounded(sklearn.metrics.mean_squared_error(y, p, sample_weight=w)),
        },
    }


golden = {
    "made_with": {
        "keras": keras.__version__,
        "jax": jax.__version__,
        "scikit-learn": sklearn.__version__,
    },
    "losses": list(loss_cases()),
    "metrics": list(metric_cases()),
    "accuracy": list(accuracy_cases()),
    "sklearn": sklearn_case(),
}
with Path(__file__).with_name("losses_metrics.json").open("w") as file:
    lines = []
    for key, value in golden.items():
        if isinstance(value, list):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    file.write("{\n " + ",\n ".join(lines) + "\n}\n")
