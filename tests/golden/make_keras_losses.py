"""Makes keras_losses.npz: losses and metrics of Keras 3 in float64, and scikit-learn's numbers.

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_keras_losses.py

A case has a `kind`, the `name` of the class and its `config`. Losses: t, p, w (sample weights),
mask, value and gradient, the latter by JAX. Metrics: t0, p0, w0, t1, ... of the batches and result.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import keras
import numpy as np
import sklearn
import sklearn.metrics
from golden_io import Writer, grid
from keras import losses, metrics
from keras.src.backend.common.masking import set_keras_mask

keras.config.set_floatx("float64")
rng = np.random.RandomState(20240301)
writer = Writer(
    keras=keras.__version__, jax=jax.__version__, scikit_learn=sklearn.__version__, dtype="float64"
)


def add(kind, name, config, arrays):
    number = sum(c["name"] == name for c in writer.cases.values())
    writer.add(f"{kind}-{name}-{number}", {"kind": kind, "name": name, "config": config}, arrays)


def add_loss(name, config, t, p, w=None, mask=None):
    loss = getattr(losses, name)(**config)

    def value(p):
        p = p + 0.0  # a new tensor: the mask is an attribute
        if mask is not None:
            set_keras_mask(p, mask)
        return loss(t, p, sample_weight=w)

    result, gradient = jax.value_and_grad(value)(p)
    add("loss", name, config,
        {"t": t, "p": p, "w": w, "mask": mask, "value": result, "gradient": gradient})  # fmt: skip


def add_metric(name, config, t, p, *w):
    metric = getattr(metrics, name)(**config)
    arrays = {}
    for k, rows in enumerate((slice(None, 3), slice(3, None))):
        metric.update_state(*(a[rows] for a in (t, p, *w)))
        arrays |= {f"{key}{k}": a[rows] for key, a in zip("tpw", (t, p, *w), strict=False)}
    add("metric", name, config, {**arrays, "result": metric.result()})


B, T, F = 4, 3, 5
mask = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], bool)
weights = np.abs(grid(rng, B, T))
logits = grid(rng, B, T, F, scale=4.0)
inside = (grid(rng, B, T, F) + 1.0625) / 2.25  # in (0, 1), sums are not 1
binary = rng.randint(0, 2, (B, T, F)).astype(float)
one_hot = np.eye(F)[rng.randint(0, F, (B, T))]
soft = np.exp(grid(rng, B, T, F))
soft /= soft.sum(axis=-1, keepdims=True)


def weighted(name, config, t, p):
    """The loss of sequences, with all weightings, and of rows."""
    add_loss(name, config, t, p)
    add_loss(name, config, t, p, weights)
    add_loss(name, config, t, p, None, mask)
    add_loss(name, config, t, p, weights, mask)
    add_loss(name, config, t[:, 0], p[:, 0], weights[:, 0], mask[:, 1])


weighted("KLDivergence", {}, soft, inside)
add_loss("KLDivergence", {}, one_hot, inside)
weighted("Poisson", {}, rng.poisson(2.0, (B, T, F)).astype(float), inside * 4)
weighted("LogCosh", {}, grid(rng, B, T, F, scale=4.0), logits)
weighted("CosineSimilarity", {}, grid(rng, B, T, F, scale=4.0), logits)
for extra in ({}, {"from_logits": True}):
    outputs = logits if extra else inside
    for config in ({}, {"apply_class_balancing": True, "alpha": 0.75}, {"gamma": 0.5},
                   {"gamma": 0.0}, {"label_smoothing": 0.125}):  # fmt: skip
        weighted("BinaryFocalCrossentropy", config | extra, binary, outputs)
    for config in ({}, {"alpha": [0.5, 0.25, 1.0, 2.0, 0.0]}, {"gamma": 0.5}, {"gamma": 0.0},
                   {"label_smoothing": 0.125}):  # fmt: skip
        weighted("CategoricalFocalCrossentropy", config | extra, one_hot, outputs)
    add_loss("CategoricalFocalCrossentropy", extra, soft, outputs)

B = 9
scores = grid(rng, B, F)  # some are equal
numbers = rng.randint(0, F, B)
one_hot = np.eye(F)[numbers]
labels = rng.randint(0, 2, (B, F)).astype(float)
w = np.abs(grid(rng, B)) + 0.0625
for beta in (1.0, 0.5, 2.0):
    for average in (None, "micro", "macro", "weighted"):
        for threshold in (None, 0.25):
            config = {"average": average, "beta": beta, "threshold": threshold}
            name = "FBetaScore"
            if beta == 1:
                config.pop("beta")
                name = "F1Score"
            add_metric(name, config, labels if threshold else one_hot, scores)
            add_metric(name, config, labels if threshold else one_hot, scores, w)
for k in (1, 2, 5):
    add_metric("TopKCategoricalAccuracy", {"k": k}, one_hot, scores)
    add_metric("TopKCategoricalAccuracy", {"k": k}, one_hot, scores, w)
    add_metric("SparseTopKCategoricalAccuracy", {"k": k}, numbers, scores, w)
ranked = np.argsort(-scores, axis=1, kind="stable").astype(float)
add_metric("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, numbers, ranked, w)
targets = grid(rng, B, F, scale=4.0)
outputs = targets + grid(rng, B, F)
for aggregation in (None, "uniform_average", "variance_weighted_average"):
    for regressors in (0, 3):
        config = {"class_aggregation": aggregation, "num_regressors": regressors}
        add_metric("R2Score", config, targets, outputs)
        add_metric("R2Score", config, targets, outputs, w)
add_metric("R2Score", {}, np.ones((B, 1)), outputs[:, :1])
add_metric("MeanAbsolutePercentageError", {}, targets, outputs)
add_metric("MeanAbsolutePercentageError", {}, targets, outputs, w)

y, quantiles = targets[:, 0], np.sort(outputs[:, :3], axis=1)
add("sklearn", "numbers", {"quantiles": [0.125, 0.5, 0.875]}, {
    "targets": targets, "outputs": outputs, "w": w, "y": y, "predicted_quantiles": quantiles,
    "numbers": numbers, "scores": scores,
    "pinball": [sklearn.metrics.mean_pinball_loss(y, quantiles[:, k], alpha=q, sample_weight=w)
                for k, q in enumerate((0.125, 0.5, 0.875))],
    "r2": sklearn.metrics.r2_score(targets, outputs, sample_weight=w, multioutput="raw_values"),
    "mape": sklearn.metrics.mean_absolute_percentage_error(targets, outputs, sample_weight=w),
    "confusion": sklearn.metrics.confusion_matrix(
        numbers, scores.argmax(axis=1), sample_weight=w, labels=range(F)),
    "log_loss": sklearn.metrics.log_loss(
        numbers, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), sample_weight=w,
        labels=range(F)),
})  # fmt: skip
writer.write("keras_losses.npz")
