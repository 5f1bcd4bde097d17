"""Pooling over time, positions, and the Transformer's block: finite differences, masks, models."""

import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    AttentionPooling,
    Dense,
    Embedding,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Input,
    Model,
    MultiHeadAttention,
    PositionalEncoding,
    PositionEmbedding,
    Sequential,
    TransformerBlock,
    load_model,
)

D = {"dtype": "float64"}
MASK = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
LAYERS = {
    "average": lambda **k: GlobalAveragePooling1D(**k),
    "average, keepdims": lambda **k: GlobalAveragePooling1D(keepdims=True, **k),
    "max": lambda **k: GlobalMaxPooling1D(**k),
    "attention": lambda **k: AttentionPooling(**k),
    "position": lambda **k: PositionEmbedding(7, **k),
    "block": lambda **k: TransformerBlock(2, 3, 5, activation="tanh", **k),
    "causal block": lambda **k: TransformerBlock(2, 3, 5, causal=True, activation="gelu", **k),
}
each = pytest.mark.parametrize("name", LAYERS)
masks = pytest.mark.parametrize("mask", [None, MASK])


def weight_gradients(layer):
    return [g.copy() for part in layer.walk() for g in part.grads.values()]


@each
@masks
def test_gradients(differences, rng, name, mask):
    if name == "position" and mask is not None:
        pytest.skip("the outputs at masked steps have no gradient")
    layer = LAYERS[name](**D)
    x = rng.normal(size=(3, 5, 4))
    layer.ensure_built(x.shape)
    for part in layer.sublayers():
        if isinstance(part, MultiHeadAttention):  # of no use to the key's: a gradient of 0
            part.use_bias = False
            for bias in ("query_bias", "key_bias", "value_bias", "output_bias"):
                del part.params[bias]
    differences(layer, x, mask)


@each
def test_masked_steps_reach_nothing(rng, name):
    layer = LAYERS[name](**D)
    x = rng.normal(size=(3, 5, 4))
    layer(x)
    dy, results = None, []
    for filling in (0.0, np.nan, np.inf):
        x[~MASK] = filling
        for part in layer.walk():
            for gradient in part.grads.values():
                gradient[...] = 0
        y, tape = layer.forward(x, True, MASK)
        dy = rng.normal(size=y.shape) if dy is None else dy
        dx = layer.backward(tape, dy)
        in_time = name == "position"
        results.append([y[MASK] if in_time else y, dx[MASK], *weight_gradients(layer)])
        assert in_time or not (y[1].any() or dx[~MASK].any())
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_pooling_is_over_the_valid_steps(rng):
    x = rng.normal(size=(3, 5, 4)).astype("f4")
    np.testing.assert_allclose(GlobalAveragePooling1D()(x), x.mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(GlobalMaxPooling1D()(x), x.max(axis=1))
    y = GlobalAveragePooling1D()(x, mask=MASK)
    np.testing.assert_allclose(y[2], x[2, :2].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(GlobalMaxPooling1D()(x, mask=MASK)[0], x[0, MASK[0]].max(axis=0))
    layer = AttentionPooling()
    y = layer(x, mask=MASK)
    w = np.exp(x[0, MASK[0]] @ layer.params["query"])
    np.testing.assert_allclose(y[0], w @ x[0, MASK[0]] / w.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("features", [1, 5, 6])
def test_the_sines_are_those_of_the_paper(differences, rng, features):
    y = PositionalEncoding(**D)(np.zeros((2, 7, features)))
    for t in range(7):
        for i in range(features):
            angle = t / 10000 ** ((i - i % 2) / features)
            want = np.cos(angle) if i % 2 else np.sin(angle)
            np.testing.assert_allclose(y[1, t, i], want, rtol=0, atol=1e-12)


def test_too_many_positions():
    layer = PositionEmbedding(4)
    with pytest.raises(ValueError, match="at most 4 time steps"):
        layer(np.zeros((1, 5, 2)))
    assert layer(np.zeros((1, 3, 2))).shape == (1, 3, 2)


def test_a_block_is_its_equations(rng):
    layer = TransformerBlock(2, 3, 5, **D)
    x = rng.normal(size=(2, 4, 6))
    y = layer(x)
    norm, attention, _, ff_norm, inner, _, outer, _ = layer.sublayers()
    h = x + attention(norm(x))
    np.testing.assert_allclose(y, h + outer(inner(ff_norm(h))), rtol=1e-12)


def test_a_model_of_all_of_them_learns_and_is_saved(tmp_path):
    """Masks go from the words through LSTM, attention and block to the pooling."""
    rng = np.random.default_rng(0)
    clstm.set_seed(1)
    words = rng.integers(1, 9, (256, 12))
    for row, length in zip(words, rng.integers(6, 13, 256), strict=True):
        row[length:] = 0
    labels = ((words == 3).any(axis=1)).astype("f4")
    x = Input((12,), dtype="int64")
    h = PositionEmbedding(12)(PositionalEncoding()(Embedding(9, 8, mask_zero=True)(x)))
    h = LSTM(16, return_sequences=True)(h)
    h = TransformerBlock(2, 8, 16, dropout=0.1)(MultiHeadAttention(4, 8)(h, h))
    pooled = clstm.layers.Concatenate()([AttentionPooling()(h), GlobalMaxPooling1D()(h)])
    model = Model(x, Dense(1, activation="sigmoid")(pooled))
    model.compile(optimizer=clstm.optimizers.Adam(0.01), loss="binary_crossentropy")
    losses = model.fit(words, labels, epochs=15, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.clstm")
    loaded = load_model(tmp_path / "model.clstm")
    np.testing.assert_array_equal(loaded.predict(words), model.predict(words))


def test_a_chain_of_them(rng):
    model = Sequential([Input((6, 4)), TransformerBlock(2, 2, 8), GlobalAveragePooling1D()])
    assert model(rng.normal(size=(3, 6, 4))).shape == (3, 4)
    with pytest.raises(ValueError, match="num_heads: expected at least 1"):
        TransformerBlock(0, 2, 8)
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        AttentionPooling()(np.zeros((2, 3)))
