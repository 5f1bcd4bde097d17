"""Training on all rows at once, by an optimizer that looks at the loss: `lbfgs(model, x, y)`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ._arrays import number, positive
from .data.sources import read_batch
from .models import Model
from .objective import Objective

Array = np.ndarray


class Minimum(NamedTuple):
    """Where `lbfgs` ended.

    loss: with all penalties. iterations, evaluations: of the method, of the loss. converged: it
    found a minimum as exactly as it was asked for; message: why it ended.
    """

    loss: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


def lbfgs(
    model: Model, x: Any, y: Any, sample_weight: Any = None, *, max_iterations: int = 100,
    tolerance: float = 1e-5, memory: int = 10,
) -> Minimum:  # fmt: skip
    """Minimise the loss of one batch, all rows, by L-BFGS (Liu & Nocedal 1989), SciPy's L-BFGS-B.

    For few weights and little data. The model runs as in prediction: no dropout. The optimizer that
    it was compiled with is not used. The weights, updated at each iteration, are those of the last
    one also after an error or Ctrl-C.

    Args:
        model: built and compiled; without constraints and stateful layers. It ends when the
            loss no longer falls by a digit of the dtype: float64 gets further.
        x, y, sample_weight: as in `fit`.
        max_iterations: at least 1. Default 100.
        tolerance: it ends when no element of the gradient is larger, > 0. Default 1e-5.
        memory: steps that it estimates the curvature from, at least 1. Default 10.

    Raises:
        TypeError, ValueError: an argument is none of these.
        FloatingPointError: the loss becomes NaN or infinite.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a Sequential or a Model, got {type(model).__name__}")
    options: dict[str, Any] = {
        "maxiter": positive("max_iterations", max_iterations),
        "gtol": number("tolerance", tolerance, above=0),
        "maxcor": positive("memory", memory),
    }
    model._require_built()
    model._require_compiled()
    executor = model._executor
    if executor.constrained:
        raise ValueError("model: expected no constraints of weights, got some")
    if list(executor.stateful()):
        raise ValueError("model: expected no stateful layers, got some")
    if y is None:
        raise ValueError("y: expected labels, got None")
    batch = read_batch(model, x, y, sample_weight)
    if batch.rows == 0:
        raise ValueError("x: expected at least one row, got none")
    settings: Any = model._compiled
    objective = Objective(model._output_names(), settings["loss"], settings["loss_weights"],
                          None, None)  # fmt: skip
    objective.check(batch.y, model._reader.output_shapes, executor.masked)
    model._parameters = parameters = model._parameters.current()
    if not parameters.trained:
        raise ValueError("model: expected weights to train, got none")
    params, grads = (a[: parameters.trained] for a in (parameters.values, parameters.grads))

    options["ftol"] = np.finfo(params.dtype).eps

    def evaluate(point: Array) -> tuple[float, Array]:
        params[...] = point
        parameters.grads.fill(0)
        outputs, masks, tapes, penalty = executor.forward(batch.x, keep=True)
        _, loss, gradients = objective.gradients(batch.y, outputs, batch.weight, masks)
        loss += penalty + executor.penalty()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss}; the weights are those before it")
        executor.backward(tapes, gradients)
        executor.add_penalty_gradients()
        return loss, grads.astype(np.float64)

    from scipy.optimize import minimize

    reached = params.astype(np.float64)

    def keep(point: Array) -> None:
        reached[...] = point

    try:
        found = minimize(evaluate, reached.copy(), jac=True, method="L-BFGS-B", callback=keep,
                         options=options)  # fmt: skip
        keep(found.x)
    finally:
        params[...] = reached
    return Minimum(float(found.fun), found.nit, found.nfev, found.success, found.message)
