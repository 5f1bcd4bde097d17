"""Makes keras_training.npz with Keras 3 on PyTorch in float64:

    KERAS_BACKEND=torch python make_keras_training.py

Keras's ops.matmul rounds to float32 there, so losses are good to about 1e-6; on TensorFlow Adam's
betas are rounded, which is worse.
"""

import os
import platform

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch
from golden_io import Writer
from keras import layers

keras.config.set_floatx("float64")
VERSIONS = {
    "keras": keras.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
    "dtype": "float64",
    "python": platform.python_version(),
    "backend": keras.backend.backend(),
}
rng = np.random.RandomState(24)
training = Writer(
    versions=VERSIONS,
    what="losses and accuracies of 50 train_on_batch steps over 4 batches of 32 "
    "in turn, and the final weights; first weight i is q<i> * scales[i], inputs are x * unit",
)


def train(name, model, x, y, unit, config, compile_args):
    quanta = [rng.randint(-100, 101, w.shape).astype(np.int8) for w in model.get_weights()]
    scales = [2.0 ** np.floor(np.log2(0.015 / np.sqrt(w.shape[0]))) for w in quanta]
    model.compile(**compile_args, metrics=["accuracy"])
    model.set_weights([q * s for q, s in zip(quanta, scales, strict=False)])
    batches = [slice(32 * (k % 4), 32 * (k % 4) + 32) for k in range(50)]
    logs = np.array([model.train_on_batch(x[rows] * unit, y[rows]) for rows in batches], float)
    print(name, logs[[0, 1, 24, 48, 49], 0].tolist(), flush=True)
    final = [w.astype(np.float16 if w.size > 8000 else np.float32) for w in model.get_weights()]
    training.add(
        name,
        dict(unit=unit, scales=scales, **config),
        dict(
            x=x,
            y=y,
            losses=logs[:, 0],
            accuracies=logs[:, 1],
            **{f"q{i}": q for i, q in enumerate(quanta)},
            **{f"final{i}": w for i, w in enumerate(final)},
        ),
    )


x = rng.randint(-8, 9, (128, 10, 10)).astype(np.int8)
y = (x[:, :, 0].sum(1) + x[:, -1, 1] > 0).astype(np.int8)[:, None]
for name, units in [("reference", (64, 32)), ("small", (16, 8))]:
    model = keras.Sequential(
        [
            layers.Input((10, 10)),
            layers.LSTM(units[0], return_sequences=True),
            layers.LSTM(units[1]),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    train(
        name,
        model,
        x,
        y,
        0.25,
        {"units": units},
        {"optimizer": "adam", "loss": "binary_crossentropy"},
    )

words, classes = 12, 3  # the class of a sentence: the remainder of its last word
ids = np.zeros((128, 9), np.int8)
for row, length in zip(ids, rng.randint(1, 10, 128), strict=False):
    row[:length] = rng.randint(1, words, length)
y = np.array([row[row > 0][-1] % classes for row in ids], np.int8)
model = keras.Sequential(
    [
        layers.Input((9,), dtype="int32"),
        layers.Embedding(words, 6, mask_zero=True),
        layers.Bidirectional(layers.LSTM(7)),
        layers.Dense(classes, activation="softmax"),
    ]
)
sgd = {"learning_rate": 0.2, "momentum": 0.9}
train(
    "words",
    model,
    ids,
    y,
    1,
    {"words": words, "embedding": 6, "units": 7, "classes": classes, "sgd": sgd},
    {"optimizer": keras.optimizers.SGD(**sgd), "loss": "sparse_categorical_crossentropy"},
)
training.write("keras_training.npz")
