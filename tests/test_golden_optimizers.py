"""Optimizers and learning rate schedules against Keras and PyTorch: the path of two variables.

PyTorch is compared for RAdam and OneCycle, and where its rule is Keras's: SGD, and the adaptive
ones with an epsilon too small to matter, because PyTorch adds epsilon elsewhere (Adam: to the
bias-corrected sqrt(v); Adagrad and RMSprop: outside of the square root). Its L2 `weight_decay` of
SGD and Adam is another rule and is left out, and so is clip_grad_norm_, which adds 1e-6 to the
norm.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

import clstm.optimizers
import clstm.schedules
from clstm.optimizers import Weight

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
KERAS, TORCH = load("keras_optimizers.npz"), load("torch_optimizers.npz")
WEIGHTS = [Weight(0, 12, "layer/kernel"), Weight(12, 17, "layer/bias")]  # (4, 3) and (5,)


def named(cases, kind):
    """The cases `kind/...` as parameters with readable ids."""
    found = {n.split("/")[1]: c for n, c in cases.items() if n.startswith(kind)}
    return [pytest.param(case, id=name) for name, case in found.items()]


def make_schedule(case):
    return getattr(clstm.schedules, case.config["schedule"])(**case.config["args"])


def run(case, start, grads, dtype):
    args = dict(case.config["args"])
    if isinstance(args.get("learning_rate"), str):
        args["learning_rate"] = make_schedule(KERAS["schedule/" + args["learning_rate"]])
    optimizer = getattr(clstm.optimizers, case.config["optimizer"])(**args)
    if case.name == "optimizer/excluded":
        optimizer.exclude_from_weight_decay(["bias"])
    params, path = start.astype(dtype), []
    for g in grads:
        optimizer.apply(g.astype(dtype), params, WEIGHTS)
        path.append(params.copy())
    assert params.dtype == dtype
    optimizer.finalize_variable_values(params)
    return np.array(path), params


@pytest.mark.parametrize("case", named(KERAS, "schedule") + named(TORCH, "schedule"))
def test_schedule(case):
    schedule = make_schedule(case)
    rates = [float(schedule(step)) for step in range(len(case.rates))]
    np.testing.assert_allclose(rates, case.rates, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", named(KERAS, "optimizer"))
def test_keras_optimizer(case, dtype):
    path, end = run(case, KERAS["grads"].start, KERAS["grads"].grads, dtype)
    tolerance = {"rtol": 1e-6, "atol": 1e-7} if dtype == "float64" else {"rtol": 1e-5, "atol": 2e-6}
    np.testing.assert_allclose(path, case.path, **tolerance)
    np.testing.assert_allclose(end, case.path[-1] if case.end is None else case.end, **tolerance)


@pytest.mark.parametrize("case", named(TORCH, "optimizer"))
def test_torch_optimizer(case):
    path, _ = run(case, TORCH["grads"].start, TORCH["grads"].grads, "float64")
    np.testing.assert_allclose(path, case.path, rtol=1e-6, atol=1e-7)


def test_the_paths_move():
    """The recorded paths leave the start, so an optimizer that stands still fails above."""
    for cases in (KERAS, TORCH):
        for name, case in cases.items():
            if name.startswith("optimizer/"):
                assert np.abs(case.path - cases["grads"].start).max() > 1e-4, name
