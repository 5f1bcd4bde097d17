"""Ctrl-C between whole steps."""

from __future__ import annotations

import signal
import threading
from typing import Any

_installed: Guard | None = None


class Guard:
    """`with Guard():` around a training, in which `Whole` holds interrupts back for a moment.

    It stands between SIGINT and its handler. Outside the main thread, which alone is interrupted,
    and where SIGINT is ignored, it does nothing.
    """

    def __enter__(self) -> None:
        global _installed
        self._thread, self._outer = threading.get_ident(), _installed
        self.held, self._came = False, None
        self._handler: Any = None
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self._handler, _installed = handler, self
            signal.signal(signal.SIGINT, self._answer)

    def _answer(self, number: int, frame: Any) -> None:
        if self.held:
            self._came = number, frame
        else:
            self._handler(number, frame)

    def release(self) -> None:
        """Answer what came meanwhile."""
        self.held = False
        if self._came is not None:
            came, self._came = self._came, None
            self._handler(*came)

    def __exit__(self, *error: object) -> None:
        global _installed
        if self._handler is None:
            return
        _installed = self._outer
        if signal.getsignal(signal.SIGINT) == self._answer:  # nobody set another one
            signal.signal(signal.SIGINT, self._handler)

    def here(self) -> bool:
        return self._thread == threading.get_ident()


class Whole:
    """`with Whole():` an interrupt that comes meanwhile is answered at the end.

    So the weights, which a step changes in several places, are those before or after it.
    """

    def __enter__(self) -> None:
        self._guard = _installed if _installed is not None and _installed.here() else None
        if self._guard is not None:
            self._guard.held = True

    def __exit__(self, *error: object) -> None:
        if self._guard is not None:
            self._guard.release()
