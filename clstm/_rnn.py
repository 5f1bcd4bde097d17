"""The simple recurrent network (Elman 1990) as functions on arrays.

    h_t = phi(x_t W + h_{t-1} U + b)

Dimension letters as in `clstm.functional`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activations
from ._recurrent import Options, Tape, backward, forward, weights
from ._reference_recurrent import Cell

Array = np.ndarray


def rnn(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, activation: Any = "tanh",
    backend: str | None = None,
) -> tuple[Array, tuple[Array]]:  # fmt: skip
    """Run a simple RNN over a batch of sequences; keeps nothing for a backward run.

    float32 and float64: the kernel's dtype decides, everything else is converted to it.

    Args:
        x: (B, T, I), or (T, B, I) if `time_major`; T >= 1, B may be 0.
        kernel, recurrent_kernel, bias: (I, H), (H, H), (H,) or None.
        initial_state: (h,), h (B, H) or None for zeros.
        lengths: (B,) integers in 0..T: positions past a row's length are not computed.
        mask: (B, T) booleans instead of lengths: False positions are skipped, in any pattern.
        resets: (B, T) booleans: at True positions a new sequence begins, with a state of 0;
            a run in reverse enters the sequence before it with that.
        reverse: visit every row's valid positions from the last to the first; y stays aligned
            with x.
        recurrent_mask: (B, H) factors of h_{t-1} inside the product: recurrent dropout
            (Gal & Ghahramani 2016).
        activation: phi: a name that `clstm.activations` knows, "tanh" by default, or
            {"name": ..., "alpha": ..., "beta": ...}.
        backend: "native" (float32: the activations that `functional.lstm` computes natively),
            "blas", "numpy", "auto", or None for the one in `clstm.config`; what native cannot do,
            and what is asked of blas, runs on numpy.

    Returns:
        y, (h,): y (B, T, H), or (T, B, H), is 0 at skipped positions; h (B, H) is each row's last
        valid state, its initial state if it has no valid position.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    options = Options(initial_state, lengths, mask, resets, reverse, time_major, recurrent_mask,
                      backend)  # fmt: skip
    cell = Cell("rnn", activations.get(activation))
    y, state, _ = forward(cell, x, weights(kernel, recurrent_kernel, bias, 1), options, "h",
                          keep=False)  # fmt: skip
    return y, state


def rnn_forward(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, activation: Any = "tanh",
    backend: str | None = None,
) -> tuple[Array, tuple[Array], Tape]:  # fmt: skip
    """As `rnn`, and keeps on a tape what `rnn_backward` needs: H numbers a position, and y.

    Returns y, (h,), tape. The arrays passed, and y, must not change before the backward run.
    """
    options = Options(initial_state, lengths, mask, resets, reverse, time_major, recurrent_mask,
                      backend)  # fmt: skip
    cell = Cell("rnn", activations.get(activation))
    return forward(cell, x, weights(kernel, recurrent_kernel, bias, 1), options, "h", keep=True)


def rnn_backward(
    tape: Tape, dy: Any = None, d_state: Any = None, *, need_dx: bool = True
) -> tuple[Array | None, dict[str, Array], tuple[Array]]:
    """Gradients of a scalar loss through the run that made `tape`.

    Args:
        tape: from `rnn_forward`; it is used up.
        dy: the loss's gradient with respect to y, in y's shape, or None; its values at skipped
            positions do not matter.
        d_state: (dh,) of the final h, (B, H) or None, or None.
        need_dx: False leaves out the gradient of x, which then is None.

    Returns:
        dx, grads, (dh0,): dx is 0 at skipped positions; grads has "kernel", "recurrent_kernel",
        and "bias" if there is one.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    return backward("rnn", tape, dy, d_state, "h", need_dx)
