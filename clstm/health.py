"""Whether gradients reach the first steps of a sequence: `gradient_health(model, x, y)`."""

from __future__ import annotations

import copy
import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _reference, _reference_recurrent
from ._arrays import number
from .data.sources import read_batch
from .graph import Node
from .layers import LSTM
from .models import Model
from .models.executor import Executor
from .objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray

GATES = {"i": 0, "f": 1, "o": 3}  # their places in i f g o


class LayerHealth(NamedTuple):
    """One run of an LSTM or an RNN; steps stand in the order in which it reads them.

    dh, dc (T,): the Euclidean norm of dL/dh_t and of dL/dc_t, each by all ways to the loss (c_t
        before its clip and zoneout), as the mean over the rows that take step t; NaN where none
        does. An RNN (cell="rnn") has no c: its dc is its dh.
    rows (T,): the number of rows that take step t.
    time_constants (H,): -1 / log(mean f) in steps, f of all steps taken: after so many a unit has
        kept 1/e of its cell. Infinite for a mean of 1 or more; none, (0,), of an RNN.
    closed, opened: of the gates "i", "f", "o", (T,) each: the share of units and rows whose gate
        lies below the lower, or above the upper, limit of `saturated`. Empty of an RNN.
    factor: what a step back multiplies |dL/dc| by: e^-s, s being the least-squares slope of log
        |dL/dc_t| over the steps that a row takes, the same for all rows, each with a level of its
        own; steps with a gradient of 0 are left out. NaN if no row has two steps.
    ratio: |dL/dc| at a row's first step over that at its last with a gradient, median of the rows.
    verdict: "vanishes" if ratio < vanishing, "explodes" if ratio > exploding or a gradient is not
        finite, "no gradient" if all are 0: the loss does not depend on this run; else "healthy".
    """

    name: str
    dh: Array
    dc: Array
    rows: Array
    time_constants: Array
    closed: dict[str, Array]
    opened: dict[str, Array]
    factor: float
    ratio: float
    verdict: str


class GradientHealth(NamedTuple):
    """What `gradient_health` found: the loss, a `LayerHealth` for each run of such a layer."""

    loss: float
    layers: list[LayerHealth]

    def summary(self) -> str:
        """A table, a line for each run."""
        rows = [("Layer", "Steps", "First / last |dL/dc|", "A step back",
                 "Time constants: min, median, max", "Saturated i, f, o", "Verdict")]  # fmt: skip
        for layer in self.layers:
            kept = full = "-"
            if layer.closed:
                units = layer.time_constants
                kept = ", ".join(f"{t:.3g}" for t in (units.min(), np.median(units), units.max()))
                full = ", ".join(f"{share:.0%}" for share in saturation(layer).sum(axis=1))
            rows.append((layer.name, str(len(layer.rows)), f"{layer.ratio:.3g}",
                         f"x {layer.factor:.3g}", kept, full, layer.verdict))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{text:<{w}}" for text, w in zip(row, widths, strict=True)).rstrip()
                 for row in rows]  # fmt: skip
        line = "-" * max(map(len, lines))
        return "\n".join([f"Loss: {self.loss:.6g}", line, lines[0], line, *lines[1:], line])

    def plot(self, path: Any = None) -> Figure:
        """Draw the norms over the steps, the time constants and the gates, a line for each run.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Raises:
            ImportError: matplotlib, the extra `plot`, is not installed.
        """
        from ._health_plot import draw

        return draw(self, path)


def gradient_health(
    model: Model, x: Any, y: Any, sample_weight: Any = None, *,
    saturated: tuple[float, float] = (0.05, 0.95), vanishing: float = 1e-3, exploding: float = 1e3,
) -> GradientHealth:  # fmt: skip
    """Follow the gradient of the loss of one batch back through every LSTM and RNN of a model.

    One run forwards, as in prediction (no dropout), and one backwards, on a copy of the layers: the
    model, its gradients and states, its optimizer and the random numbers stay as they are. The
    layers, with cell="lstm" or "rnn", trainable or not, run in NumPy in the model's dtype, and keep
    all of their steps: some dozens of rows are enough. Steps that a mask leaves out do not count.
    Stateful layers begin with the state that they carry.

    Where a loss or a layer behind uses every step, each has a gradient of its own, and the verdict
    says nothing about dependencies over many steps; the time constants do.

    Args:
        model: built and compiled, with at least one such layer.
        x, y, sample_weight: one batch, as in `fit`.
        saturated: a gate below the first or above the second is saturated.
        vanishing, exploding: the ratio of the gradient at the first step to that at the last, below
            or above which it vanishes or explodes; 0 < vanishing < 1 < exploding.

    Returns:
        GradientHealth: `layers`, in the order of the run, those of `Bidirectional` one by one, and
        a layer that is called several times once for each call; `summary()`, `plot()`.

    Raises:
        TypeError, ValueError: an argument is none of these, or the model has no such layer, no
            weights yet or no loss.
        FloatingPointError: the loss is NaN or infinite.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a Sequential or a Model, got {type(model).__name__}")
    if not isinstance(saturated, (tuple, list)) or len(saturated) != 2:
        raise ValueError(f"saturated: expected a pair (low, high), got {saturated!r}")
    low = number("saturated[0]", saturated[0])
    limits = (low, number("saturated[1]", saturated[1], above=low))
    vanishing = number("vanishing", vanishing, above=0, below=1)
    exploding = number("exploding", exploding, above=1)
    model._require_built()
    model._require_compiled()
    if y is None:
        raise ValueError("y: expected labels, got None")
    batch = read_batch(model, x, y, sample_weight)
    if batch.rows == 0:
        raise ValueError("x: expected at least one row, got none")
    settings: Any = model._compiled
    objective = Objective(model._output_names(), settings["loss"], settings["loss_weights"],
                          None, None)  # fmt: skip
    objective.check(batch.y, model._reader.output_shapes, model._executor.masked)
    runs: list[_Run] = []
    executor = _watched(model, runs)
    with np.errstate(all="ignore"):
        outputs, masks, tapes, penalty = executor.forward(batch.x, keep=True)
        _, loss, gradients = objective.gradients(batch.y, outputs, batch.weight, masks)
        loss += penalty + executor.penalty()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of the batch is {loss}: there is no gradient")
        executor.backward(tapes, gradients)
        return GradientHealth(loss, [_describe(run, limits, vanishing, exploding) for run in runs])


class _Run(NamedTuple):
    """A run of a layer, and the norms of its gradients, (T, B) by position."""

    layer: LSTM
    name: str
    order: list[int]  # the positions as they are read
    mask: Array | None  # (B, T)
    gates: dict[str, Array]  # (T, B, H) in the order of reading
    dh: Array
    dc: Array

    def record(self, t: int, dh: Array, dc: Array | None = None) -> None:
        self.dh[t] = _norms(dh)
        self.dc[t] = self.dh[t] if dc is None else _norms(dc)


def _watched(model: Model, runs: list[_Run]) -> Executor:
    """An executor of copies of the layers; each run of an LSTM is added to `runs`."""
    homes = {id(part.home): None for layer in model.layers for part in layer.walk()}
    copies = copy.deepcopy([node.layer for node in model._nodes], homes)  # without the homes
    nodes = []
    for node, layer in zip(model._nodes, copies, strict=True):
        nodes.append(Node(layer, node.inputs, node.mask, node.resets))
        nodes[-1].outputs = node.outputs
    found = False
    for layer in {id(layer): layer for layer in copies}.values():
        for part in layer.walk():
            part.trainable = True  # else the gradient might end behind it
            if isinstance(part, LSTM) and part.cell in ("lstm", "rnn"):
                _watch(part, part.name if part is layer else f"{layer.name}/{part.name}", runs)
                found = True
    if not found:
        raise ValueError("model: expected at least one LSTM with cell='lstm' or 'rnn', got none")
    return Executor(model.inputs, nodes, model.outputs)


def _watch(layer: LSTM, name: str, runs: list[_Run]) -> None:
    """Let `layer` run by the specification, and record its runs."""

    def record(tape: Any) -> None:
        calls = sum(other.layer is layer for other in runs)
        if layer.cell == "rnn":
            run, gates = tape.saved.run, {}
            order, mask = list(_reference_recurrent.times(run, tape.y_shape[1])), run.mask
        else:
            order, mask, steps = list(tape.saved.times), tape.saved.mask, tape.saved.steps
            gates = {key: np.stack([step.gates[k] for step in steps]) for key, k in GATES.items()}
        zeros = np.zeros((len(order), tape.batch))
        new = _Run(layer, f"{name}, call {calls + 1}" if calls else name, order, mask, gates, zeros,
                   zeros.copy())  # fmt: skip
        runs.append(new)
        if layer.cell == "rnn":
            back = functools.partial(_reference_recurrent.backward, record=new.record)
            tape.backend = SimpleNamespace(backward=back)
        else:
            back = functools.partial(_reference.lstm_backward, record=new.record)
            tape.backend = SimpleNamespace(lstm_backward=back, lstm_gates=_reference.lstm_gates)

    layer.options = {**layer.options, "backend": "numpy"}
    layer.__dict__["memory_budget"] = None  # which that backend does not keep to
    layer.on_tape = record


def _norms(rows: Array) -> Array:
    """The Euclidean norm of each row, in float64 and without squares that under- or overflow."""
    rows = np.abs(rows.astype(np.float64))
    largest = rows.max(axis=1)
    scaled = rows / np.where(largest > 0, largest, 1)[:, None]
    return largest * np.sqrt((scaled * scaled).sum(axis=1))


def _describe(run: _Run, limits: tuple[float, float], vanishing: float, exploding: float
              ) -> LayerHealth:  # fmt: skip
    taken = np.ones(run.dc.shape, bool) if run.mask is None else run.mask.T
    taken, dh, dc = taken[run.order], run.dh[run.order], run.dc[run.order]
    rows = taken.sum(axis=1)

    def mean(a: Array) -> Array:
        """Of a (T, B), over the rows that take a step."""
        return np.where(taken, a, 0).sum(axis=1) / rows

    f = np.empty(0)  # sums of the forget gate, by unit
    if run.gates:
        f = np.where(taken[:, :, None], run.gates["f"], 0).sum(axis=(0, 1), dtype=np.float64)
    factor, ratio = _trend(dc, taken)
    if not (np.isfinite(dc) & np.isfinite(dh))[taken].all() or ratio > exploding:
        verdict = "explodes"
    elif not dc[taken].any():
        verdict = "no gradient"
    else:
        verdict = "vanishes" if ratio < vanishing else "healthy"
    return LayerHealth(
        run.name,
        mean(dh),
        mean(dc),
        rows,
        np.abs(1 / np.log(np.clip(f / taken.sum(), 0, 1))),
        {name: mean((a < limits[0]).mean(axis=2)) for name, a in run.gates.items()},
        {name: mean((a > limits[1]).mean(axis=2)) for name, a in run.gates.items()},
        factor,
        ratio,
        verdict,
    )


def _trend(norms: Array, taken: Array) -> tuple[float, float]:
    """`factor` and `ratio` of norms (T, B) at the steps `taken`."""
    norms = np.where(np.isfinite(norms), norms, np.inf)
    known = taken & (norms > 0) & (norms < np.inf)
    norms, taken, known = (a[:, known.any(axis=0)] for a in (norms, taken, known))
    if not norms.size:
        return math.nan, math.nan
    last = len(norms) - 1 - known[::-1].argmax(axis=0)
    row = np.arange(norms.shape[1])
    ratio = np.median(norms[taken.argmax(axis=0), row] / norms[last, row])
    t, logs = np.cumsum(taken, axis=0), np.log(np.where(known, norms, 1))
    t_off = np.where(known, t - (t * known).sum(axis=0) / known.sum(axis=0), 0)
    return float(np.exp(-(t_off * logs).sum() / (t_off * t_off).sum())), float(ratio)


def saturation(layer: LayerHealth) -> Array:
    """(3, 2): the shares of i, f, o that are closed and open, of all steps that rows take."""
    shares = np.array([[a[gate] for a in (layer.closed, layer.opened)] for gate in GATES])
    with np.errstate(invalid="ignore"):  # NaN if no row takes a step
        return np.nansum(shares * layer.rows, axis=2) / layer.rows.sum()
