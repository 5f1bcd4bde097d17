"""A small training on a build under test: smoke.py FOLDER NAME."""

import sys

import numpy as np

import clstm
from clstm import LSTM, Dense, Sequential, config

folder, name = sys.argv[1:]
assert clstm.__file__.startswith(folder), clstm.__file__
print(config.show_config())
if name == "no-openmp":
    assert "OpenMP           none" in config.show_config()

losses = {}
x = np.random.default_rng(0).random((256, 10, 10))
for backend in ("auto", "numpy"):
    config.set_backend(backend)
    clstm.set_seed(0)
    model = Sequential([LSTM(64, input_shape=(10, 10), return_sequences=True), LSTM(32)])
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    losses[backend] = model.fit(x, x.mean((1, 2)) > 0.5, epochs=3, verbose=0).history["loss"]
print(losses)
np.testing.assert_allclose(losses["auto"], losses["numpy"], rtol=1e-3)
