"""Small programs of which only the import line differs from Keras: the same numbers.

The numbers are Keras 3's (JAX backend, float32): `python test_keras_programs.py`, where Keras is
installed, prints them anew.
"""

import json

import numpy as np

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 2)).astype("f4")
Y = RNG.integers(0, 3, 12)
IDS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 1]])
TARGETS = RNG.normal(size=(3, 4, 1)).astype("f4")
W = np.arange(12.0)


def set_weights(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape).astype("f4") * 0.5 for w in model.get_weights()])


def penalties_and_weights(k):
    """Regularizers of weights and outputs, class and sample weights, validation."""
    model = k.Sequential([
        k.Input((4, 2)),
        k.LSTM(3, return_sequences=True, activity_regularizer=k.L2(0.1),
               kernel_regularizer=k.L2(0.01)),
        k.LSTM(2, activity_regularizer=k.L2(0.1)),
        k.Dense(3, activation="softmax"),
    ])  # fmt: skip
    set_weights(model)
    model.compile(k.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"],
                  weighted_metrics=["accuracy"])  # fmt: skip
    yield model.evaluate(X, Y, verbose=0)[:2]
    yield model.evaluate(X, Y, sample_weight=W, batch_size=5, verbose=0)[0]
    options = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
    classes = {0: 2.0, 1: 0.5}
    split = model.fit(X, Y, class_weight=classes, validation_split=0.25, **options)
    yield dict(sorted(split.history.items()))
    given = model.fit(X, Y, class_weight=classes, validation_data=(X, Y, W), **options)
    yield dict(sorted(given.history.items()))


def masks(k):
    """The mask of words through four layers into the loss and the weighted metrics."""
    model = k.Sequential([
        k.Input((4,)), k.Embedding(5, 3, mask_zero=True),
        k.Bidirectional(k.LSTM(2, return_sequences=True)), k.Dropout(0.0), k.Dense(1),
    ])  # fmt: skip
    set_weights(model)
    model.compile(k.SGD(0.1), "mse", weighted_metrics=["mae"])
    yield model.evaluate(IDS, TARGETS, verbose=0)
    yield model.evaluate(IDS, TARGETS, sample_weight=W.reshape(3, 4), verbose=0)


def states(k):
    """Bidirectional states, and a decoder that begins with an encoder's state."""
    x, z = k.Input((4, 2)), k.Input((4, 2))
    both = k.Model(x, k.Bidirectional(k.LSTM(2, return_state=True, return_sequences=True))(x))
    set_weights(both)
    yield [o.sum() for o in both.predict(X, verbose=0)]
    _, h, c = k.LSTM(2, return_state=True)(x)
    y = k.LSTM(2, return_sequences=True, go_backwards=True)(z, initial_state=[h, c])
    decoder = k.Model([x, z], y)
    set_weights(decoder)
    yield decoder.predict([X, X[::-1]], verbose=0).sum(axis=(0, 2))


def plain(value):
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return np.round(np.asarray(value, float), 5).tolist()


def results(k):
    return [plain(v) for program in (penalties_and_weights, masks, states) for v in program(k)]


KERAS = json.loads("""
[
 [1.35931, 0.25],
 8.20569,
 {"accuracy": [0.33333, 0.33333], "loss": [1.70833, 1.59531], "val_accuracy": [0.0, 0.0],
   "val_loss": [1.54586, 1.45745], "val_weighted_accuracy": [0.0, 0.0], "weighted_accuracy":
   [0.14286, 0.14286]},
 {"accuracy": [0.25, 0.25], "loss": [1.58746, 1.46155], "val_accuracy": [0.25, 0.33333],
   "val_loss": [6.65475, 6.26964], "val_weighted_accuracy": [0.10606, 0.12121],
   "weighted_accuracy": [0.10345, 0.10345]},
 [0.25337, 0.38717],
 [0.80628, 0.29393],
 [-32.58356, -7.68382, -19.98139, -2.76606, -8.99846],
 [-4.09868, -4.41229, -3.56406, -2.94857]
]
""")


def close(got, want):
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for name in want:
            close(got[name], want[name])
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=3e-5)


def test_the_same_numbers():
    import clstm

    clstm.L2, clstm.SGD = clstm.regularizers.L2, clstm.optimizers.SGD
    try:
        got = results(clstm)
    finally:
        del clstm.L2, clstm.SGD
    assert len(got) == len(KERAS)
    for one, two in zip(got, KERAS, strict=True):
        close(one, two)


if __name__ == "__main__":
    import keras

    for module in (keras.layers, keras.regularizers, keras.optimizers):
        for name in ("LSTM", "Dense", "Dropout", "Embedding", "Bidirectional", "L2", "SGD"):
            if hasattr(module, name):
                setattr(keras, name, getattr(module, name))
    print(json.dumps(results(keras)))
