from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .. import activations
from .._arrays import boolean, fraction, number, positive
from .._cell import check_options, make_cell, norm_gain_shape
from .._checkpoints import read_budget
from .._serialize import get, register
from ..functional import Packed, Tape
from . import _cells, _single
from ._cells import CELLS, LEARNED, PerHead
from ._stack import Stack
from .base import Array, Layer
from .dropout import own_keys

__all__ = ["LSTM"]

MOST_LAYERS = 1000  # a file's architecture must not make more


@register("layer")
class LSTM(Stack):
    """Long short-term memory; the equations stand in `clstm._reference` and `clstm._cell`.

    With `cell` also three of its relatives, whose equations stand with their functions: the
    "slstm" of xLSTM (`clstm.functional.slstm`), "minlstm" and the simple "rnn".

    Args:
        units: H, or a list of one for each layer.
        activation, recurrent_activation, cell_activation: of the candidate; of the gates; of the
            cell, if it is not that of the candidate.
        use_bias, unit_forget_bias: whether b is there; whether the forget gate's starts at 1
            (Jozefowicz et al. 2015), or a number to start at. A bias_initializer that sets the
            forget gate itself, `Chrono`, keeps its values.
        recurrent_bias: a second bias, of h U, as PyTorch has it: what training does to the sum of
            both is twice what it does to one.
        kernel_*, recurrent_*, bias_*: initializers, regularizers, constraints, as in Keras.
        dropout, recurrent_dropout: shares of the inputs and of h_{t-1} dropped in training, the
            same elements at all steps of a row (Gal & Ghahramani 2016).
        dropout_per_step: draw other elements at each step, of the inputs and, instead of h_{t-1},
            of the candidates g (Semeniuta et al. 2016).
        recurrent_dropconnect: share of recurrent_kernel dropped in training, the same elements in
            all of a batch (Wan et al. 2013, Merity et al. 2018).
        zoneout_h, zoneout_c: shares of h and of c that keep their value of the step before, other
            elements at each step; at inference the expected value (Krueger et al. 2017).
        peephole: let the gates see the cell: i and f that of the step before, o the new one
            (Gers & Schmidhuber 2000).
        coupled_input_forget: i = 1 - f (CIFG, Greff et al. 2015).
        projection: features P of h, the product of the cell's output and a learned (H, P) matrix
            (LSTMP, Sak et al. 2014).
        cell_clip, proj_clip, preactivation_clip: bounds of |c|, of the projected |h|, and of what
            enters the gates' activations.
        gradient_clip: bound of the gradient of what enters the gates' activations, on its way back
            (Graves 2013).
        layer_norm: "gate" normalises what enters each gate, "joint" x W and h U, each as a whole,
            with learned gains (Ba et al. 2016).
        cell_norm: with layer_norm, normalise c in the output, with a learned gain and shift;
            carry_cell_norm: in the state too, as TensorFlow's LayerNormBasicLSTMCell does.
        norm_epsilon: added to the variances.
        checkpoint_every: keep the state before every so many steps for the backward run, not all of
            the gates: memory for so many steps, about 4/3 of the time, the same bits.
        memory_budget: instead, bytes that a batch may take, such as "512MB": see
            `functional.lstm_forward`; of several layers each may take so many.
        cell: "lstm"; or "slstm", whose exponential gates need a normaliser n and a scale m in the
            state, and whose recurrent_activation, "sigmoid" or "exponential", is that of the forget
            gate; or "minlstm", whose gates do not see h; or "rnn", with `activation` alone. The
            state is h c, h c n m, h, h. An argument that a cell does not have must be the default,
            recurrent_initializer apart.
        num_heads: of an slstm: heads whose h do not see each other.
        return_sequences: give y (B, T, H) of all steps, not h (B, H) of the last.
        return_state: give [outputs, h, c].
        return_cells, return_gates: give also c (B, T, H) of all steps, and i f g o (B, T, 4H) after
            their activations, 0 at skipped steps. No gradient flows through them.
        learn_initial_state: begin with learned h and c where none are given; resets set them to 0.
        num_layers: LSTMs on top of each other, each with all options that are not of the whole; by
            default as many as `units` has sizes.
        residual: each layer from the second on adds its input to its output (of one size).
        layer_dropout: share, dropped in training, of what a layer reads from the one below; what
            residual adds is not dropped.
        seed: of what training draws, 0 .. 2^64 - 1; None: it goes on from `clstm.set_seed`.
        go_backwards: read the sequence from its end; y then stands in the order of reading.
        stateful: each batch goes on from the state of the one before, until `reset_state()`.

    The arguments are read-only attributes.

    Inputs (B, T, I), or a list of them with the initial h and c (B, H). Steps that the mask leaves
    out are skipped: y is 0 there, and h, c are the last valid ones. Outputs are a list where there
    are several: y or h, the state, cells, gates; states, cells and gates are h, c of layer 1, h, c
    of layer 2, ..., cells of layer 1, ..., gates of layer 1, ... .
    Weights: kernel (I, 4H), recurrent_kernel (H, 4H), bias (4H,), gates in the order i f g o; then
    recurrent_bias (4H,), peephole (3, H), of the gates i f o, projection (H, P), norm_gain, (4, H)
    of the gates or (2, 4H) of x W and h U, cell_norm (2, H), gain and shift, initial_h (P,),
    initial_c (H,). With a projection y and h have P features, and recurrent_kernel is (P, 4H).
    Those of the first layer come first, then those of the second. Of other cells: kernel,
    recurrent_kernel, bias of the slstm, (N, D, 4D) in N heads of D = H / N units; (I, 3H), none,
    (3H,) of the minlstm, gates i f g; (I, H), (H, H), (H,) of the rnn.
    """

    def __init__(
        self,
        units: int | Sequence[int],
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool | float = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        cell_activation: Any = None,
        peephole: bool = False,
        coupled_input_forget: bool = False,
        projection: int | None = None,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        preactivation_clip: float | None = None,
        checkpoint_every: int | None = None,
        memory_budget: int | str | None = None,
        layer_norm: str | None = None,
        cell_norm: bool = False,
        norm_epsilon: float = 1e-5,
        zoneout_h: float = 0.0,
        zoneout_c: float = 0.0,
        dropout_per_step: bool = False,
        recurrent_dropconnect: float = 0.0,
        gradient_clip: float | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
        learn_initial_state: bool = False,
        num_layers: int | None = None,
        residual: bool = False,
        layer_dropout: float = 0.0,
        cell: str = "lstm",
        num_heads: int = 1,
        recurrent_bias: bool = False,
        carry_cell_norm: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.seed, self.random_keys = seed, own_keys(seed)
        if not isinstance(cell, str) or cell not in CELLS:
            raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {cell!r}")
        self.cell = cell
        if num_layers is None:
            num_layers = len(units) if isinstance(units, (list, tuple)) and units else 1
        self.num_layers = positive("num_layers", num_layers)
        self.sizes = _sizes(units, self.num_layers)
        self.units = self.sizes if isinstance(units, (list, tuple)) else self.sizes[0]
        self.activation = activations.get(activation).identifier
        self.recurrent_activation = activations.get(recurrent_activation).identifier
        self.cell_activation = (
            None if cell_activation is None else activations.get(cell_activation).identifier
        )
        self.use_bias = boolean("use_bias", use_bias)
        self.recurrent_bias = boolean("recurrent_bias", recurrent_bias)
        if self.recurrent_bias and not self.use_bias:
            raise ValueError("recurrent_bias: expected False without use_bias, got True")
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.recurrent_initializer = get("initializer", recurrent_initializer)
        self.bias_initializer = get("initializer", bias_initializer)
        self.unit_forget_bias = (
            unit_forget_bias if isinstance(unit_forget_bias, bool)
            else number("unit_forget_bias", unit_forget_bias)
        )  # fmt: skip
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.recurrent_regularizer = get("regularizer", recurrent_regularizer)
        self.bias_regularizer = get("regularizer", bias_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)
        self.recurrent_constraint = get("constraint", recurrent_constraint)
        self.bias_constraint = get("constraint", bias_constraint)
        self.dropout = fraction("dropout", dropout)
        self.recurrent_dropout = fraction("recurrent_dropout", recurrent_dropout)
        self.return_sequences = boolean("return_sequences", return_sequences)
        self.return_state = boolean("return_state", return_state)
        self.go_backwards = boolean("go_backwards", go_backwards)
        self.stateful = boolean("stateful", stateful)
        self.peephole = boolean("peephole", peephole)
        self.coupled_input_forget = boolean("coupled_input_forget", coupled_input_forget)
        self.projection = None if projection is None else positive("projection", projection)
        self.cell_clip, self.proj_clip = cell_clip, proj_clip
        self.preactivation_clip = preactivation_clip
        self.layer_norm, self.norm_epsilon = layer_norm, norm_epsilon
        self.cell_norm = boolean("cell_norm", cell_norm)
        self.carry_cell_norm = boolean("carry_cell_norm", carry_cell_norm)
        if self.carry_cell_norm and not self.cell_norm:
            raise ValueError("carry_cell_norm: expected False without cell_norm, got True")
        self.checkpoint_every = (
            None if checkpoint_every is None else positive("checkpoint_every", checkpoint_every)
        )
        read_budget(memory_budget, self.checkpoint_every)
        self.memory_budget = memory_budget
        self.zoneout_h = fraction("zoneout_h", zoneout_h)
        self.zoneout_c = fraction("zoneout_c", zoneout_c)
        self.dropout_per_step = boolean("dropout_per_step", dropout_per_step)
        self.recurrent_dropconnect = fraction("recurrent_dropconnect", recurrent_dropconnect)
        self.gradient_clip = gradient_clip
        self.num_heads = positive("num_heads", num_heads)
        self.return_cells = boolean("return_cells", return_cells)
        self.return_gates = boolean("return_gates", return_gates)
        for name in ("checkpoint_every", "memory_budget", "activity_regularizer"):
            value = getattr(self, name)
            if value is not None and (self.return_cells or self.return_gates):
                raise ValueError(f"{name}: expected None with return_cells or return_gates, "
                                 f"got {value}")  # fmt: skip
        self.learn_initial_state = boolean("learn_initial_state", learn_initial_state)
        self.residual = boolean("residual", residual)
        self.layer_dropout = fraction("layer_dropout", layer_dropout)
        _cells.check(self, _DEFAULTS)
        self.options = self._options()
        self.above = self._above()
        self.on_tape: Callable[[Tape], None] | None = None  # is called with that of each run
        self.state_names = CELLS[cell].state * self.num_layers
        self.state: tuple[Array, ...] | None = None
        self.carries_state = False  # while a batch is read in windows: as if stateful

    def _options(self) -> dict[str, Any]:
        """The cell's options that are not the plain cell's, without weights."""
        if self.cell == "slstm":
            return {"forget_activation": self.recurrent_activation}
        if self.cell == "rnn":
            return {"activation": self.activation}
        if self.cell == "minlstm":
            return {}
        options = {
            "activation": self.activation, "recurrent_activation": self.recurrent_activation,
            "cell_activation": self.cell_activation,
            "proj_clip": self.proj_clip, "coupled_input_forget": self.coupled_input_forget,
            "cell_clip": self.cell_clip, "preactivation_clip": self.preactivation_clip,
            "gradient_clip": self.gradient_clip, "layer_norm": self.layer_norm,
            "norm_epsilon": self.norm_epsilon, "carry_cell_norm": self.carry_cell_norm,
        }  # fmt: skip
        check_options(projected=self.projection is not None, cell_norm=self.cell_norm or None,
                      **options)  # fmt: skip
        return {k: v for k, v in options.items() if v != make_cell.__kwdefaults__[k]}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ARGUMENTS and name in self.__dict__:
            raise AttributeError(f"{name}: expected as an argument of LSTM, it cannot be set later")
        super().__setattr__(name, value)

    def _above(self) -> list[LSTM]:
        """The layers from the second on."""
        arguments = {name: getattr(self, name) for name in _ARGUMENTS if name in self.__dict__}
        arguments |= dict.fromkeys(_OF_THE_WHOLE, False) | {"layer_dropout": 0.0}
        above = [LSTM(**arguments | {"units": units, "num_layers": 1}, dtype=self.dtype,
                      name=f"{self.name}_layer_{k}")
                 for k, units in enumerate(self.sizes[1:], 2)]  # fmt: skip
        for layer in above:
            layer.random_keys = self.random_keys
        sizes = [layer.features for layer in (self, *above)]
        if self.residual and len(set(sizes)) > 1:
            raise ValueError(f"residual: expected layers of one size, got {sizes}")
        return above

    def sublayers(self) -> list[Layer]:
        return [*self.above]

    @property
    def features(self) -> int:
        """The size of the first layer's h: P, or H."""
        return self.projection or self.sizes[0]

    def build(self, input_shape: Any) -> None:
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        features, units = self.known_features(shape), self.sizes[0]
        kind = CELLS[self.cell]
        columns = kind.gates * units
        self.add_weight("kernel", (features, columns), self.kernel_initializer,
                        self.kernel_regularizer, self.kernel_constraint)  # fmt: skip
        if self.cell != "minlstm":
            square: tuple[int, ...] = (self.features, columns)
            initializer = self.recurrent_initializer
            if self.cell == "slstm":
                size = units // self.num_heads
                square, initializer = (self.num_heads, size, 4 * size), PerHead(initializer)
            self.add_weight("recurrent_kernel", square, initializer, self.recurrent_regularizer,
                            self.recurrent_constraint)  # fmt: skip
        if self.use_bias:
            self.add_weight("bias", (columns,), self.bias_initializer, self.bias_regularizer,
                            self.bias_constraint)  # fmt: skip
            keeps = getattr(self.bias_initializer, "sets_forget_gate", False)
            forgets = "unit_forget_bias" in kind.options
            if forgets and self.unit_forget_bias is not False and not keeps:
                self.params["bias"][units : 2 * units] = self.unit_forget_bias
        if self.recurrent_bias:
            self.add_weight("recurrent_bias", (columns,), self.bias_initializer,
                            self.bias_regularizer, self.bias_constraint)  # fmt: skip
        if self.peephole:
            self.add_weight("peephole", (3, units), "zeros")
        if self.projection:
            self.add_weight("projection", (units, self.projection), self.kernel_initializer)
        if self.layer_norm:
            self.add_weight("norm_gain", norm_gain_shape(self.layer_norm, units), "ones")
        if self.cell_norm:
            self.add_weight("cell_norm", (2, units), "zeros")
            self.params["cell_norm"][0] = 1
        if self.learn_initial_state:
            for name, size in zip(LEARNED, _single.state_sizes(self), strict=False):
                self.add_weight(f"initial_{name}", (size,), "zeros")
        for below, layer in itertools.pairwise(self.stack):
            layer.ensure_built((*shape[:2], below.features))

    def pack(self) -> Packed:
        """A handle, as `functional.pack` makes it, that has a copy of this LSTM's weights.

        Raises ValueError for several layers, other cells, and zoneout: a handle knows none.
        """
        if self.num_layers > 1:
            raise ValueError(f"num_layers: expected 1 for pack, got {self.num_layers}")
        if self.cell != "lstm":
            raise ValueError(f"cell: expected 'lstm' for pack, got {self.cell!r}")
        if rates := _single.rates(self):
            raise ValueError(f"{next(iter(rates))}: expected 0 for pack, got {rates}")
        return _single.handle(self)


def _sizes(units: Any, num_layers: int) -> list[int]:
    """H of each layer."""
    if num_layers > MOST_LAYERS:
        raise ValueError(f"num_layers: expected at most {MOST_LAYERS}, got {num_layers}")
    if not isinstance(units, (list, tuple)):
        return [positive("units", units)] * num_layers
    if len(units) != num_layers:
        raise ValueError(f"units: expected one size for each of {num_layers} layers, got {units}")
    return [positive(f"units[{k}]", n) for k, n in enumerate(units)]


_DEFAULTS = {name: p.default for name, p in inspect.signature(LSTM.__init__).parameters.items()}
_ARGUMENTS = _DEFAULTS.keys() - inspect.signature(Layer.__init__).parameters.keys()
_OF_THE_WHOLE = ("residual", "return_sequences", "return_state", "return_cells", "return_gates",
                 "stateful")  # fmt: skip
