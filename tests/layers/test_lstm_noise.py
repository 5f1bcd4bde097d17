"""What an LSTM draws anew in training: dropout by step, dropped weights, zoneout."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dropout, functional
from clstm.layers.dropout import dropout_mask

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
NOISE = [
    {"zoneout_h": 0.3},
    {"zoneout_c": 0.4, "zoneout_h": 0.2, "projection": 3, "go_backwards": True},
    {"dropout": 0.3, "recurrent_dropout": 0.4, "dropout_per_step": True},
    {"recurrent_dropconnect": 0.5},
    {
        "dropout": 0.3, "recurrent_dropout": 0.4, "recurrent_dropconnect": 0.3, "zoneout_h": 0.1,
        "zoneout_c": 0.2, "dropout_per_step": True, "layer_norm": "joint", "peephole": True,
    },
]  # fmt: skip


@pytest.mark.parametrize("options", NOISE)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("training", [False, True])
def test_gradients(differences, rng, options, sequences, mask, training):
    layer = LSTM(4, return_sequences=sequences, return_state=True, **options, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), mask, training,
                before=lambda: clstm.set_seed(3))  # fmt: skip


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 5, 2)).astype(np.float32)


def seeded(layer, x):
    clstm.set_seed(9)
    return layer(x, training=True)


def drawn(*arguments):
    clstm.set_seed(9)
    return dropout_mask(Dropout(0.5), *arguments)


def test_zoneout_is_that_of_the_functions(x):
    layer = LSTM(4, zoneout_h=0.3, return_sequences=True)
    layer(x)
    kept = (drawn((3, 5, 4), 0.3) == 0).astype(np.float32)
    assert 0 < kept.mean() < 1
    wanted, _ = functional.lstm(x, *layer.weights, zoneout_h=kept)
    np.testing.assert_array_equal(seeded(layer, x), wanted)
    wanted, _ = functional.lstm(x, *layer.weights, zoneout_h=0.3)
    np.testing.assert_array_equal(layer(x), wanted)
    np.testing.assert_array_equal(layer.forward(x, False)[0], wanted)
    h = np.concatenate([np.zeros((3, 1, 4)), seeded(layer, x)], axis=1)
    np.testing.assert_array_equal(h[:, 1:][kept == 1], h[:, :-1][kept == 1])


def test_zoneout_shares():
    layer = LSTM(50, zoneout_h=0.25, return_sequences=True)
    y = layer(np.ones((40, 20, 1)), training=True)
    y = np.concatenate([np.zeros((40, 1, 50)), y], axis=1)
    share = (y[:, 1:] == y[:, :-1]).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 40000)


def test_a_mask_at_each_step(x):
    layer = LSTM(4, recurrent_dropout=0.4, dropout_per_step=True, return_sequences=True)
    layer(x)
    wanted, _ = functional.lstm(x, *layer.weights, candidate_mask=drawn((3, 5, 4), 0.4))
    np.testing.assert_array_equal(seeded(layer, x), wanted)
    layer = LSTM(4, dropout=0.4, dropout_per_step=True, return_sequences=True)
    layer(x)
    wanted, _ = functional.lstm(x * drawn((3, 5, 2), 0.4), *layer.weights)
    np.testing.assert_array_equal(seeded(layer, x), wanted)


def test_dropped_weights_of_a_batch(x):
    layer = LSTM(4, recurrent_dropconnect=0.4, return_sequences=True)
    y = layer(x)
    np.testing.assert_array_equal(y, functional.lstm(x, *layer.weights)[0])
    kernel, recurrent, bias = layer.weights
    factors = drawn((4, 16), 0.4)
    clstm.set_seed(9)
    y, tape = layer.forward(x, True)
    wanted, _, other = functional.lstm_forward(x, kernel, recurrent * factors, bias)
    np.testing.assert_array_equal(y, wanted)
    layer.backward(tape, np.ones_like(y))
    d = functional.lstm_backward(other, np.ones_like(y))
    np.testing.assert_array_equal(layer.grads["kernel"], d.kernel)
    np.testing.assert_array_equal(layer.grads["recurrent_kernel"], d.recurrent_kernel * factors)


def test_gradient_clip_reaches_the_functions(x):
    layer = LSTM(4, gradient_clip=1e-3)
    layer(x)
    y, tape = layer.forward(x)
    layer.backward(tape, np.ones_like(y))
    _, _, other = functional.lstm_forward(x, *layer.weights, gradient_clip=1e-3)
    d = functional.lstm_backward(other, None, np.ones_like(y))
    np.testing.assert_array_equal(layer.grads["bias"], d.bias)
    assert np.abs(layer.grads["bias"]).max() < 3 * 5 * 1.001e-3


@pytest.mark.parametrize("options", [*NOISE, {"num_layers": 2, "layer_dropout": 0.3}])
def test_bits_do_not_depend_on_threads(rng, options):
    if all(isa == "scalar" for isa in clstm.config.available_isas()):
        pytest.skip("this CPU has no instruction set with native kernels")
    x = rng.normal(size=(23, 9, 5)).astype(np.float32)
    layer = LSTM(40, return_sequences=True, **options)
    layer(x)
    seen = []
    threads = clstm.config.get_num_threads()
    try:
        for count in (1, 2, 3, 5):
            clstm.config.set_num_threads(count)
            clstm.set_seed(6)
            y, tape = layer.forward(x, True)
            for part in layer.walk():
                for d in part.grads.values():
                    d[...] = 0
            dx = layer.backward(tape, np.ones_like(y))
            grads = [d for part in layer.walk() for d in part.grads.values()]
            seen.append([a.tobytes() for a in (y, dx, *grads)])
    finally:
        clstm.config.set_num_threads(threads)
    assert all(other == seen[0] for other in seen)


@pytest.mark.parametrize("options", [*NOISE, {"gradient_clip": 0.5}])
def test_is_trained_and_saved(x, options, tmp_path):
    model = clstm.Sequential([LSTM(4, **options), clstm.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    config = again.layers[0].get_config()
    assert config == model.layers[0].get_config() and options.items() <= config.items()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_a_stream_has_the_expected_zoneout(x):
    model = clstm.Sequential([LSTM(6, zoneout_h=0.2, zoneout_c=0.1, input_shape=(None, 2)),
                              clstm.Dense(2)])  # fmt: skip
    stream, wanted = model.stream(3), model.predict(x)
    model.layers[0].params["kernel"][...] = 0  # the stream has a copy
    for t in range(5):
        y = stream.step(x[:, t])
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="zoneout_h: expected 0 for pack"):
        model.layers[0].pack()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"zoneout_h": 1.0}, ValueError, "zoneout_h: .*< 1.*got 1"),
        ({"zoneout_c": "no"}, TypeError, "zoneout_c: expected a number, got str"),
        ({"recurrent_dropconnect": -0.1}, ValueError, "recurrent_dropconnect: .*-0.1"),
        ({"dropout_per_step": 1}, TypeError, "dropout_per_step: expected True or False, got 1"),
        ({"gradient_clip": -1}, ValueError, "gradient_clip: expected a finite number >= 0"),
    ],
)
def test_wrong_options(wrong, error, message):
    with pytest.raises(error, match=message):
        LSTM(3, **wrong)
