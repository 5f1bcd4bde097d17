"""Predict what is missing by an LSTM that reads from both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import random
from ..._arrays import integer, number, positive
from ..._serialize import register
from ..scalers import known_values
from ..table import Table
from ..transform import Transform
from .interpolate import linear

Array = np.ndarray


@register("transform")
class LSTMImputer(Transform):
    """A bidirectional LSTM that learned to find values which were hidden from it.

    Windows of the training part, with some more values hidden, at random places and in blocks, are
    filled linearly; from these, and from what is known, the LSTM gives what is to be added to each
    hidden value. `transform` fills each missing value by the mean over the windows that hold it.

    Args:
        length: steps of a window; some seasons, and longer than the gaps. Default 64.
        units, epochs, batch_size, learning_rate: of the LSTM and its training with Adam; an epoch
            has 256 windows. Default 32, 60, 32, 0.005.
        seed: of weights, windows and what is hidden; None: they go on from `clstm.set_seed`.
    """

    state_names = ("means", "scale", "weights")
    means: Array
    scale: Array
    weights: list[Array]

    def __init__(
        self, length: int = 64, units: int = 32, epochs: int = 60, batch_size: int = 32,
        learning_rate: float = 0.005, seed: int | None = None,
    ):  # fmt: skip
        self.length, self.units = positive("length", length), positive("units", units)
        if self.length < 2:
            raise ValueError(f"length: expected at least 2, got {length}")
        self.epochs = positive("epochs", epochs)
        self.batch_size = positive("batch_size", batch_size)
        self.learning_rate = number("learning_rate", learning_rate, above=0)
        self.seed = None if seed is None else integer("seed", seed)

    def _fit(self, table: Table) -> dict[str, Any]:
        from ...losses import IgnoreMissing
        from ...optimizers import Adam
        from ...schedules import CosineDecay

        means = np.array([column.mean() for column in known_values(table)])
        parts = [part.astype(np.float64) for part in table.parts if len(part)]
        centred = [part - np.nanmean(_filled(part, means), axis=0) for part in self._spread(parts)]
        scale = np.sqrt(np.nanmean(np.square(np.concatenate(centred)), axis=0))
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        with random.apart(self.seed):
            draw = random.generator()
            model = self._network(table.features)
            steps = self.epochs * -(-256 // self.batch_size)
            model.compile(Adam(CosineDecay(self.learning_rate, steps), global_clipnorm=1.0),
                          IgnoreMissing("mse"))  # fmt: skip
            for _ in range(steps):
                windows = [_hide(self._window(parts, draw), draw) for _ in range(self.batch_size)]
                x, y = zip(*(self._example(seen, whole, means, scale) for seen, whole in windows),
                           strict=True)  # fmt: skip
                model.train_on_batch(np.stack(x), np.stack(y))
        return {"means": means, "scale": scale, "weights": model.get_weights()}

    def _apply(self, table: Table) -> Table:
        with random.apart(0):
            model = self._network(table.features)
        model.set_weights(self.weights)
        return table.map(lambda part: self._fill(model, part))

    def _undo(self, table: Table) -> Table:
        return table.map(np.copy)

    def _network(self, features: int) -> Any:
        from ...layers import LSTM, Bidirectional, Dense, Input
        from ...models import Sequential

        inner = LSTM(self.units, return_sequences=True)
        return Sequential([Input((None, 2 * features)), Bidirectional(inner),
                           Dense(features, kernel_initializer="zeros")])  # fmt: skip

    def _spread(self, parts: list[Array]) -> list[Array]:
        """Windows all over the parts."""
        return [part[at : at + self.length] for part in parts
                for at in range(0, max(1, len(part) - self.length + 1), max(1, self.length // 2))
                ]  # fmt: skip

    def _window(self, parts: list[Array], draw: np.random.Generator) -> Array:
        """`length` rows of a part; fewer rows are followed by missing ones."""
        lengths = np.array([len(part) for part in parts], np.float64)
        part = parts[draw.choice(len(parts), p=lengths / lengths.sum())]
        if len(part) < self.length:
            return np.pad(part, ((0, self.length - len(part)), (0, 0)), constant_values=np.nan)
        at = draw.integers(0, len(part) - self.length + 1)
        return part[at : at + self.length]

    def _example(self, seen: Array, whole: Array, means: Array, scale: Array) -> Any:
        """Inputs (T, 2 F), and what is to be added, NaN where nothing was hidden."""
        line = _filled(seen, means)
        x = np.concatenate([(line - line.mean(axis=0)) / scale, ~np.isnan(seen)], axis=1)
        y = np.where(np.isnan(seen), (whole - line) / scale, np.nan)
        return x.astype(np.float32), y.astype(np.float32)

    def _fill(self, model: Any, part: Array) -> Array:
        if not np.isnan(part).any():
            return part.copy()
        size = min(self.length, len(part))
        last = len(part) - size
        begins = sorted({*range(0, last + 1, max(1, size // 4)), last})
        cuts = [part[at : at + size].astype(np.float64) for at in begins]
        x = np.stack([self._example(cut, cut, self.means, self.scale)[0] for cut in cuts])
        added = model.predict(x)
        total, count = np.zeros(part.shape), np.zeros((len(part), 1))
        for at, cut, d in zip(begins, cuts, added, strict=True):
            total[at : at + size] += _filled(cut, self.means) + d * self.scale
            count[at : at + size] += 1
        return np.where(np.isnan(part), total / count, part).astype(part.dtype)


def _hide(window: Array, draw: np.random.Generator) -> tuple[Array, Array]:
    """The window with some more missing, and as it is: single places, or a block of rows."""
    hidden = np.zeros(window.shape, bool)
    if draw.random() < 0.5:
        hidden = draw.random(window.shape) < draw.uniform(0.1, 0.6)
    else:
        size = draw.integers(1, len(window) // 2 + 1)
        begin = draw.integers(0, len(window) - size + 1)
        hidden[begin : begin + size] = draw.random(window.shape[1]) < 0.7
    return np.where(hidden, np.nan, window), window


def _filled(part: Array, means: Array) -> Array:
    """Linearly; the mean where a feature has no value."""
    columns = [np.full(len(part), mean) if np.isnan(column).all() else linear(column)
               for column, mean in zip(part.T, means, strict=True)]  # fmt: skip
    return np.stack(columns, axis=1)
