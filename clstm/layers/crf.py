from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import mask_array
from .._serialize import get, register
from .base import Array, Layer


@register("layer", "crf")
class CRF(Layer):
    """A linear-chain conditional random field over tags (Lafferty et al. 2001, Lample et al. 2016).

    The last layer of a tagger, after the scores of K tags at each step:

        model = Sequential([Embedding(V, 64, mask_zero=True), LSTM(64, return_sequences=True),
                            Dense(K), CRF()])
        model.compile(loss="crf", metrics=["crf_accuracy"])

    It gives log potentials, which the loss "crf", `functional.crf_loss`, `crf_marginals` and
    `decoding.crf_viterbi` read: of tag j after tag i at step t

        phi_t(i, j) = x_t(j) + transitions(i, j);  at a row's first step x_t(j) + start(j);
        at its last step, + end(j)

    Args:
        transition_initializer: of transitions, start and end. Default "zeros".
        transition_regularizer, transition_constraint: of transitions.

    Inputs (B, T, K), outputs (B, T, K, K). Masked steps, of any pattern, are left out: the step
    before is the valid one before; they hold 0.
    Weights: transitions (K, K), start (K,), end (K,).
    """

    rank = 3

    def __init__(
        self,
        transition_initializer: Any = "zeros",
        transition_regularizer: Any = None,
        transition_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.transition_initializer = get("initializer", transition_initializer)
        self.transition_regularizer = get("regularizer", transition_regularizer)
        self.transition_constraint = get("constraint", transition_constraint)

    def build(self, input_shape: Any) -> None:
        tags = input_shape[-1]
        self.add_weight("transitions", (tags, tags), self.transition_initializer,
                        self.transition_regularizer, self.transition_constraint)  # fmt: skip
        self.add_weight("start", (tags,), self.transition_initializer)
        self.add_weight("end", (tags,), self.transition_initializer)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, input_shape[-1])

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        batch, time, tags = x.shape
        valid = mask_array(mask, None, batch, time)
        if valid is None:
            valid = np.ones((batch, time), bool)
        first = valid & (valid.cumsum(axis=1) == 1)
        last = valid & (valid[:, ::-1].cumsum(axis=1)[:, ::-1] == 1)
        y = np.zeros((batch, time, tags, tags), x.dtype)
        y[valid] = x[valid][:, None] + self.params["transitions"]
        y[first] = (x[first] + self.params["start"])[:, None]
        y[last] += self.params["end"]
        return y, (valid, first, last)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        valid, first, last = tape
        d = self.cast(d_outputs)
        inner = valid & ~first
        self.grads["transitions"] += d[inner].sum(axis=0)
        self.grads["start"] += d[first].sum(axis=(0, 1))
        self.grads["end"] += d[last].sum(axis=(0, 1))
        if not need_dx:
            return None
        return np.where(valid[:, :, None], d.sum(axis=2), d.dtype.type(0))
