import copy
import itertools

import numpy as np
import pytest

import clstm
from clstm import LSTM, functional

D = {"dtype": "float64"}
LENGTHS = np.array([4, 0, 2])
MASK = np.arange(4) < LENGTHS[:, None]
GAPS = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)


@pytest.mark.parametrize(
    ("sequences", "state", "backwards", "mask"),
    [*itertools.product([False, True], [False, True], [False, True], [None, MASK, GAPS])],
)
def test_gradients(differences, rng, sequences, state, backwards, mask):
    layer = LSTM(5, return_sequences=sequences, return_state=state, go_backwards=backwards, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), mask)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("state", [False, True])
def test_gradients_of_initial_states(differences, rng, mask, state):
    layer = LSTM(5, return_state=state, **D)
    differences(layer, [rng.normal(size=s) for s in ((3, 4, 2), (3, 5), (3, 5))], mask)


@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"dropout": 0.4},
        {"recurrent_dropout": 0.4},
        {"dropout": 0.3, "recurrent_dropout": 0.3, "return_sequences": True},
        {"peephole": True, "coupled_input_forget": True},
        {"projection": 3, "peephole": True, "return_state": True},
        {"projection": 2, "recurrent_dropout": 0.4, "return_sequences": True, "proj_clip": 1.5},
        {"cell_activation": "softsign", "activation": {"name": "elu", "alpha": 0.5}},
        {"layer_norm": "gate", "peephole": True, "recurrent_dropout": 0.4},
        {"layer_norm": "joint", "cell_norm": True, "projection": 3, "return_sequences": True},
    ],
)
def test_gradients_of_options(differences, rng, options):
    layer = LSTM(4, **options, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), training=True,
                before=lambda: clstm.set_seed(3))  # fmt: skip


@pytest.mark.parametrize(("batch", "time", "units"), [(1, 1, 1), (3, 1, 17), (17, 3, 33)])
def test_gradients_of_sizes(differences, rng, batch, time, units):
    differences(LSTM(units, return_sequences=True, **D), rng.normal(size=(batch, time, 2)))


def test_shapes_and_first_weights():
    layer = LSTM(3)
    x = np.zeros((2, 5, 4))
    assert layer(x).shape == (2, 3) and layer(x).dtype == np.float32
    kernel, recurrent, bias = layer.get_weights()
    assert kernel.shape == (4, 12) and recurrent.shape == (3, 12)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 3))
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(3), atol=1e-5)  # orthogonal
    assert np.abs(kernel).max() <= np.sqrt(6 / 16)  # Glorot's bound
    y, h, c = LSTM(3, return_sequences=True, return_state=True)(x)
    assert y.shape == (2, 5, 3) and h.shape == c.shape == (2, 3)
    np.testing.assert_array_equal(y[:, -1], h)
    assert LSTM(3, unit_forget_bias=False)(x) is not None
    assert len(layer.weights) == 3 and layer.count_params() == 48 + 36 + 12


@pytest.mark.parametrize(
    ("given", "forget"), [(True, 1), (False, 0.25), (3.0, 3), (-2, -2), (0, 0), (np.float32(2), 2)]
)
def test_forget_bias(given, forget):
    layer = LSTM(2, unit_forget_bias=given, bias_initializer=clstm.initializers.Constant(0.25))
    layer.ensure_built((None, 5, 3))
    np.testing.assert_array_equal(layer.params["bias"][2:4], forget)
    np.testing.assert_array_equal(layer.params["bias"][[0, 1, 4, 5, 6, 7]], 0.25)
    again = LSTM.from_config(layer.get_config())
    assert again.unit_forget_bias == given
    assert isinstance(again.unit_forget_bias, bool) == isinstance(given, bool)


@pytest.mark.parametrize("given", ["1", None, [1.0]])
def test_bad_forget_bias(given):
    with pytest.raises(TypeError, match="unit_forget_bias: expected a number, got"):
        LSTM(2, unit_forget_bias=given)
    with pytest.raises(ValueError, match="unit_forget_bias: expected a finite number, got nan"):
        LSTM(2, unit_forget_bias=float("nan"))


@pytest.mark.parametrize("options", [{}, {"unit_forget_bias": False}, {"unit_forget_bias": 3.0}])
def test_chrono_sets_the_forget_gate_whatever_unit_forget_bias_says(options):
    chrono = clstm.initializers.Chrono(1000, seed=5)
    layer = LSTM(6, bias_initializer=chrono, recurrent_initializer="orthogonal_gates", **options)
    layer.ensure_built((None, 5, 3))
    np.testing.assert_array_equal(layer.params["bias"], chrono((24,)))


def test_equals_the_function(rng):
    x = rng.normal(size=(3, 4, 2))
    layer = LSTM(5, return_sequences=True, return_state=True, go_backwards=True, **D)
    state = rng.normal(size=(2, 3, 5))
    outputs = layer(x, lengths=LENGTHS, initial_state=list(state))
    y, (h, c) = functional.lstm(x, *layer.weights, initial_state=tuple(state), lengths=LENGTHS,
                                reverse=True)  # fmt: skip
    np.testing.assert_array_equal(outputs[0], y[:, ::-1])  # in the order of reading
    np.testing.assert_array_equal(outputs[1], h)
    np.testing.assert_array_equal(outputs[2], c)
    masked = layer(x, mask=MASK, initial_state=list(state))
    np.testing.assert_array_equal(masked[0], outputs[0])
    listed = layer([x, *state], mask=MASK)
    np.testing.assert_array_equal(listed[0], outputs[0])


def test_lists_are_data(rng):
    x = rng.normal(size=(3, 4, 2)).astype("f4")
    layer = LSTM(5)
    np.testing.assert_array_equal(layer(x.tolist()), layer(x))


def test_dropout_is_for_training_alone_and_by_row(rng):
    x = np.ones((64, 6, 3))
    layer = LSTM(4, dropout=0.5, return_sequences=True)
    np.testing.assert_array_equal(layer(x), layer(x))
    clstm.set_seed(1)
    one, two = layer(x, training=True), layer(x, training=True)
    assert (one != two).any()
    clstm.set_seed(1)
    np.testing.assert_array_equal(layer(x, training=True), one)
    assert len(np.unique(one[:, 0], axis=0)) <= 8  # of 3 inputs, each is there or is not


def test_stateful_goes_on_until_it_is_reset(rng):
    x = rng.normal(size=(3, 6, 2)).astype("f4")
    layer, whole = LSTM(5, stateful=True), LSTM(5)
    layer(x), whole(x)
    layer.reset_state()
    layer.set_weights(whole.get_weights())
    layer(x[:, :4])
    np.testing.assert_allclose(layer(x[:, 4:]), whole(x), atol=1e-6)
    with pytest.raises(ValueError, match=r"expected 3 rows.*reset_state.*got 2"):
        layer(x[:2])
    layer.reset_state()
    np.testing.assert_allclose(layer(x), whole(x), atol=1e-6)
    layer.reset_state()
    np.testing.assert_array_equal(layer(x[:2]), whole(x[:2]))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: LSTM(0), ValueError, "units: .*at least 1.*0"),
        (lambda: LSTM(2.5), TypeError, "units: .*int.*float"),
        (lambda: LSTM(True), TypeError, "units: .*int.*bool"),
        (lambda: LSTM(2, activation="no"), ValueError, "activation: .*'no'"),
        (lambda: LSTM(2, activation=np.tanh), TypeError, "activation: .*name"),
        (lambda: LSTM(2, dropout=1.0), ValueError, "dropout: .*< 1.*1"),
        (lambda: LSTM(2, recurrent_dropout=-0.1), ValueError, "recurrent_dropout: .*-0.1"),
        (lambda: LSTM(2, kernel_initializer="no"), ValueError, "initializer 'no'"),
        (lambda: LSTM(2, kernel_regularizer="no"), ValueError, "regularizer 'no'"),
        (lambda: LSTM(2, dtype="float16"), ValueError, "dtype: .*float16"),
        (lambda: LSTM(2, name="a/b"), ValueError, "name: .*'a/b'"),
        (lambda: LSTM(2)(np.zeros((2, 3))), ValueError, r"3 dimensions.*\(2, 3\)"),
        (lambda: LSTM(2)(np.zeros((2, 0, 3))), ValueError, "at least one time step"),
        (lambda: LSTM(2)(np.zeros((2, 3, 0))), ValueError, "features"),
        (lambda: LSTM(2)(np.zeros((2, 3, 1)), lengths=[4, 0]), ValueError, "lengths: .*0 .. 3"),
        (lambda: LSTM(2)(np.zeros((2, 3, 1)), mask=np.ones((2, 2))), ValueError, "mask: "),
        (lambda: LSTM(2)(np.zeros((2, 3, 1)), initial_state=np.zeros((2, 2))), ValueError,
         "initial_state: .*pair"),
        (lambda: LSTM(2)(np.zeros((2, 3, 1)), initial_state=[np.zeros((2, 3))] * 2), ValueError,
         r"initial_state\[0\].*\(2, 2\).*\(2, 3\)"),
        (lambda: LSTM(2, kernel_initializer=Bad())(np.zeros((2, 3, 1))), ValueError,
         r"initializer of lstm.*kernel.*\(1, 8\)"),
    ],
)  # fmt: skip
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


class Bad(clstm.initializers.Initializer):
    def __call__(self, shape, dtype="float32", rng=None):
        return np.zeros((1, 1), dtype)


def test_other_features_later():
    layer = LSTM(2)
    layer(np.zeros((2, 3, 4)))
    weights = layer.get_weights()
    with pytest.raises(ValueError, match=r"expected 4 features.*5"):
        layer(np.zeros((2, 3, 5)))
    for now, then in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_failed_build_can_be_repeated():
    layer = LSTM(2, bias_initializer=Bad())
    for _ in range(2):
        with pytest.raises(ValueError, match="bias"):
            layer(np.zeros((1, 2, 3)))
        assert not layer.built and not layer.weights


def test_set_weights_sets_all_or_nothing():
    layer = LSTM(2)
    layer(np.zeros((1, 2, 3)))
    before = layer.get_weights()
    new = [w + 1 for w in before]
    with pytest.raises(ValueError, match=r"weights\[2\]: .*\(8,\).*\(7,\)"):
        layer.set_weights([*new[:2], np.zeros(7)])
    with pytest.raises(ValueError, match="3 arrays, got 2"):
        layer.set_weights(new[:2])
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    layer.set_weights(new)
    for now, then in zip(layer.weights, new, strict=True):
        np.testing.assert_array_equal(now, then)


OPTIONS = {
    "units": 6, "peephole": True, "coupled_input_forget": True, "projection": 4, "cell_clip": 2.0,
    "proj_clip": 0.5, "preactivation_clip": 3.0, "cell_activation": "softsign",
    "recurrent_activation": {"name": "hard_sigmoid", "alpha": 0.2, "beta": 0.5},
}  # fmt: skip


def test_options_of_the_cell_reach_the_functions(rng):
    layer = LSTM(**OPTIONS, return_state=True)
    x = rng.normal(size=(3, 5, 2)).astype(np.float32)
    layer(x)
    for weight in layer.weights:
        weight += 0.1 * rng.normal(size=weight.shape).astype(np.float32)
    kernel, recurrent, bias, peephole, projection = layer.get_weights()
    assert recurrent.shape == (4, 24) and peephole.shape == (3, 6) and projection.shape == (6, 4)
    cell = {k: v for k, v in OPTIONS.items() if k not in ("units", "peephole", "projection")}
    _, (h, c) = functional.lstm(x, kernel, recurrent, bias, peephole=peephole,
                                projection=projection, **cell)  # fmt: skip
    outputs = layer(x)
    np.testing.assert_array_equal(outputs[0], h)
    np.testing.assert_array_equal(outputs[2], c)
    assert [o.shape for o in outputs] == [(3, 4), (3, 4), (3, 6)]
    assert layer.compute_output_shape((3, 5, 2)) == [(3, 4), (3, 4), (3, 6)]


def test_options_of_the_cell_are_saved(rng, tmp_path):
    model = clstm.Sequential([clstm.Bidirectional(LSTM(**OPTIONS)), clstm.Dense(1)])
    x = rng.normal(size=(8, 5, 2)).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=3, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    assert again.layers[0].forward_layer.get_config() == model.layers[0].forward_layer.get_config()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert np.abs(again.layers[0].forward_layer.params["peephole"]).max() > 0  # it was trained


@pytest.mark.parametrize(("form", "shape"), [("gate", (4, 6)), ("joint", (2, 24))])
def test_layer_norm_is_trained_and_saved(rng, tmp_path, form, shape):
    model = clstm.Sequential([LSTM(6, layer_norm=form, cell_norm=True, norm_epsilon=1e-4)])
    model.add(clstm.Dense(1))
    x = rng.normal(size=(8, 5, 2)).astype(np.float32)
    model.compile("adam", "mse")
    layer = model.layers[0]
    model.predict(x)
    first = {"norm_gain": np.ones(shape), "cell_norm": np.stack([np.ones(6), np.zeros(6)])}
    for name, value in first.items():
        np.testing.assert_array_equal(layer.params[name], value)
    _, (h, _) = functional.lstm(x, *layer.get_weights()[:3], layer_norm=form, norm_epsilon=1e-4,
                                **first)  # fmt: skip
    np.testing.assert_array_equal(layer(x), h)
    model.fit(x, x[:, 0, :1], epochs=3, verbose=0)
    for name, value in first.items():
        assert (layer.params[name] != value).all()
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    assert again.layers[0].get_config() == layer.get_config()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"cell_clip": -1.0}, ValueError, "cell_clip: expected a finite number >= 0"),
        ({"proj_clip": 1.0}, ValueError, "proj_clip: expected None without a projection"),
        ({"projection": 0}, ValueError, "projection: expected at least 1"),
        ({"preactivation_clip": "no"}, TypeError, "preactivation_clip: expected a number"),
        ({"layer_norm": True}, ValueError, "layer_norm: expected None, 'gate' .*, got True"),
        ({"cell_norm": True}, ValueError, "cell_norm: expected None without layer_norm, got True"),
        ({"norm_epsilon": 0.0}, ValueError, "norm_epsilon: expected a finite number > 0"),
    ],
)
def test_wrong_options_of_the_cell(wrong, error, message):
    with pytest.raises(error, match=message):
        LSTM(3, **wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(2, return_sequences="no"), "return_sequences: .*True or False, got 'no'"),
        (lambda: LSTM(2, peephole=1), "peephole: expected True or False, got 1"),
        (lambda: LSTM(2, trainable=None), "trainable: expected True or False, got None"),
        (lambda: clstm.Dense(2, use_bias="yes"), "use_bias: expected True or False, got 'yes'"),
        (lambda: LSTM(2, colour=1), r"^LSTM\(\) got an unexpected keyword argument 'colour'"),
        (lambda: clstm.Dense(2, colour=1), r"^Dense\(\) got .*'colour'"),
        (lambda: clstm.Bidirectional(LSTM(2), colour=1), r"^Bidirectional\(\) got .*'colour'"),
    ],
)
def test_arguments_of_wrong_types_or_names(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_arguments_are_read_only_attributes():
    layer = LSTM(2, cell_clip=1.0)
    with pytest.raises(AttributeError, match="cell_clip: expected as an argument of LSTM"):
        layer.cell_clip = 2.0
    assert layer.cell_clip == 1.0
    layer.trainable, layer.dtype = False, "float64"  # of every layer
    assert copy.deepcopy(layer).get_config() == layer.get_config()


def test_two_biases_are_pytorchs(differences, rng):
    """Each has the gradient of the sum, so a step of SGD moves the sum twice as far."""
    two = LSTM(5, recurrent_bias=True, **D)
    x = rng.normal(size=(3, 4, 2))
    differences(two, x, MASK)
    one = LSTM(5, **D)
    one.build(x.shape)
    for name, value in one.params.items():
        value[...] = two.params[name] + (two.params["recurrent_bias"] if name == "bias" else 0)
    np.testing.assert_array_equal(one(x), two(x))
    for layer in (one, two):
        for gradient in layer.grads.values():
            gradient[...] = 0
        layer.backward(layer.forward(x)[1], np.ones((3, 5)))
    np.testing.assert_array_equal(two.grads["bias"], one.grads["bias"])
    np.testing.assert_array_equal(two.grads["recurrent_bias"], one.grads["bias"])
    again = LSTM.from_config(two.get_config())
    again.build(x.shape)
    assert again.params["recurrent_bias"].shape == (20,)
    with pytest.raises(ValueError, match="recurrent_bias: expected False without use_bias"):
        LSTM(3, use_bias=False, recurrent_bias=True)


@pytest.mark.parametrize("norm", ["gate", "joint"])
def test_the_normalised_cell_is_carried(differences, rng, norm):
    layer = LSTM(5, layer_norm=norm, cell_norm=True, carry_cell_norm=True, return_state=True, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), MASK)
    layer.params["cell_norm"][:] = [[1], [0]]
    c = layer(rng.normal(size=(3, 4, 2)))[2]
    np.testing.assert_allclose(c.mean(axis=1), 0, atol=1e-12)
    with pytest.raises(ValueError, match="carry_cell_norm: expected False without cell_norm"):
        LSTM(3, layer_norm=norm, carry_cell_norm=True)
