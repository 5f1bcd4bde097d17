"""Steps for what was used alone."""

from __future__ import annotations

import numpy as np

from .._serialize import register
from .adam import Adam
from .base import Array, Weights


@register("optimizer")
class LazyAdam(Adam):
    """Adam that leaves the rows of an `Embedding` alone which the batch does not use: where the
    gradient is all zeros, the row, its m and its v stay as they are. All other weights, and t, are
    as of `Adam`, which moves every row in each step by what its m still holds.

    For large vocabularies: a step reads the gradient of the table, and nothing else of the rows
    that it does not use. A penalty or `weight_decay` of the table still changes all rows.
    """

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        arrays = {"params": params, "grads": grads, **{n: self.slots[n] for n in self.slot_names}}
        done = 0
        for begin, end, _, row in weights:
            if row:
                self._part({n: a[done:begin] for n, a in arrays.items()}, rate)
                tables = {n: a[begin:end].reshape(-1, row) for n, a in arrays.items()}
                used = np.flatnonzero(tables["grads"].any(axis=1))
                rows = {n: table[used] for n, table in tables.items()}
                self._part({n: part.ravel() for n, part in rows.items()}, rate)  # views
                for n, table in tables.items():
                    table[used] = rows[n]
                done = end
        self._part({n: a[done:] for n, a in arrays.items()}, rate)

    def _part(self, arrays: dict[str, Array], rate: float) -> None:
        self._adam(arrays["params"], arrays["grads"], arrays, rate)
