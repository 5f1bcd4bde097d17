"""One step of the specification's LSTM, and its gradients; the equations stand in `clstm._cell`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._cell import Cell

Array = np.ndarray

PEEPHOLE = (0, 1, None, 2)  # the rows of `peephole` that belong to the gates i f g o


class Normed(NamedTuple):
    """What `_normalise` makes of a."""

    values: Array  # (a - mean) scale
    scale: Array  # 1 / sqrt(var + eps), (B, 1)


class Step(NamedTuple):
    """What backward needs of one step; z are what enters the activations, before clipping."""

    h_in: Array  # h_{t-1} as it enters the product
    c_prev: Array
    norms: list[Normed]  # of a_i a_f a_g a_o, or of x W and h U, with layer norm
    z: list[Array]  # of i f g o
    gates: list[Array]
    c_raw: Array  # before clipping
    c: Array
    c_norm: Normed | None
    c_out: Array  # what enters phi_c
    m: Array  # before the projection
    h_raw: Array  # before clipping


def _clip(a: Array, bound: float | None) -> Array:
    return a if bound is None else np.clip(a, -bound, bound)


def _unclip(da: Array, a: Array, bound: float | None) -> Array:
    """The gradient before _clip(a): 0 where a was cut."""
    return da if bound is None else np.where(np.abs(a) < bound, da, 0)


def _normalise(a: Array, epsilon: float) -> Normed:
    """LN without gain and shift: mean 0 and variance 1 in each row."""
    centred = a - a.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return Normed(centred * scale, scale)


def _unnormalise(d: Array, n: Normed) -> Array:
    """The gradient of a from that of its normalised values."""
    along = (d * n.values).mean(axis=1, keepdims=True)
    return n.scale * (d - d.mean(axis=1, keepdims=True) - n.values * along)


def step(cell: Cell, zx: Array, zh: Array, bias: Array | None, c_prev: Array, h_in: Array
         ) -> tuple[Array, Step]:  # fmt: skip
    """h_t, and all of the step, from zx = x W and zh = h U."""
    phi, phi_r = cell.activation.forward, cell.recurrent_activation.forward
    by_gate, norms = cell.layer_norm == "gate", []
    if cell.layer_norm == "joint":
        norms = [_normalise(zx, cell.norm_epsilon), _normalise(zh, cell.norm_epsilon)]
        zx, zh = (n.values * gain for n, gain in zip(norms, cell.norm_gain, strict=True))
    z = zx + zh
    if bias is not None and not by_gate:
        z = z + bias
    parts = np.split(z, 4, axis=1)

    def enters(k: int, c: Array) -> Array:
        """z of gate k, which sees c."""
        z, row = parts[k], PEEPHOLE[k]
        if cell.peephole is not None and row is not None:
            z = z + cell.peephole[row] * c
        if by_gate:
            norms.append(_normalise(z, cell.norm_epsilon))
            z = norms[-1].values * cell.norm_gain[k]
            if bias is not None:
                z = z + np.split(bias, 4)[k]
        return z

    zi, zf, zg = (enters(k, c_prev) for k in range(3))
    f = phi_r(_clip(zf, cell.preactivation_clip))
    i = 1 - f if cell.coupled_input_forget else phi_r(_clip(zi, cell.preactivation_clip))
    g = phi(_clip(zg, cell.preactivation_clip))
    c_raw = f * c_prev + i * g
    c = c_out = _clip(c_raw, cell.cell_clip)
    zo = enters(3, c)
    o = phi_r(_clip(zo, cell.preactivation_clip))
    c_norm = None
    if cell.cell_norm is not None:
        c_norm = _normalise(c, cell.norm_epsilon)
        c_out = c_norm.values * cell.cell_norm[0] + cell.cell_norm[1]
    m = h_raw = o * cell.cell_activation.forward(c_out)
    if cell.projection is not None:
        h_raw = m @ cell.projection
        if cell.projection_bias is not None:
            h_raw = h_raw + cell.projection_bias
    kept = Step(h_in, c_prev, norms, [zi, zf, zg, zo], [i, f, g, o], c_raw, c, c_norm, c_out, m,
                h_raw)  # fmt: skip
    return _clip(h_raw, cell.proj_clip), kept


def step_back(cell: Cell, s: Step, dh: Array, dc: Array, valid: Callable[[Array], Array],
              d_cell: dict[str, Array]) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Gradients of x W, h U and the bias by row, each (B, 4H), and dc_{t-1} from dh_t and dc_t.

    Adds to the gradients of the cell's weights, d_cell.
    valid: sets an array to 0 where the step is not taken.
    """
    back, back_r = cell.activation.backward, cell.recurrent_activation.backward
    (zi, zf, zg, zo), (i, f, g, o) = s.z, s.gates
    dm = _unclip(dh, s.h_raw, cell.proj_clip)
    if cell.projection is not None:
        dm = valid(dm)
        d_cell["projection"] += s.m.T @ dm
        if cell.projection_bias is not None:
            d_cell["projection_bias"] += dm.sum(axis=0)
        dm = dm @ cell.projection.T

    def gate(back: Callable[[Array, Array, Array], Array], d: Array, z: Array, a: Array) -> Array:
        clipped = _clip(z, cell.preactivation_clip)
        return valid(_unclip(back(d, clipped, a), z, cell.preactivation_clip))

    def summed(k: int, dz: Array) -> Array:
        """The gradient of gate k's sum, before it is normalised."""
        if cell.layer_norm != "gate":
            return dz
        d_cell["norm_gain"][k] += (dz * s.norms[k].values).sum(axis=0)
        return _unnormalise(dz * cell.norm_gain[k], s.norms[k])

    phi_c = cell.cell_activation
    a = phi_c.forward(s.c_out)
    dzo = gate(back_r, dm * a, zo, o)
    dao = summed(3, dzo)
    d_out = phi_c.backward(dm * o, s.c_out, a)
    if cell.cell_norm is not None:
        d_out = valid(d_out)
        d_cell["cell_norm"] += [(d_out * s.c_norm.values).sum(axis=0), d_out.sum(axis=0)]
        d_out = _unnormalise(d_out * cell.cell_norm[0], s.c_norm)
    dc = dc + d_out
    if cell.peephole is not None:
        dc = dc + dao * cell.peephole[2]
    dc = _unclip(dc, s.c_raw, cell.cell_clip)
    di, df = dc * g, dc * s.c_prev
    if cell.coupled_input_forget:
        dzi, df = np.zeros_like(di), df - di
    else:
        dzi = gate(back_r, di, zi, i)
    dzf, dzg = gate(back_r, df, zf, f), gate(back, dc * i, zg, g)
    dai, daf, dag = (summed(k, d) for k, d in enumerate((dzi, dzf, dzg)))
    dc_prev = dc * f
    if cell.peephole is not None:
        dc_prev = dc_prev + dai * cell.peephole[0] + daf * cell.peephole[1]
        for row, (d, c) in enumerate(((dai, s.c_prev), (daf, s.c_prev), (dao, s.c))):
            d_cell["peephole"][row] += (d * c).sum(axis=0)
    dz = dzx = dzh = np.concatenate((dzi, dzf, dzg, dzo), axis=1)
    if cell.layer_norm == "gate":
        dzx = dzh = np.concatenate((dai, daf, dag, dao), axis=1)
    elif cell.layer_norm == "joint":
        for row, n in enumerate(s.norms):
            d_cell["norm_gain"][row] += (dz * n.values).sum(axis=0)
        dzx, dzh = (_unnormalise(dz * gain, n)
                    for gain, n in zip(cell.norm_gain, s.norms, strict=True))  # fmt: skip
    return dzx, dzh, dz, dc_prev
