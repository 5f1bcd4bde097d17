from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _attention
from .._arrays import boolean, positive
from .._attention import Places
from .._kernels._pointwise import add_column_sums
from .._serialize import get, register
from ._products import matmul
from .attending import Attending
from .base import Array

_INPUTS = ("query", "key", "value")


@register("layer")
class MultiHeadAttention(Attending):
    """Attention of several heads (Vaswani et al. 2017, section 3.2.2).

    Each head has softmax(q k^T / sqrt(D)) v with q = query Wq + bq, k = key Wk + bk, v = value Wv +
    bv; the output is the heads side by side, times Wo, + bo.

    Args:
        num_heads: N.
        key_dim: D, features of a head's q and k.
        value_dim: V, those of its v; D if None.
        dropout: share of the attention's weights that training sets to 0.
        use_bias: whether bq, bk, bv, bo are there.
        causal: the query at position t sees the keys at positions up to t.
        return_attention_scores: give [output, weights (B, N, Tq, Tk)], these before dropout.
        seed: of the dropout, 0 .. 2^64 - 1; None: it goes on from `clstm.set_seed`.
        kernel_*, bias_*: initializer, regularizer and constraint of all kernels and biases.

    Inputs: x (B, T, F) for self-attention, or [query (B, Tq, F), value (B, Tk, Fv)], or these and
    a key (B, Tk, Fk); also called as `layer(query, value, key)`. Output (B, Tq, F).
    Masked keys are not seen, whatever stands there. The output has the query's mask and is 0 where
    that is False. A query that sees no key has 0 from all heads: its output is bo.
    Weights, as Keras's: query_kernel (F, N, D), query_bias (N, D), key_kernel (Fk, N, D), key_bias,
    value_kernel (Fv, N, V), value_bias (N, V), output_kernel (N, V, F), output_bias (F,).
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        causal: bool = False,
        return_attention_scores: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(dropout, causal, return_attention_scores, **kwargs)
        self.num_heads = positive("num_heads", num_heads)
        self.key_dim = positive("key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive("value_dim", value_dim)
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.bias_initializer = get("initializer", bias_initializer)
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.bias_regularizer = get("regularizer", bias_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)
        self.bias_constraint = get("constraint", bias_constraint)

    def build(self, input_shape: Any) -> None:
        query, value, key = self._features(input_shape)
        heads = self.num_heads
        for name, shape in (
            ("query", (query, heads, self.key_dim)),
            ("key", (key, heads, self.key_dim)),
            ("value", (value, heads, self.value_dim)),
            ("output", (heads, self.value_dim, query)),
        ):
            self.add_weight(f"{name}_kernel", shape, self.kernel_initializer,
                            self.kernel_regularizer, self.kernel_constraint)  # fmt: skip
            if self.use_bias:
                bias = shape[2:] if name == "output" else shape[1:]
                self.add_weight(f"{name}_bias", bias, self.bias_initializer,
                                self.bias_regularizer, self.bias_constraint)  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        query, value, _ = self._three(input_shape)
        scores = (query[0], self.num_heads, query[1], value[1])
        return [query, scores] if self.return_attention_scores else query

    def _project(self, name: str, rows: Array) -> Array:
        kernel = self.params[f"{name}_kernel"].reshape(rows.shape[1], -1)
        z = np.empty((len(rows), kernel.shape[1]), rows.dtype)
        if self.use_bias:
            z[...] = self.params[f"{name}_bias"].reshape(-1)
        return matmul(rows, kernel, z, accumulate=self.use_bias)

    def _project_back(self, name: str, rows: Array, dz: Array, d_rows: Array | None) -> Array:
        """d_rows + the gradient of `rows`; adds to the gradients of the weights."""
        self._weight_gradients(name, rows, dz)
        kernel = self.params[f"{name}_kernel"].reshape(rows.shape[1], -1)
        return matmul(dz, kernel, d_rows, transpose_b=True, accumulate=d_rows is not None)

    def _weight_gradients(self, name: str, rows: Array, dz: Array) -> None:
        d_kernel = self.grads[f"{name}_kernel"].reshape(rows.shape[1], -1)
        matmul(rows, dz, d_kernel, transpose_a=True, accumulate=True)
        if self.use_bias:
            add_column_sums(dz, self.grads[f"{name}_bias"].reshape(-1))

    def forward(self, inputs: Any, training: bool = False, mask: Any = None) -> tuple[Any, Any]:
        places, rows = self._read(inputs, mask)
        query, value, key = self._three(rows)
        q, (v, k) = self._project("query", query), self._memory(value, key)
        factors = self._factors(places, self.num_heads, training)
        drawn, weights = _attention.forward(q, k, v, self.num_heads, self.key_dim**-0.5, places,
                                            factors, self.return_attention_scores)  # fmt: skip
        y = places.queries.scatter(self._project("output", drawn))
        tape = (places, rows, (q, k, v), factors, drawn)
        if weights is None:
            return y, tape
        return [y, places.dense(weights, self.num_heads)], tape

    def _memory(self, value: Array, key: Array) -> tuple[Array, Array]:
        return self._project("value", value), self._project("key", key)

    def _recall(self, places: Places, v: Array, k: Array) -> Callable[[Array], Array]:
        draw = _attention.memory(k, v, self.num_heads, self.key_dim**-0.5, places)

        def recall(query: Array) -> Array:
            drawn = draw(self._project("query", query[:, 0]))
            return self._project("output", drawn)[:, None]

        return recall

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        places, rows, qkv, factors, drawn = tape
        shape = (len(drawn), rows[0].shape[1])
        dy, d_weights = self._split_gradients(d_outputs, places, self.num_heads, shape)
        d_drawn = self._project_back("output", drawn, dy, None)
        gradients = _attention.backward(*qkv, self.num_heads, self.key_dim**-0.5, places,
                                        factors, d_drawn, d_weights)  # fmt: skip
        d_rows: list[Any] = [None] * len(rows)
        last = len(rows) - 1
        for name, slot, dz in zip(_INPUTS, (0, last, min(1, last)), gradients, strict=True):
            if need_dx:
                d_rows[slot] = self._project_back(name, rows[slot], dz, d_rows[slot])
            else:
                self._weight_gradients(name, rows[slot], dz)
        return self._input_gradients(places, d_rows) if need_dx else None
