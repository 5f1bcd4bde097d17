"""Ctrl-C between whole steps."""

from __future__ import annotations

import signal
from typing import Any


class Deferred:
    """`with Deferred():` an interrupt (SIGINT) that comes meanwhile is answered at the end.

    So the weights, which are changed in several places by one step, are those before or after it.
    Outside the main thread, which alone is interrupted, nothing is done.
    """

    def __enter__(self) -> None:
        self._came: tuple[int, Any] | None = None
        handler = signal.getsignal(signal.SIGINT)
        self._handler = None
        if callable(handler):
            try:
                signal.signal(signal.SIGINT, self._note)
            except ValueError:  # another thread
                return
            self._handler = handler

    def _note(self, number: int, frame: Any) -> None:
        self._came = number, frame

    def __exit__(self, *error: object) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._came is not None:
            self._handler(*self._came)
