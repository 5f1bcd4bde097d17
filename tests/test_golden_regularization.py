"""Penalties, projections and dropout against Keras, one at a time and in models."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from clstm import (
    LSTM,
    ActivityRegularization,
    Bidirectional,
    Dense,
    Embedding,
    Sequential,
    constraints,
    layers,
    regularizers,
)

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
CASES = load("keras_regularization.npz")
D = {"dtype": "float64"}
L12 = {"class_name": "L1L2", "config": {"l1": 0.02, "l2": 0.03}}
CHAINS = {
    "Dense": lambda: [Dense(2, activation="tanh", kernel_regularizer=L12, bias_regularizer="l2",
                            activity_regularizer=L12, **D)],
    "LSTM": lambda: [
        LSTM(3, return_sequences=True, kernel_regularizer=L12, recurrent_regularizer="l2",
             bias_regularizer="l1", activity_regularizer=L12, **D),
        LSTM(2, activity_regularizer="l2",
             recurrent_regularizer=regularizers.OrthogonalRegularizer(0.5), **D)],
    "Embedding": lambda: [
        Embedding(7, 3, embeddings_regularizer="l2", activity_regularizer=L12, **D), LSTM(2, **D)],
    "Bidirectional": lambda: [
        Bidirectional(LSTM(2, return_sequences=True, kernel_regularizer="l2", **D),
                      activity_regularizer=L12), LSTM(2, **D)],
    "ActivityRegularization": lambda: [
        LSTM(3, return_sequences=True, **D), ActivityRegularization(0.02, 0.03, **D),
        LSTM(2, **D)],
}  # fmt: skip


def cases(kind):
    names = [name for name, case in CASES.items() if case.config["kind"] == kind]
    return pytest.mark.parametrize("name", names)


@cases("regularizer")
def test_regularizer(name):
    case = CASES[name]
    penalty = getattr(regularizers, case.config["name"])(**case.config["config"])
    assert penalty(case.w) == pytest.approx(float(case.value), rel=1e-6)
    gradient = np.ones_like(case.w)
    penalty.add_gradient(case.w, gradient)
    if case.gradient is None:
        assert np.isfinite(gradient).all()
    else:
        np.testing.assert_allclose(gradient - 1, case.gradient, rtol=1e-5, atol=1e-7)


@cases("constraint")
def test_constraint(name):
    case = CASES[name]
    project = getattr(constraints, case.config["name"])(**case.config["config"])
    np.testing.assert_allclose(project(case.w), case.result, rtol=1e-6, atol=1e-9)


@cases("model")
def test_model(name):
    """The loss with its penalties, and its gradients: what one step of SGD at rate 1 takes away."""
    case = CASES[name]
    model = Sequential(CHAINS[case.config["name"]]())
    model.build(case.x.shape)
    model.set_weights(case.list("w"))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1.0
    assert model.evaluate(case.x, case.y, verbose=0) == pytest.approx(float(case.value), rel=1e-6)
    assert model.train_on_batch(case.x, case.y) == pytest.approx(float(case.value), rel=1e-6)
    for before, after, gradient in zip(case.list("w"), model.get_weights(), case.list("g"),
                                       strict=True):  # fmt: skip
        np.testing.assert_allclose(before - after, gradient, rtol=1e-5, atol=1e-6)


@cases("layer")
def test_random_layer(name):
    case = CASES[name]
    layer = getattr(layers, case.config["name"])(**case.config["config"], **D)
    shape = (40, *case.x.shape[1:])
    y = layer(np.full(shape, case.x.flat[0]), training=True)
    np.testing.assert_allclose(np.unique(y), case.values, rtol=1e-6)
