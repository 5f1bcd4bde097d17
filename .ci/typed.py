"""A user's program, for a type checker to read."""

import numpy as np

from clstm import LSTM, Dense, Model, Sequential, load_model
from clstm import functional as F


def train(x: np.ndarray, y: np.ndarray) -> list[float]:
    model = Sequential()
    model.add(LSTM(64, input_shape=(10, 10), return_sequences=True))
    model.add(LSTM(32))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=10, batch_size=32)
    model.save("model.safetensors")
    again: Model = load_model("model.safetensors")
    again.summary()
    return history.history["loss"]


def last(x: np.ndarray, kernel: np.ndarray, recurrent_kernel: np.ndarray) -> np.ndarray:
    _, (h, _) = F.lstm(x, kernel, recurrent_kernel, lengths=[3, 1])
    return h
