"""MLSTM: chunks against the loop and the paper's equations, finite differences, masks, models."""

import itertools

import numpy as np
import pytest

import clstm
from clstm import LSTM, MLSTM, Dense, Input, Masking, Model, Sequential, config, load_model
from clstm import _mlstm as chunked
from clstm import _reference_mlstm as reference

D = {"dtype": "float64"}
LENGTHS = np.array([4, 0, 2])
MASK = np.arange(4) < LENGTHS[:, None]
GAPS = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
NAMES = ["q", "k", "v", "i", "log_f", "C", "n", "m"]


def problem(seed=0, shape=(2, 3, 13, 4), scale=2.0):
    """q, k, v, i~, log f, then C, n, m; gradients of h and of the final state; in float64."""
    B, N, T, size = shape
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(3, *shape))
    i, f = rng.normal(size=(2, B, N, T)) * scale
    states = [[rng.normal(size=s) for s in ((B, N, size, size), (B, N, size), (B, N))]
              for _ in range(2)]  # fmt: skip
    inputs = [q, k, v, i, -np.logaddexp(0, -f), *states[0]]
    return inputs, rng.normal(size=shape), tuple(states[1])


def loop(inputs, dh, d_state):
    h, state, saved = reference.mlstm_forward(*inputs[:5], tuple(inputs[5:]))
    return [h, *state, *reference.mlstm_backward(saved, dh, d_state)]


def in_chunks(inputs, dh, d_state, chunk):
    h, state, saved = chunked.mlstm_forward(*inputs[:5], tuple(inputs[5:]), chunk)
    return [h, *state, *chunked.mlstm_backward(saved, dh, d_state)]


# --- the two forms -------------------------------------------------------------------------------


def test_the_loop_is_the_equations_of_the_paper():
    """Without the stabiliser: C and n grow as they like, and the denominator is at least 1."""
    (q, k, v, i, log_f, C, n, m), _, _ = problem()
    h, state, _ = reference.mlstm_forward(q, k, v, i, log_f, (C, n, m))
    for b, head in np.ndindex(2, 3):
        memory, normal = (a[b, head] * np.exp(m[b, head]) for a in (C, n))
        for t in range(13):
            f, g = np.exp(log_f[b, head, t]), np.exp(i[b, head, t])
            memory = f * memory + g * np.outer(v[b, head, t], k[b, head, t])
            normal = f * normal + g * k[b, head, t]
            wanted = memory @ q[b, head, t] / max(abs(normal @ q[b, head, t]), 1)
            np.testing.assert_allclose(h[b, head, t], wanted, rtol=1e-10, atol=1e-12)
        factor = np.exp(state[2][b, head])
        np.testing.assert_allclose(state[0][b, head] * factor, memory, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(state[1][b, head] * factor, normal, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 2.0, 30.0])
@pytest.mark.parametrize("chunk", [1, 2, 5, 12, 13, 64])
def test_chunks_of_any_size_are_the_loop(chunk, scale):
    """Results and gradients, the final state's included."""
    inputs, dh, d_state = problem(1, scale=scale)
    inputs[3][0, :, 9:] = -np.inf  # no steps
    inputs[4][0, :, 9:] = 0
    names = ["h", "C", "n", "m", *(f"d_{name}" for name in NAMES)]
    pairs = zip(in_chunks(inputs, dh, d_state, chunk), loop(inputs, dh, d_state), strict=True)
    for name, (got, want) in zip(names, pairs, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * max(1, np.abs(want).max()),
                                   err_msg=name)  # fmt: skip


def test_gradients_of_the_loop_are_those_of_finite_differences():
    inputs, dh, d_state = problem(2, (2, 2, 5, 3))
    gradients = loop(inputs, dh, d_state)[4:]

    def scalar():
        h, state, _ = reference.mlstm_forward(*inputs[:5], tuple(inputs[5:]))
        pairs = zip((h, *state), (dh, *d_state), strict=True)
        return sum((a * b).sum() for a, b in pairs)

    for name, array, gradient in zip(NAMES, inputs, gradients, strict=True):
        for at in np.ndindex(array.shape):
            value, step = array[at], 1e-6
            array[at] = value + step
            above = scalar()
            array[at] = value - step
            below = scalar()
            array[at] = value
            np.testing.assert_allclose(gradient[at], (above - below) / (2 * step), rtol=1e-5,
                                       atol=1e-7, err_msg=f"{name} {at}")  # fmt: skip


@pytest.mark.parametrize("i", [-1e6, -300.0, -50.0, 50.0, 300.0, 1e6])
@pytest.mark.parametrize("f", [-1e6, -300.0, 0.0, 300.0])
def test_extreme_gates_in_float32(i, f):
    """Nothing overflows, and what the gates open and close is what they do in float64."""
    inputs, dh, d_state = problem(3, (1, 2, 40, 4))
    inputs[3][:, :, ::7], inputs[4][:, :, 3::5] = i, -np.logaddexp(0, -f)
    inputs[0][0, 0, 5] = 0  # a query that meets nothing
    wanted = reference.mlstm_forward(*inputs[:5], tuple(inputs[5:]))[0]
    single = [a.astype(np.float32) for a in inputs]
    got = in_chunks(single, dh.astype("f4"), tuple(d.astype("f4") for d in d_state), 16)
    for array in got:
        assert array.dtype == np.float32 and np.isfinite(array).all()
    bound = np.abs(wanted).max()
    np.testing.assert_allclose(got[0] / bound, wanted / bound, rtol=0, atol=2e-3)


# --- the layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequences", "state", "backwards", "mask"),
    [*itertools.product([False, True], [False, True], [False, True], [None, MASK, GAPS])],
)
def test_gradients(differences, rng, sequences, state, backwards, mask):
    layer = MLSTM(6, 2, 3, return_sequences=sequences, return_state=state, go_backwards=backwards,
                  **D)  # fmt: skip
    differences(layer, rng.normal(size=(3, 4, 2)), mask)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("state", [False, True])
def test_gradients_of_initial_states(differences, rng, mask, state):
    layer = MLSTM(4, 2, 3, return_state=state, **D)
    shapes = ((3, 4, 2), (3, 2, 2, 2), (3, 2, 2), (3, 2))
    differences(layer, [rng.normal(size=s) for s in shapes], mask)


@pytest.mark.parametrize("heads", [1, 3, 15])
def test_gradients_of_sizes(differences, rng, heads):
    layer = MLSTM(15, heads, 4, return_sequences=True, **D)
    differences(layer, rng.normal(size=(5, 11, 3)))


def test_gradients_of_some_outputs_only(rng):
    """What is None is a gradient of 0."""
    layer = MLSTM(4, 2, return_state=True, **D)
    x = rng.normal(size=(3, 4, 2))
    layer.ensure_built(x.shape)
    outputs, tape = layer.forward(x)
    d = rng.normal(size=outputs[2].shape)
    dx = layer.backward(tape, [None, None, d, None])
    zeros = [np.zeros_like(a) for a in outputs]
    np.testing.assert_array_equal(dx, layer.backward(tape, [*zeros[:2], d, zeros[3]]))
    before = {name: grad.copy() for name, grad in layer.grads.items()}
    assert layer.backward(tape, [None, None, d, None], need_dx=False) is None
    for name, grad in layer.grads.items():  # they are added to
        np.testing.assert_allclose(grad, 1.5 * before[name], rtol=1e-12)


def test_shapes_and_first_weights():
    layer = MLSTM(6, num_heads=3)
    x = np.zeros((2, 5, 4))
    assert layer(x).shape == (2, 6) and layer(x).dtype == np.float32
    shapes = [(4, 18), (4, 6), (4, 6), (18,), (6,), (6,)]
    assert [w.shape for w in layer.get_weights()] == shapes
    assert list(layer.params) == ["kernel", "gate_kernel", "output_kernel", "bias", "gate_bias",
                                  "output_bias"]  # fmt: skip
    np.testing.assert_array_equal(layer.params["gate_bias"], [0, 0, 0, 3, 4.5, 6])
    outputs = MLSTM(6, 3, return_sequences=True, return_state=True)(x)
    assert [a.shape for a in outputs] == [(2, 5, 6), (2, 3, 2, 2), (2, 3, 2), (2, 3)]
    assert all(a.dtype == np.float32 for a in outputs)
    assert layer.compute_output_shape((None, 5, 4)) == (None, 6)
    assert MLSTM(6, 3, return_state=True).compute_output_shape((None, 5, 4)) == [
        (None, 6), (None, 3, 2, 2), (None, 3, 2), (None, 3)]  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True])
def test_the_layer_is_its_equations(rng, backwards):
    """Projections, gates and heads written out, the rest by the loop."""
    layer = MLSTM(6, 2, 3, return_sequences=True, return_state=True, go_backwards=backwards, **D)
    x = rng.normal(size=(3, 7, 2))
    state = [rng.normal(size=s) for s in ((3, 2, 3, 3), (3, 2, 3), (3, 2))]
    y, *final = layer(x, initial_state=state)
    x = x[:, ::-1] if backwards else x
    W, W_gates, W_o, b, b_gates, b_o = layer.weights
    z, gates = x @ W, x @ W_gates + b_gates
    z[..., 6:12] /= np.sqrt(3)
    z += b
    q, k, v = (a.reshape(3, 7, 2, 3).swapaxes(1, 2) for a in np.split(z, 3, axis=-1))
    i, f = (a.swapaxes(1, 2) for a in np.split(gates, 2, axis=-1))
    h, wanted, _ = reference.mlstm_forward(q, k, v, i, -np.logaddexp(0, -f), tuple(state))
    o = 1 / (1 + np.exp(-(x @ W_o + b_o)))
    np.testing.assert_allclose(y, o * h.swapaxes(1, 2).reshape(3, 7, 6), rtol=1e-10, atol=1e-12)
    for got, want in zip(final, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backwards", [False, True])
def test_masked_steps_are_not_there(rng, backwards):
    """Each row is its valid steps alone, whatever stands in the others."""
    layer = MLSTM(6, 2, 3, return_sequences=True, return_state=True, go_backwards=backwards, **D)
    x, mask = rng.normal(size=(4, 9, 2)), rng.random((4, 9)) < 0.6
    mask[2] = False
    state = [rng.normal(size=s) for s in ((4, 2, 3, 3), (4, 2, 3), (4, 2))]
    x[~mask] = np.nan
    y, *final = layer(x, mask=mask, initial_state=state)
    read = mask[:, ::-1] if backwards else mask
    assert not y[~read].any()
    for row in range(4):
        alone = [a[row : row + 1] for a in state]
        if mask[row].any():
            part, *alone = layer(x[row : row + 1, mask[row]], initial_state=alone)
            np.testing.assert_allclose(y[row, read[row]], part[0], rtol=1e-12, atol=1e-14)
        for got, want in zip(final, alone, strict=True):
            np.testing.assert_allclose(got[row], want[0], rtol=1e-12, atol=1e-14)
    last = MLSTM(6, 2, go_backwards=backwards, **D)
    last(x[:, :1])
    last.set_weights(layer.get_weights())
    y_last = last(x, mask=mask, initial_state=state)
    for row in range(4):
        wanted = y[row, read[row]][-1] if mask[row].any() else np.zeros(6)
        np.testing.assert_allclose(y_last[row], wanted, rtol=1e-12, atol=1e-14)


def test_padding_reaches_no_gradient(rng):
    layer = MLSTM(6, 2, 3, return_sequences=True, **D)
    x, mask, dy = rng.normal(size=(3, 4, 2)), GAPS, rng.normal(size=(3, 4, 6))
    layer(x)
    results = []
    for filling in (0.0, np.nan, np.inf):
        x[~mask] = dy[~mask] = filling
        for grad in layer.grads.values():
            grad[...] = 0
        y, tape = layer.forward(x, True, mask)
        results.append([y, layer.backward(tape, dy), *(g.copy() for g in layer.grads.values())])
    assert not results[0][1][~mask].any()
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_lengths_are_a_mask(rng):
    layer = MLSTM(4, return_sequences=True)
    x = rng.normal(size=(3, 4, 2))
    np.testing.assert_array_equal(layer(x, lengths=LENGTHS), layer(x, mask=MASK))
    assert layer.compute_mask(x, MASK) is MASK and MLSTM(4).compute_mask(x, MASK) is None


def test_a_sequence_in_two_halves_is_the_whole(rng):
    layer = MLSTM(6, 2, 4, return_sequences=True, return_state=True, **D)
    x = rng.normal(size=(3, 11, 2))
    y, *final = layer(x)
    one, *state = layer(x[:, :6])
    two, *state = layer(x[:, 6:], initial_state=state)
    np.testing.assert_allclose(np.concatenate([one, two], axis=1), y, rtol=1e-11, atol=1e-13)
    for got, want in zip(state, final, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("backend", ["native", "blas", "numpy"])
@pytest.mark.parametrize("batch", [0, 3])
def test_every_backend_and_nothing_to_do(rng, backend, batch):
    before = config.get_backend()
    config.set_backend(backend)
    try:
        layer = MLSTM(6, 2, 3, return_sequences=True, return_state=True)
        x = rng.normal(size=(batch, 5, 2)).astype("f4")
        layer.ensure_built(x.shape)
        outputs, tape = layer.forward(x, True, np.zeros((batch, 5), bool))
        dx = layer.backward(tape, [np.ones_like(a) for a in outputs])
        assert not any(a.any() for a in (*outputs, dx, *layer.grads.values()))
        y, tape = layer.forward(x, True)
        layer.backward(tape, [np.ones_like(a) for a in y])
        assert all(g.any() for g in layer.grads.values()) == (batch > 0)
    finally:
        config.set_backend(before)


# --- models --------------------------------------------------------------------------------------


def recall(rows, seed):
    """A number stands at a marked step among others: it is to be said at the end."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(rows, 24, 2)).astype("f4")
    marked = rng.integers(0, 24, rows)
    x[:, :, 1] = np.arange(24) == marked[:, None]
    return x, x[np.arange(rows), marked, 0]


def test_a_model_learns_to_recall_and_is_saved_whole(tmp_path):
    """The loss falls to a twentieth of that of saying 0; the file gives the same bits again."""
    clstm.set_seed(3)
    model = Sequential([Input((24, 2)), Masking(9.0),
                        MLSTM(16, num_heads=2, chunk_size=8, return_sequences=True),
                        MLSTM(16, go_backwards=False, kernel_regularizer=None),
                        Dense(1)])  # fmt: skip
    model.compile(clstm.optimizers.Adam(0.01), "mse")
    x, y = recall(512, 1)
    history = model.fit(x, y, epochs=30, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < np.square(y).mean() / 20
    model.save(tmp_path / "model.clstm")
    loaded = load_model(tmp_path / "model.clstm")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    histories = []
    for one in (model, loaded):
        clstm.set_seed(4)
        histories.append(one.fit(x, y, epochs=2, batch_size=64, verbose=0).history)
    assert histories[0] == histories[1]


def test_states_go_from_layer_to_layer(rng):
    x = Input((5, 3))
    y, *state = MLSTM(4, 2, return_sequences=True, return_state=True)(x)
    z = MLSTM(4, 2, chunk_size=2)(y, initial_state=state)
    model = Model(x, Dense(1)(z))
    model.compile("adam", "mse")
    data, target = rng.normal(size=(20, 5, 3)).astype("f4"), rng.normal(size=20).astype("f4")
    losses = model.fit(data, target, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_config_makes_the_layer_again():
    layer = MLSTM(8, 4, 32, return_sequences=True, go_backwards=True, kernel_regularizer="l2")
    again = MLSTM.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.num_heads, again.chunk_size) == (4, 32)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"units": 0}, ValueError, "units: expected at least 1, got 0"),
        ({"num_heads": 2.0}, TypeError, "num_heads: expected an int, got float"),
        ({"num_heads": 4}, ValueError, "num_heads: expected a divisor of the 6 units, got 4"),
        ({"chunk_size": 0}, ValueError, "chunk_size: expected at least 1, got 0"),
        ({"activation": "tanh"}, TypeError, "activation"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        MLSTM(**{"units": 6} | options)


def test_wrong_calls_are_refused():
    layer = MLSTM(6, 2, name="memory")
    x = np.zeros((3, 4, 2))
    good = [np.zeros(s) for s in ((3, 2, 3, 3), (3, 2, 3), (3, 2))]
    layer(x, initial_state=good)
    with pytest.raises(ValueError, match=r"initial_state: expected 3 \(C, n, m\), got list"):
        layer(x, initial_state=good[:2])
    with pytest.raises(ValueError, match=r"initial state n of memory: expected shape \(3, 2, 3\)"):
        layer(x, initial_state=[good[0], np.zeros((3, 6)), good[2]])
    with pytest.raises(ValueError, match="expected at least one time step"):
        layer(np.zeros((3, 0, 2)))
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        MLSTM(6)(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="expected 2 features"):
        layer(np.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match=r"mask: expected shape \(3, 4\)"):
        layer(x, mask=np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"lengths: expected 0 \.\. 4"):
        layer(x, lengths=[1, 2, 5])
    with pytest.raises(ValueError, match="lengths: expected None beside a mask"):
        layer(x, lengths=[1, 2, 3], mask=MASK)
    with pytest.raises(TypeError, match="expected an LSTM, got MLSTM"):
        clstm.Bidirectional(layer)
    with pytest.raises(ValueError, match="step by step, without masks, got MLSTM"):
        Sequential([LSTM(2, return_sequences=True, input_shape=(4, 2)), layer]).stream()


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_each_row_has_the_bits_that_it_has_alone(restore, chunk):
    """Whatever the padding and gaps beside it, the threads and the instruction set."""
    vectors = [isa for isa in clstm.config.available_isas() if isa != "scalar"]
    if not vectors:
        pytest.skip("this CPU has no instruction set with native kernels")
    rng = np.random.default_rng(0)
    layer = MLSTM(24, num_heads=2, chunk_size=chunk, return_sequences=True, return_state=True)
    x = rng.normal(size=(5, 17, 7)).astype(np.float32)
    mask = rng.random((5, 17)) < 0.7
    mask[1], mask[2] = True, np.arange(17) < 3
    x[~mask] = np.nan
    dy = rng.normal(size=(5, 17, 24)).astype(np.float32)
    layer.ensure_built(x.shape)

    def run(x, mask, dy):
        outputs, tape = layer.forward(x, False, mask)
        return [*outputs, layer.backward(tape, [dy, None, None, None])]

    expected = None
    for isa in vectors:
        clstm.config.set_isa(isa)
        for threads in (1, 3):
            clstm.config.set_num_threads(threads)
            whole = run(x, mask, dy)
            if expected is None:
                expected = whole
            for a, b in zip(expected, whole, strict=True):
                np.testing.assert_array_equal(a, b)
    for k in range(5):
        at = mask[k]
        y, *state, dx = run(x[k : k + 1, at], None, dy[k : k + 1, at])
        np.testing.assert_array_equal(y[0], whole[0][k, at])
        np.testing.assert_array_equal(dx[0], whole[4][k, at])
        for a, b in zip(state, whole[1:4], strict=True):
            np.testing.assert_array_equal(a[0], b[k])


def test_stateful_goes_on_until_it_is_reset(rng):
    x = rng.normal(size=(3, 12, 2)).astype("f4")
    layer = MLSTM(4, 2, return_sequences=True, stateful=True)
    layer.ensure_built(x.shape)
    whole = MLSTM(4, 2, return_sequences=True)
    whole.ensure_built(x.shape)
    whole.set_weights(layer.get_weights())
    parts = np.concatenate([layer(x[:, :5]), layer(x[:, 5:6]), layer(x[:, 6:])], axis=1)
    np.testing.assert_allclose(parts, whole(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="expected 3 rows, as many as the state it carries"):
        layer(x[:2])
    layer.reset_state()
    np.testing.assert_array_equal(layer(x), whole(x))
    model = Sequential([Input((None, 2)), MLSTM(4, 2, stateful=True), Dense(1)])
    first = model.predict(x)
    assert (model.predict(x) != first).any()
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x), first)
