"""What all schedules are."""

from __future__ import annotations

from typing import Any

from .. import _serialize
from .._arrays import number
from .._serialize import Configurable


class LearningRateSchedule(Configurable):
    """Base of all schedules: `schedule(step) -> float`."""

    kind = "schedule"

    def __call__(self, step: int) -> float:
        """Returns the learning rate of the step after `step` finished steps."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")


def rate(name: str, value: Any) -> float:
    """`value` as a learning rate that a schedule may give, a finite number of at least 0."""
    return number(name, value, least=0)


def get(identifier: Any) -> LearningRateSchedule | None:
    """Returns the schedule for None, a config dict or an instance.

    Raises:
        ValueError: malformed dict, or a name (every schedule needs arguments).
        TypeError: any other type.
    """
    return _serialize.get("schedule", identifier)
