"""Fifty training steps against Keras and PyTorch: the loss of every step and the final weights.

Same first weights, same batches in the same order, no dropout. PyTorch's LSTM has two biases; if
both were trained their sum would move twice as far per Adam step, so its program keeps one at 0.
PyTorch's Adam was given, step by step, the epsilon that makes its rule Keras's (see
golden/make_torch.py).
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

import clstm
import clstm.optimizers

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
KERAS, TORCH = load("keras_training.npz"), load("torch_training.npz")
LOSS = {"float64": 1e-5, "float32": 1e-4}  # relative; Keras itself rounds products to float32
WEIGHTS = {"float64": 2e-5, "float32": 2e-3}  # absolute; large matrices are stored as float16


def reference(config, dtype):
    one, two = config["units"]
    return clstm.Sequential(
        [
            clstm.Input((10, 10)),
            clstm.LSTM(one, return_sequences=True, dtype=dtype),
            clstm.LSTM(two, dtype=dtype),
            clstm.Dense(1, activation="sigmoid", dtype=dtype),
        ]
    )


def words(config, dtype):
    return clstm.Sequential(
        [
            clstm.Input((9,), dtype="int32"),
            clstm.Embedding(config["words"], config["embedding"], mask_zero=True, dtype=dtype),
            clstm.Bidirectional(clstm.LSTM(config["units"], dtype=dtype), dtype=dtype),
            clstm.Dense(config["classes"], activation="softmax", dtype=dtype),
        ]
    )


def train(name, dtype):
    """Losses, accuracies and final weights of our 50 steps on the case's data."""
    case = KERAS[name]
    if name == "words":
        model, x = words(case.config, dtype), case.x.astype(np.int32)
        optimizer = clstm.optimizers.SGD(**case.config["sgd"])
        loss = "sparse_categorical_crossentropy"
    else:
        model, x = reference(case.config, dtype), (case.x * case.config["unit"]).astype(dtype)
        optimizer, loss = "adam", "binary_crossentropy"
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    model.set_weights(
        [(q * s).astype(dtype) for q, s in zip(case.list("q"), case.config["scales"], strict=True)]
    )
    logs = [
        model.train_on_batch(x[rows], case.y[rows])
        for rows in (slice(32 * (k % 4), 32 * (k % 4) + 32) for k in range(50))
    ]
    assert all(w.dtype == dtype for w in model.get_weights())
    return [log[0] for log in logs], [log[1] for log in logs], model.get_weights()


def check_weights(got, case, atol):
    for w, want in zip(got, case.list("final"), strict=True):
        stored = 1e-3 if want.size > 8000 else 0  # float16 in the file
        np.testing.assert_allclose(w, want, rtol=stored, atol=atol)


@pytest.mark.parametrize("dtype", LOSS)
@pytest.mark.parametrize("name", KERAS)
def test_keras(name, dtype):
    case = KERAS[name]
    losses, accuracies, final = train(name, dtype)
    np.testing.assert_allclose(losses, case.losses, rtol=LOSS[dtype])
    np.testing.assert_allclose(accuracies, case.accuracies, atol=1e-6)
    check_weights(final, case, WEIGHTS[dtype])
    assert case.losses[-4:].mean() < 0.98 * case.losses[:4].mean(), "the program learns"


@pytest.mark.parametrize("dtype", LOSS)
def test_torch(dtype):
    losses, _, final = train("small", dtype)
    np.testing.assert_allclose(
        losses, TORCH["small"].losses, rtol=1e-8 if dtype == "float64" else LOSS[dtype]
    )
    check_weights(final, TORCH["small"], 1e-6 if dtype == "float64" else WEIGHTS[dtype])
