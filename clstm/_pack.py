from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _native_backend, config
from ._cell import NO_NOISE, PLAIN, Cell
from ._run import SHORT_WAY, Array, State, Weights, backend_module, prepare, run


class Packed:
    """Weights that are checked and laid out once, for serving: `pack(...)` makes one.

    Immutable, and safe to share among threads. Calling it is `lstm` without the weights.
    """

    def __init__(self, weights: Weights, cell: Cell):
        self._weights = weights
        self._cell = cell
        self._packed = None
        if backend_module("auto", weights.kernel.dtype, cell) is _native_backend:
            self._packed = _native_backend.pack_weights(*weights, cell)

    def __call__(
        self, x: Any, initial_state: Any = None, lengths: Any = None, reverse: bool = False, *,
        mask: Any = None, resets: Any = None, time_major: bool = False,
        backend: str | None = None,
    ) -> tuple[Array, State]:  # fmt: skip
        """y, (h, c) as `lstm` gives them."""
        if (
            type(initial_state) is tuple
            and lengths is mask is resets is backend is None
            and not time_major
            and self._cell is PLAIN
            and self._packed is not None
            and config.get_backend() in SHORT_WAY
        ):
            step = self._packed.step(x, initial_state)
            if step is not None:
                return step
        y, state, _, _ = run(self._weights, x, initial_state, lengths, mask, resets, reverse,
                              time_major, NO_NOISE, backend, self._cell, keep=False,
                              packed=self._packed)  # fmt: skip
        return y, state


    def of_table(self, table: Array) -> Callable[[Array, State], tuple[Array, State]] | None:
        """The function of numbers (B, 1) of rows of a copy of `table` (V, I), int64, in range, and
        (h, c), that gives what the handle gives for the rows; None where that is not quicker.

        bias + x W of each row is computed here, once: a step reads U alone.
        """
        if self._cell is not PLAIN or self._packed is None:
            return None
        table = table.copy()
        packed, projected = self._packed, self._packed.project(table)

        def step(rows: Array, state: State) -> tuple[Array, State]:
            found = packed.step_of_rows(projected, rows, state)
            return self(table[rows], state) if found is None else found

        return step


def pack(kernel: Any, recurrent_kernel: Any, bias: Any = None, **cell: Any) -> Packed:
    """A handle that runs the LSTM with a copy of these weights, for inference.

    cell: options as those of `lstm`.
    """
    weights, made = prepare(kernel, recurrent_kernel, bias, cell)
    if made is not PLAIN:
        made = made._replace(**{name: weight.copy() for name, weight in made.weights.items()})
    return Packed(Weights(*(None if w is None else w.copy() for w in weights)), made)
