"""MultiHeadAttention: Keras's numbers, finite differences, masks, models."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Embedding, Input, Model, MultiHeadAttention, load_model

D = {"dtype": "float64"}
GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {n: c for n, c in runpy.run_path(str(GOLDEN / "golden_io.py"))["load"](
    "keras_attention.npz").items() if c.config["layer"] == "MultiHeadAttention"}  # fmt: skip
ORDER = [f"{name}_{kind}" for name in ("query", "key", "value", "output")
         for kind in ("kernel", "bias")]  # fmt: skip
QUERY_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
KEY_MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
NO_KEY = KEY_MASK & np.array([[True], [False], [True]])
SHAPES = [(3, 4, 6), (3, 5, 5), (3, 5, 4)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_keras(name, dtype):
    """Outputs, scores and gradients, the weights in Keras's order and layout."""
    case = CASES[name]
    layer = MultiHeadAttention(causal=case.config["causal"], return_attention_scores=True,
                               dtype=dtype, **case.config["args"])  # fmt: skip
    x = [a.astype(dtype) for a in case.list("x")]
    layer.ensure_built([a.shape for a in x] if len(x) > 1 else x[0].shape)
    layer.set_weights(case.list("w"))
    mask = [QUERY_MASK, KEY_MASK, None] if case.config["masked"] else None
    (y, scores), tape = layer.forward(x if len(x) > 1 else x[0], True, mask)
    dx = layer.backward(tape, [case.dy.astype(dtype), None])
    tolerance = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 1e-4, "atol": 1e-4}}
    tolerance = tolerance[dtype]
    valid = QUERY_MASK if mask else np.ones(y.shape[:2], bool)
    assert not y[~valid].any()
    np.testing.assert_allclose(y[valid], case.y[valid], **tolerance)
    np.testing.assert_allclose(scores.swapaxes(1, 2)[valid],
                               case.scores.swapaxes(1, 2)[valid], **tolerance)  # fmt: skip
    for got, want in zip(dx if len(x) > 1 else [dx], case.list("g_x"), strict=True):
        np.testing.assert_allclose(got, want, **tolerance)
    assert list(layer.params) == [n for n in ORDER if layer.use_bias or "kernel" in n]
    for got, want in zip(layer.grads.values(), case.list("g_w"), strict=True):
        np.testing.assert_allclose(got, want, **tolerance)


@pytest.mark.parametrize("masks", [None, [QUERY_MASK, KEY_MASK, None], [None, NO_KEY, KEY_MASK]])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("options", [{}, {"value_dim": 2}, {"return_attention_scores": True}])
def test_gradients(differences, rng, options, causal, masks):
    layer = MultiHeadAttention(2, 3, causal=causal, use_bias=False, **options, **D)
    differences(layer, [rng.normal(size=s) for s in SHAPES], masks)


@pytest.mark.parametrize("mask", [None, QUERY_MASK])
def test_gradients_of_one_input_and_of_two(differences, rng, mask):
    x = rng.normal(size=SHAPES[0])
    differences(MultiHeadAttention(2, 3, use_bias=False, **D), x, mask)
    differences(MultiHeadAttention(2, 3, use_bias=False, **D),
                [x, rng.normal(size=SHAPES[1])], [mask, KEY_MASK])


@pytest.mark.parametrize("masks", [None, [QUERY_MASK, NO_KEY, None]])
def test_gradients_of_the_biases(rng, masks):
    """One by one: that of the key's bias is 0, for it adds one number to all scores of a query."""
    layer = MultiHeadAttention(2, 3, value_dim=2, bias_initializer="normal", **D)
    x = [rng.normal(size=s) for s in SHAPES]
    layer(x)
    y, tape = layer.forward(x, True, masks)
    d = rng.normal(size=y.shape)
    layer.backward(tape, d)
    for name in ORDER[1::2]:
        bias = layer.params[name]
        for at in np.ndindex(bias.shape):
            kept, ends = bias[at], []
            for step in (1e-5, -1e-5):
                bias[at] = kept + step
                ends.append((layer.forward(x, True, masks)[0] * d).sum())
            bias[at] = kept
            wanted = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(layer.grads[name][at], wanted, rtol=1e-6, atol=1e-8)


def test_gradients_with_dropout(differences, rng):
    layer = MultiHeadAttention(2, 3, dropout=0.4, use_bias=False,
                               return_attention_scores=True, **D)  # fmt: skip
    differences(layer, [rng.normal(size=s) for s in SHAPES], [None, KEY_MASK, None],
                training=True, before=lambda: clstm.set_seed(3))  # fmt: skip


def test_no_gradient_of_the_inputs(rng):
    layer = MultiHeadAttention(2, 3)
    x = rng.normal(size=SHAPES[0])
    layer(x)
    y, tape = layer.forward(x, True)
    layer.backward(tape, np.ones_like(y))
    before = {name: g.copy() for name, g in layer.grads.items()}
    assert layer.backward(tape, np.ones_like(y), need_dx=False) is None
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(gradient, 2 * before[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_reaches_nothing(rng, dtype, causal):
    """Whatever stands at masked positions; a query without a key has the output's bias alone."""
    layer = MultiHeadAttention(2, 3, causal=causal, return_attention_scores=True, dtype=dtype,
                               bias_initializer="ones")  # fmt: skip
    x, masks = [rng.normal(size=s) for s in SHAPES], [QUERY_MASK, NO_KEY, None]
    dy = rng.normal(size=SHAPES[0]).astype(dtype)
    layer(x)
    results = []
    for filling in (0.0, np.nan, np.inf):
        x[0][~QUERY_MASK] = x[1][~NO_KEY] = x[2][~NO_KEY] = dy[~QUERY_MASK] = filling
        for gradient in layer.grads.values():
            gradient[...] = 0
        (y, scores), tape = layer.forward(x, True, masks)
        results.append([y, scores, *layer.backward(tape, [dy, None]),
                        *(g.copy() for g in layer.grads.values())])  # fmt: skip
    y, scores, dq, dv, dk = results[0][:5]
    assert (y[1, :2] == 1).all() and not y[~QUERY_MASK].any() and not scores[1].any()
    assert not scores.transpose(0, 3, 1, 2)[~NO_KEY].any()
    assert not dq[1].any() and not dv[~NO_KEY].any() and not dk[~NO_KEY].any()
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_ways_to_call(rng):
    layer = MultiHeadAttention(2, 3, value_dim=4)
    q, v = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 7, 5))
    y = layer([q, v])
    assert y.shape == (2, 3, 5) and y.dtype == np.float32
    np.testing.assert_array_equal(layer(q, v), y)
    np.testing.assert_array_equal(layer(q, v, v), y)
    np.testing.assert_array_equal(layer(q, q), layer(q))
    shapes = [(None, 3, 5), (None, 7, 5)]
    assert layer.compute_output_shape(shapes) == (None, 3, 5)
    layer = MultiHeadAttention(2, 3, return_attention_scores=True)
    assert [a.shape for a in layer(q, v)] == [(2, 3, 5), (2, 2, 3, 7)]
    assert layer.compute_output_shape(shapes) == [(None, 3, 5), (None, 2, 3, 7)]
    with pytest.raises(ValueError, match="num_heads: expected at least 1"):
        MultiHeadAttention(0, 3)
    with pytest.raises(TypeError, match="key_dim: expected an int"):
        MultiHeadAttention(2, 3.0)


def test_causal_rows_do_not_see_what_comes(rng):
    layer = MultiHeadAttention(2, 3, causal=True)
    x = rng.normal(size=(2, 70, 5))
    y = layer(x)
    np.testing.assert_array_equal(layer(x[:, :40]), y[:, :40])


def test_an_lstm_with_attention_behind_it_learns(tmp_path):
    """What the first word is, after masked words have come, to a saved model."""
    rng = np.random.default_rng(0)
    clstm.set_seed(1)
    words = rng.integers(1, 9, (256, 12))
    for row, length in zip(words, rng.integers(6, 13, 256), strict=True):
        row[length:] = 0
    labels = (words[:, 0] > 4).astype("f4")
    x = Input((12,), dtype="int64")
    h = LSTM(16, return_sequences=True)(Embedding(9, 8, mask_zero=True)(x))
    h = MultiHeadAttention(4, 8, dropout=0.1)(h, h)
    model = Model(x, Dense(1, activation="sigmoid")(LSTM(16)(h)))
    model.compile(optimizer=clstm.optimizers.Adam(0.01), loss="binary_crossentropy")
    losses = model.fit(words, labels, epochs=15, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.clstm")
    loaded = load_model(tmp_path / "model.clstm")
    np.testing.assert_array_equal(loaded.predict(words), model.predict(words))
    alone = [model(words[k : k + 1])[0, 0] for k in range(8)]
    np.testing.assert_array_equal(alone, model(words[:8])[:, 0])
