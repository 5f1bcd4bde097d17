import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    Activation,
    ActivityRegularization,
    Add,
    AlphaDropout,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    Input,
    InputDecay,
    LayerNormalization,
    Masking,
    Reshape,
    SpatialDropout1D,
    TimeDistributed,
    activations,
)

D = {"dtype": "float64"}
SMOOTH = ["tanh", "sigmoid", "softplus", "softsign", "exponential", "silu", "gelu", "mish",
          "log_sigmoid", "softmax", "log_softmax", "linear", "elu", "selu", "scaled_tanh",
          "affine"]  # fmt: skip
KINKED = ["relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_tanh",
          "thresholded_relu"]  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH + KINKED)
def test_activation(differences, rng, name):
    x = rng.normal(size=(4, 5)) * 2
    kinks = np.array([-3, -1, 0, 1, 3, 6])
    x[np.abs(x[..., None] - kinks).min(axis=-1) < 1e-3] += 0.01
    y, = differences(Activation(name, **D), x)
    assert y.shape == x.shape


def test_every_activation_is_tested():
    assert {*SMOOTH, *KINKED} == set(activations._ACTIVATIONS)


@pytest.mark.parametrize("name", SMOOTH + KINKED)
def test_activations_keep_float32_and_bear_extremes(name):
    x = np.array([[-1e4, -30, -0.0, 0, 30, 80]], "f4")
    y = activations.get(name).forward(x)
    dx = activations.get(name).backward(np.ones_like(y), x, y)
    assert y.dtype == dx.dtype == np.float32
    assert np.isfinite(y).all() and np.isfinite(dx).all()


@pytest.mark.parametrize("shape", [(3, 2), (3, 4, 2), (1, 1), (2, 3, 4, 2)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "tanh"},
                                     {"activation": "softmax"}])  # fmt: skip
def test_dense(differences, rng, shape, options):
    y, = differences(Dense(3, **options, **D), rng.normal(size=shape))
    assert y.shape == (*shape[:-1], 3)


@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False}, {"epsilon": 0.5}])
def test_layer_normalization(differences, rng, options):
    differences(LayerNormalization(**options, **D), rng.normal(size=(3, 4, 5)))


NOISES = {
    "Dropout": lambda: Dropout(0.4, **D),
    "of rows": lambda: Dropout(0.4, (None, 1, None), **D),
    "spatial": lambda: SpatialDropout1D(0.4, **D),
    "alpha": lambda: AlphaDropout(0.4, **D),
    "alpha of rows": lambda: AlphaDropout(0.4, [None, 1, None], **D),
    "Gaussian": lambda: GaussianDropout(0.4, **D),
    "added": lambda: GaussianNoise(0.4, **D),
}


@pytest.mark.parametrize("name", NOISES)
def test_dropout(differences, rng, name):
    x, layer = rng.normal(size=(3, 4, 5)), NOISES[name]()
    y, = differences(layer, x, training=True, before=lambda: clstm.set_seed(5))
    assert not np.isclose(y, x).all()
    np.testing.assert_array_equal(layer(x), x)
    again = type(layer).from_config(layer.get_config())
    clstm.set_seed(5)
    np.testing.assert_array_equal(again(x, training=True), y)
    layer = NOISES[name]()
    setattr(layer, "stddev" if name == "added" else "rate", 0.0)
    state = clstm.random.get_state()
    np.testing.assert_array_equal(layer(x, training=True), x)
    assert clstm.random.get_state() == state  # nothing was drawn


def test_dropout_statistics():
    x = np.ones((200, 300), "f4")
    layer = Dropout(0.25)
    np.testing.assert_array_equal(layer(x), x)
    y = layer(x, training=True)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01 and abs(y.mean() - 1) < 0.02
    shared = Dropout(0.5, noise_shape=(None, 1))(x, training=True)
    assert (shared == shared[:, :1]).all() and 0 < (shared == 0).mean() < 1


def test_noise_statistics(rng):
    ones, x = np.ones((200, 300), "f4"), rng.normal(size=(200, 300)).astype("f4")
    noise = GaussianNoise(0.5)(ones, training=True)
    assert noise.dtype == np.float32
    assert abs(noise.mean() - 1) < 0.01 and abs(noise.std() - 0.5) < 0.01
    noise = GaussianDropout(0.2)(3 * ones, training=True)
    assert noise.dtype == np.float32
    assert abs(noise.mean() - 3) < 0.02 and abs(noise.std() - 3 * 0.5) < 0.02
    kept = AlphaDropout(0.3)(x, training=True)
    assert kept.dtype == np.float32
    assert abs(kept.mean()) < 0.02 and abs(kept.std() - 1) < 0.02
    spatial = SpatialDropout1D(0.5)(np.ones((50, 7, 40)), training=True)
    assert (spatial == spatial[:, :1]).all() and abs((spatial[:, 0] == 0).mean() - 0.5) < 0.05


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (lambda: ActivityRegularization(0.1, 0.2, **D), (3, 4, 3), (3, 4, 3)),
        (lambda: Reshape((2, 6), **D), (3, 4, 3), (3, 2, 6)),
        (lambda: Reshape((-1, 2), **D), (3, 4, 3), (3, 6, 2)),
        (lambda: Flatten(**D), (3, 4, 3), (3, 12)),
        (lambda: Flatten(**D), (3,), (3, 1)),
        (lambda: TimeDistributed(Dense(2, **D)), (3, 4, 5), (3, 4, 2)),
        (lambda: TimeDistributed(Flatten(**D)), (2, 4, 5, 3), (2, 4, 15)),
        (lambda: TimeDistributed(LSTM(2, **D)), (2, 3, 4, 5), (2, 3, 2)),
        (lambda: TimeDistributed(LayerNormalization(**D)), (2, 3, 4), (2, 3, 4)),
        (lambda: Masking(**D), (2, 3, 4), (2, 3, 4)),
    ],
)
def test_shapes_and_gradients(differences, rng, layer, shape, wanted):
    made = layer()
    y, = differences(made, rng.normal(size=shape))
    assert y.shape == wanted
    assert made.compute_output_shape((None, *shape[1:])) == (None, *wanted[1:])
    empty = made(np.zeros((0, *shape[1:])))
    assert empty.shape == (0, *wanted[1:])


def test_concatenate_and_add(differences, rng):
    a, b, c = (rng.normal(size=(2, 3, k)) for k in (1, 4, 4))
    y, = differences(Concatenate(**D), [a, b, c])
    np.testing.assert_array_equal(y, np.concatenate([a, b, c], -1))
    y, = differences(Concatenate(axis=1, **D), [b, c])
    assert y.shape == (2, 6, 4)
    y, = differences(Add(**D), [b, c, b])
    np.testing.assert_allclose(y, 2 * b + c)


def test_merged_masks(rng):
    one, two = np.array([[1, 1, 0]], bool), np.array([[1, 0, 0]], bool)
    xs = [np.zeros((1, 3, 2))] * 2
    np.testing.assert_array_equal(Add().join_masks(xs, [one, two]), one | two)
    assert Add().join_masks(xs, [one, None]) is None
    np.testing.assert_array_equal(Concatenate().join_masks(xs, [one, two]), one & two)
    np.testing.assert_array_equal(Concatenate().join_masks(xs, [None, two]), two)
    assert Concatenate().join_masks(xs, [None, None]) is None
    joined = Concatenate(axis=1).join_masks(xs, [one, None])
    np.testing.assert_array_equal(joined, [[1, 1, 0, 1, 1, 1]])


def test_embedding(differences, rng):
    ids = np.array([[1, 2, 2], [0, 4, 1]])
    y, = differences(Embedding(5, 3, **D), ids, moves=False)
    assert y.shape == (2, 3, 3)
    layer = Embedding(5, 3, mask_zero=True)
    np.testing.assert_array_equal(layer(ids), layer.weights[0][ids])
    np.testing.assert_array_equal(layer(ids.astype("f4")), layer(ids))
    np.testing.assert_array_equal(layer.compute_mask(ids, None), ids != 0)
    assert layer(np.zeros((0, 3), int)).shape == (0, 3, 3)
    for bad, words in (([[5]], "0 .. 4.*5"), ([[-1]], "0 .. 4.*-1"), ([[0.5]], "whole numbers"),
                       ([[np.nan]], "whole numbers"), ([["a"]], "numbers")):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=words):
            layer(bad)


def test_masking(rng):
    x = rng.normal(size=(2, 3, 2)).astype("f4")
    x[0, 1] = -1
    x[1, 2, 0] = -1
    layer = Masking(mask_value=-1)
    np.testing.assert_array_equal(layer.compute_mask(x, None), [[1, 0, 1], [1, 1, 1]])
    y = layer(x)
    assert (y[0, 1] == 0).all() and (y[1] == x[1]).all()
    gone = Masking(mask_value=float("nan"))
    x[0, 1] = np.nan
    np.testing.assert_array_equal(gone.compute_mask(x, None), [[1, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(gone(x)[0, 1], [0, 0])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Dense(-1), ValueError, "units: .*-1"),
        (lambda: Dense(2)(np.zeros(3)), ValueError, "at least 2 dimensions"),
        (lambda: Dense(2)([[1, 2], [3]]), ValueError, "ragged|inhomogeneous"),
        (lambda: Dropout(1), ValueError, "rate: .*1"),
        (lambda: Dropout("0.5"), TypeError, "rate: .*number.*str"),
        (lambda: Dropout(0.5, noise_shape=(1,))(np.zeros((2, 2)), training=True), ValueError,
         "noise_shape of .*2 dimensions"),
        (lambda: Dropout(0.5, noise_shape=(None, 3))(np.zeros((2, 2)), training=True), ValueError,
         "noise_shape of .*sizes of 1 or of the inputs"),
        (lambda: Dropout(0.5, noise_shape=3), TypeError, "noise_shape: expected a tuple, got int"),
        (lambda: SpatialDropout1D(1.0), ValueError, "rate: .*1"),
        (lambda: SpatialDropout1D(0.5)(np.zeros((2, 3))), ValueError, "3 dimensions"),
        (lambda: AlphaDropout(-0.1), ValueError, "rate: .*-0.1"),
        (lambda: GaussianDropout("a"), TypeError, "rate: .*number.*str"),
        (lambda: GaussianNoise(-1), ValueError, "stddev: .*-1"),
        (lambda: Embedding(0, 2), ValueError, "input_dim: "),
        (lambda: Embedding(2, 0), ValueError, "output_dim: "),
        (lambda: Reshape((0, 2)), ValueError, "target_shape: "),
        (lambda: Reshape((-1, -1)), ValueError, "target_shape: "),
        (lambda: Reshape((5,))(np.zeros((2, 3))), ValueError, "expected 5 elements"),
        (lambda: TimeDistributed(3), TypeError, "layer: .*Layer.*int"),
        (lambda: TimeDistributed(Dense(2))(np.zeros((2, 3))), ValueError, "at least 3 dimensions"),
        (lambda: Concatenate()([np.zeros((2, 3))]), ValueError, "at least 2"),
        (lambda: Concatenate()([np.zeros((2, 3)), np.zeros((3, 3))]), ValueError, "differ in axis"),
        (lambda: Add()([np.zeros((2, 3)), np.zeros((2, 4))]), ValueError, "equal shapes"),
        (lambda: LayerNormalization(epsilon=-1), ValueError, "epsilon: "),
        (lambda: Activation("no"), ValueError, "activation: "),
        (lambda: Masking()(np.zeros((2, 3))), ValueError, "3 dimensions"),
        (lambda: Masking(mask_value="a"), TypeError, "mask_value: "),
        (lambda: Input((0,)), ValueError, "shape: "),
        (lambda: Input((2.0,)), ValueError, "shape: "),
        (lambda: Input(3), TypeError, "shape: "),
        (lambda: Dense(2)([Input((2,)), Input((2,))]), ValueError, "expected one, got 2"),
        (lambda: LSTM(2)(Input((2, 3)), mask=np.ones((1, 2))), TypeError, "mask: .*symbol"),
    ],
)  # fmt: skip
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_float_input_of_any_kind_is_float32():
    for dtype in (np.float16, np.float64, np.int8, np.uint64, bool):
        y = Dense(2, kernel_initializer="ones")(np.ones((2, 3), dtype))
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, 3)


def test_names():
    one, two = Dense(1), Dense(1)
    assert one.name != two.name and Dense(1, name="own").name == "own"
    with pytest.raises(ValueError, match="name: "):
        Dense(1, name="")


def test_input_decay(differences, rng):
    x = np.concatenate([rng.normal(size=(3, 4, 2)), rng.random((3, 4, 2)),
                        rng.uniform(0.5, 3, (3, 4, 2))], axis=-1)  # fmt: skip
    layer = InputDecay(**D)
    y, = differences(layer, x)
    v, s, since = np.split(x, 3, axis=-1)
    w, b, mean = (layer.params[n] for n in ("decay_kernel", "decay_bias", "mean"))
    rate = np.exp(-np.maximum(0, w * since + b))
    np.testing.assert_allclose(y[..., :2], s * v + (1 - s) * (rate * v + (1 - rate) * mean))
    np.testing.assert_array_equal(y[..., 2:], s)
    x[..., 4:] = 0  # times 0 lie at the edge of max(0, z): the value stays
    layer.params["decay_bias"][:] = 0
    np.testing.assert_allclose(layer.infer(x)[..., :2], v)
    with pytest.raises(ValueError, match=r"inputs: expected \(B, T, 3 F\)"):
        InputDecay()(np.ones((1, 2, 4)))


def test_input_decay_never_reads_padding(rng):
    x = rng.normal(size=(2, 3, 3)).astype("f4")
    mask = np.array([[True, True, False], [True, False, False]])
    x[~mask] = np.nan
    layer = InputDecay()
    layer.ensure_built(x.shape)
    y, tape = layer.forward(x, False, mask)
    dx = layer.backward(tape, np.where(mask[..., None], 1, 0).astype("f4") * np.ones_like(y))
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    assert all(np.isfinite(g).all() for g in layer.grads.values())
