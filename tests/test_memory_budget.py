"""memory_budget: what a run keeps, and what it computes again, stays within so many bytes."""

import tracemalloc
import weakref

import numpy as np
import pytest

import clstm
from clstm import LSTM, Sequential, _native_backend
from clstm import functional as F
from clstm._checkpoints import read_budget

native = pytest.mark.skipif(
    not any(isa != "scalar" for isa in clstm.config.available_isas()),
    reason="this CPU has no instruction set with native kernels",
)

SHAPES = {
    "one row": (1, 6000, {}),
    "dense": (3, 1500, {}),
    "ragged": (5, 1400, {"lengths": [900, 1400, 0, 3, 1100]}),
    "resets": (2, 1500, {"resets": True}),
    "reverse": (4, 1100, {"reverse": True, "recurrent_mask": True}),
    "projection": (3, 1500, {"outputs": 7}),
}


def problem(B, T, I=5, H=20, outputs=None, resets=None, recurrent_mask=None, **options):
    rng = np.random.default_rng(3)

    def array(*shape):
        return (rng.normal(size=shape) * 0.3).astype(np.float32)

    if resets:
        options["resets"] = rng.random((B, T)) < 0.002
    if recurrent_mask:
        options["recurrent_mask"] = array(B, H)
    if outputs:
        options["projection"] = array(H, outputs)
    P = outputs or H
    arguments = array(B, T, I), array(I, 4 * H), array(P, 4 * H), array(4 * H)
    options["initial_state"] = array(B, P), array(B, H)
    return arguments, options, (array(B, T, P), array(B, P), array(B, H))


def tape_bytes(saved):
    """All arrays that the tape made: views have the memory of their base once."""
    held = {}
    kept = None if saved.kept is None else saved.kept[0]
    parts = [saved.h0, saved.recurrent_mask, kept, *saved.steps]
    for part in saved.segments or []:
        parts += [part.h, part.c, *part.steps]
    for a in parts:
        if isinstance(a, np.ndarray):
            base = a if a.base is None else a.base
            held[id(base)] = base.nbytes
    return sum(held.values())


def run(monkeypatch, arguments, options, d, **memory):
    """The bits of y, states and gradients, the tape, and the most bytes held at one time."""
    y, state, tape = F.lstm_forward(*arguments, backend="native", **options, **memory)
    saved, alive, most = tape.saved, [], tape_bytes(tape.saved)
    forward = _native_backend._forward

    def counted(run, steps, h, c, panels, keep):
        nonlocal most
        kept = forward(run, steps, h, c, panels, keep)
        alive.append(weakref.ref(kept[0].base))
        again = sum(a().nbytes for a in alive if a() is not None)
        most = max(most, tape_bytes(saved) + again + h.nbytes + c.nbytes)
        return kept

    monkeypatch.setattr(_native_backend, "_forward", counted)
    grads = F.lstm_backward(tape, *d)
    monkeypatch.setattr(_native_backend, "_forward", forward)
    return [a.tobytes() for a in (y, *state, *grads) if a is not None], saved, most


def least(arguments, options):
    with pytest.raises(ValueError, match="memory_budget: expected at least") as error:
        F.lstm_forward(*arguments, backend="native", memory_budget=1, **options)
    return int(str(error.value).split("at least ")[1].split()[0])


@native
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_stays_within_its_budget_and_has_the_same_bits(shape, monkeypatch):
    B, T, options = SHAPES[shape]
    arguments, options, d = problem(B, T, **options)
    wanted, saved, everything = run(monkeypatch, arguments, options, d)
    assert saved.segments is None
    smallest = least(arguments, options)
    assert smallest < 0.6 * everything
    counts = []
    for budget in np.linspace(smallest, everything, 6).astype(int):
        bits, saved, most = run(monkeypatch, arguments, options, d, memory_budget=budget)
        assert bits == wanted and most <= budget
        counts.append(1 if saved.segments is None else len(saved.segments))
    assert counts[-1] == 1 < counts[0] and counts == sorted(counts, reverse=True)
    with pytest.raises(ValueError, match=f"expected at least {smallest} bytes"):
        F.lstm_forward(*arguments, backend="native", memory_budget=smallest - 1, **options)


@native
@pytest.mark.parametrize("shape", SHAPES)
def test_the_budget_is_met_exactly_and_no_larger_step_would_do(shape, monkeypatch):
    B, T, options = SHAPES[shape]
    arguments, options, d = problem(B, T, **options)
    smallest = least(arguments, options)
    assert run(monkeypatch, arguments, options, d, memory_budget=smallest)[2] == smallest
    budget, chosen = int(1.3 * smallest), []
    monkeypatch.setattr(_native_backend, "choose", lambda *a, f=_native_backend.choose, **b:
                        chosen.append(f(*a, **b)) or chosen[-1])  # fmt: skip
    F.lstm_forward(*arguments, backend="native", memory_budget=budget, **options)
    for every in (chosen[0] + 1, 2 * chosen[0]):
        assert run(monkeypatch, arguments, options, d, checkpoint_every=every)[2] > budget


@native
@pytest.mark.parametrize("cell", ["plain", "projection", "gate", "joint"])
def test_what_a_run_allocates_is_within_its_budget(cell):
    """Beside the budget only y, gradients, copies of the weights and small objects."""
    arguments, options, d = problem(2, 4000, H=32, outputs=9 if cell == "projection" else None)
    if cell in ("gate", "joint"):
        rows = {"gate": (4, 32), "joint": (2, 128)}[cell]
        options |= {"layer_norm": cell, "norm_gain": np.ones(rows), "cell_norm": np.ones((2, 32))}
    smallest = least(arguments, options)
    for budget in (smallest, 2 * smallest, 20_000_000):
        tracemalloc.start()
        y, _, tape = F.lstm_forward(*arguments, backend="native", memory_budget=budget, **options)
        kept = tracemalloc.get_traced_memory()[0] - y.nbytes
        grads = F.lstm_backward(tape, *d)
        peak = tracemalloc.get_traced_memory()[1] - y.nbytes - grads.x.nbytes
        tracemalloc.stop()
        assert max(kept, peak) <= budget + 6 * sum(w.nbytes for w in arguments[1:]) + 50_000


@native
def test_a_run_without_valid_positions_takes_next_to_nothing():
    arguments, options, d = problem(2, 700, lengths=[0, 0])
    _, _, tape = F.lstm_forward(*arguments, backend="native", memory_budget="1KB", **options)
    assert not F.lstm_backward(tape, *d).kernel.any()


def test_sizes():
    for given, wanted in (("512MB", 512_000_000), ("1 KiB", 1024), ("1.5GiB", 3 << 29), (7, 7),
                          (np.int64(9), 9), ("100B", 100), ("2GB", 2 * 10**9), (None, None),
                          ("3KB", 3000), ("0.5MiB", 1 << 19)):  # fmt: skip
        assert read_budget(given, None) == wanted


@pytest.mark.parametrize("bad", ["", "512", "MB", "5 mb", "-1MB", "0MB", "1e3KB", 0, -5, "9" * 99])
def test_sizes_that_are_none(bad):
    for call in (lambda: LSTM(3, memory_budget=bad), lambda: read_budget(bad, None)):
        with pytest.raises(ValueError, match="memory_budget: expected"):
            call()


@pytest.mark.parametrize("bad", [1.5, True, [1]])
def test_types_that_are_none(bad):
    with pytest.raises(TypeError, match="memory_budget: expected an int"):
        LSTM(3, memory_budget=bad)


def test_not_both():
    arguments, _, _ = problem(1, 4)
    with pytest.raises(ValueError, match="expected None beside checkpoint_every"):
        F.lstm_forward(*arguments, memory_budget=10**6, checkpoint_every=3)
    with pytest.raises(ValueError, match="expected None beside checkpoint_every"):
        LSTM(3, memory_budget="1MB", checkpoint_every=3)


def test_backends_that_keep_everything_refuse_a_budget():
    (x, *weights), _, _ = problem(1, 4)
    for options in ({"backend": "blas"}, {"backend": "numpy"}):
        with pytest.raises(ValueError, match="memory_budget: expected a run of the native"):
            F.lstm_forward(x, *weights, memory_budget="1GB", **options)
    with pytest.raises(ValueError, match="memory_budget: expected a run of the native"):
        F.lstm_forward(x, *(w.astype("f8") for w in weights), memory_budget="1GB")


@native
def test_a_layer_trains_within_its_budget():
    x = np.random.default_rng(0).normal(size=(2, 1200, 3)).astype("f4")
    models = []
    for budget in (None, "400KB"):
        clstm.set_seed(1)
        model = Sequential([LSTM(16, input_shape=(None, 3), memory_budget=budget)])
        model.compile("adam", "mse")
        model.fit(x, x[:, 0, :1] * np.ones(16), epochs=2, verbose=0)
        models.append(model)
    one, two = models
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert two.layers[0].get_config()["memory_budget"] == "400KB"
    model = Sequential([LSTM(16, input_shape=(None, 3), memory_budget="20KB")])
    model.compile("adam", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match="memory_budget: expected at least"):
        model.train_on_batch(x, x[:, 0, :1] * np.ones(16))
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
