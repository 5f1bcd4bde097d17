"""First values of weights: `init(shape, dtype, rng) -> array`.

Random values are drawn in float64 and then cast, so that a float32 model starts from the rounded
weights of the float64 model with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _serialize
from ._arrays import number, positive
from ._serialize import Configurable, register

# Standard deviation of a standard normal distribution cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978

_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")

Float64s = NDArray[np.float64]


class Initializer(Configurable):
    """Base of all initializers.

    Args:
        seed: int >= 0, or None (default): draw from the generator handed to the call.

    Raises:
        ValueError: seed is neither.
    """

    kind = "initializer"
    sets_forget_gate = False  # an LSTM's bias from it keeps what it has for the forget gate

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and not (isinstance(seed, (int, np.integer)) and seed >= 0):
            raise ValueError(f"seed must be an int >= 0 or None, received {seed!r}")
        self.seed = seed

    def __call__(
        self,
        shape: Sequence[int],
        dtype: DTypeLike = "float32",
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        """Returns a new C-contiguous array.

        Args:
            shape: ints, the array's shape.
            dtype: float32 (default) or float64.
            rng: the generator to draw from. An initializer with its own `seed` ignores it and
                returns the same values at each call. None (default): a freshly seeded generator.

        Raises:
            ValueError: the initializer has no values for this shape.
        """
        if self.seed is not None or rng is None:
            rng = np.random.default_rng(self.seed)
        return self._draw(tuple(shape), rng).astype(dtype, order="C", copy=False)

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        raise NotImplementedError(f"{type(self).__name__} must define _draw")


@register("initializer")
class Constant(Initializer):
    """Every element is `value` (float, default 0)."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        return np.full(shape, self.value, np.float64)


@register("initializer", "zero")
class Zeros(Constant):
    """Every element is 0."""

    def __init__(self) -> None:
        super().__init__(0.0)


@register("initializer", "one")
class Ones(Constant):
    """Every element is 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


@register("initializer")
class Identity(Initializer):
    """gain (float, default 1) times the (rows, columns) identity matrix."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        if len(shape) != 2:
            raise ValueError(f"Identity needs a shape of 2 dimensions, received {shape}")
        return self.gain * np.eye(*shape)


@register("initializer", "normal")
class RandomNormal(Initializer):
    """Normal distribution: mean (default 0), stddev (default 0.05), seed (int or None)."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        return rng.normal(self.mean, self.stddev, shape)


@register("initializer")
class TruncatedNormal(RandomNormal):
    """`RandomNormal` whose values beyond 2 stddev from the mean are drawn again."""

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        return self.mean + self.stddev * _truncated_normal(shape, rng)


@register("initializer", "uniform")
class RandomUniform(Initializer):
    """Uniform distribution on [minval, maxval), by default [-0.05, 0.05); seed int or None."""

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        return rng.uniform(self.minval, self.maxval, shape)


@register("initializer")
class VarianceScaling(Initializer):
    """Zero mean and variance scale / n, n being a number of units that the shape gives.

    A shape (I, O) has fan_in I and fan_out O; (N,) has N for both; (..., I, O) has I and O times
    the product of the leading dimensions. "uniform" draws on [-sqrt(3 scale/n), sqrt(3 scale/n)).

    Args:
        scale: float > 0. Default 1.
        mode: n = "fan_in" (default), "fan_out", or "fan_avg", their mean; at least 1.
        distribution: "truncated_normal" (default; "normal" means the same), "untruncated_normal"
            or "uniform".
        seed: int or None (default).

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        scale = number("scale", scale, above=0)
        distribution = "truncated_normal" if distribution == "normal" else distribution
        for name, value, known in (
            ("mode", mode, _MODES),
            ("distribution", distribution, _DISTRIBUTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, received {value!r}")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, math.sqrt(variance), shape)
        return math.sqrt(variance) / _TRUNCATED_STDDEV * _truncated_normal(shape, rng)


@register("initializer")
class GlorotUniform(VarianceScaling):
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot and Bengio 2010, eq. 16."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


@register("initializer")
class GlorotNormal(VarianceScaling):
    """Truncated normal, stddev sqrt(2 / (fan_in + fan_out)): Glorot and Bengio 2010, eq. 12."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


@register("initializer")
class HeUniform(VarianceScaling):
    """Uniform within sqrt(6 / fan_in): He et al. 2015, eq. 10."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


@register("initializer")
class HeNormal(VarianceScaling):
    """Truncated normal with stddev sqrt(2 / fan_in): He et al. 2015, eq. 10."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


@register("initializer")
class LecunUniform(VarianceScaling):
    """Uniform within sqrt(3 / fan_in): LeCun et al. 1998, Efficient BackProp, section 4.6."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


@register("initializer")
class LecunNormal(VarianceScaling):
    """Truncated normal, stddev sqrt(1 / fan_in): LeCun et al. 1998, Efficient BackProp, 4.6."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


@register("initializer")
class Orthogonal(Initializer):
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer.

    All dimensions but the last are taken as one. Q of the QR decomposition of a normal matrix,
    each column times the sign of R's diagonal, which makes Q uniform: Mezzadri 2007, section 5;
    Saxe et al. 2014.

    Args:
        gain: float. Default 1.
        seed: int or None (default).
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs at least 2 dimensions, received {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        return (q.T if rows < columns else q).reshape(shape)


@register("initializer")
class OrthogonalGates(Initializer):
    """`Orthogonal` for each gate by itself: a (rows, gates * columns) matrix of `gates` blocks.

    For an LSTM's recurrent kernel (H, 4H), whose four (H, H) blocks then keep the norm of what they
    multiply; `Orthogonal` makes its rows orthonormal over all gates together. Each block is
    Saxe et al. 2014's random orthogonal matrix.

    Args:
        gain: float. Default 1.
        gates: int >= 1, number of blocks. Default 4.
        seed: int or None (default).

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(self, gain: float = 1.0, gates: int = 4, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = number("gain", gain)
        self.gates = positive("gates", gates)

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        if len(shape) != 2 or shape[1] % self.gates:
            raise ValueError(f"OrthogonalGates needs a shape (rows, {self.gates} * columns), "
                             f"received {shape}")  # fmt: skip
        block = Orthogonal(self.gain)
        columns = shape[1] // self.gates
        return np.hstack([block._draw((shape[0], columns), rng) for _ in range(self.gates)])


@register("initializer")
class Chrono(Initializer):
    """An LSTM's bias (4H,) for dependencies of up to `max_time` steps, gates i f g o.

    b_f = log(u), u uniform on [1, max_time - 1), b_i = -b_f, the others 0: a unit whose forget gate
    is sigmoid(b_f) = u / (1 + u) forgets in about 1 + u steps. Tallec & Ollivier 2018
    (arXiv 1804.11188).

    `LSTM(bias_initializer=Chrono(1000))` keeps these values, whatever its `unit_forget_bias`.

    Args:
        max_time: float >= 2, the longest dependency expected, in steps.
        seed: int or None (default).

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    sets_forget_gate = True

    def __init__(self, max_time: float, seed: int | None = None) -> None:
        super().__init__(seed)
        self.max_time = number("max_time", max_time, least=2)

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
        if len(shape) != 1 or shape[0] % 4:
            raise ValueError(f"Chrono needs a shape (4 * units,), received {shape}")
        forget = np.log(rng.uniform(1, self.max_time - 1, shape[0] // 4))
        zeros = np.zeros_like(forget)
        return np.concatenate([-forget, forget, zeros, zeros])


def get(identifier: Any) -> Initializer | None:
    """Returns the initializer for None, a name ("glorot_uniform"), a config dict or an instance.

    ValueError for an unknown name or a malformed dict, TypeError for any other type.
    """
    return _serialize.get("initializer", identifier)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """fan_in and fan_out of a weight of this shape."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _truncated_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Float64s:
    """Standard normal values, drawn again while their absolute value exceeds 2."""
    values = rng.standard_normal(math.prod(shape))
    while (outside := np.flatnonzero(np.abs(values) > 2.0)).size:
        values[outside] = rng.standard_normal(outside.size)
    return values.reshape(shape)
