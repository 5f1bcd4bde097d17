"""An output layer with the weights of an Embedding."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Embedding, Input, Model, Sequential
from clstm.layers import Dropout, TiedDense
from clstm.losses import SparseCategoricalCrossentropy

V, F = 11, 6


def language(dtype="float32", **options):
    clstm.set_seed(0)
    table = Embedding(V, F, dtype=dtype)
    return Sequential([Input((None,)), table, LSTM(F, return_sequences=True, dtype=dtype),
                       TiedDense(table, dtype=dtype, **options)])  # fmt: skip


def data(rows=3, time=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, V, (rows, time)), rng.integers(0, V, (rows, time))


def test_the_table_is_read_and_counted_once():
    m, (x, _) = language(), data()
    table, lstm, tied = m.layers
    h = lstm(table(x))
    tied.params["bias"][...] = np.arange(V)
    np.testing.assert_allclose(m.predict(x), h @ table.params["embeddings"].T + np.arange(V),
                               atol=1e-6)  # fmt: skip
    assert m.count_params() == V * F + 8 * F * F + 4 * F + V


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_its_gradient_is_the_sum_of_both_uses(activation):
    m, (x, y) = language("float64", activation=activation), data()
    loss = SparseCategoricalCrossentropy(from_logits=activation is None)
    m.compile(clstm.optimizers.SGD(1.0), loss)
    before = m.get_weights()
    wanted = []
    for k, weight in enumerate(m.weights):
        gradient = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            ends = []
            for step in (1e-5, -1e-5):
                weight[place] = before[k][place] + step
                ends.append(loss(y, m.predict(x)))
            weight[place] = before[k][place]
            gradient[place] = (ends[0] - ends[1]) / 2e-5
        wanted.append(gradient)
    m.train_on_batch(x, y)
    for old, new, gradient in zip(before, m.weights, wanted, strict=True):
        np.testing.assert_allclose(old - new, gradient, atol=1e-8)


def test_it_is_saved_by_the_name_of_its_table(tmp_path):
    m, (x, y) = language(), data()
    m.compile("adam", SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    m.fit(x, y, epochs=2, verbose=0)
    m.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x), m.predict(x))
    assert again.layers[2].table is again.layers[0]
    for model in (m, again):
        model.fit(x, y, shuffle=False, verbose=0)
    for a, b in zip(m.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_in_a_graph_and_in_a_stream():
    tokens = Input((None,))
    table = Embedding(V, F, name="words")
    h = LSTM(F, return_sequences=True)(table(tokens))
    m, (x, _) = Model(tokens, TiedDense("words")(Dropout(0.1)(h))), data()
    wanted, stream = m.predict(x), m.stream(3)
    for t in range(4):
        np.testing.assert_allclose(stream.step(x[:, t]), wanted[:, t], atol=1e-6)


def test_a_table_that_is_not_trained_stays():
    m, (x, y) = language(), data()
    m.layers[0].trainable = False
    m.compile("sgd", SparseCategoricalCrossentropy(from_logits=True))
    before = m.get_weights()
    m.fit(x, y, verbose=0)
    same = [np.array_equal(a, b) for a, b in zip(before, m.get_weights(), strict=True)]
    assert same == [True, False, False, False, False]


def test_bad_input():
    table, tokens = Embedding(V, F), Input((None,))
    with pytest.raises(TypeError, match="embedding: expected an Embedding or its name, got Dense"):
        TiedDense(Dense(3))
    for other in (Embedding(V, F), "nobody"):
        with pytest.raises(ValueError, match="embedding: expected an Embedding before"):
            TiedDense(other)(table(tokens))
    with pytest.raises(ValueError, match=f"expected {F} features"):
        TiedDense(table)(Dense(F + 1)(table(tokens)))
    with pytest.raises(ValueError, match="dtype"):
        TiedDense(table, dtype="float64")(table(tokens))
    with pytest.raises(ValueError, match="the name 'table' alone"):
        TiedDense("table")(np.zeros((2, F)))
