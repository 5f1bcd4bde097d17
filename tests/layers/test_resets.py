"""`resets` of a call: positions at which the state becomes 0 before the step."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, MLSTM, Bidirectional, Dense, Input, Model, functional
from clstm.layers.recurrent import Recurrent

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
RESETS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]], bool)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients(differences, rng, sequences, backwards, mask):
    layer = LSTM(4, return_sequences=sequences, return_state=True, go_backwards=backwards, **D)
    inputs = [rng.normal(size=s) for s in ((3, 4, 2), (3, 4), (3, 4))]
    differences(layer, inputs, mask, resets=RESETS)


@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients_of_two_directions(differences, rng, mask):
    layer = Bidirectional(LSTM(3, return_sequences=True, zoneout_h=0.3, **D))
    differences(layer, rng.normal(size=(3, 4, 2)), mask, True, resets=RESETS,
                before=lambda: clstm.set_seed(2))  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
def test_are_those_of_the_functions(rng, training):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = LSTM(5, return_sequences=True)
    y = layer(x, resets=RESETS, lengths=[4, 0, 3], training=training)
    wanted, _ = functional.lstm(x, *layer.weights, resets=RESETS, lengths=[4, 0, 3])
    np.testing.assert_array_equal(y, wanted)
    both = Bidirectional(layer)
    y = both(x, resets=RESETS.astype(int), training=training)
    a, _ = functional.lstm(x, *both.weights[:3], resets=RESETS)
    b, _ = functional.lstm(x, *both.weights[3:], resets=RESETS, reverse=True)
    np.testing.assert_array_equal(y, np.concatenate([a, b], axis=-1))


def test_a_stateful_layer_forgets_at_them(rng):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = LSTM(5, stateful=True)
    layer(x)
    y = layer(x, resets=np.array([[1, 0, 0, 0]] * 3))
    layer.reset_state()
    np.testing.assert_array_equal(y, layer(x))


class Copy(Recurrent):
    state_names = ()

    def forward(self, inputs, training=False, mask=None):
        return inputs, None


def test_wrong_uses():
    x = np.zeros((3, 4, 2))
    with pytest.raises(ValueError, match=r"resets: expected shape \(3, 4\), got \(3, 3\)"):
        LSTM(2)(x, resets=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="resets: expected booleans, or 0 and 1, got 2"):
        Bidirectional(LSTM(2))(x, resets=np.full((3, 4), 2))
    with pytest.raises(TypeError, match="resets: expected None, for a Copy takes none, got nd"):
        Copy()(x, resets=RESETS)
    with pytest.raises(TypeError, match="resets: expected a symbol beside symbols, got ndarray"):
        LSTM(2)(clstm.Input((4, 2)), resets=RESETS)


def test_resets_are_an_input_of_a_model(tmp_path):
    clstm.set_seed(1)
    x, resets = Input((None, 4)), Input((None,))
    h = LSTM((5, 6), return_sequences=True)(x, resets=resets)
    h = Bidirectional(LSTM(3, return_sequences=True))(h, resets=resets)
    model = Model([x, resets], Dense(1)(h))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3, 9, 4)).astype(np.float32)
    begins = np.zeros((3, 9), bool)
    begins[0, 4] = begins[1, 2] = begins[1, 7] = True
    y = model.predict([data, begins])
    for row, first, last in ((0, 0, 4), (0, 4, 9), (1, 0, 2), (1, 2, 7), (1, 7, 9), (2, 0, 9)):
        alone = model.predict([data[row : row + 1, first:last], np.zeros((1, last - first), bool)])
        np.testing.assert_allclose(y[row, first:last], alone[0], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(model.predict([data, begins.astype(np.float32)]), y)
    model.save(tmp_path / "m.safetensors")
    loaded = clstm.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict([data, begins]), y)


def test_a_model_learns_with_resets_what_it_learns_of_the_parts():
    """One row of two joined sequences, or the two as rows: one gradient."""

    def made():
        clstm.set_seed(1)
        x, resets = Input((None, 2)), Input((None,))
        y = Dense(1)(LSTM(4, return_sequences=True)(x, resets=resets))
        model = Model([x, resets], y)
        model.compile(clstm.optimizers.SGD(0.1), "mse")
        return model

    rng = np.random.default_rng(0)
    data, y = rng.normal(size=(1, 10, 2)), rng.normal(size=(1, 10, 1))
    begins = np.zeros((1, 10), bool)
    begins[0, 5] = True
    joined, parts = made(), made()
    joined.fit([data, begins], y, epochs=3, verbose=0)
    parts.fit([data.reshape(2, 5, 2), np.zeros((2, 5))], y.reshape(2, 5, 1), epochs=3, verbose=0)
    for a, b in zip(joined.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    windows = made()  # as long as the parts: no gradient is cut
    windows.compile("sgd", "mse")
    assert np.isfinite(windows.train_on_batch([data, begins], y, bptt=(5, 5)))


def test_resets_of_models_that_are_wrong():
    x, resets = Input((None, 4)), Input((None,))
    with pytest.raises(TypeError, match="resets: expected a symbol beside symbols, got ndarray"):
        LSTM(3)(x, resets=np.zeros((2, 5), bool))
    with pytest.raises(TypeError, match="resets: expected None, for a MLSTM takes none"):
        MLSTM(4)(x, resets=resets)
    model = Model([x, resets], LSTM(3)(x, resets=resets))
    with pytest.raises(ValueError, match="resets: expected"):
        model.predict([np.zeros((2, 5, 4)), np.zeros((2, 4))])
    with pytest.raises(ValueError, match="read step by step, without masks, got LSTM"):
        model.stream(1, context={model.inputs[1].node.layer.name: np.zeros((1, 3))})
