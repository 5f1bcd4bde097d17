from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _additive_attention, _attention
from .._arrays import boolean, number, positive
from .._attention import Places
from .._serialize import get, register
from ._products import matmul
from .attending import Attending
from .base import Array

SCORES = ("dot", "general", "additive")


@register("layer")
class Attention(Attending):
    """y_i = sum over j of w_ij value_j, w_i = softmax over j of the scores of query i and key j.

    Args:
        score: how well a query q and a key k fit.
            "dot": scale q . k (Luong et al. 2015).
            "general": scale q W . k, with `kernel` W (Fq, Fk) (the same).
            "additive": s . tanh(q + k), with the weights `scale` s (F,); with `units`
                s . tanh(q Wq + k Wk) and s (units,) (Bahdanau et al. 2015).
        scale: a positive factor of the scores of "dot" and "general".
        use_scale: a learned factor beside it, the weight `scale` (1,), 1 at first.
        units: features in which "additive" compares its projected q and k; None: as they are.
        dropout: share of the weights w that training sets to 0.
        causal: the query at position t sees the keys at positions up to t.
        return_attention_scores: give [y, w (B, Tq, Tk)], w before dropout.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W, Wq and Wk.
        seed: of the dropout, 0 .. 2^64 - 1; None: it goes on from `clstm.set_seed`.

    Inputs: [query (B, Tq, Fq), value (B, Tk, Fv)], or these and a key (B, Tk, Fk), or one array
    for all; also called as `layer(query, value, key)`. Outputs (B, Tq, Fv).
    Masked keys are not seen, whatever stands there. y has the query's mask and is 0 where that is
    False, and where a query sees no key.
    Weights: those above, "additive" with units: query_kernel (Fq, units), key_kernel (Fk, units).
    """

    def __init__(
        self,
        score: str = "dot",
        scale: float = 1.0,
        use_scale: bool = False,
        units: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        return_attention_scores: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(dropout, causal, return_attention_scores, **kwargs)
        if score not in SCORES:
            raise ValueError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
        additive = score == "additive"
        self.score = score
        self.scale = number("scale", scale, above=0)
        self.use_scale = boolean("use_scale", use_scale)
        if additive and (self.scale != 1 or self.use_scale):
            raise ValueError("scale, use_scale: expected none for additive scores, which have a "
                             "learned scale for each feature")  # fmt: skip
        if units is not None and not additive:
            raise ValueError(f"units: expected None for {score} scores, got {units}")
        self.units = None if units is None else positive("units", units)
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)

    def build(self, input_shape: Any) -> None:
        query, _, key = self._features(input_shape)
        kernels: dict[str, tuple[int, int]] = {}
        if self.score == "general":
            kernels = {"kernel": (query, key)}
        elif self.units is not None:
            kernels = {"query_kernel": (query, self.units), "key_kernel": (key, self.units)}
        elif query != key:
            raise ValueError(f"key of {self.name}: expected the query's {query} features for "
                             f"score={self.score!r}, got {key}")  # fmt: skip
        for name, shape in kernels.items():
            self.add_weight(name, shape, self.kernel_initializer, self.kernel_regularizer,
                            self.kernel_constraint)  # fmt: skip
        if self.score == "additive":
            self.add_weight("scale", (self.units or query,), "glorot_uniform")
        elif self.use_scale:
            self.add_weight("scale", (1,), "ones")

    def compute_output_shape(self, input_shape: Any) -> Any:
        query, value, _ = self._three(input_shape)
        y = (*query[:2], value[2])
        return [y, (*query[:2], value[1])] if self.return_attention_scores else y

    def forward(self, inputs: Any, training: bool = False, mask: Any = None) -> tuple[Any, Any]:
        places, rows = self._read(inputs, mask)
        query, value, key = self._three(rows)
        q, (v, k) = self._queries(query), self._memory(value, key)
        scaled = self._scaled(q)
        factors = self._factors(places, 1, training)
        keep = self.return_attention_scores
        y, weights = self._attend(scaled, k, v, places, factors, keep)
        y = places.queries.scatter(y)
        tape = (places, rows, q, scaled, k, factors)
        return ([y, places.dense(weights, 1)[:, 0]] if keep else y), tape

    def _memory(self, value: Array, key: Array) -> tuple[Array, Array]:
        return value, key if self.units is None else matmul(key, self.params["key_kernel"])

    def _queries(self, query: Array) -> Array:
        name = "kernel" if self.score == "general" else "query_kernel"
        return matmul(query, self.params[name]) if name in self.params else query

    def _scaled(self, q: Array) -> Array:
        return q * self.params["scale"] if self.use_scale else q

    def _attend(self, q: Array, k: Array, v: Array, places: Places, factors: Array | None,
                keep: bool) -> tuple[Array, Array | None]:  # fmt: skip
        if self.score == "additive":
            return _additive_attention.forward(q, k, v, self.params["scale"], places, factors, keep)
        return _attention.forward(q, k, v, 1, self.scale, places, factors, keep)

    def _recall(self, places: Places, v: Array, k: Array) -> Callable[[Array], Array]:
        if self.score == "additive":
            def draw(q: Array) -> Array:
                return self._attend(q, k, v, places, None, False)[0]
        else:
            draw = _attention.memory(k, v, 1, self.scale, places)

        def recall(query: Array) -> Array:
            return draw(self._scaled(self._queries(query[:, 0])))[:, None]

        return recall

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        places, rows, q, scaled, k, factors = tape
        query, value, key = self._three(rows)
        dy, d_weights = self._split_gradients(d_outputs, places, 1, (len(q), value.shape[1]))
        if self.score == "additive":
            dq, dk, dv, d_scale = _additive_attention.backward(
                q, k, value, self.params["scale"], places, factors, dy, d_weights
            )
            self.grads["scale"] += d_scale
        else:
            dq, dk, dv = _attention.backward(scaled, k, value, 1, self.scale, places, factors, dy,
                                             d_weights)  # fmt: skip
            if self.use_scale:
                self.grads["scale"] += (dq * q).sum()
                dq = dq * self.params["scale"]
        if self.score == "general":
            dq = self._back("kernel", query, dq)
        if self.units is not None:
            dq, dk = self._back("query_kernel", query, dq), self._back("key_kernel", key, dk)
        if not need_dx:
            return None
        d_rows: list[Any] = [dq + dk + dv] if len(rows) == 1 else [dq, dv, dk]
        if len(rows) == 2:
            d_rows = [dq, dv + dk]
        return self._input_gradients(places, d_rows)

    def _back(self, name: str, rows: Array, dz: Array) -> Array:
        """Back through rows W; adds to the gradient of W."""
        matmul(rows, dz, self.grads[name], transpose_a=True, accumulate=True)
        return matmul(dz, self.params[name], transpose_b=True)
