"""What the native kernels know of a cell, and its options laid out for them."""

from __future__ import annotations

import numpy as np

from . import activations
from ._cell import PLAIN, Cell, Noise
from ._kernels._cell import CellOptions
from ._kernels._norm import LayerNorms
from ._kernels._packed import PackedWeights
from ._kernels._projection import OutputProjection

Array = np.ndarray


def supports(cell: Cell, noise: Noise) -> bool:
    """Whether the kernels know a cell: these activations, no zoneout of what is cut or normalised
    after it, and no peepholes in what is normalised."""
    phis = (cell.activation, cell.recurrent_activation, cell.cell_activation)
    return cell is PLAIN or (
        (cell.proj_clip is None or noise.zoneout_h is None)
        and (cell.cell_norm is None or noise.zoneout_c is None)
        and (cell.peephole is None or (cell.layer_norm != "gate" and not cell.carry_cell_norm))
        and all(kernel_activation(phi) is not None for phi in phis)
    )


def kernel_activation(phi: activations.Activation) -> tuple[str, float, float, float, float] | None:
    """(kind, alpha, beta, least, most) as `CellOptions` takes them; None: no kernel knows it."""
    if not activations.is_known(phi):
        return None
    if phi.name in ("tanh", "sigmoid", "softsign"):
        return phi.name, 0, 0, 0, 0
    alpha, beta = phi.parameters if len(phi.parameters) == 2 else (1, 0)
    bounds = {"relu": (0, np.inf), "relu6": (0, 6), "hard_tanh": (-1, 1), "hard_sigmoid": (0, 1),
              "linear": (-np.inf, np.inf), "affine": (-np.inf, np.inf)}  # fmt: skip
    if phi.name not in bounds or alpha < 0:
        return None
    return "clamped", alpha, beta, *bounds[phi.name]


def cell_options(cell: Cell, noise: Noise) -> CellOptions | None:
    if cell is PLAIN and not any(a is not None for a in noise[1:]):
        return None
    return CellOptions(
        kernel_activation(cell.activation),
        kernel_activation(cell.recurrent_activation),
        kernel_activation(cell.cell_activation),
        cell.coupled_input_forget,
        cell.cell_norm is not None,
        cell.cell_clip or np.inf,
        cell.preactivation_clip or np.inf,
        cell.gradient_clip or np.inf,
        None if cell.peephole is None else widened(cell.peephole),
        *(None if a is None else a.reshape(-1, a.shape[-1]) for a in noise[1:]),
    )


def output_projection(cell: Cell) -> OutputProjection | None:
    if cell.projection is None:
        return None
    return OutputProjection(cell.projection, cell.projection_bias, cell.proj_clip or np.inf)


def layer_norms(cell: Cell, bias: Array | None, batch: int, units: int, rows: int, threads: int
           ) -> LayerNorms | None:  # fmt: skip
    if cell.layer_norm is None:
        return None
    return LayerNorms(
        cell.layer_norm,
        _in_blocks(cell.norm_gain.reshape(-1, 4, units)),
        _in_blocks(np.zeros((4, units)) if bias is None else bias.reshape(4, units)),
        None if cell.cell_norm is None else _in_blocks(cell.cell_norm[:, None]),
        cell.carry_cell_norm, batch, units, rows, threads, cell.norm_epsilon)  # fmt: skip


def _in_blocks(array: Array) -> Array:
    """(..., parts, H) as unit blocks (..., NU, parts, 16), zeros where a unit does not exist."""
    *some, parts, units = array.shape
    blocks = -(-units // 16)
    wide = np.zeros((*some, parts, blocks * 16), np.float32)
    wide[..., :units] = array
    return np.ascontiguousarray(np.swapaxes(wide.reshape(*some, parts, blocks, 16), -3, -2))


def _add_blocks(target: Array, blocks: Array) -> None:
    """Add what `_in_blocks` would have made; takes no memory."""
    for u in range(blocks.shape[-3]):
        part = target[..., 16 * u : 16 * u + 16]
        part += blocks[..., u, :, : part.shape[-1]]


def widened(array: Array) -> Array:
    """(rows, H) with zeros up to whole unit blocks."""
    wide = np.zeros((len(array), -(-array.shape[1] // 16) * 16), np.float32)
    wide[:, : array.shape[1]] = array
    return wide


def pack_weights(kernel: Array, recurrent_kernel: Array, bias: Array | None, cell: Cell
                 ) -> PackedWeights:  # fmt: skip
    """Panels; the bias of layer norm, which is added after it, is not in them."""
    return PackedWeights(kernel, recurrent_kernel, None if cell.layer_norm else bias)


def kept_floats(cell: Cell, units: int) -> tuple[int, int]:
    """What `forward` and `LayerNorms` keep for each position, and for each row beside that."""
    wide, of_cell = -(-units // 16) * 16, cell.cell_norm is not None
    norms = {None: 0, "gate": 1, "joint": 2}[cell.layer_norm]
    position = 5 + (cell.projection is not None) + 4 * norms + of_cell  # i f g o, c; m; values
    count = norms + of_cell
    return wide * position + 8 * count, wide + wide // 2 * count + 2 * wide * of_cell


def norm_gradients(cell: Cell, units: int) -> tuple[Array, Array, Array | None] | None:
    """Zeros in blocks for the gradients of gains, bias, and the cell's gain and shift."""
    if cell.layer_norm is None:
        return None
    return (_in_blocks(np.zeros((cell.norm_gain.size // (4 * units), 4, units))),
            _in_blocks(np.zeros((4, units))),
            None if cell.cell_norm is None else _in_blocks(np.zeros((2, 1, units))))  # fmt: skip


def add_norm_gradients(d_norms: tuple[Array, Array, Array | None], d_bias: Array | None,
                       d_cell: dict[str, Array], units: int) -> None:  # fmt: skip
    """Add what a run has left in the arrays of `norm_gradients`."""
    gains, shift, of_cell = d_norms
    _add_blocks(d_cell["norm_gain"].reshape(-1, 4, units), gains)
    if d_bias is not None:
        _add_blocks(d_bias.reshape(4, units), shift)
    if of_cell is not None:
        _add_blocks(d_cell["cell_norm"][:, None], of_cell)
