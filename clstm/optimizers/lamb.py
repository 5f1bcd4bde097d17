"""Steps as long as the weights allow."""

from __future__ import annotations

import math

import numpy as np

from .._kernels import _optim
from .._serialize import register
from .adam import _Moments
from .base import Array, Weights, norm


@register("optimizer")
class Lamb(_Moments):
    """Adam for large batches (You et al. 2020): with d = m / (1 - beta_1^t) /
    (sqrt(v / (1 - beta_2^t)) + epsilon), p -= lr |p| / |d| d, norms being of each weight array;
    p -= lr d where one of them is 0."""

    def _step(self, params: Array, grads: Array, rate: float, weights: Weights) -> None:
        t = self.iterations + 1
        scale = math.sqrt(1 - self.beta_2**t)
        back = np.zeros_like(params)  # -d
        _optim.adam(back, grads, self.slots["m"], self.slots["v"], None,
                    scale / (1 - self.beta_1**t), 0, self.beta_1, self.beta_2,
                    self.epsilon * scale)  # fmt: skip
        for begin, end, *_ in weights:
            weight, direction = params[begin:end], back[begin:end]
            lengths = norm(weight), norm(direction)
            ratio = lengths[0] / lengths[1] if all(lengths) else 1.0
            _optim.sgd(weight, direction, -rate * ratio)
