"""The sLSTM of xLSTM (Beck et al. 2024, arXiv 2405.04517) as functions on arrays.

An LSTM with a normaliser n beside its cell c, whose input gate (and forget gate, if asked) is an
exponential, and whose recurrent products stay within heads. The equations, and what the state
(h, c, n, m) means, stand in `clstm._reference_recurrent`.

Dimension letters as in `clstm.functional`, and D = H / heads: head k owns the
units k D .. k D + D - 1.
The 4H columns of kernel and bias are those of `functional.lstm`: the gates i f g o, H each, g the
paper's z. The recurrent kernel is (heads, D, 4D): in each head, from its D units of h_{t-1} to the
gates i f g o of the same units, D columns each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._recurrent import Options, Tape, backward, forward, weights
from ._reference_recurrent import Cell

Array = np.ndarray
State = tuple[Array, Array, Array, Array]

STATE = "h c n m"


def slstm(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, forget_activation: str = "sigmoid",
    backend: str | None = None,
) -> tuple[Array, State]:  # fmt: skip
    """Run an sLSTM over a batch of sequences; keeps nothing for a backward run.

    float32 and float64: the kernel's dtype decides, everything else is converted to it.

    Args:
        x: (B, T, I), or (T, B, I) if `time_major`; T >= 1, B may be 0.
        kernel, recurrent_kernel, bias: (I, 4H), (heads, D, 4D), (4H,) or None; gates i f g o.
        initial_state: (h, c, n, m), each (B, H) or None for zeros; n >= 0, and where it is 0, c and
            m do not matter: nothing has been summed.
        lengths: (B,) integers in 0..T: positions past a row's length are not computed.
        mask: (B, T) booleans instead of lengths: False positions are skipped, in any pattern.
        resets: (B, T) booleans: at True positions a new sequence begins, with a state of 0;
            a run in reverse enters the sequence before it with that.
        reverse: visit every row's valid positions from the last to the first; y stays aligned
            with x.
        recurrent_mask: (B, H) factors of h_{t-1} inside the products: recurrent dropout
            (Gal & Ghahramani 2016).
        forget_activation: "sigmoid" or "exponential", the paper's two forget gates.
        backend: "native" (float32), "blas", "numpy", "auto", or None for the one in
            `clstm.config`; float64, and what is asked of blas, runs on numpy.

    Returns:
        y, (h, c, n, m): y (B, T, H), or (T, B, H), is 0 at skipped positions; the state (B, H each)
        is each row's last valid one, its initial state if it has no valid position.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    options = Options(initial_state, lengths, mask, resets, reverse, time_major, recurrent_mask,
                      backend)  # fmt: skip
    cell = _cell(forget_activation)
    y, state, _ = forward(cell, x, weights(kernel, recurrent_kernel, bias, 4), options, STATE,
                          keep=False)  # fmt: skip
    return y, state


def slstm_forward(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, forget_activation: str = "sigmoid",
    backend: str | None = None,
) -> tuple[Array, State, Tape]:  # fmt: skip
    """As `slstm`, and keeps on a tape what `slstm_backward` needs: 7H numbers a position, and y.

    Returns y, (h, c, n, m), tape. The arrays passed, and y, must not change before the backward
    run.
    """
    options = Options(initial_state, lengths, mask, resets, reverse, time_major, recurrent_mask,
                      backend)  # fmt: skip
    cell = _cell(forget_activation)
    return forward(cell, x, weights(kernel, recurrent_kernel, bias, 4), options, STATE, keep=True)


def slstm_backward(
    tape: Tape, dy: Any = None, d_state: Any = None, *, need_dx: bool = True
) -> tuple[Array | None, dict[str, Array], tuple[Array, Array, Array]]:
    """Gradients of a scalar loss through the run that made `tape`.

    c and n stand for c e^m and n e^m; their gradients, in and out, are those with m held as it is,
    so what one run gives for its initial state is what the run before it takes. m is only the unit
    they are in, and has no gradient.

    Args:
        tape: from `slstm_forward`; it is used up.
        dy: the loss's gradient with respect to y, in y's shape, or None; its values at skipped
            positions do not matter.
        d_state: (dh, dc, dn) of the final state, each (B, H) or None, or None.
        need_dx: False leaves out the gradient of x, which then is None.

    Returns:
        dx, grads, (dh0, dc0, dn0): dx is 0 at skipped positions; grads has "kernel",
        "recurrent_kernel", and "bias" if there is one; dc0 and dn0 are 0 where the initial n is.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    return backward("slstm", tape, dy, d_state, "h c n", need_dx)


def _cell(forget_activation: Any) -> Cell:
    if not isinstance(forget_activation, str) or forget_activation not in (
        "sigmoid",
        "exponential",
    ):
        raise ValueError(f"forget_activation: expected 'sigmoid' or 'exponential', got "
                         f"{forget_activation!r}")  # fmt: skip
    return Cell("slstm", exponential=forget_activation == "exponential")
