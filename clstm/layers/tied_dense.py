from __future__ import annotations

from typing import Any

from .. import activations
from .._arrays import boolean
from .._kernels import _pointwise
from .._serialize import get, register
from ..graph import Symbol
from ._products import matmul
from .base import Array, Layer
from .embedding import Embedding


@register("layer")
class TiedDense(Layer):
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
        super().__init__(**kwargs)
        if not isinstance(embedding, (Embedding, str)):
            raise TypeError(f"embedding: expected an Embedding or its name, got "
                            f"{type(embedding).__name__}")  # fmt: skip
        self._table = embedding if isinstance(embedding, Embedding) else None
        self.embedding = embedding.name if isinstance(embedding, Embedding) else embedding
        self._activation = activations.get(activation)
        self.activation = self._activation.name
        self.use_bias = boolean("use_bias", use_bias)
        self.bias_initializer = get("initializer", bias_initializer)
        self.bias_regularizer = get("regularizer", bias_regularizer)
        self.bias_constraint = get("constraint", bias_constraint)

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
        if self.use_bias:
            self.add_weight("bias", (table.input_dim,), self.bias_initializer,
                            self.bias_regularizer, self.bias_constraint)  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.table.input_dim)

    @property
    def forgets_output(self) -> bool:
        """Whether the backward run does without the outputs."""
        return self._activation.name == "linear" and self.activity_regularizer is None

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        rows = x.reshape(-1, x.shape[-1])
        z = matmul(rows, self.table.params["embeddings"], transpose_b=True)
        if self.use_bias:
            z += self.params["bias"]
        y = self._activation.forward(z)
        return y.reshape(*x.shape[:-1], -1), (rows, z, y)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        rows, z, y = tape
        d = self.cast(d_outputs)
        dz = self._activation.backward(d.reshape(z.shape), z, y)
        table = self.table
        matmul(dz, rows, table.grads["embeddings"], transpose_a=True, accumulate=True)
        if self.use_bias:
            _pointwise.add_column_sums(dz, self.grads["bias"])
        if not need_dx:
            return None
        return matmul(dz, table.params["embeddings"]).reshape(*d.shape[:-1], -1)


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
