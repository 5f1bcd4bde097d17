"""One step of the specification's LSTM, and its gradients; the equations stand in `clstm._cell`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._cell import Cell, Noise

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
    noise: Noise  # of this step: (B, ...)
    norms: list[Normed]  # of a_i a_f a_g a_o, or of x W and h U, with layer norm
    z: list[Array]  # of i f g o
    gates: list[Array]
    c_raw: Array  # before clipping
    c_new: Array  # before zoneout
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


def _keep(k: Array | None, old: Array, new: Array) -> Array:
    return new if k is None else k * old + (1 - k) * new


def _kept(k: Array | None, d: Array) -> tuple[Array | int, Array]:
    """The gradients of old and new from that of _keep."""
    return (0, d) if k is None else (k * d, (1 - k) * d)


def _normalise(a: Array, epsilon: float) -> Normed:
    """LN without gain and shift: mean 0 and variance 1 in each row."""
    centred = a - a.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return Normed(centred * scale, scale)


def _unnormalise(d: Array, n: Normed) -> Array:
    """The gradient of a from that of its normalised values."""
    along = (d * n.values).mean(axis=1, keepdims=True)
    return n.scale * (d - d.mean(axis=1, keepdims=True) - n.values * along)


def step(cell: Cell, noise: Noise, zx: Array, zh: Array, bias: Array | None, c_prev: Array,
         h_prev: Array, h_in: Array) -> tuple[Array, Step]:  # fmt: skip
    """h_t, and all of the step, from zx = x W and zh = h_in U."""
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
    c_raw = f * c_prev + i * (g if noise.candidate_mask is None else g * noise.candidate_mask)
    c_new = c_out = _clip(c_raw, cell.cell_clip)
    c_norm = None
    if cell.cell_norm is not None:
        c_norm = _normalise(c_new, cell.norm_epsilon)
        c_out = c_norm.values * cell.cell_norm[0] + cell.cell_norm[1]
    c = _keep(noise.zoneout_c, c_prev, c_out if cell.carry_cell_norm else c_new)
    zo = enters(3, c)
    o = phi_r(_clip(zo, cell.preactivation_clip))
    m = h_raw = o * cell.cell_activation.forward(c_out)
    if cell.projection is not None:
        h_raw = m @ cell.projection
        if cell.projection_bias is not None:
            h_raw = h_raw + cell.projection_bias
    kept = Step(h_in, c_prev, noise, norms, [zi, zf, zg, zo], [i, f, g, o], c_raw, c_new, c, c_norm,
                c_out, m, h_raw)  # fmt: skip
    return _keep(noise.zoneout_h, h_prev, _clip(h_raw, cell.proj_clip)), kept


def step_back(cell: Cell, s: Step, dh: Array, dc: Array, valid: Callable[[Array], Array],
              d_cell: dict[str, Array]
              ) -> tuple[Array, Array, Array, Array, Array | int, Array]:  # fmt: skip
    """Gradients of x W, h_in U and the bias by row, each (B, 4H), dc_{t-1}, of dh_{t-1} what does
    not come from h_in, and of c_raw, all from dh_t and dc_t.

    Adds to the gradients of the cell's weights, d_cell.
    valid: sets an array to 0 where the step is not taken.
    """
    back, back_r = cell.activation.backward, cell.recurrent_activation.backward
    (zi, zf, zg, zo), (i, f, g, o) = s.z, s.gates
    dh_prev, dh_new = _kept(s.noise.zoneout_h, dh)
    dm = _unclip(dh_new, s.h_raw, cell.proj_clip)
    if cell.projection is not None:
        dm = valid(dm)
        d_cell["projection"] += s.m.T @ dm
        if cell.projection_bias is not None:
            d_cell["projection_bias"] += dm.sum(axis=0)
        dm = dm @ cell.projection.T

    def gate(back: Callable[[Array, Array, Array], Array], d: Array, z: Array, a: Array) -> Array:
        clipped = _clip(z, cell.preactivation_clip)
        dz = _unclip(back(d, clipped, a), z, cell.preactivation_clip)
        return _clip(valid(dz), cell.gradient_clip)

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
    if cell.peephole is not None:
        dc = dc + dao * cell.peephole[2]
    dc_prev, dc_new = _kept(s.noise.zoneout_c, dc)
    if cell.carry_cell_norm:
        d_out, dc_new = d_out + dc_new, 0
    if cell.cell_norm is not None:
        d_out = valid(d_out)
        d_cell["cell_norm"] += [(d_out * s.c_norm.values).sum(axis=0), d_out.sum(axis=0)]
        d_out = _unnormalise(d_out * cell.cell_norm[0], s.c_norm)
    dc = _unclip(dc_new + d_out, s.c_raw, cell.cell_clip)
    r = s.noise.candidate_mask
    di, df = dc * g if r is None else dc * (g * r), dc * s.c_prev
    if cell.coupled_input_forget:
        dzi, df = np.zeros_like(di), df - di
    else:
        dzi = gate(back_r, di, zi, i)
    dg = dc * i if r is None else dc * i * r
    dzf, dzg = gate(back_r, df, zf, f), gate(back, dg, zg, g)
    dai, daf, dag = (summed(k, d) for k, d in enumerate((dzi, dzf, dzg)))
    dc_prev = dc_prev + dc * f
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
    return dzx, dzh, dz, dc_prev, dh_prev, dc
