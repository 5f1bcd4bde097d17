"""The cells that an LSTM layer can be made of: their functions, states and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import functional
from ..initializers import Initializer

if TYPE_CHECKING:
    from .lstm import LSTM


class Kind(NamedTuple):
    infer: Callable[..., Any]
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    state: tuple[str, ...]
    gates: int  # the kernel is (I, gates H)
    options: frozenset[str]  # those of SPECIAL that it has
    gradients: int  # so many arrays of the state, the first, have one


_RECURRENT = {"recurrent_dropout", "recurrent_dropconnect", "recurrent_regularizer",
              "recurrent_constraint"}  # fmt: skip
_LSTM = _RECURRENT | {
    "activation", "recurrent_activation", "cell_activation", "unit_forget_bias", "peephole",
    "coupled_input_forget", "projection", "cell_clip", "proj_clip", "preactivation_clip",
    "gradient_clip", "layer_norm", "cell_norm", "norm_epsilon", "checkpoint_every",
    "memory_budget", "zoneout_h", "zoneout_c", "return_cells", "return_gates",
    "learn_initial_state", "recurrent_bias", "carry_cell_norm",
}  # fmt: skip
_SLSTM = _RECURRENT - {"recurrent_constraint"} | {"recurrent_activation", "unit_forget_bias",
                                                  "num_heads", "learn_initial_state"}  # fmt: skip
LEARNED = ("h", "c")  # of a state, what `learn_initial_state` learns
SPECIAL = _LSTM | _SLSTM  # arguments that some cells do not have

CELLS = {
    "lstm": Kind(functional.lstm, functional.lstm_forward, functional.lstm_backward, ("h", "c"), 4,
                 frozenset(_LSTM), 2),
    "slstm": Kind(functional.slstm, functional.slstm_forward, functional.slstm_backward,
                  ("h", "c", "n", "m"), 4, frozenset(_SLSTM), 3),
    "minlstm": Kind(functional.minlstm, functional.minlstm_forward, functional.minlstm_backward,
                    ("h",), 3, frozenset({"unit_forget_bias", "learn_initial_state"}), 1),
    "rnn": Kind(functional.rnn, functional.rnn_forward, functional.rnn_backward, ("h",), 1,
                frozenset(_RECURRENT | {"activation", "learn_initial_state"}), 1),
}  # fmt: skip


def check(layer: LSTM, defaults: dict[str, Any]) -> None:
    """Raise ValueError for an argument that the layer's cell does not have."""
    for name in sorted(SPECIAL - CELLS[layer.cell].options):
        value, default = getattr(layer, name), defaults[name]
        if value != default:
            raise ValueError(f"{name}: expected {default!r} with cell={layer.cell!r}, "
                             f"got {value!r}")  # fmt: skip
    if layer.dropout_per_step and layer.recurrent_dropout and layer.cell != "lstm":
        raise ValueError(f"dropout_per_step: expected False beside recurrent_dropout with "
                         f"cell={layer.cell!r}, got True")  # fmt: skip
    if layer.cell == "slstm" and layer.recurrent_activation not in ("sigmoid", "exponential"):
        raise ValueError(f"recurrent_activation: expected 'sigmoid' or 'exponential' with "
                         f"cell='slstm', got {layer.recurrent_activation!r}")  # fmt: skip
    initializer = layer.bias_initializer
    if layer.cell in ("minlstm", "rnn") and getattr(initializer, "sets_forget_gate", False):
        raise ValueError(f"bias_initializer: expected one for other gates than i f g o with "
                         f"cell={layer.cell!r}, got {type(initializer).__name__}")  # fmt: skip
    for units in layer.sizes:
        if units % layer.num_heads:
            raise ValueError(f"num_heads: expected a divisor of the {units} units, "
                             f"got {layer.num_heads}")  # fmt: skip


class PerHead(Initializer):
    """(heads, ...): what `initializer` gives, for each head by itself."""

    def __init__(self, initializer: Initializer):
        super().__init__()
        self.initializer = initializer

    def __call__(self, shape: Sequence[int], dtype: Any = "float32",
                 rng: np.random.Generator | None = None) -> Any:  # fmt: skip
        heads = [self.initializer(shape[1:], dtype, rng) for _ in range(shape[0])]
        return np.stack(heads)
