from __future__ import annotations

from typing import Any

import numpy as np

from .._serialize import register
from ..initializers import Constant, Zeros
from .base import Array, Layer


@register("layer")
class InputDecay(Layer):
    """Values that were not seen for long are taken for the mean: the input decay of GRU-D.

    Inputs (B, T, 3 F) as `clstm.data.missing.Keep` makes them: v, the last known values, s, 1 where
    they are seen now, and d, how long ago they were seen. Outputs (B, T, 2 F): x and s, with

        r = exp(-max(0, decay_kernel d + decay_bias))        x = v if s = 1, else r v + (1 - r) mean

    Che et al. 2018 (Scientific Reports 8), equations 10 and 11; here the mean is learned too.

    Weights: decay_kernel, which begins as 0.1, decay_bias and mean, as 0 (F,).
    """

    def build(self, input_shape: Any) -> None:
        shape = (self._features(input_shape),)
        self.add_weight("decay_kernel", shape, Constant(0.1))
        self.add_weight("decay_bias", shape, Zeros())
        self.add_weight("mean", shape, Zeros())

    def _features(self, input_shape: Any) -> int:
        if input_shape[-1] is None or input_shape[-1] % 3:
            raise ValueError(f"inputs: expected (B, T, 3 F), as missing.Keep makes them, got "
                             f"{input_shape}")  # fmt: skip
        return input_shape[-1] // 3

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], 2 * self._features(input_shape))

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        if mask is not None:  # padding may hold anything
            x = np.where(mask[..., None], x, x.dtype.type(0))
        v, s, since = np.split(x, 3, axis=-1)
        z = self.params["decay_kernel"] * since + self.params["decay_bias"]
        rate = np.exp(-np.maximum(z, 0))
        away = v - self.params["mean"]
        share = s + (1 - s) * rate  # of v
        return np.concatenate([self.params["mean"] + share * away, s], axis=-1), (x, z, rate)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        x, z, rate = tape
        v, s, since = np.split(x, 3, axis=-1)
        d, d_seen = np.split(d_outputs, 2, axis=-1)
        away = v - self.params["mean"]
        share = s + (1 - s) * rate
        dz = d * away * (1 - s) * np.where(z > 0, -rate, z.dtype.type(0))
        leading = tuple(range(x.ndim - 1))
        self.grads["decay_kernel"] += (dz * since).sum(axis=leading)
        self.grads["decay_bias"] += dz.sum(axis=leading)
        self.grads["mean"] += (d * (1 - share)).sum(axis=leading)
        if not need_dx:
            return None
        ds = d_seen + d * away * (1 - rate)
        return np.concatenate([d * share, ds, dz * self.params["decay_kernel"]], axis=-1)
