"""All weights of a model in one flat array, all gradients in another.

The optimizer, clipping, averaging and saving are then one pass over one array each; the layers'
weights are views. Every weight begins on a line of the cache; the gaps hold zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .layers.base import Layer
from .optimizers.base import Weight

Array = np.ndarray
ALIGNMENT = 64  # bytes


class Parameters:
    """The weights of `layers`, moved into one array, those that training changes first.

    values, grads (n,): all weights and all gradients.
    owners: (layer, name) of each weight; segments: its (begin, end).
    trained: what training changes is the first `trained` elements, `trained_weights`.
    """

    def __init__(self, layers: Sequence[Layer]):
        self.layers = list(layers)
        self._trained_ids = _trained(layers)
        parts = {id(part): part for layer in layers for part in layer.walk()}
        owners = [(part, name) for part in parts.values() for name in part.params]
        owners.sort(key=lambda owner: id(owner[0]) not in self._trained_ids)  # stable
        dtypes = {part.dtype for part, _ in owners}
        if len(dtypes) > 1:
            raise ValueError(f"layers: expected one dtype in a model, got {sorted(dtypes)}")
        dtype = np.dtype(dtypes.pop() if dtypes else np.float32)
        unit = ALIGNMENT // dtype.itemsize
        self.owners = owners
        self.segments: list[tuple[int, int]] = []
        self.trained = size = 0
        for part, name in owners:
            count = part.params[name].size
            self.segments.append((size, size + count))
            size += -(-count // unit) * unit
            if id(part) in self._trained_ids:
                self.trained = size
        self.trained_weights = [
            Weight(begin, end, f"{part.name}/{name}",
                   part.params[name].shape[-1] if name in part.tables else 0)
            for (part, name), (begin, end) in zip(owners, self.segments, strict=True)
            if end <= self.trained
        ]  # fmt: skip
        self.values = _aligned_zeros(size, dtype)
        self.grads = _aligned_zeros(size, dtype)
        for (part, name), (begin, end) in zip(owners, self.segments, strict=True):
            shape = part.params[name].shape
            view = self.values[begin:end].reshape(shape)
            view[...] = part.params[name]
            part.params[name] = view
            part.grads[name] = self.grads[begin:end].reshape(shape)
            part.home = self
        self._parts = list({id(part): part for part, _ in owners}.values())

    def current(self, replan: bool = False) -> Parameters:
        """These parameters, or, if another model has taken a layer since, the weights anew.

        replan: also anew if the layers' `trainable` has changed.
        """
        for part in self._parts:
            if part.home is not self:
                return Parameters(self.layers)
        if replan and _trained(self.layers) != self._trained_ids:
            return Parameters(self.layers)
        return self


def _trained(layers: Sequence[Layer]) -> set[int]:
    return {id(part) for layer in layers for part in layer.trained()}


def _aligned_zeros(size: int, dtype: np.dtype) -> Array:
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + size * dtype.itemsize].view(dtype)
