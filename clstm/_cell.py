"""The options of an LSTM cell beside its weights: one value that every backend understands.

Equations, with i, f, g, o the gates and phi_r, phi_g, phi_c the activations
(`clstm._reference_cell` computes them in this order):

    z = x_t W + h_{t-1} U + b
    i = phi_r(clip(z_i + p_i c_{t-1}))      f = phi_r(clip(z_f + p_f c_{t-1}))
    g = phi_g(clip(z_g))                    i = 1 - f if the gates are coupled
    c_t = clip_c(f c_{t-1} + i g)
    o = phi_r(clip(z_o + p_o c_t))
    m = o phi_c(c_t)
    h_t = m, or clip_p(m P + b_P) with a projection

In training (`Noise`) h_{t-1} U may be (h_{t-1} r) U, i g become i g r_g, and zoneout keeps a share
of the old state: c_t and h_t as above are c and h with a hat, of which

    c_t = k_c c_{t-1} + (1 - k_c) c^_t      h_t = k_h h_{t-1} + (1 - k_h) h^_t
    m = o phi_c(c^_t), whereas o sees the new state c_t

With LN(a) = (a - mean(a)) / sqrt(var(a) + eps), layer norm "joint" is over all 4H columns,

    z = LN(x_t W) gain_x + LN(h_{t-1} U) gain_h + b

and "gate" over the H units of each gate v, whose sum a_v has its peephole's term, but not b:

    a = x_t W + h_{t-1} U      z_v = LN(a_v + p_v c) gain_v + b_v      (no p_v in z_g)

With `cell_norm`, m = o phi_c(LN(c_t) gain_c + shift_c); the state and the peepholes keep c_t, or,
with `carry_cell_norm`, c_t itself becomes what is in the brackets.
With `gradient_clip`, the gradient of every z is clipped on its way back.

Peepholes p: Gers, Schraudolph & Schmidhuber 2002. Coupled gates (CIFG): Greff et al. 2015.
Projection (LSTMP) and its clip, cell clip: Sak, Senior & Beaufays 2014. Clip of what enters the
gates' activations: ONNX's operator LSTM. Mask r of h, the same at all steps: Gal & Ghahramani 2016;
r_g: Semeniuta, Severyn & Barth 2016; zoneout: Krueger et al. 2017 (arXiv 1606.01305); clip of the
gradient: Graves 2013 (arXiv 1308.0850). Layer norm: Ba, Kiros & Hinton 2016 (arXiv
1607.06450), whose LSTM, and haste's, is "joint" with `cell_norm`; "gate" is LiteRT's form, and,
with `carry_cell_norm`, that of TensorFlow's LayerNormBasicLSTMCell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import activations
from ._arrays import boolean, check_shape, float_array, number

Array = np.ndarray

WEIGHTS = ("peephole", "projection", "projection_bias", "norm_gain", "cell_norm")


class Cell(NamedTuple):
    """Options as `make_cell` checked them."""

    activation: activations.Activation = activations.get("tanh")  # phi_g
    recurrent_activation: activations.Activation = activations.get("sigmoid")  # phi_r
    cell_activation: activations.Activation = activations.get("tanh")  # phi_c
    peephole: Array | None = None  # (3, H): p_i, p_f, p_o
    coupled_input_forget: bool = False
    cell_clip: float | None = None
    preactivation_clip: float | None = None
    projection: Array | None = None  # (H, P)
    projection_bias: Array | None = None  # (P,)
    proj_clip: float | None = None
    layer_norm: str | None = None  # "gate", "joint"
    norm_gain: Array | None = None  # (4, H) of i f g o, or (2, 4H) of x W and h U
    cell_norm: Array | None = None  # (2, H): gain_c, shift_c
    norm_epsilon: float = 1e-5
    gradient_clip: float | None = None
    carry_cell_norm: bool = False

    @property
    def weights(self) -> dict[str, Array]:
        """The options that are trained, by name."""
        return {name: value for name in WEIGHTS if (value := getattr(self, name)) is not None}


PLAIN = Cell()


class Noise(NamedTuple):
    """What regularises one run; positions are (B, T), or (T, B) as those of x."""

    recurrent_mask: Array | None = None  # (B, P): r
    candidate_mask: Array | None = None  # (positions, H): r_g
    zoneout_h: Array | None = None  # (positions, P), or one for all of them, (1, P): k_h
    zoneout_c: Array | None = None  # (positions, H), or (1, H): k_c


NO_NOISE = Noise()


def make_cell(
    units: int, outputs: int, dtype: np.dtype, *, activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid", cell_activation: Any = None, peephole: Any = None,
    coupled_input_forget: bool = False, cell_clip: float | None = None,
    preactivation_clip: float | None = None, projection: Any = None, projection_bias: Any = None,
    proj_clip: float | None = None, layer_norm: str | None = None, norm_gain: Any = None,
    cell_norm: Any = None, norm_epsilon: float = 1e-5, gradient_clip: float | None = None,
    carry_cell_norm: bool = False,
) -> Cell:  # fmt: skip
    """The cell of `units` H with h of size `outputs`, P; P is H without a projection.

    Raises ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    if projection is not None:
        projection = float_array("projection", projection, dtype)
        check_shape("projection", projection, (units, outputs))
    check_options(projection is not None, cell_clip=cell_clip, proj_clip=proj_clip,
                  preactivation_clip=preactivation_clip, projection_bias=projection_bias,
                  gradient_clip=gradient_clip,
                  layer_norm=layer_norm, norm_gain=norm_gain, cell_norm=cell_norm,
                  norm_epsilon=norm_epsilon)  # fmt: skip
    if projection_bias is not None:
        projection_bias = float_array("projection_bias", projection_bias, dtype)
        check_shape("projection_bias", projection_bias, (outputs,))
    if peephole is not None:
        peephole = float_array("peephole", peephole, dtype)
        check_shape("peephole", peephole, (3, units))
    if layer_norm is not None:
        shape = norm_gain_shape(layer_norm, units)
        if norm_gain is None:
            raise ValueError(f"norm_gain: expected shape {shape} with layer_norm, got None")
        norm_gain = float_array("norm_gain", norm_gain, dtype)
        check_shape("norm_gain", norm_gain, shape)
    if cell_norm is not None:
        cell_norm = float_array("cell_norm", cell_norm, dtype)
        check_shape("cell_norm", cell_norm, (2, units))
    if boolean("carry_cell_norm", carry_cell_norm) and cell_norm is None:
        raise ValueError("carry_cell_norm: expected False without cell_norm, got True")
    phi = activations.get(activation)
    cell = Cell(
        phi,
        activations.get(recurrent_activation),
        phi if cell_activation is None else activations.get(cell_activation),
        peephole,
        bool(coupled_input_forget),
        _clip("cell_clip", cell_clip),
        _clip("preactivation_clip", preactivation_clip),
        projection,
        projection_bias,
        _clip("proj_clip", proj_clip),
        layer_norm,
        norm_gain,
        cell_norm,
        PLAIN.norm_epsilon if layer_norm is None else float(norm_epsilon),
        _clip("gradient_clip", gradient_clip),
        carry_cell_norm,
    )
    return PLAIN if all(a is b for a, b in zip(cell, PLAIN, strict=True)) else cell


def norm_gain_shape(layer_norm: str, units: int) -> tuple[int, int]:
    """Of the gates i f g o, or of x W and h U."""
    return (4, units) if layer_norm == "gate" else (2, 4 * units)


def check_options(projected: bool, **options: Any) -> None:
    """Raise ValueError or TypeError for what is no option, or belongs to one not given."""
    for name in ("cell_clip", "preactivation_clip", "proj_clip", "gradient_clip"):
        _clip(name, options.get(name))
    for name in ("proj_clip", "projection_bias"):
        if (value := options.get(name)) is not None and not projected:
            raise ValueError(f"{name}: expected None without a projection, got {_shown(value)}")
    layer_norm = options.get("layer_norm")
    if layer_norm is not None and not (
        isinstance(layer_norm, str) and layer_norm in ("gate", "joint")
    ):
        raise ValueError(f"layer_norm: expected None, 'gate' or 'joint', got {layer_norm!r}")
    for name in ("norm_gain", "cell_norm"):
        if (value := options.get(name)) is not None and layer_norm is None:
            raise ValueError(f"{name}: expected None without layer_norm, got {_shown(value)}")
    number("norm_epsilon", options.get("norm_epsilon", 1e-5), above=0)


def _shown(value: Any) -> str:
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def _clip(name: str, value: Any) -> float | None:
    """A bound of absolute values; 0 is none, as in TensorFlow Lite and ONNX."""
    return None if value is None else number(name, value, least=0) or None
