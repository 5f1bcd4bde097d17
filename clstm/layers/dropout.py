from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from .._arrays import fraction, number
from .._kernels import _pointwise
from .._serialize import register
from ..activations import SELU_ALPHA, SELU_SCALE
from .base import Array, Layer


def own_keys(seed: int | None) -> random.Keys | None:
    """The `random_keys` of a layer with this `seed`."""
    return None if seed is None else random.Keys(seed)


def dropout_mask(layer: Layer, shape: Sequence[int], rate: float) -> Array:
    """Factors for inverted dropout: 0 with probability `rate`, else 1 / (1 - rate)."""
    mask = np.empty(shape, layer.dtype)
    _pointwise.dropout_mask(mask.reshape(-1), rate, (layer.random_keys or random.next_key)())
    return mask


class TrainingNoise(Layer):
    """Base of the layers that disturb their inputs in training: y = factor x + shift.

    Else, and where the strength is 0, y = x. What is drawn is drawn anew for each batch.

    Args:
        seed: of its random numbers, 0 .. 2^64 - 1; None: they go on from `clstm.set_seed`.
    """

    def __init__(self, *, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed, self.random_keys = seed, own_keys(seed)

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        """factor, shift, of the shape of x or one to be broadcast; None for 1 and for 0."""
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    def draw_normal(self, x: Array) -> Array:
        """Normal numbers of mean 0 and variance 1, of the shape and dtype of x."""
        seed = None if self.random_keys is None else self.random_keys()
        return random.generator(seed).standard_normal(x.shape, x.dtype)

    @property
    def strength(self) -> float:
        """What the user may set to 0 for y = x."""
        return self.rate

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        if not training or self.strength == 0:
            return x, None
        factor, shift = self.draw(x)
        y = x if factor is None else x * factor
        return (y if shift is None else y + shift), factor

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        return d_outputs if tape is None else d_outputs * tape


@register("layer")
class Dropout(TrainingNoise):
    """In training, sets a share of the inputs to 0 and scales the rest by 1 / (1 - rate).

    Args:
        rate: the share, 0 <= rate < 1.
        noise_shape: shape of the mask, which is broadcast: None, for one value per element, or of
            each dimension 1 or None, for that of the inputs.
        seed: as of `TrainingNoise`.
    """

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.rate = fraction("rate", rate)
        if noise_shape is not None and not isinstance(noise_shape, (list, tuple)):
            raise TypeError(f"noise_shape: expected a tuple, got {type(noise_shape).__name__}")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def draw_mask(self, x: Array) -> Array:
        """Factors, as of `dropout_mask`, for the inputs x."""
        shape = x.shape
        if self.noise_shape is not None:
            if len(self.noise_shape) != x.ndim:
                raise ValueError(
                    f"noise_shape of {self.name}: expected {x.ndim} dimensions, as the inputs "
                    f"have, got {self.noise_shape}"
                )
            shape = tuple(x.shape[k] if s is None else s for k, s in enumerate(self.noise_shape))
            if any(s not in (1, size) for s, size in zip(shape, x.shape, strict=True)):
                raise ValueError(f"noise_shape of {self.name}: expected sizes of 1 or of the "
                                 f"inputs {x.shape}, got {self.noise_shape}")  # fmt: skip
        return dropout_mask(self, shape, self.rate)

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        return self.draw_mask(x), None


@register("layer")
class AlphaDropout(Dropout):
    """Dropout that keeps the mean and the variance of a layer of `selu` (Klambauer et al. 2017).

    In training, a share of the inputs is set to selu(-inf) = -1.758; then all are scaled and
    shifted, so that inputs of mean 0 and variance 1 keep these.

    Args:
        rate, noise_shape, seed: as of `Dropout`.
    """

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        # y = a (x m + s (1 - m)) + b, m = 0 with probability p, else 1, s = selu(-inf),
        # a = ((1 - p) (1 + p s^2))^(-1/2), b = -a s p
        p, s = self.rate, -SELU_ALPHA * SELU_SCALE
        a = 1 / math.sqrt((1 - p) * (1 + p * s * s))
        mask = self.draw_mask(x) * (1 - p)
        return a * mask, a * s * (1 - mask - p)


@register("layer")
class SpatialDropout1D(TrainingNoise):
    """Dropout of whole features, at all steps of a row (Tompson et al. 2015).

    Args:
        rate: the share of the features, 0 <= rate < 1.
        seed: as of `TrainingNoise`.

    Inputs and outputs (B, T, I).
    """

    rank = 3

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = fraction("rate", rate)

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        return dropout_mask(self, (len(x), 1, x.shape[2]), self.rate), None


@register("layer")
class GaussianDropout(TrainingNoise):
    """In training, multiplies by normal numbers of mean 1 and variance rate / (1 - rate).

    That is the variance of Dropout's factors (Srivastava et al. 2014).

    Args:
        rate: 0 <= rate < 1.
        seed: as of `TrainingNoise`.
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = fraction("rate", rate)

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        return 1 + math.sqrt(self.rate / (1 - self.rate)) * self.draw_normal(x), None


@register("layer")
class GaussianNoise(TrainingNoise):
    """In training, adds normal numbers of mean 0.

    Args:
        stddev: their standard deviation, >= 0.
        seed: as of `TrainingNoise`.
    """

    def __init__(self, stddev: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = number("stddev", stddev, least=0)

    @property
    def strength(self) -> float:
        return self.stddev

    def draw(self, x: Array) -> tuple[Array | None, Array | None]:
        return None, self.stddev * self.draw_normal(x)
