"""One LSTM layer of a stack: its run over a batch, the noise it draws in training, its gradients.

The layer brings its options and weights; sequences are aligned with x whatever its direction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import functional
from .._cell import WEIGHTS
from ._cells import CELLS, LEARNED
from .dropout import dropout_mask

if TYPE_CHECKING:
    from .lstm import LSTM

Array = np.ndarray


class Tape(NamedTuple):
    """What `backward` needs of one run."""

    run: Any  # what the cell's functions kept
    drop: Array | None  # factors of x
    connect: Array | None  # factors of recurrent_kernel
    learned: bool  # the initial state


class Noise(NamedTuple):
    drop: Array | None = None
    connect: Array | None = None
    options: dict[str, Any] = {}  # noqa: RUF012 - of the functions; nobody writes into it


def run(layer: LSTM, x: Array, state: Any, mask: Any, resets: Any, training: bool, keep: bool
        ) -> tuple[Array, tuple[Array, ...], Tape]:  # fmt: skip
    """y, the final state, and a tape, of use if `keep`."""
    noise = _noise(layer, x) if training else Noise(options=rates(layer))
    if noise.drop is not None:
        x = x * noise.drop
    kind, weights = CELLS[layer.cell], _weights(layer)
    if noise.connect is not None:
        weights["recurrent_kernel"] = weights["recurrent_kernel"] * noise.connect
    learned = state is None and layer.learn_initial_state
    if learned:
        state = initial_state(layer, len(x))
    options = {"initial_state": state, "mask": mask, "resets": resets,
               "reverse": layer.go_backwards, **weights, **noise.options,
               **cell_options(layer)}  # fmt: skip
    if not keep:
        return *kind.infer(x, **options), Tape(None, None, None, False)
    for name in ("checkpoint_every", "memory_budget"):
        if (value := getattr(layer, name)) is not None:
            options[name] = value
    y, state, tape = kind.forward(x, **options)
    if layer.on_tape is not None:
        layer.on_tape(tape)
    return y, state, Tape(tape, noise.drop, noise.connect, learned)


def inside(tape: Tape) -> tuple[Array, Array]:
    """c and the gates i f g o of all steps."""
    return functional.lstm_gates(tape.run)


def backward(layer: LSTM, tape: Tape, dy: Array | None, d_state: list[Array | None], need_dx: bool
             ) -> list[Any]:  # fmt: skip
    """Gradients of x and of the initial state; adds those of the weights."""
    kind, grads = CELLS[layer.cell], layer.grads
    if layer.cell == "lstm":
        dx, d_initial = _lstm_backward(layer, tape, dy, d_state, need_dx)
    else:
        moving = d_state[: kind.gradients]
        if any(np.any(d) for d in d_state[kind.gradients :] if d is not None):
            names = ", ".join(kind.state[kind.gradients :])
            raise ValueError(f"d_outputs: expected None for {names}, through which no gradient "
                             "flows, got an array")  # fmt: skip
        dx, sums, d_initial = kind.backward(tape.run, dy, moving, need_dx=need_dx)
        for name, d in sums.items():
            if d is not None:
                factors = tape.connect if name == "recurrent_kernel" else None
                grads[name] += d if factors is None else d * factors
    if tape.learned:
        for name, d in zip(LEARNED, d_initial, strict=False):
            grads[f"initial_{name}"] += d.sum(axis=0)
    if tape.drop is not None and dx is not None:
        dx = dx * tape.drop
    return [dx, *d_initial, *[None] * (len(kind.state) - kind.gradients)]


def _lstm_backward(layer: LSTM, tape: Tape, dy: Array | None, d_state: list[Array | None],
                   need_dx: bool) -> tuple[Array | None, tuple[Array, Array]]:  # fmt: skip
    """The same of the LSTM's function, which adds up in place."""
    grads = layer.grads
    recurrent = grads["recurrent_kernel"]
    into = (
        grads["kernel"],
        recurrent if tape.connect is None else np.zeros_like(recurrent),
        np.zeros_like(grads["bias"]) if layer.recurrent_bias else grads.get("bias"),
    )
    g = functional.lstm_backward(tape.run, dy, *d_state, into=into, need_dx=need_dx,
                                 into_cell=_cell_weights(grads))  # fmt: skip
    if tape.connect is not None:
        recurrent += into[1] * tape.connect
    if layer.recurrent_bias:
        grads["bias"] += into[2]
        grads["recurrent_bias"] += into[2]
    return g.x, (g.h0, g.c0)


def initial_state(layer: LSTM, batch: int) -> tuple[Array, ...]:
    """Where a row begins that is given no state: zeros, or what was learned; new arrays.

    sLSTM's c means something beside a normaliser n > 0, so learned ones begin with n = 1, m = 0.
    """
    made = []
    for name, size in zip(CELLS[layer.cell].state, state_sizes(layer), strict=True):
        made.append(np.zeros((batch, size), layer.dtype))
        if layer.learn_initial_state:
            made[-1][...] = layer.params.get(f"initial_{name}", 1.0 if name == "n" else 0.0)
    return tuple(made)


def state_sizes(layer: LSTM) -> tuple[int, ...]:
    """Of h, and of what else there is."""
    return layer.features, *[layer.sizes[0]] * (len(CELLS[layer.cell].state) - 1)


def handle(layer: LSTM) -> Any:
    """The cell's function of x and a state, at inference, with a copy of the weights."""
    weights, noise = _weights(layer), rates(layer)
    if layer.cell == "lstm" and not noise:
        return functional.pack(**weights, **cell_options(layer))
    options = {name: value.copy() if isinstance(value, np.ndarray) else value
               for name, value in (weights | cell_options(layer)).items()}  # fmt: skip
    return functools.partial(_stepped, CELLS[layer.cell].infer, options | noise)


def _stepped(function: Callable[..., Any], options: dict[str, Any], x: Array, state: Any) -> Any:
    return function(x, initial_state=state, **options)


def _weights(layer: LSTM) -> dict[str, Array]:
    """Those that every function of a cell takes, as far as there are any."""
    names = ("kernel", "recurrent_kernel", "bias")
    weights = {name: layer.params[name] for name in names if name in layer.params}
    if layer.recurrent_bias:
        weights["bias"] = weights["bias"] + layer.params["recurrent_bias"]
    return weights


def rates(layer: LSTM) -> dict[str, float]:
    """Zoneout at inference: what is to be expected of it."""
    named = {"zoneout_h": layer.zoneout_h, "zoneout_c": layer.zoneout_c}
    return {name: rate for name, rate in named.items() if rate}


def cell_options(layer: LSTM) -> dict[str, Any]:
    """The options of the functions that say which cell it is, with their weights."""
    return {**layer.options, **_cell_weights(layer.params)}


def _cell_weights(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: arrays[name] for name in WEIGHTS if name in arrays}


def _noise(layer: LSTM, x: Array) -> Noise:
    """What a training run draws anew for each batch."""
    batch, time, features = x.shape
    steps = time if layer.dropout_per_step else 1
    drop = connect = None
    if layer.dropout:
        drop = dropout_mask(layer, (batch, steps, features), layer.dropout)
    options = {}
    if layer.recurrent_dropout and layer.dropout_per_step:
        shape: tuple[int, ...] = (batch, time, layer.sizes[0])
        options["candidate_mask"] = dropout_mask(layer, shape, layer.recurrent_dropout)
    elif layer.recurrent_dropout:
        shape = (batch, layer.features)
        options["recurrent_mask"] = dropout_mask(layer, shape, layer.recurrent_dropout)
    if layer.recurrent_dropconnect:
        shape = layer.params["recurrent_kernel"].shape
        connect = dropout_mask(layer, shape, layer.recurrent_dropconnect)
    for name, rate in rates(layer).items():
        size = layer.features if name == "zoneout_h" else layer.sizes[0]
        kept = dropout_mask(layer, (batch, time, size), rate)
        options[name] = np.equal(kept, 0, out=kept)  # 1 with probability `rate`, else 0
    return Noise(drop, connect, options)
