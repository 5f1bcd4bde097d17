"""Options of the cell: against finite differences, between backends, and bits they keep."""

import itertools

import numpy as np
import pytest

from clstm import _native_backend, activations, config
from clstm import functional as F
from clstm._cell import NO_NOISE, WEIGHTS

B, T, I, H = 5, 6, 3, 19
HARD = {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.45}


def options(rng, units=H):
    """Name: options; sizes of h other than `units` stand in a projection."""
    peephole = rng.normal(size=(3, units))
    return {
        "peephole": {"peephole": peephole},
        "coupled": {"coupled_input_forget": True},
        "coupled and peephole": {"coupled_input_forget": True, "peephole": peephole},
        "cell clip": {"cell_clip": 0.4},
        "clip": {"preactivation_clip": 0.7, "peephole": peephole},
        "activations": {
            "activation": "relu", "recurrent_activation": HARD, "cell_activation": "softsign",
        },
        "more activations": {
            "activation": "hard_tanh", "recurrent_activation": "sigmoid",
            "cell_activation": {"name": "affine", "alpha": 0.7, "beta": 0.1},
        },
        "any activation": {"activation": "elu", "recurrent_activation": "softplus"},
        "gradient clip": {"gradient_clip": 0.05, "peephole": peephole},
        "zoneout": {}, "zoneout rates": {}, "candidate mask": {},
        "noise and peephole": {
            "peephole": peephole, "cell_clip": 0.5, "coupled_input_forget": True,
            "preactivation_clip": 1.2,
        },
        "projection": {"projection": rng.normal(size=(units, 4)) * 0.5},
        "projection, all of it": {
            "projection": rng.normal(size=(units, 4)) * 0.5, "proj_clip": 0.3, "cell_clip": 0.8,
            "projection_bias": rng.normal(size=4) * 0.1, "peephole": peephole,
        },
    } | norms(np.random.default_rng(units), units)  # fmt: skip


def norms(rng, units):
    """Those of layer norm."""
    peephole = rng.normal(size=(3, units))
    projection = rng.normal(size=(units, 4)) * 0.5
    gate = rng.normal(size=(4, units)) * 0.3 + 1
    joint = rng.normal(size=(2, 4 * units)) * 0.3 + 1
    cell_norm = rng.normal(size=(2, units)) * 0.3 + [[1], [0]]
    return {
        "norm of gates": {"layer_norm": "gate", "norm_gain": gate},
        "norm of gates, coupled": {
            "layer_norm": "gate", "norm_gain": gate, "coupled_input_forget": True,
            "peephole": peephole, "projection": projection, "norm_epsilon": 1e-3,
        },
        "norm of gates, all of it": {
            "layer_norm": "gate", "norm_gain": gate, "cell_norm": cell_norm, "cell_clip": 0.6,
            "peephole": peephole, "preactivation_clip": 1.2, "norm_epsilon": 1e-2,
            "projection": projection, "proj_clip": 0.4,
        },
        "joint norm": {"layer_norm": "joint", "norm_gain": joint},
        "joint norm, with the cell's": {
            "layer_norm": "joint", "norm_gain": joint, "cell_norm": cell_norm,
        },
        "norm carried": {
            "layer_norm": "gate", "norm_gain": gate, "cell_norm": cell_norm,
            "carry_cell_norm": True, "cell_clip": 0.9,
        },
        "norm carried, all of it": {
            "layer_norm": "joint", "norm_gain": joint, "cell_norm": cell_norm, "cell_clip": 0.9,
            "carry_cell_norm": True, "peephole": peephole, "projection": projection,
        },
        "joint norm, all of it": {
            "layer_norm": "joint", "norm_gain": joint, "cell_norm": cell_norm,
            "peephole": peephole, "coupled_input_forget": True, "cell_clip": 0.8,
            "preactivation_clip": 1.2, "projection": projection, "proj_clip": 0.4,
        },
        "noise and joint norm": {
            "layer_norm": "joint", "norm_gain": joint, "cell_norm": cell_norm,
            "peephole": peephole, "projection": projection, "proj_clip": 0.4,
        },
        "noise and projection": {"projection": projection, "projection_bias": joint[0, :4]},
        "noise and norm of gates": {"layer_norm": "gate", "norm_gain": gate, "cell_clip": 0.6},
    }  # fmt: skip


def noise(rng, name, batch, time, units, outputs):
    """What `name` has of it."""
    some = {
        "recurrent_mask": rng.integers(0, 2, (batch, outputs)) * 2.0,
        "candidate_mask": rng.integers(0, 2, (batch, time, units)) * 2.0,
        "zoneout_h": rng.random((batch, time, outputs)).round(1),
        "zoneout_c": rng.integers(0, 2, (batch, time, units)) * 1.0,
    }
    if name.startswith("noise"):
        return some
    if name == "zoneout rates":
        return {"zoneout_h": 0.1, "zoneout_c": 0.3}
    return {k: v for k, v in some.items() if k.startswith(name.split()[0])}


NAMES = list(options(np.random.default_rng(0)))
FALL = ["any activation", "norm of gates, coupled", "norm of gates, all of it",
        "noise and joint norm", "norm carried, all of it"]  # these run on the specification
NATIVE = [name for name in NAMES if name not in FALL]


def problem(seed, name, dtype=np.float64, batch=B, time=T, units=H):
    """Arguments and keyword arguments of a run with these options."""
    rng = np.random.default_rng(seed)
    cell = options(rng, units)[name]
    outputs = cell["projection"].shape[1] if "projection" in cell else units

    def array(*shape, scale=1.0):
        return (rng.normal(size=shape) * scale).astype(dtype)

    arguments = [array(batch, time, I), array(I, 4 * units, scale=0.5),
                 array(outputs, 4 * units, scale=0.3), array(4 * units, scale=0.3)]  # fmt: skip
    keywords = {
        "initial_state": (array(batch, outputs, scale=0.5), array(batch, units, scale=0.5)),
        "mask": rng.random((batch, time)) < 0.7,
        "resets": rng.random((batch, time)) < 0.25,
        **{k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in cell.items()},
        **noise(rng, name, batch, time, units, outputs),
    }
    return rng, arguments, keywords


def run(arguments, keywords, backend, seed=1):
    """Everything that a run gives, by name."""
    rng = np.random.default_rng(seed)
    y, (h, c), tape = F.lstm_forward(*arguments, backend=backend, **keywords)
    d = [rng.normal(size=a.shape).astype(a.dtype) for a in (y, h, c)]
    grads = F.lstm_backward(tape, *d)
    named = {f"d_{k}": v for k, v in grads._asdict().items() if v is not None}
    return {"y": y, "h": h, "c": c} | named, d


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "gradient clip"])
def test_gradients_are_those_of_finite_differences(name, reverse):
    _, arguments, keywords = problem(3, name, units=4)
    keywords["reverse"] = reverse
    results, d = run(arguments, keywords, "numpy")

    def loss():
        y, (h, c) = F.lstm(*arguments, backend="numpy", **keywords)
        return sum((a * b).sum() for a, b in zip((y, h, c), d, strict=True))

    named = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), arguments, strict=True))
    named |= dict(zip(("h0", "c0"), keywords["initial_state"], strict=True))
    named |= {k: keywords[k] for k in WEIGHTS if k in keywords}
    rng = np.random.default_rng(0)
    for key, array in named.items():
        for place in rng.choice(array.size, min(array.size, 12), replace=False):
            at = np.unravel_index(place, array.shape)
            value, step = array[at], 1e-6
            array[at] = value + step
            above = loss()
            array[at] = value - step
            below = loss()
            array[at] = value
            np.testing.assert_allclose(
                results[f"d_{key}"][at], (above - below) / (2 * step), rtol=2e-5, atol=2e-7,
                err_msg=f"{key} {at}",
            )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_takes_every_option(name):
    """native and blas, or what they fall to, give what the specification gives in float64."""
    _, arguments, keywords = problem(5, name)
    wanted, _ = run(arguments, keywords, "numpy")
    _, single, options_ = problem(5, name, np.float32)
    for backend in ("native", "blas", "numpy"):
        got, _ = run(single, options_, backend)
        assert got.keys() == wanted.keys()
        for key, value in wanted.items():
            assert got[key].dtype == np.float32
            np.testing.assert_allclose(got[key], value, rtol=0, atol=4e-5, err_msg=key)


@pytest.mark.parametrize("name", NATIVE)
def test_bits_do_not_depend_on_threads_or_instruction_set(name, restore):
    if not F.backend_module("native", np.dtype(np.float32)).__name__.endswith("_native_backend"):
        pytest.skip("no native kernels on this CPU")
    _, arguments, keywords = problem(7, name, np.float32, batch=23, units=40)
    assert F.lstm_forward(*arguments, **keywords)[2].backend is _native_backend
    seen = []
    for isa, threads in itertools.product(config.available_isas(), (1, 2, 3, 5)):
        if isa == "scalar":
            continue
        config.set_isa(isa)
        config.set_num_threads(threads)
        results, _ = run(arguments, keywords, "native")
        seen.append({k: v.tobytes() for k, v in results.items()})
    assert len(seen) >= 4
    assert all(other == seen[0] for other in seen[1:])


@pytest.mark.parametrize("backend", ["native", "blas", "numpy"])
@pytest.mark.parametrize("reverse", [False, True])
def test_resets_make_rows_of_their_own(backend, reverse):
    """A row with resets is the pieces between them, each from a state of zeros."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(3, 9, I)).astype(np.float32)
    weights = [rng.normal(size=s).astype(np.float32) * 0.4 for s in ((I, 4 * H), (H, 4 * H), 4 * H)]
    h0, c0 = rng.normal(size=(2, 3, H)).astype(np.float32)
    resets = np.zeros((3, 9), bool)
    resets[0, [0, 4]] = resets[2, [3, 8]] = True
    y, (h, c) = F.lstm(x, *weights, initial_state=(h0, c0), resets=resets, reverse=reverse,
                       backend=backend)  # fmt: skip
    order = -1 if reverse else 1
    for b in range(3):
        state = h0[b : b + 1], c0[b : b + 1]
        for t in range(9)[::order]:
            if (resets[b, t] and not reverse) or (reverse and t < 8 and resets[b, t + 1]):
                state = None
            step, state = F.lstm(x[b : b + 1, t : t + 1], *weights, initial_state=state,
                                 backend=backend)  # fmt: skip
            np.testing.assert_allclose(y[b, t], step[0, 0], rtol=0, atol=2e-6)
        np.testing.assert_allclose(h[b], state[0][0], rtol=0, atol=2e-6)
        np.testing.assert_allclose(c[b], state[1][0], rtol=0, atol=2e-6)


def test_pack_keeps_the_options():
    for name in NAMES:
        _, arguments, keywords = problem(13, name, np.float32)
        for key in NO_NOISE._fields:
            keywords.pop(key, None)
        weights = {k: v for k, v in keywords.items()
                   if k not in ("initial_state", "mask", "resets")}  # fmt: skip
        run_ = {k: keywords[k] for k in ("initial_state", "mask", "resets")}
        wanted = F.lstm(*arguments, **keywords)
        handle = F.pack(*arguments[1:], **weights)
        for value in weights.values():
            if isinstance(value, np.ndarray):
                value[...] = np.nan  # the handle has its own
        got = handle(arguments[0], **run_)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1][0], wanted[1][0])
        np.testing.assert_array_equal(got[1][1], wanted[1][1])


@pytest.mark.parametrize("name", [name for name in NAMES if "no" in name])
def test_padding_may_be_nan_with_layer_norm_and_noise(name):
    _, arguments, keywords = problem(19, name)
    wanted, _ = run(arguments, keywords, "numpy")
    arguments[0][~keywords["mask"]] = np.nan
    for key in NO_NOISE._fields:
        if np.ndim(keywords.get(key)) == 3:
            keywords[key][~keywords["mask"]] = np.nan
    got, d = run(arguments, keywords, "numpy")
    for key, value in wanted.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)
    d[0][~keywords["mask"]] = np.nan
    _, _, tape = F.lstm_forward(*arguments, backend="numpy", **keywords)
    for key, value in F.lstm_backward(tape, *d)._asdict().items():
        np.testing.assert_array_equal(value, wanted.get(f"d_{key}"), err_msg=key)


@pytest.mark.parametrize("name", ["joint norm, with the cell's", "norm of gates"])
def test_layer_norm_is_that_of_the_equations(name):
    """A step written out, each gate and unit on its own."""
    _, (x, W, U, b), keywords = problem(23, name, time=1)
    h0, c0 = keywords["initial_state"]
    gains, cell_norm = keywords["norm_gain"], keywords.get("cell_norm")
    keywords.pop("mask"), keywords.pop("resets")
    _, (h, c) = F.lstm(x, W, U, b, **keywords)

    def norm(a):
        return (a - np.mean(a)) / np.sqrt(np.var(a) + 1e-5)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for k in range(B):
        zx, zh = x[k, 0] @ W, h0[k] @ U
        if keywords["layer_norm"] == "joint":
            z = np.split(norm(zx) * gains[0] + norm(zh) * gains[1] + b, 4)
        else:
            parts = zip(np.split(zx + zh, 4), gains, np.split(b, 4), strict=True)
            z = [norm(a) * gain + shift for a, gain, shift in parts]
        new = sigmoid(z[1]) * c0[k] + sigmoid(z[0]) * np.tanh(z[2])
        seen = new if cell_norm is None else norm(new) * cell_norm[0] + cell_norm[1]
        np.testing.assert_allclose(c[k], new, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(h[k], sigmoid(z[3]) * np.tanh(seen), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"peephole": np.zeros((3, H + 1))}, r"peephole: expected shape \(3, 19\)"),
        ({"cell_clip": -1}, "cell_clip: expected a finite number >= 0, got -1"),
        ({"proj_clip": 1.0}, "proj_clip: expected None without a projection"),
        ({"activation": {"name": "tanh", "alpha": 1}}, "expected no parameters of tanh"),
        ({"activation": {"name": "elu", "beta": 1}}, "expected alpha of elu"),
        ({"resets": np.zeros((B, T + 1))}, r"resets: expected shape \(5, 6\)"),
        ({"mask": np.full((B, T), np.nan)}, "mask: expected booleans, or 0 and 1, got nan"),
        ({"resets": np.full((B, T), 2)}, "resets: expected booleans, or 0 and 1, got 2"),
        ({"projection": np.zeros((H, 4))}, r"projection: expected shape \(19, 19\)"),
        ({"layer_norm": "both"}, "layer_norm: expected None, 'gate' or 'joint', got 'both'"),
        ({"layer_norm": "gate"}, r"norm_gain: expected shape \(4, 19\) with layer_norm, got None"),
        ({"layer_norm": "joint", "norm_gain": np.ones((4, H))}, r"expected shape \(2, 76\)"),
        ({"norm_gain": np.ones((4, H))}, r"norm_gain: expected None .*shape \(4, 19\)"),
        ({"cell_norm": np.ones((2, H))}, "cell_norm: expected None without layer_norm"),
        (
            {"layer_norm": "gate", "norm_gain": np.ones((4, H)), "cell_norm": np.ones(H)},
            r"cell_norm: expected shape \(2, 19\), got \(19,\)",
        ),
        ({"gradient_clip": -1.0}, "gradient_clip: expected a finite number >= 0, got -1"),
        ({"zoneout_h": 1.5}, "zoneout_h: expected a finite number >= 0 and <= 1, got 1.5"),
        ({"zoneout_c": np.zeros((B, H))}, r"zoneout_c: expected shape \(5, 6, 19\), got \(5, 19\)"),
        ({"candidate_mask": np.zeros((B, T, 1))}, r"candidate_mask: expected shape \(5, 6, 19\)"),
        ({"recurrent_mask": np.zeros((B, T, H))}, r"recurrent_mask: expected shape \(5, 19\)"),
        ({"carry_cell_norm": True}, "carry_cell_norm: expected False without cell_norm, got True"),
        ({"norm_epsilon": 0}, "norm_epsilon: expected a finite number > 0, got 0"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    _, arguments, keywords = problem(17, "coupled")
    with pytest.raises(ValueError, match=message):
        F.lstm(*arguments, **keywords | wrong)


def test_the_gradient_of_each_gate_is_clipped():
    """One step: the bias's gradient is the clipped one of each row, summed."""
    _, (x, W, U, b), keywords = problem(29, "gradient clip", time=1)
    del keywords["mask"], keywords["resets"], keywords["gradient_clip"]
    d = np.random.default_rng(1).normal(size=(B, H))
    alone = []
    for k in range(B):
        state = tuple(a[k : k + 1] for a in keywords["initial_state"])
        _, _, tape = F.lstm_forward(x[k : k + 1], W, U, b, initial_state=state)
        alone.append(F.lstm_backward(tape, dh=d[k : k + 1]).bias)
    assert np.abs(alone).max() > 0.1
    del keywords["peephole"]
    _, _, tape = F.lstm_forward(x, W, U, b, gradient_clip=0.05, **keywords)
    got = F.lstm_backward(tape, dh=d).bias
    np.testing.assert_allclose(got, np.clip(alone, -0.05, 0.05).sum(axis=0), atol=1e-12)


def test_zoneout_keeps_the_old_state():
    _, arguments, keywords = problem(31, "zoneout")
    keywords |= {"zoneout_h": 1, "zoneout_c": 1, "resets": None}
    _, (h, c) = F.lstm(*arguments, **keywords)
    np.testing.assert_array_equal(h, keywords["initial_state"][0])
    np.testing.assert_array_equal(c, keywords["initial_state"][1])
    nothing = {"zoneout_h": 0, "zoneout_c": np.zeros((B, T, H))}
    _, (h, c) = F.lstm(*arguments, **keywords | nothing)
    wanted = F.lstm(*arguments, **keywords | {"zoneout_h": None, "zoneout_c": None})[1]
    np.testing.assert_allclose(h, wanted[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(c, wanted[1], rtol=0, atol=1e-12)


def test_an_unknown_option_is_refused():
    _, arguments, keywords = problem(17, "coupled")
    with pytest.raises(TypeError, match="peepholes: not an argument; options of the cell are act"):
        F.lstm(*arguments, **keywords, peepholes=True)


def test_options_that_say_what_is_plain_anyway_are_the_plain_cell():
    _, arguments, keywords = problem(19, "coupled", np.float64)
    del keywords["coupled_input_forget"]
    spelled = {"activation": "tanh", "cell_activation": "tanh", "cell_clip": 0, "projection": None,
               "norm_epsilon": 1e-3}  # fmt: skip
    wanted, _ = run(arguments, keywords, "blas")
    got, _ = run(arguments, keywords | spelled, "blas")
    assert got.keys() == wanted.keys()
    assert all(got[key].tobytes() == wanted[key].tobytes() for key in wanted)


def test_without_a_projection_the_recurrent_kernel_is_square():
    x, kernel, recurrent = (np.zeros(s, np.float32) for s in ((2, 5, 3), (3, 16), (8, 16)))
    for call in (F.lstm, F.lstm_forward):
        with pytest.raises(ValueError, match=r"recurrent_kernel: expected shape \(H, 4H\)"):
            call(x, kernel, recurrent, projection=None)
    with pytest.raises(ValueError, match=r"recurrent_kernel: expected shape \(H, 4H\)"):
        F.pack(kernel, recurrent, projection=None)
    with pytest.raises(ValueError, match="with at least one unit"):
        F.lstm(x, kernel[:, :0], recurrent[:, :0], projection=np.zeros((0, 8)))


@pytest.mark.parametrize(
    "into_cell", [{"peephole": np.zeros((3, H)), "foo": np.zeros(1)}, {}, [1], {"peephole": None}]
)
def test_targets_of_the_cell_are_checked_before_anything_changes(into_cell):
    _, arguments, keywords = problem(23, "peephole", np.float32)
    y, _, tape = F.lstm_forward(*arguments, **keywords)
    into = [np.zeros_like(w) for w in arguments[1:]]
    with pytest.raises(ValueError, match="into_cell"):
        F.lstm_backward(tape, np.ones_like(y), into=into, into_cell=into_cell)
    assert not any(a.any() for a in into)
    F.lstm_backward(tape, np.ones_like(y), into=into)  # the tape is still whole
    assert all(a.any() for a in into)


def test_targets_of_a_cell_without_weights_are_refused():
    x, kernel, recurrent = (np.ones(s, np.float32) for s in ((2, 5, 3), (3, 16), (4, 16)))
    y, _, tape = F.lstm_forward(x, kernel, recurrent, cell_clip=1.0)
    with pytest.raises(ValueError, match=r"into_cell: expected a dict of \[\], got \['peephole'\]"):
        F.lstm_backward(tape, y, into_cell={"peephole": np.zeros((3, 4), np.float32)})


def test_an_activation_of_ones_own_is_computed_whatever_its_name():
    nothing = activations.Activation("tanh", np.zeros_like, lambda d, x, y: np.zeros_like(d))
    x, kernel, recurrent = (np.ones(s, np.float32) for s in ((2, 5, 3), (3, 16), (4, 16)))
    assert not F.lstm(x, kernel, recurrent, activation=nothing)[0].any()


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_shows_cells_and_gates(name):
    _, arguments, keywords = problem(23, name)
    wanted = F.lstm_gates(F.lstm_forward(*arguments, backend="numpy", **keywords)[2])
    _, single, options_ = problem(23, name, np.float32)
    for backend in ("native", "blas", "numpy"):
        got = F.lstm_gates(F.lstm_forward(*single, backend=backend, **options_)[2])
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=4e-6, atol=4e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "any activation"])
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_nan_in_a_valid_step_is_nan_in_the_output(name, backend):
    _, arguments, keywords = problem(37, name, np.float32)
    for key in ("mask", "resets", "zoneout_h", "zoneout_c"):
        keywords.pop(key, None)
    arguments[0][0, 2] = np.nan
    y, _ = F.lstm(*arguments, backend=backend, **keywords)
    order = slice(2, None)
    assert np.isnan(y[0, order]).all() and np.isfinite(y[1:]).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_and_no_valid_step(name):
    for batch in (0, 2):
        _, arguments, keywords = problem(41, name, np.float32, batch=batch)
        keywords["mask"][...] = False
        results, _ = run(arguments, keywords, "native")
        _, (h, _), tape = F.lstm_forward(*arguments, **keywords)
        cells, gates = F.lstm_gates(tape)
        assert cells.shape == (batch, T, H) and gates.shape == (batch, T, 4 * H)
        assert not any(results[k].any() for k in ("y", "d_x", "d_kernel", "d_bias"))
        reset = keywords["resets"].any(axis=1)[:, None]
        h0 = np.where(reset, 0, keywords["initial_state"][0])
        np.testing.assert_array_equal(h, h0)
