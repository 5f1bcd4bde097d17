"""Initializers: statistics, bounds, orthogonality, determinism, bad input."""

import numpy as np
import pytest

from clstm import initializers as init

SHAPE = (300, 200)
RANDOM = [
    init.RandomNormal,
    init.RandomUniform,
    init.TruncatedNormal,
    init.VarianceScaling,
    init.GlorotUniform,
    init.GlorotNormal,
    init.HeUniform,
    init.HeNormal,
    init.LecunUniform,
    init.LecunNormal,
    init.Orthogonal,
    init.OrthogonalGates,
]


def rng():
    return np.random.default_rng(11)


@pytest.mark.parametrize(
    ("initializer", "variance", "bound"),
    [
        (init.RandomNormal(stddev=0.1), 0.01, None),
        (init.RandomUniform(-0.3, 0.3), 0.3**2 / 3, 0.3),
        (init.TruncatedNormal(stddev=0.1), 0.01 * 0.87962566103423978**2, 0.2),
        (init.VarianceScaling(), 1 / 300, 2 / 300**0.5 / 0.8796256),
        (init.VarianceScaling(3.0, "fan_out", "untruncated_normal"), 3 / 200, None),
        (init.VarianceScaling(3.0, "fan_avg", "normal"), 3 / 250, 2 * (3 / 250) ** 0.5 / 0.8796256),
        (init.GlorotUniform(), 2 / 500, (6 / 500) ** 0.5),
        (init.GlorotNormal(), 2 / 500, 2 * (2 / 500) ** 0.5 / 0.8796256),
        (init.HeUniform(), 2 / 300, (6 / 300) ** 0.5),
        (init.HeNormal(), 2 / 300, 2 * (2 / 300) ** 0.5 / 0.8796256),
        (init.LecunUniform(), 1 / 300, (3 / 300) ** 0.5),
        (init.LecunNormal(), 1 / 300, 2 * (1 / 300) ** 0.5 / 0.8796256),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, init.Initializer) else None,
)
def test_statistics(initializer, variance, bound):
    w = initializer(SHAPE, "float64", rng())
    assert abs(w.mean()) < 5 * (variance / w.size) ** 0.5
    # The variance of a sample variance is below 2 variance^2 / n for all of these.
    assert w.var() == pytest.approx(variance, rel=5 * (2 / w.size) ** 0.5)
    if bound is not None:
        assert 0.99 * bound < np.abs(w).max() <= bound


def test_truncated_normal_has_the_truncated_distribution():
    w = init.TruncatedNormal(mean=3.0, stddev=0.5)((200_000,), "float64", rng())
    z = (w - 3.0) / 0.5
    assert np.abs(z).max() <= 2
    # P(|z| < 1) / P(|z| < 2) of the standard normal distribution
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.682689492 / 0.954499736, abs=5e-3)


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((), 1, 1), ((7,), 7, 7), ((3, 5), 3, 5), ((2, 3, 5), 6, 10), ((0, 5), 0, 5)],
)
def test_fans(shape, fan_in, fan_out):
    for mode, fan in (
        ("fan_in", fan_in),
        ("fan_out", fan_out),
        ("fan_avg", (fan_in + fan_out) / 2),
    ):
        unit = init.VarianceScaling(1.0, mode, "untruncated_normal")(shape, "float64", rng())
        scale = max(1.0, fan) ** -0.5
        np.testing.assert_allclose(unit, rng().normal(size=shape) * scale, rtol=1e-14)


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16), (1, 4), (4, 1), (2, 3, 4)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(shape, gain):
    w = init.Orthogonal(gain)(shape, "float64", rng())
    assert w.shape == shape and w.flags.c_contiguous
    flat = w.reshape(-1, shape[-1])
    gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-13)


def test_orthogonal_is_uniform_in_sign():
    generator = rng()
    first = [init.Orthogonal()((2, 2), "float64", generator)[0, 0] for _ in range(400)]
    assert abs(np.mean(first)) < 5 * (0.5 / 400) ** 0.5


@pytest.mark.parametrize(
    ("shape", "gates"), [((5, 20), 4), ((3, 20), 4), ((7, 12), 3), ((4, 4), 1)]
)
def test_orthogonal_gates(shape, gates):
    w = init.OrthogonalGates(1.5, gates)(shape, "float64", rng())
    assert w.shape == shape and w.flags.c_contiguous
    blocks = np.split(w, gates, axis=1)
    for block in blocks:
        gram = block @ block.T if shape[0] <= block.shape[1] else block.T @ block
        np.testing.assert_allclose(gram, 1.5**2 * np.eye(len(gram)), atol=1e-13)
    assert gates == 1 or not np.array_equal(blocks[0], blocks[1])


def test_chrono():
    w = init.Chrono(1000)((40_000,), "float64", rng())
    i, f, g, o = np.split(w, 4)
    assert np.array_equal(i, -f) and not g.any() and not o.any()
    u = np.exp(f)  # uniform on [1, 999): mean 500, variance 998^2 / 12
    assert 1 <= u.min() < 3 and 997 < u.max() < 999
    assert u.mean() == pytest.approx(500, abs=5 * 998 / (12 * len(u)) ** 0.5)
    assert u.var() == pytest.approx(998**2 / 12, rel=0.05)
    assert not init.Chrono(2)((8,)).any()
    again = init.get({"class_name": "Chrono", "config": init.Chrono(50, seed=3).get_config()})
    assert np.array_equal(again((8,)), init.Chrono(50, seed=3)((8,)))


def test_constants():
    assert np.array_equal(init.Zeros()((2, 3)), np.zeros((2, 3), np.float32))
    assert np.array_equal(init.Ones()((2, 3)), np.ones((2, 3), np.float32))
    assert np.array_equal(init.Constant(0.25)([3]), np.full(3, 0.25, np.float32))
    assert np.array_equal(init.Identity(2.0)((2, 3)), 2 * np.eye(2, 3, dtype=np.float32))


@pytest.mark.parametrize("cls", RANDOM)
def test_determinism(cls):
    generator = rng()
    first, second = cls()((6, 8), "float32", generator), cls()((6, 8), "float32", generator)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, cls()((6, 8), "float32", rng()))
    seeded = cls(seed=4)
    assert np.array_equal(seeded((6, 8), "float32", generator), seeded((6, 8)))
    assert not np.array_equal(seeded((6, 8)), first)
    assert not np.array_equal(cls()((6, 8)), cls()((6, 8)))


@pytest.mark.parametrize("cls", [*RANDOM, init.Zeros, init.Ones, init.Constant, init.Identity])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_layout(cls, dtype):
    w = cls()((4, 12), dtype, rng())
    assert w.dtype == dtype and w.shape == (4, 12) and w.flags.c_contiguous and w.flags.writeable
    assert np.array_equal(w.astype(np.float32), cls()((4, 12), np.float32, rng()))


@pytest.mark.parametrize(
    "name",
    [
        "zeros", "zero", "ones", "one", "constant", "random_normal", "normal", "random_uniform",
        "uniform", "truncated_normal", "variance_scaling", "glorot_uniform", "glorot_normal",
        "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal", "identity",
        "GlorotUniform", "Orthogonal", "orthogonal_gates",
    ],
)  # fmt: skip
def test_names(name):
    assert isinstance(init.get(name), init.Initializer)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: init.Orthogonal()((5,)), r"Orthogonal.*2 dimensions.*\(5,\)"),
        (lambda: init.Identity()((5, 5, 5)), r"Identity.*2 dimensions.*\(5, 5, 5\)"),
        (lambda: init.VarianceScaling(scale=0), "scale.*> 0.*0"),
        (lambda: init.VarianceScaling(mode="fan"), "mode.*fan_in.*'fan'"),
        (lambda: init.VarianceScaling(distribution="cauchy"), "distribution.*uniform.*'cauchy'"),
        (lambda: init.OrthogonalGates()((4, 6)), r"OrthogonalGates.*4 \* columns.*\(4, 6\)"),
        (lambda: init.OrthogonalGates()((8,)), r"OrthogonalGates.*\(8,\)"),
        (lambda: init.OrthogonalGates(gates=0), "gates.*at least 1.*0"),
        (lambda: init.Chrono(1.5), "max_time.*>= 2.*1.5"),
        (lambda: init.Chrono(float("inf")), "max_time.*finite.*inf"),
        (lambda: init.Chrono(9)((4, 4)), r"Chrono.*4 \* units.*\(4, 4\)"),
        (lambda: init.Chrono(9)((6,)), r"Chrono.*\(6,\)"),
        (lambda: init.get("chrono"), "chrono.*max_time"),
        (lambda: init.RandomNormal(seed=-1), "seed.*-1"),
        (lambda: init.RandomNormal(seed="x"), "seed.*'x'"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
