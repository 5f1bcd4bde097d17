"""A user's program, for a type checker to read."""

import numpy as np

from clstm import (
    LSTM,
    Dense,
    Model,
    Sequential,
    find_learning_rate,
    gradient_health,
    lbfgs,
    load_model,
)
from clstm import functional as F
from clstm.forecast import Forecaster, Naive, backtest
from clstm.optimizers import NTASGD
from clstm.schedules import OneCycle


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


def vanishing(model: Model, x: np.ndarray, y: np.ndarray) -> list[str]:
    health = gradient_health(model, x, y, saturated=(0.1, 0.9))
    health.plot("health.png")
    return [layer.name for layer in health.layers if layer.verdict == "vanishes"]


def tuned(model: Model, x: np.ndarray, y: np.ndarray) -> float:
    rate = find_learning_rate(model, x, y).suggestion or 0.01
    model.compile(NTASGD(OneCycle(rate, 100), clipnorm=1.0, gradient_accumulation_steps=2), "mse")
    return lbfgs(model, x, y, max_iterations=5).loss


def ahead(series: np.ndarray) -> np.ndarray:
    forecaster = Forecaster(past=104, horizon=52, strategy="recursive", interval=0.8).fit(series)
    forecaster.save("forecaster.safetensors")
    found = backtest({"LSTM": forecaster, "naive": Naive(52)}, series, first=500, every=26)
    return found.values["LSTM"]
