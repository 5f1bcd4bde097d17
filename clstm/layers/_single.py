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
from .dropout import dropout_mask

if TYPE_CHECKING:
    from .lstm import LSTM

Array = np.ndarray


class Tape(NamedTuple):
    """What `backward` needs of one run."""

    lstm: functional.Tape | None
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
    recurrent = layer.params["recurrent_kernel"]
    if noise.connect is not None:
        recurrent = recurrent * noise.connect
    arguments = (x, layer.params["kernel"], recurrent, layer.params.get("bias"))
    learned = state is None and layer.learn_initial_state
    if learned:
        state = initial_state(layer, len(x))
    options = {"initial_state": state, "mask": mask, "resets": resets,
               "reverse": layer.go_backwards, **noise.options, **cell_options(layer)}  # fmt: skip
    if not keep:
        return *functional.lstm(*arguments, **options), Tape(None, None, None, False)
    y, state, tape = functional.lstm_forward(*arguments, **options,
                                             checkpoint_every=layer.checkpoint_every,
                                             memory_budget=layer.memory_budget)  # fmt: skip
    if layer.on_tape is not None:
        layer.on_tape(tape)
    return y, state, Tape(tape, noise.drop, noise.connect, learned)


def inside(tape: Tape) -> tuple[Array, Array]:
    """c and the gates i f g o of all steps."""
    return functional.lstm_gates(tape.lstm)


def backward(layer: LSTM, tape: Tape, dy: Array | None, d_state: list[Array | None], need_dx: bool
             ) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """Gradients of x, h0 and c0; adds those of the weights."""
    grads = layer.grads
    recurrent = grads["recurrent_kernel"]
    into = (
        grads["kernel"],
        recurrent if tape.connect is None else np.zeros_like(recurrent),
        grads.get("bias"),
    )
    g = functional.lstm_backward(tape.lstm, dy, *d_state, into=into, need_dx=need_dx,
                                 into_cell=_cell_weights(grads))  # fmt: skip
    if tape.connect is not None:
        recurrent += into[1] * tape.connect
    if tape.learned:
        grads["initial_h"] += g.h0.sum(axis=0)
        grads["initial_c"] += g.c0.sum(axis=0)
    return g.x if tape.drop is None or g.x is None else g.x * tape.drop, g.h0, g.c0


def initial_state(layer: LSTM, batch: int) -> tuple[Array, ...]:
    """Where a row begins that is given no state: zeros, or what was learned; new arrays."""
    made = []
    for name, size in zip(("initial_h", "initial_c"), state_sizes(layer), strict=True):
        made.append(np.zeros((batch, size), layer.dtype))
        if layer.learn_initial_state:
            made[-1][...] = layer.params[name]
    return tuple(made)


def state_sizes(layer: LSTM) -> tuple[int, ...]:
    """Of h and c."""
    return layer.features, layer.sizes[0]


def handle(layer: LSTM) -> Callable[..., Any]:
    """`functional.lstm` at inference with a copy of the weights, packed if that can be."""
    weights = (layer.params["kernel"], layer.params["recurrent_kernel"], layer.params.get("bias"))
    options = cell_options(layer)
    if not (noise := rates(layer)):
        return functional.pack(*weights, **options)
    copies = (None if w is None else w.copy() for w in weights)
    options = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in options.items()}
    return functools.partial(_with_weights, tuple(copies), options | noise)


def _with_weights(weights: tuple[Any, ...], options: dict[str, Any], x: Array, state: Any) -> Any:
    return functional.lstm(x, *weights, initial_state=state, **options)


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
        drop = dropout_mask((batch, steps, features), layer.dropout, x.dtype)
    options = {}
    if layer.recurrent_dropout and layer.dropout_per_step:
        shape: tuple[int, ...] = (batch, time, layer.sizes[0])
        options["candidate_mask"] = dropout_mask(shape, layer.recurrent_dropout, x.dtype)
    elif layer.recurrent_dropout:
        shape = (batch, layer.features)
        options["recurrent_mask"] = dropout_mask(shape, layer.recurrent_dropout, x.dtype)
    if layer.recurrent_dropconnect:
        shape = layer.params["recurrent_kernel"].shape
        connect = dropout_mask(shape, layer.recurrent_dropconnect, x.dtype)
    for name, rate in rates(layer).items():
        size = layer.features if name == "zoneout_h" else layer.sizes[0]
        kept = dropout_mask((batch, time, size), rate, x.dtype)
        options[name] = np.equal(kept, 0, out=kept)  # 1 with probability `rate`, else 0
    return Noise(drop, connect, options)
