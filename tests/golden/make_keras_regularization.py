"""Makes keras_regularization.npz: penalties, projections and dropout of Keras 3 in float64.

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_keras_regularization.py

A case has a `kind`, the `name` of the class and its `config`. Regularizers: w, value, gradient, the
latter by JAX, which has NaN at vectors of 0: left out there. Constraints: w, result. Models: x, y,
the weights w0, w1, ..., the loss with all penalties in `value` and its gradients g0, g1, ...
Layers: x, a constant, and the sorted values that random layers make of it.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import golden_io
import jax
import keras
import numpy as np
from keras import constraints, layers, regularizers

keras.config.set_floatx("float64")


def grid(rng, *shape, scale=1.0):
    """Without zeros, where |w| has no slope: JAX takes 1."""
    values = golden_io.grid(rng, *shape, scale=scale)
    return np.where(values, values, scale / 64)


rng = np.random.RandomState(20170807)
writer = golden_io.Writer(keras=keras.__version__, jax=jax.__version__, dtype="float64")
matrix = grid(rng, 5, 8, scale=2)
holed = matrix.copy()
holed[1], holed[:, 2] = 0, 0

for name, config in [
    ("L1", {"l1": 0.3}), ("L2", {"l2": 0.2}), ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {}), ("OrthogonalRegularizer", {"factor": 2.0, "mode": "columns"}),
]:  # fmt: skip
    for what, w in (("", matrix), ("-zeros", holed)):
        penalty = getattr(regularizers, name)(**config)
        value, gradient = jax.value_and_grad(lambda w, p=penalty: p(w) * 1.0)(w)
        writer.add("-".join(map(str, (name, *config.values()))) + what,
                   {"kind": "regularizer", "name": name, "config": config},
                   {"w": w, "value": value, "gradient": None if what else gradient})  # fmt: skip

for name, config in [
    ("MaxNorm", {"max_value": 1.5}), ("MaxNorm", {"max_value": 2.0, "axis": 1}), ("NonNeg", {}),
    ("UnitNorm", {}), ("UnitNorm", {"axis": [0, 1]}),
    ("MinMaxNorm", {"min_value": 1.5, "max_value": 2.5, "rate": 0.75}),
]:  # fmt: skip
    writer.add("-".join(map(str, (name, *config.values()))),
               {"kind": "constraint", "name": name, "config": config},
               {"w": holed, "result": getattr(constraints, name)(**config)(holed)})  # fmt: skip

L12 = regularizers.L1L2(0.02, 0.03)
IDS, X = rng.randint(0, 7, (4, 6)), grid(rng, 4, 6, 3, scale=2)
for name, x, chain in [
    ("Dense", grid(rng, 4, 3, scale=2), lambda: [
        layers.Dense(2, activation="tanh", kernel_regularizer=L12, bias_regularizer="l2",
                     activity_regularizer=L12)]),
    ("LSTM", X, lambda: [
        layers.LSTM(3, return_sequences=True, kernel_regularizer=L12, recurrent_regularizer="l2",
                    bias_regularizer="l1", activity_regularizer=L12),
        layers.LSTM(2, activity_regularizer="l2",
                    recurrent_regularizer=regularizers.OrthogonalRegularizer(0.5))]),
    ("Embedding", IDS, lambda: [
        layers.Embedding(7, 3, embeddings_regularizer="l2", activity_regularizer=L12),
        layers.LSTM(2)]),
    ("Bidirectional", X, lambda: [
        layers.Bidirectional(layers.LSTM(2, return_sequences=True, kernel_regularizer="l2"),
                             activity_regularizer=L12),
        layers.LSTM(2)]),
    ("ActivityRegularization", X, lambda: [
        layers.LSTM(3, return_sequences=True), layers.ActivityRegularization(0.02, 0.03),
        layers.LSTM(2)]),
]:  # fmt: skip
    model = keras.Sequential(chain())
    model.build(x.shape)
    model.set_weights([grid(rng, *w.shape, scale=1) for w in model.get_weights()])
    y = grid(rng, *model(x).shape)

    def loss(weights, model=model, x=x, y=y):
        out, _, losses = model.stateless_call(weights, model.non_trainable_variables, x,
                                              return_losses=True)
        return ((out - y) ** 2).mean() + sum(losses)

    weights = [v.value for v in model.trainable_variables]
    value, gradients = jax.value_and_grad(loss)(weights)
    writer.add(f"model-{name}", {"kind": "model", "name": name},
               {"x": x, "y": y, "value": value,
                **{f"w{k}": w for k, w in enumerate(weights)},
                **{f"g{k}": g for k, g in enumerate(gradients)}})  # fmt: skip

for name, config, shape in [
    ("AlphaDropout", {"rate": 0.25}, (20, 30)), ("Dropout", {"rate": 0.25}, (20, 30)),
    ("SpatialDropout1D", {"rate": 0.25}, (20, 5, 6)),
]:  # fmt: skip
    x = np.full(shape, 1.5)
    y = np.unique(getattr(layers, name)(**config)(x, training=True))
    assert y.size == 2
    writer.add(f"layer-{name}", {"kind": "layer", "name": name, "config": config},
               {"x": x[:1], "values": y})  # fmt: skip
writer.write("keras_regularization.npz")
