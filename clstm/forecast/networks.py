"""The networks of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..layers import LSTM, Dense, Input, Reshape
from ..models import Model

if TYPE_CHECKING:
    from .forecaster import Forecaster


def build(f: Forecaster, columns: int, targets: int, covariates: int) -> Any:
    """The model of windows (B, past, columns + covariates), and (B, horizon, covariates)."""
    numbers = f._head.count * targets
    past = Input((f.past, columns + covariates))
    if f.strategy == "recursive":
        return Model(past, Dense(numbers)(LSTM(f.units)(past)))
    if not covariates:
        y = Dense(f.horizon * numbers)(LSTM(f.units)(past))
        return Model(past, Reshape((f.horizon, numbers))(y))
    future = Input((f.horizon, covariates))
    _, h, c = LSTM(f.units, return_state=True)(past)
    y = LSTM(f.units, return_sequences=True)(future, initial_state=[h, c])
    return Model([past, future], Dense(numbers)(y))
