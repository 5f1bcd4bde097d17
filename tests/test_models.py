"""Graphs of layers: several inputs and outputs, sharing, masks, states, structure, errors."""

from itertools import pairwise

import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    LayerNormalization,
    Masking,
    Model,
    Reshape,
    Sequential,
    TimeDistributed,
)
from clstm import functional as F

D = {"dtype": "float64"}


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def check_gradients(model, x, seed=3):
    """All weights' gradients of sum(outputs * random) against central differences."""
    arrays = model._reader.inputs(x)
    run = lambda: model._executor.forward(arrays, training=True, keep=True)  # noqa: E731
    outputs, _, tapes, _ = run()
    rng = np.random.default_rng(seed)
    d = [rng.normal(size=o.shape) for o in outputs]
    parameters = model._parameters = model._parameters.current()
    parameters.grads[:] = 0
    model._executor.backward(tapes, [g.copy() for g in d])
    n = parameters.trained
    for _ in range(3):
        direction = rng.normal(size=n)
        for (_, end), (begin, _) in pairwise(parameters.segments):
            direction[end:begin] = 0  # no weight is there
        kept = parameters.values[:n].copy()
        ends = []
        for sign in (1, -1):
            parameters.values[:n] = kept + sign * 1e-6 * direction
            ends.append(sum((o * g).sum() for o, g in zip(run()[0], d, strict=True)))
        parameters.values[:n] = kept
        wanted = (ends[0] - ends[1]) / 2e-6
        got = parameters.grads[:n] * direction
        assert abs(got.sum() - wanted) / np.abs(got).sum() < 1e-6


class TestGraphs:
    def test_two_inputs_and_outputs(self):
        a, b = Input((4, 3), name="a"), Input((2,), name="b")
        h = LSTM(5, **D)(a)
        joined = Concatenate(**D)([h, b])
        one = Dense(1, name="one", **D)(joined)
        two = Dense(3, activation="softmax", name="two", **D)(h)
        model = Model([a, b], [one, two])
        x = [data(6, 4, 3), data(6, 2)]
        check_gradients(model, x)
        y = model.predict(x)
        assert [o.shape for o in y] == [(6, 1), (6, 3)]
        by_name = model.predict({"b": x[1], "a": x[0]})
        for one_y, two_y in zip(y, by_name, strict=True):
            np.testing.assert_array_equal(one_y, two_y)
        assert [layer.name for layer in model.layers][-2:] == ["one", "two"]
        assert model.get_layer("two").units == 3
        with pytest.raises(ValueError, match=r"name: .*'three'"):
            model.get_layer("three")

    def test_a_shared_layer_gets_both_gradients(self):
        a, b = Input((4, 3)), Input((4, 3))
        shared = LSTM(3, **D)
        model = Model([a, b], Add(**D)([shared(a), shared(b)]))
        assert len(model.layers) == 2 and len(model.weights) == 3
        check_gradients(model, [data(2, 4, 3), data(2, 4, 3, seed=1)])

    def test_a_layer_and_its_wrapper_are_one(self):
        """TimeDistributed(d) beside d itself: one kernel, counted and saved once."""
        x = Input((4, 3))
        dense = Dense(2, **D)
        steps = TimeDistributed(dense)(x)
        last = dense(Reshape((3,), **D)(LSTM(3, **D)(x)))
        model = Model(x, [Flatten(**D)(steps), last])
        assert model.count_params() == 3 * 2 + 2 + 3 * 12 + 3 * 12 + 12
        assert len(model.weights) == 5 and len(model._parameters.segments) == 5
        check_gradients(model, data(2, 4, 3))

    def test_encoder_and_decoder(self):
        """Sutskever et al. 2014: the decoder begins with the encoder's state."""
        source, target = Input((5, 3)), Input((4, 2))
        _, h, c = LSTM(6, return_state=True, **D)(source)
        y = LSTM(6, return_sequences=True, **D)(target, initial_state=[h, c])
        model = Model([source, target], Dense(2, **D)(y))
        x = [data(3, 5, 3), data(3, 4, 2)]
        check_gradients(model, x)
        encoder, decoder, dense = (layer.weights for layer in model.layers)
        _, state = F.lstm(x[0], *encoder)
        want, _ = F.lstm(x[1], *decoder, initial_state=state)
        np.testing.assert_allclose(model(x), want @ dense[0] + dense[1], atol=1e-12)

    def test_bidirectional_states(self):
        x = Input((5, 3))
        _, h, c, _, _ = Bidirectional(LSTM(2, return_state=True, **D))(x)
        check_gradients(Model(x, [h, c]), data(3, 5, 3))

    def test_states_alone_carry_gradients(self):
        x = Input((5, 3))
        _, _, c = LSTM(2, return_sequences=True, return_state=True, **D)(x)
        check_gradients(Model(x, c), data(3, 5, 3))

    def test_an_output_may_be_inside_or_twice(self):
        x = Input((4, 3))
        h = LSTM(2, **D)(x)
        y = Dense(1, **D)(h)
        model = Model(x, [h, y, y])
        check_gradients(model, data(3, 4, 3))
        assert model.predict(data(3, 4, 3))[1].shape == (3, 1)
        assert len(set(model._reader.output_names)) == 3

    def test_a_layer_in_two_models(self):
        shared = Dense(4, activation="tanh")
        x, z = Input((3,)), Input((3,))
        one, two = Model(x, Dense(1)(shared(x))), Model(z, Dense(2)(shared(z)))
        for model in (one, two):
            model.compile("sgd", "mse")
        inputs = data(8, 3)
        before = shared.get_weights()[0]
        for _ in range(2):
            one.train_on_batch(inputs, data(8, 1))
            middle = shared.get_weights()[0]
            assert (middle != before).any()
            two.train_on_batch(inputs, data(8, 2))
            before = shared.get_weights()[0]
            assert (middle != before).any()
        np.testing.assert_array_equal(one.layers[0].weights[0], two.layers[0].weights[0])
        hidden = np.tanh(inputs.astype("f4") @ shared.weights[0] + shared.weights[1])
        for model in (one, two):
            kernel, bias = model.layers[1].weights
            np.testing.assert_allclose(model.predict(inputs), hidden @ kernel + bias, atol=1e-5)

    def test_all_layers_together(self):
        ids = Input((6,), dtype="int32")
        h = Embedding(9, 4, mask_zero=True, **D)(ids)
        h = Dropout(0.0, **D)(h)
        h = Bidirectional(LSTM(3, return_sequences=True, **D))(h)
        h = LayerNormalization(**D)(h)
        h = TimeDistributed(Dense(4, activation="tanh", **D))(h)
        h = Activation("softplus", **D)(h)
        h = LSTM(3, **D)(h)
        model = Model(ids, Dense(2, **D)(h))
        x = np.random.default_rng(1).integers(0, 9, (5, 6))
        x[2] = 0  # a row without any valid step
        check_gradients(model, x)


class TestMasks:
    def test_padding_changes_nothing(self):
        ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 1]])
        model = Sequential([
            Input((None,), dtype="int32"), Embedding(5, 3, mask_zero=True),
            Bidirectional(LSTM(4, return_sequences=True)), LSTM(2), Dense(1),
        ])  # fmt: skip
        y = model(ids)
        longer = np.pad(ids, ((0, 0), (0, 3)))
        np.testing.assert_allclose(model(longer), y, atol=1e-6)
        for row, length in enumerate([3, 1, 5]):
            np.testing.assert_allclose(model(ids[row : row + 1, :length])[0], y[row], atol=1e-6)

    @pytest.mark.parametrize("symbol", ["lengths", "lengths column", "mask"])
    def test_symbols(self, symbol):
        lengths = np.array([4, 2, 0])
        x = Input((4, 3))
        if symbol == "mask":
            m, value, given = Input((4,)), np.arange(4) < lengths[:, None], "mask"
        else:
            m, given = Input((1,), dtype="int32"), "lengths"
            value = lengths if symbol == "lengths" else lengths[:, None]
        layer = LSTM(2, **D)
        model = Model([x, m], layer(x, **{given: m}))
        inputs = data(3, 4, 3)
        _, (h, _) = F.lstm(inputs, *layer.weights, lengths=lengths)
        np.testing.assert_array_equal(model.predict([inputs, value]), h)
        with pytest.raises(ValueError, match=r"lengths: .*beside a mask"):
            layer(x, mask=m, lengths=m)
        if given == "lengths":
            for bad, words in ((lengths + 1, "lengths: .*0 .. 4.*5"), (lengths - 0.5, "whole")):
                with pytest.raises(ValueError, match=words):
                    model.predict([inputs, bad])

    @pytest.mark.parametrize("through", [
        lambda: [], lambda: [Dropout(0.3)], lambda: [LayerNormalization()],
        lambda: [TimeDistributed(Dense(2))], lambda: [Activation("tanh")],
        lambda: [Bidirectional(LSTM(2, return_sequences=True))], lambda: [Masking(mask_value=-9)],
    ])  # fmt: skip
    def test_loss_and_metrics_leave_masked_steps_out(self, through):
        """As if the padding were not there, through layers that pass a mask on."""
        clstm.set_seed(0)
        model = Sequential([Input((None, 2)), Masking(), LSTM(3, return_sequences=True),
                            *through(), Dense(1)])  # fmt: skip
        model.compile("sgd", "mse", metrics=["mae"])
        x, y = data(1, 4, 2).astype("f4"), data(1, 4, 1)
        padded, wrong = np.pad(x, ((0, 0), (0, 3), (0, 0))), np.pad(y, ((0, 0), (0, 3), (0, 0)))
        wrong[:, 4:] = np.nan
        np.testing.assert_allclose(model.evaluate(padded, wrong), model.evaluate(x, y), rtol=1e-5)
        assert np.isfinite(model.train_on_batch(padded, wrong)).all()

    def test_flatten_ends_a_mask(self):
        model = Sequential([Input((3, 2)), Masking(), Flatten(), Dense(1)])
        assert not any(model._executor.masked)
        model.compile("sgd", "mse")
        assert np.isfinite(model.evaluate(np.zeros((2, 3, 2)), np.ones((2, 1))))

    def test_only_outputs_with_steps_may_be_masked(self):
        ids = Input((3,), dtype="int32")
        h = LSTM(2, return_sequences=True)(Embedding(4, 2, mask_zero=True)(ids))
        model = Model(ids, [Dense(1)(h), LSTM(1)(h)])
        assert model._executor.masked == [True, False]


class TestSequential:
    def test_built_by_input_by_shape_by_data_by_steps(self):
        x = data(4, 5, 3)
        shapes = [(3, 8), (2, 8), (8,), (2, 1), (1,)]
        by_input = Sequential([Input((5, 3)), LSTM(2), Dense(1)])
        by_shape = Sequential()
        by_shape.add(LSTM(2, input_shape=(5, 3)))
        assert by_shape.built and len(by_shape.weights) == 3
        by_shape.add(Dense(1))
        by_data = Sequential([LSTM(2), Dense(1)])
        assert not by_data.built
        by_build = Sequential([LSTM(2), Dense(1)])
        by_build.build((None, None, 3))
        for model in (by_input, by_shape, by_data, by_build):
            assert model.predict(x).shape == (4, 1)
            assert [w.shape for w in model.weights] == shapes
        assert by_build.predict(x[:, :2]).shape == (4, 1)
        with pytest.raises(ValueError, match=r"x: .*\(any, 5, 3\).*\(4, 2, 3\)"):
            by_input.predict(x[:, :2])

    def test_words_from_data(self):
        model = Sequential([Embedding(5, 2), LSTM(3), Dense(1)])
        assert model.predict([[1, 2], [3, 4]]).shape == (2, 1)

    def test_errors(self):
        with pytest.raises(TypeError, match=r"layer: .*Layer.*str"):
            Sequential(["LSTM"])
        layer = Dense(1)
        with pytest.raises(ValueError, match="not in the model yet"):
            Sequential([layer, layer])
        with pytest.raises(ValueError, match=r"name of its own.*'d'"):
            Sequential([Dense(1, name="d"), Dense(1, name="d")])
        with pytest.raises(ValueError, match="Input before"):
            Sequential([Dense(1), Input((2,))])
        with pytest.raises(ValueError, match="one input for dense"):
            Sequential([Input((2, 3)), LSTM(2, return_state=True), Dense(1)])
        with pytest.raises(ValueError, match="at least one layer"):
            Sequential().predict(np.zeros((2, 2)))
        with pytest.raises(ValueError, match="at least one layer"):
            Sequential([Input((2,))]).predict(np.zeros((2, 2)))

    def test_a_bad_layer_is_not_added(self):
        model = Sequential([Input((5, 3)), LSTM(2)])
        with pytest.raises(ValueError, match="3 dimensions"):
            model.add(LSTM(2))
        assert len(model.layers) == 1
        model.add(Dense(1))
        assert model.predict(data(2, 5, 3)).shape == (2, 1)

    def test_states_as_outputs(self):
        model = Sequential([Input((5, 3)), LSTM(2, return_state=True)])
        assert [o.shape for o in model.predict(data(2, 5, 3))] == [(2, 2)] * 3


class TestErrors:
    def test_connections(self):
        x, other = Input((2,)), Input((2,))
        y = Dense(1)(x)
        with pytest.raises(TypeError, match=r"inputs: .*ndarray"):
            Model(np.zeros(2), y)
        with pytest.raises(TypeError, match=r"outputs: .*Dense"):
            Model(x, Dense(1))
        with pytest.raises(ValueError, match=r"inputs: .*missing input_layer"):
            Model(other, y)
        with pytest.raises(ValueError, match=r"inputs: .*Input gave"):
            Model(y, Dense(1)(y))
        with pytest.raises(ValueError, match="'d' twice"):
            Model(x, Dense(1, name="d")(Dense(1, name="d")(x)))
        with pytest.raises(ValueError, match=r"one dtype.*float32.*float64"):
            Model(x, Dense(1)(Dense(1, dtype="float64")(x)))
        with pytest.raises(TypeError, match=r"x: .*part of another"):
            Model(x, y)(x)
        with pytest.raises(TypeError, match="cannot be called"):
            x.node.layer(x)
        with pytest.raises(ValueError, match="3 dimensions"):
            LSTM(2)(x)

    def test_data(self):
        a, b = Input((2,), name="a"), Input((3,), name="b")
        model = Model([a, b], Dense(1)(Concatenate()([a, b])))
        good = [np.zeros((4, 2)), np.zeros((4, 3))]
        for bad, words in (
            (good[:1], "list of 2 arrays, got 1"),
            (good[0], "list of 2 arrays, got ndarray"),
            ({"a": good[0]}, "keys .*'a', 'b'.*'a'"),
            ([good[1], good[0]], r"x\[0\]: .*\(any, 2\).*\(4, 3\)"),
            ([good[0], good[1][:3]], r"as many rows.*\[4, 3\]"),
            (None, "x: .*None"),
        ):
            with pytest.raises(ValueError, match=words):
                model.predict(bad)

    def test_set_weights_sets_all_or_nothing(self):
        model = Sequential([Input((5, 3)), LSTM(2), Dense(1)])
        before = model.get_weights()
        bad = [w + 1 for w in before]
        bad[-1] = np.zeros(2)
        with pytest.raises(ValueError, match=r"weights\[4\]: .*\(1,\).*\(2,\)"):
            model.set_weights(bad)
        with pytest.raises(ValueError, match="5 arrays, got 4"):
            model.set_weights(bad[:4])
        for now, then in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)


def test_summary():
    lines = []
    model = Sequential([Input((5, 3)), LSTM(2, name="first"), Dense(1, name="last")], name="mine")
    model.summary(print_fn=lines.append)
    text = lines[0]
    assert "mine" in text and "first (LSTM)" in text and "(None, 2)" in text and "48" in text
    assert "51" in text  # all weights
    Sequential([LSTM(2)]).summary(print_fn=lines.append)
    assert "not built" in lines[1]
    Sequential().summary(print_fn=lines.append)


def test_weights_are_views_and_stay_it():
    model = Sequential([Input((2,)), Dense(1)])
    kernel, bias = model.weights
    model.compile("sgd", "mse")
    kernel[...] = 2
    bias[...] = 1
    np.testing.assert_array_equal(model.predict([[1, 1]]), [[5]])


def test_predictions_do_not_share_memory_with_the_model():
    model = Sequential([Input((4, 2)), LSTM(2)])
    x = data(3, 4, 2).astype("f4")
    first = model.predict(x)
    kept = first.copy()
    model.predict(x + 1)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("batch", "time", "units"), [(1, 1, 1), (1, 7, 3), (5, 1, 2)])
def test_small_sizes(batch, time, units):
    model = Sequential([LSTM(units, return_sequences=True), LSTM(units), Dense(1)])
    model.compile("adam", "mse")
    x, y = data(batch, time, 1), data(batch, 1)
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and len(losses) == 3
    assert model.predict(x).shape == (batch, 1)
