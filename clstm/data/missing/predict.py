"""Predict what is missing by a model of another library."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arrays import integer
from ..._serialize import register
from ..scalers import known_values
from ..table import Table
from ..transform import Transform
from .interpolate import linear

Array = np.ndarray


@register("transform")
class Predict(Transform):
    """Predict each missing value from the other features of its step, and from steps around it.

    One copy of the model for each feature learns from the steps of the training part where it is
    known. What it reads is filled linearly, then, once more, by what was predicted.

    Args:
        estimator: any object with `fit(X, y)` and `predict(X)`, such as scikit-learn's regressors:
            X (n, inputs), y (n,).
        offsets: steps from the missing one to those of which it reads all features, such as
            (-52, -1, 1, 52); beyond an end, the end. Default (-1, 1).

    It is not saved with a model, as files hold no code: `model.save` raises TypeError.
    `LSTMImputer` is saved.
    """

    state_names = ("means", "estimators")
    means: Array
    estimators: list[Any]

    def __init__(self, estimator: Any, offsets: Sequence[int] = (-1, 1)):
        for method in ("fit", "predict"):
            if not callable(getattr(estimator, method, None)):
                raise TypeError(f"estimator: expected an object with fit and predict, got "
                                f"{type(estimator).__name__} without {method}")  # fmt: skip
        self.estimator = estimator
        self.offsets = [integer("offsets", k) for k in offsets]
        if 0 in self.offsets:
            raise ValueError("offsets: expected steps around the missing one, got 0")

    def _fit(self, table: Table) -> dict[str, Any]:
        means = np.array([column.mean() for column in known_values(table)])
        inputs = [self._inputs(_filled(part, means)) for part in table.parts]
        if not inputs[0][0].shape[1]:
            raise ValueError("offsets: expected at least one for a single feature, got none")
        estimators = []
        for column in range(table.features):
            y = np.concatenate([part[:, column] for part in table.parts])
            known = ~np.isnan(y)
            x = np.concatenate([each[column] for each in inputs])
            estimators.append(copy.deepcopy(self.estimator))
            estimators[-1].fit(x[known], y[known])
        return {"means": means, "estimators": estimators}

    def _apply(self, table: Table) -> Table:
        return table.map(self._fill)

    def _undo(self, table: Table) -> Table:
        return table.map(np.copy)

    def _fill(self, part: Array) -> Array:
        gaps = np.isnan(part)
        filled = _filled(part, self.means)
        for _ in range(2):
            inputs, found = self._inputs(filled), filled.copy()
            for column, estimator in enumerate(self.estimators):
                rows = gaps[:, column]
                if rows.any():
                    found[rows, column] = np.reshape(estimator.predict(inputs[column][rows]), -1)
            filled = found
        return filled.astype(part.dtype)

    def _inputs(self, filled: Array) -> list[Array]:
        """For each column (T, inputs): the other columns of the step, and all of the others."""
        rows = np.arange(len(filled))
        around = [filled[np.clip(rows + k, 0, len(filled) - 1)] for k in self.offsets]
        return [np.concatenate([np.delete(filled, column, axis=1), *around], axis=1)
                for column in range(filled.shape[1])]  # fmt: skip


def _filled(part: Array, means: Array) -> Array:
    """Linearly, float64; the mean where a feature has no value."""
    columns = [np.full(len(part), mean) if np.isnan(column).all() else linear(column)
               for column, mean in zip(part.T.astype(np.float64), means, strict=True)]  # fmt: skip
    return np.stack(columns, axis=1)
