from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import activations
from .._arrays import boolean, fraction, mask_array, number, positive
from .._serialize import register
from .base import Array, Layer
from .dense import Dense
from .dropout import Dropout, own_keys
from .multi_head_attention import MultiHeadAttention
from .normalization import LayerNormalization


@register("layer")
class TransformerBlock(Layer):
    """A layer of a Transformer, normalised first (Vaswani et al. 2017; Xiong et al. 2020):

        h = x + dropout(attention(norm(x)))
        y = h + dropout(dense(dropout(activation(dense(norm(h))))))

    Args:
        num_heads, key_dim: of the `MultiHeadAttention` of x with itself.
        ff_dim: features of the inner dense layer.
        dropout: share of the attention's weights, the inner features and both branches that
            training sets to 0.
        causal: a step sees the steps up to itself.
        activation: of the inner dense layer.
        epsilon: of the norms.
        seed: of the dropouts, 0 .. 2^64 - 1; None: they go on from `clstm.set_seed`.

    Inputs and outputs (B, T, F). Masked steps are not seen, and are 0 in the outputs.
    """

    rank = 3

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        ff_dim: int,
        dropout: float = 0.0,
        causal: bool = False,
        activation: str | None = "relu",
        epsilon: float = 1e-3,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = positive("num_heads", num_heads)
        self.key_dim = positive("key_dim", key_dim)
        self.ff_dim = positive("ff_dim", ff_dim)
        self.dropout = fraction("dropout", dropout)
        self.causal = boolean("causal", causal)
        self.activation = activations.get(activation).name
        self.epsilon = number("epsilon", epsilon, least=0)
        self.seed, self.random_keys = seed, own_keys(seed)
        self._branches: list[list[Layer]] = []

    def build(self, input_shape: Any) -> None:
        features = self.known_features(input_shape)

        def made(cls: type[Layer], part: str, *args: Any, **options: Any) -> Layer:
            layer = cls(*args, name=f"{self.name}_{part}", dtype=self.dtype, **options)
            layer.random_keys = self.random_keys
            return layer

        branches = [
            [
                made(LayerNormalization, "attention_norm", self.epsilon),
                made(MultiHeadAttention, "attention", self.num_heads, self.key_dim,
                     dropout=self.dropout, causal=self.causal),
                made(Dropout, "attention_dropout", self.dropout),
            ],
            [
                made(LayerNormalization, "ff_norm", self.epsilon),
                made(Dense, "ff_inner", self.ff_dim, self.activation),
                made(Dropout, "ff_inner_dropout", self.dropout),
                made(Dense, "ff_outer", features),
                made(Dropout, "ff_dropout", self.dropout),
            ],
        ]  # fmt: skip
        for branch in branches:
            shape = input_shape
            for layer in branch:
                layer.ensure_built(shape)
                shape = layer.compute_output_shape(shape)
        self._branches = branches

    def sublayers(self) -> list[Layer]:
        return [layer for branch in self._branches for layer in branch]

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        mask = mask_array(mask, None, *x.shape[:2])
        h = _only(mask, x)
        tapes = []
        for branch in self._branches:
            y = h
            for layer in branch:
                y, tape = layer.forward(y, training, mask)
                tapes.append(tape)
            h = h + y
        return _only(mask, h), (mask, tapes)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        mask, tapes = tape
        tapes = list(tapes)
        d = _only(mask, self.cast(d_outputs))
        for branch in reversed(self._branches):
            d = d + _back(branch, tapes, d)
        return _only(mask, d)


def _back(branch: Sequence[Layer], tapes: list[Any], d: Array) -> Array:
    """The gradient through a branch, whose tapes are taken from the end of `tapes`."""
    for layer in reversed(branch):
        d = layer.backward(tapes.pop(), d)
    return d


def _only(mask: Array | None, a: Array) -> Array:
    """a (B, T, F), 0 at masked steps."""
    return a if mask is None else np.where(mask[..., None], a, a.dtype.type(0))
