from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import boolean, check_shape, fraction, mask_array
from .._attention import Places, Rows
from ..graph import Symbol, is_symbolic
from .base import Array, Layer
from .dropout import dropout_mask, own_keys

_NAMES = ("query", "value", "key")


def _both(value: Array | None, key: Array | None) -> Array | None:
    """The mask of the keys from those of values and keys, None where there is none."""
    if value is None or key is None or value is key:
        return key if value is None else value
    return value & key


class Attending(Layer):
    """Base of the layers whose inputs are [query, value(, key)], or one array for all three."""

    rank = 3
    takes_lists = True

    def __init__(
        self,
        dropout: float = 0.0,
        causal: bool = False,
        return_attention_scores: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.seed, self.random_keys = seed, own_keys(seed)
        self.dropout = fraction("dropout", dropout)
        self.causal = boolean("causal", causal)
        self.return_attention_scores = boolean("return_attention_scores", return_attention_scores)

    def __call__(
        self, inputs: Any, value: Any = None, key: Any = None, *, mask: Any = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Outputs for arrays, symbols for symbols.

        Args:
            inputs: query (B, Tq, F), or a list [query, value] or [query, value, key].
            value, key: instead of a list. The key is the value unless given, the value the query.
            mask: (B, T) booleans of the one input; beside several arrays a list with one for each,
                or None. Masks of symbols come with them.
        """
        if key is not None and value is None:
            raise ValueError("value: expected one beside a key, got None")
        if value is not None:
            if isinstance(inputs, (list, tuple)):
                raise ValueError(f"value: expected None beside a list of {len(inputs)} inputs")
            inputs = [inputs, value] if key is None else [inputs, value, key]
        if is_symbolic(inputs) and isinstance(inputs, (list, tuple)) and len(inputs) > 1:
            if isinstance(mask, Symbol):
                raise ValueError("mask: expected None beside several symbols, whose masks come "
                                 "with them, got a symbol")  # fmt: skip
        elif isinstance(inputs, (list, tuple)) and np.ndim(inputs[0]) != 3:
            inputs = np.asarray(inputs)  # a list of numbers is data
        return super().__call__(inputs, mask=mask, training=training)

    # --- shapes and masks ----------------------------------------------------------------------

    def ensure_built(self, input_shape: Any) -> None:
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        if not 1 <= len(shapes) <= 3:
            raise ValueError(f"inputs of {self.name}: expected [query, value] or [query, value, "
                             f"key], got {len(shapes)} arrays")  # fmt: skip
        known = self.built and (self.params or None) and self._features(self._built_shape)
        for name, shape, features in zip(
            _NAMES, self._three(input_shape), known or [None] * 3, strict=True
        ):
            if len(shape) != 3 or not shape[-1]:
                raise ValueError(f"{name} of {self.name}: expected (batch, time, features), "
                                 f"got shape {shape}")  # fmt: skip
            if features and shape[-1] != features:
                raise ValueError(f"{name} of {self.name}: expected {features} features in the "
                                 f"last axis, got shape {shape}")  # fmt: skip
        query, value, key = self._three(input_shape)
        if query[0] is not None and (query[0] != value[0] or query[0] != key[0]):
            raise ValueError(f"inputs of {self.name}: expected one batch size, got shapes "
                             f"{shapes}")  # fmt: skip
        if None not in (value[1], key[1]) and value[1] != key[1]:
            raise ValueError(f"key of {self.name}: expected {value[1]} time steps as the value "
                             f"has, got {key[1]}")  # fmt: skip
        super().ensure_built(input_shape)

    @staticmethod
    def _three(inputs: Any) -> tuple[Any, Any, Any]:
        """Query, value and key of one input or a list, be it of arrays or of shapes."""
        if not isinstance(inputs, list):
            return inputs, inputs, inputs
        return inputs[0], inputs[min(1, len(inputs) - 1)], inputs[-1]

    def _features(self, input_shape: Any) -> list[int]:
        return [shape[-1] for shape in self._three(input_shape)]

    def join_masks(self, inputs: list[Array], masks: list[Array | None]) -> Any:
        return None if all(mask is None for mask in masks) else masks

    def compute_mask(self, inputs: Any, mask: Any) -> Array | None:
        """That of the query."""
        return mask[0] if isinstance(mask, list) else mask

    def may_mask(self, masked: bool) -> bool:
        return masked

    def _masks(self, inputs: Any, mask: Any) -> tuple[Array | None, Array | None]:
        """Those of the queries and of the keys: a key is valid where its value is too."""
        count = len(inputs) if isinstance(inputs, list) else 1
        masks = list(mask) if isinstance(mask, (list, tuple)) and count > 1 else [mask] * count
        if mask is not None and count > 1 and not isinstance(mask, (list, tuple)):
            raise ValueError(f"mask: expected a list of {count} masks, one for each input, or "
                             f"None, got {type(mask).__name__}")  # fmt: skip
        if len(masks) != count:
            raise ValueError(f"mask: expected {count} masks, one for each input, got {len(masks)}")
        arrays = inputs if isinstance(inputs, list) else [inputs]
        checked = [mask_array(m, None, *a.shape[:2]) for m, a in zip(masks, arrays, strict=True)]
        query, value, key = self._three(checked)
        return query, _both(value, key)

    # --- what the layers share -----------------------------------------------------------------

    def _read(self, inputs: Any, mask: Any) -> tuple[Places, list[Array]]:
        """The places, and the valid positions (P, F) of each input."""
        arrays = list(inputs) if isinstance(inputs, (list, tuple)) else inputs
        if isinstance(arrays, list):
            arrays = [self.cast(a) for a in arrays]
            arrays = arrays[0] if len(arrays) == 1 else arrays
        else:
            arrays = self.cast(arrays)
        query_mask, key_mask = self._masks(arrays, mask)
        query, value, _ = self._three(arrays)
        queries = keys = Rows.of(query_mask, *query.shape[:2])
        if value is not query or key_mask is not query_mask:
            keys = Rows.of(key_mask, *value.shape[:2])
        rows = [queries.gather(query)]
        if isinstance(arrays, list):
            rows += [keys.gather(a) for a in arrays[1:]]
        return Places.of(queries, keys, self.causal), rows

    def remember(self, memory: list[Array], masks: list[Array | None]
                 ) -> Callable[[Array], Array]:  # fmt: skip
        """The function of queries (B, 1, Fq) beside the value (B, Tk, Fv), and a key, and their
        masks."""
        value, key = self.cast(memory[0]), self.cast(memory[-1])
        keys = Rows.of(_both(masks[0], masks[-1]), *value.shape[:2])
        places = Places.of(Rows.of(None, len(value), 1), keys, False)
        v, k = self._memory(keys.gather(value), keys.gather(key))
        return self._recall(places, np.array(v, order="C"), np.array(k, order="C"))

    def _recall(self, places: Places, v: Array, k: Array) -> Callable[[Array], Array]:
        """The function of queries (B, 1, Fq) beside these valid positions."""
        raise NotImplementedError(f"{type(self).__name__} must define _recall")

    def _memory(self, value: Array, key: Array) -> tuple[Array, Array]:
        """v and k of the value and the key, valid positions (P, F)."""
        raise NotImplementedError(f"{type(self).__name__} must define _memory")

    def _factors(self, places: Places, heads: int, training: bool) -> Array | None:
        if not training or self.dropout == 0:
            return None
        count = heads * int(places.weight_starts[-1])
        return dropout_mask(self, (count,), self.dropout)

    def _split_gradients(self, d_outputs: Any, places: Places, heads: int, shape: tuple[int, ...]
                         ) -> tuple[Array, Array | None]:  # fmt: skip
        """The gradients of the outputs (P, features) and of the packed weights."""
        dy, d_scores = d_outputs if self.return_attention_scores else (d_outputs, None)
        if d_scores is not None:
            dtype = np.dtype(self.dtype)
            d_scores = places.packed(np.asarray(d_scores, dtype).reshape(
                len(d_scores), heads, places.queries.time, places.keys.time))  # fmt: skip
        if dy is None:
            return np.zeros(shape, self.dtype), d_scores
        check_shape(f"gradient of {self.name}", dy,
                    (places.queries.batch, places.queries.time, shape[-1]))  # fmt: skip
        return self.cast(places.queries.gather(self.cast(dy))), d_scores

    def _input_gradients(self, places: Places, d_rows: list[Array]) -> Any:
        """Of the inputs as they came."""
        dx = [places.queries.scatter(d_rows[0]), *(places.keys.scatter(d) for d in d_rows[1:])]
        return dx if len(dx) > 1 else dx[0]
