from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import mask_array
from ..graph import is_symbolic
from .base import Layer


class Recurrent(Layer):
    """Base of the layers that read sequences: calls with masks, resets and initial states."""

    rank = 3
    takes_lists = True
    takes_resets = False
    state_names: tuple[str, ...]  # of the initial state's arrays, (B, ...)

    def __call__(
        self, inputs: Any, *, mask: Any = None, lengths: Any = None, initial_state: Any = None,
        resets: Any = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Outputs for arrays, symbols for symbols.

        Args:
            inputs: (B, T, I), or a list of it and of the initial states.
            mask: (B, T) booleans; lengths: (B,) integers: which steps are valid.
            resets: (B, T) booleans, or a symbol of them: at True positions a new sequence begins,
                with a state of 0, in either direction of reading.
            initial_state: a pair (h, c) of arrays (B, H); a bidirectional layer takes h, c, h, c,
                others the arrays that their `state_names` say.
        """
        if initial_state is not None:
            states = self.state_names
            if not isinstance(initial_state, (list, tuple)) or len(initial_state) != len(states):
                raise ValueError(
                    f"initial_state: expected {'a pair' if len(states) == 2 else len(states)} "
                    f"({', '.join(states)}), got {type(initial_state).__name__}"
                )
            inputs = [inputs, *initial_state]
        if lengths is not None and mask is not None:
            raise ValueError("lengths: expected None beside a mask, got both")
        if resets is not None and not self.takes_resets:
            raise TypeError(f"resets: expected None, for a {type(self).__name__} takes none, got "
                            f"{type(resets).__name__}")  # fmt: skip
        if is_symbolic(inputs):
            return self._connect(inputs, mask if lengths is None else lengths, resets)
        count = 1 + len(self.state_names)
        if not isinstance(inputs, list) or len(inputs) != count or np.ndim(inputs[0]) != 3:
            inputs = np.asarray(inputs)  # a list of numbers is data
        if lengths is not None:
            shape = np.shape(inputs[0] if isinstance(inputs, list) else inputs)
            mask = mask_array(None, lengths, *shape[:2])
        options = {} if resets is None else {"resets": resets}
        return self._on_arrays(inputs, mask, training, **options)
