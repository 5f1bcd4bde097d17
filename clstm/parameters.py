"""All weights of a model in one flat array, all gradients in another.

The optimizer, clipping, averaging and saving are then one pass over one array each; the layers'
weights are views. Every weight begins on a line of the cache; the gaps hold zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .layers.base import Layer

Array = np.ndarray
ALIGNMENT = 64  # bytes


class Parameters:
    """The weights of `layers`, moved into one array, those that training changes first.

    values, grads (n,): all weights and all gradients.
    segments: (begin, end) of each weight; the first `trained` elements are training's.
    """

    def __init__(self, layers: Sequence[Layer]):
        self.layers = list(layers)
        trained = {id(part) for layer in layers for part in layer.trained()}
        owners = [(part, name) for layer in layers for part in layer.walk() for name in part.params]
        owners.sort(key=lambda owner: id(owner[0]) not in trained)  # stable
        dtypes = {part.dtype for part, _ in owners}
        if len(dtypes) > 1:
            raise ValueError(f"layers: expected one dtype in a model, got {sorted(dtypes)}")
        dtype = np.dtype(dtypes.pop() if dtypes else np.float32)
        unit = ALIGNMENT // dtype.itemsize
        self.segments: list[tuple[int, int]] = []
        self.trained = size = 0
        for part, name in owners:
            count = part.params[name].size
            self.segments.append((size, size + count))
            size += -(-count // unit) * unit
            if id(part) in trained:
                self.trained = size
        self.values = _aligned_zeros(size, dtype)
        self.grads = _aligned_zeros(size, dtype)
        for (part, name), (begin, end) in zip(owners, self.segments, strict=True):
            shape = part.params[name].shape
            view = self.values[begin:end].reshape(shape)
            view[...] = part.params[name]
            part.params[name] = view
            part.grads[name] = self.grads[begin:end].reshape(shape)
            part.home = self
        self._parts = [part for part, _ in owners]

    def current(self) -> Parameters:
        """These parameters, or, if another model has taken a layer since, the weights anew."""
        if all(part.home is self for part in self._parts):
            return self
        return Parameters(self.layers)


def _aligned_zeros(size: int, dtype: np.dtype) -> Array:
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + size * dtype.itemsize].view(dtype)
