from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._serialize import register
from ..graph import Symbol
from ._products import matmul, multiplier
from .affine import Affine
from .base import Array, Layer
from .embedding import Embedding


@register("layer")
class TiedDense(Affine):
    """y = activation(x E^T + b), E the table (V, F) of an Embedding (Press & Wolf 2017).

    Scores of V tokens, by the vectors that the same model reads tokens with:

        table = Embedding(V, F)
        model = Sequential([table, LSTM(F, return_sequences=True), TiedDense(table)])

    Args:
        embedding: an Embedding that stands before this layer in its model, or its name.
        activation: a name that `clstm.activations` knows, None for linear.
        use_bias: whether b is there. Default True.
        bias_initializer, bias_regularizer, bias_constraint: of b.

    Inputs (..., F), outputs (..., V). Weights: bias (V,). E is the Embedding's, is counted there,
    has gradients from both, and is trained if the Embedding is.
    """

    def __init__(
        self,
        embedding: Embedding | str,
        activation: str | None = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        bias_regularizer: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, bias_constraint,
                         **kwargs)  # fmt: skip
        if not isinstance(embedding, (Embedding, str)):
            raise TypeError(f"embedding: expected an Embedding or its name, got "
                            f"{type(embedding).__name__}")  # fmt: skip
        self._table = embedding if isinstance(embedding, Embedding) else None
        self.embedding = embedding.name if isinstance(embedding, Embedding) else embedding

    def _connect(self, inputs: Any, mask: Symbol | None) -> Any:
        found = {layer.name: layer for layer in _before(inputs)}
        table = found.get(self.embedding)
        if not isinstance(table, Embedding) or self._table not in (None, table):
            raise ValueError(f"embedding: expected an Embedding before {self.name} in its model, "
                             f"got {self.embedding!r}, which is none")  # fmt: skip
        self._table = table
        return super()._connect(inputs, mask)

    @property
    def table(self) -> Embedding:
        """The Embedding."""
        if self._table is None:
            raise ValueError(f"embedding of {self.name}: expected to be known, which it is in a "
                             f"model, got the name {self.embedding!r} alone")  # fmt: skip
        return self._table

    def build(self, input_shape: Any) -> None:
        table = self.table
        if not table.built or input_shape[-1] != table.output_dim:
            raise ValueError(f"inputs of {self.name}: expected {table.output_dim} features, those "
                             f"of {table.name}, got shape {input_shape}")  # fmt: skip
        if table.dtype != self.dtype:
            raise ValueError(f"embedding: expected dtype {self.dtype}, got {table.dtype}")
        self.add_bias(table.input_dim)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.table.input_dim)

    def times(self, rows: Array) -> Array:
        return matmul(rows, self.table.params["embeddings"], transpose_b=True)

    def multiplier(self) -> Callable[[Array], Array]:
        return multiplier(self.table.params["embeddings"], transpose_b=True)

    def times_back(self, rows: Array, dz: Array, need_dx: bool) -> Array | None:
        table = self.table
        matmul(dz, rows, table.grads["embeddings"], transpose_a=True, accumulate=True)
        return matmul(dz, table.params["embeddings"]) if need_dx else None


def _before(inputs: Any) -> list[Layer]:
    """All layers that symbols come from."""
    seen: dict[int, Layer] = {}
    stack = [s.node for s in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen[id(node)] = node.layer
            stack += [s.node for s in node.sources()]
    return list(seen.values())
