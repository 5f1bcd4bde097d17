from __future__ import annotations

from typing import Any

import numpy as np

from .._serialize import register
from .base import Array, Layer
from .lstm import LSTM
from .recurrent import Recurrent

MERGE_MODES = ("concat", "sum", "mul", "ave", None)


@register("layer")
class Bidirectional(Recurrent):
    """One layer that reads forwards and one that reads backwards (Schuster & Paliwal 1997).

    Args:
        layer: an LSTM; the other direction is a second one with the same settings.
        merge_mode: how the outputs are joined: "concat", "sum", "mul", "ave", or None for a list.
        backward_layer: the other direction, if its settings differ; it must have go_backwards.

    With return_state the states follow the output: [y, h, c, h, c], forward direction first; an
    initial state is [h, c, h, c]. Cells and gates follow the state of their direction. The backward
    direction's y, cells and gates are aligned with the inputs.
    """

    takes_resets = True

    def __init__(
        self,
        layer: LSTM,
        merge_mode: str | None = "concat",
        backward_layer: LSTM | None = None,
        **kwargs: Any,
    ):
        if not isinstance(layer, LSTM):
            raise TypeError(f"layer: expected an LSTM, got {type(layer).__name__}")
        for inner in (layer, backward_layer):
            self.check_inner(inner)
        if merge_mode not in MERGE_MODES:
            raise ValueError(f"merge_mode: expected one of {MERGE_MODES}, got {merge_mode!r}")
        super().__init__(**{"dtype": layer.dtype, **kwargs})
        if backward_layer is None:
            config = layer.get_config() | {
                "name": f"backward_{layer.name}",
                "go_backwards": not layer.go_backwards,
            }
            backward_layer = type(layer).from_config(config)
        same = ("cell", "units", "num_layers", "projection", "return_sequences", "return_state",
                "return_cells", "return_gates", "stateful")  # fmt: skip
        if any(getattr(layer, a) != getattr(backward_layer, a) for a in same):
            raise ValueError(f"backward_layer: expected the layer's own {', '.join(same)}")
        if layer.go_backwards == backward_layer.go_backwards:
            raise ValueError("backward_layer: expected the opposite go_backwards of the layer's")
        self.layer = self.forward_layer = layer
        self.merge_mode = merge_mode
        self.backward_layer = backward_layer
        if backward_layer.seed == layer.seed:  # not the same numbers in both directions
            for part in backward_layer.stack:
                part.random_keys = layer.random_keys
        self.state_names = 2 * layer.state_names

    def sublayers(self) -> list[Layer]:
        return [self.forward_layer, self.backward_layer]

    def build(self, input_shape: Any) -> None:
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        for layer in self.sublayers():
            layer.ensure_built(shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        single = self.forward_layer.compute_output_shape(shape)
        output, *states = single if isinstance(single, list) else [single]
        if self.merge_mode is None:
            outputs = [output, output]
        else:
            wide = 2 if self.merge_mode == "concat" else 1
            outputs = [(*output[:-1], wide * output[-1])]
        return outputs + states + states if len(outputs) + len(states) > 1 else outputs[0]

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array | None:
        return self.forward_layer.compute_mask(inputs, mask)

    def may_mask(self, masked: bool) -> bool:
        return self.forward_layer.may_mask(masked)

    def reset_state(self) -> None:
        """Forget the states that stateful directions carry."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.reset_state()

    def _split(self, inputs: Any) -> tuple[Any, Any]:
        """What each direction reads."""
        if not isinstance(inputs, (list, tuple)):
            return inputs, inputs
        x, *state = inputs
        size = len(state) // 2
        return [x, *state[:size]], [x, *state[size:]]

    def _merge(self, one: Any, two: Any) -> tuple[Any, Any]:
        """The outputs from those of both directions, and the two that were merged."""
        a, *a_others = one if isinstance(one, list) else [one]
        b, *b_others = two if isinstance(two, list) else [two]
        steps = len(self.backward_layer.state_names) if self.forward_layer.return_state else 0
        b_others[steps:] = [others[:, ::-1] for others in b_others[steps:]]  # cells and gates
        if self.forward_layer.return_sequences:
            b = b[:, ::-1]
        if self.merge_mode == "concat":
            outputs = [np.concatenate([a, b], axis=-1)]
        elif self.merge_mode == "sum":
            outputs = [a + b]
        elif self.merge_mode == "ave":
            outputs = [(a + b) / 2]
        elif self.merge_mode == "mul":
            outputs = [a * b]
        else:
            outputs = [a, b]
        outputs += [*a_others, *b_others]
        return outputs if len(outputs) > 1 else outputs[0], (a, b)

    def infer(self, inputs: Any, mask: Array | None = None, resets: Any = None) -> Any:
        one, two = self._split(inputs)
        return self._merge(
            self.forward_layer.infer(one, mask, resets),
            self.backward_layer.infer(two, mask, resets),
        )[0]

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None, resets: Any = None
    ) -> tuple[Any, Any]:
        one, two = self._split(inputs)
        y1, tape1 = self.forward_layer.forward(one, training, mask, resets)
        y2, tape2 = self.backward_layer.forward(two, training, mask, resets)
        outputs, merged = self._merge(y1, y2)
        return outputs, (tape1, tape2, merged, isinstance(inputs, (list, tuple)))

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        tape1, tape2, (a, b), several = tape
        d = list(d_outputs) if isinstance(d_outputs, (list, tuple)) else [d_outputs]
        if self.merge_mode is None:
            da, db, *others = d
        else:
            d_merged, *others = d
            da, db = self._unmerge(d_merged, a, b)
        if self.forward_layer.return_sequences and db is not None:
            db = db[:, ::-1]
        if others:
            size = len(others) // 2
            da, db = [da, *others[:size]], [db, *others[size:]]
        dx1 = self.forward_layer.backward(tape1, da, need_dx)
        dx2 = self.backward_layer.backward(tape2, db, need_dx)
        if several:
            x = dx1[0] + dx2[0] if need_dx else None
            return [x, *dx1[1:], *dx2[1:]]
        return dx1 + dx2 if need_dx else None

    def _unmerge(self, d: Array | None, a: Array, b: Array) -> tuple[Any, Any]:
        """Gradients of what `_merge` joined."""
        if d is None:
            return None, None
        if self.merge_mode == "concat":
            return d[..., : a.shape[-1]], d[..., a.shape[-1] :]
        if self.merge_mode == "mul":
            return d * b, d * a
        return (d, d) if self.merge_mode == "sum" else (d / 2, d / 2)
