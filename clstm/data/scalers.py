"""Scales: what brings features to like sizes, and back. A missing value (NaN) stays one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._arrays import number, positive
from .._serialize import register
from .table import Table
from .transform import Transform

Array = np.ndarray


class _Scaler(Transform):
    """Base: y = (x - center) / scale of each feature; 1 stands for a scale of 0."""

    state_names = ("center", "scale")

    def _fit(self, table: Table) -> dict[str, Any]:
        center, scale = np.array([self._measure(column) for column in known_values(table)]).T
        return {"center": center, "scale": _sizes(center, scale)}

    def _measure(self, values: Array) -> tuple[float, float]:
        """Center and scale of the known values of a feature."""
        raise NotImplementedError(f"{type(self).__name__} must define _measure")

    def _apply(self, table: Table) -> Table:
        return table.map(lambda part: ((part - self.center) / self.scale).astype(part.dtype))

    def _undo(self, table: Table) -> Table:
        return table.map(lambda part: (part * self.scale + self.center).astype(part.dtype))


@register("transform")
class StandardScaler(_Scaler):
    """(x - mean) / standard deviation of each feature, by the training part."""

    def _measure(self, values: Array) -> tuple[float, float]:
        return values.mean(), values.std()


@register("transform")
class MinMaxScaler(_Scaler):
    """The training part's smallest value of each feature becomes `low`, the largest `high`.

    Args:
        low, high: numbers, low < high. Default 0, 1.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0):
        self.low, self.high = number("low", low), number("high", high)
        if self.low >= self.high:
            raise ValueError(f"high: expected a number > low = {low}, got {high}")

    def _measure(self, values: Array) -> tuple[float, float]:
        scale = (values.max() - values.min()) / (self.high - self.low) or 1.0
        return values.min() - self.low * scale, scale


@register("transform")
class RobustScaler(_Scaler):
    """(x - median) / (upper quartile - lower quartile) of each feature: outliers hardly count."""

    def _measure(self, values: Array) -> tuple[float, float]:
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        return middle, high - low


@register("transform")
class MaxAbsScaler(_Scaler):
    """x / the largest |x| of each feature in the training part: zeros stay zeros."""

    def _measure(self, values: Array) -> tuple[float, float]:
        return 0.0, np.abs(values).max()


@register("transform")
class PowerScaler(_Scaler):
    """Yeo & Johnson's power (2000) that makes each feature most nearly normal, then its standard.

    The power is the one of the largest likelihood, by SciPy. `inverse_transform` makes NaN of what
    no x leads to.
    """

    state_names = ("power", "center", "scale")

    def _fit(self, table: Table) -> dict[str, Any]:
        from scipy.stats import yeojohnson_normmax

        found = []
        for values in known_values(table):
            power = float(yeojohnson_normmax(values)) if np.ptp(values) > 0 else 1.0
            bent = _yeo_johnson(values, np.array(power))
            found.append((power, bent.mean(), bent.std()))
        power, center, scale = np.array(found).T
        return {"power": power, "center": center, "scale": _sizes(center, scale)}

    def _apply(self, table: Table) -> Table:
        return super()._apply(table.map(lambda part: _yeo_johnson(part, self.power)))

    def _undo(self, table: Table) -> Table:
        return super()._undo(table).map(lambda part: _yeo_johnson_inverse(part, self.power))


@register("transform")
class Log(Transform):
    """log(x + offset): growth in per cent becomes growth by a number.

    Args:
        offset: number; every value is to be above -offset. Default 0.
    """

    def __init__(self, offset: float = 0.0):
        self.offset = number("offset", offset)

    def _fit(self, table: Table) -> dict[str, Any]:
        self._require_above(table)
        return {}

    def _require_above(self, table: Table) -> None:
        for k, part in enumerate(table.parts):
            if (part <= -self.offset).any():
                row, column = np.argwhere(part <= -self.offset)[0]
                raise ValueError(f"x: expected numbers above {-self.offset:g}, got "
                                 f"{part[row, column]} at row {row} of {table.name(column)} of "
                                 f"sequence {k}")  # fmt: skip

    def _apply(self, table: Table) -> Table:
        self._require_above(table)
        return table.map(lambda part: np.log(part + part.dtype.type(self.offset)))

    def _undo(self, table: Table) -> Table:
        return table.map(lambda part: np.exp(part) - part.dtype.type(self.offset))


@register("transform")
class Difference(Transform):
    """x_t - x_{t - lag}: without a trend (lag 1) or a season (its length). The first rows go.

    `integrate` is the way back, for which the rows before are needed.

    Args:
        lag: steps, at least 1. Default 1.
    """

    def __init__(self, lag: int = 1):
        self.lag = positive("lag", lag)

    def _apply(self, table: Table) -> Table:
        for k, part in enumerate(table.parts):
            if len(part) <= self.lag:
                raise ValueError(f"x: expected more than {self.lag} rows, got {len(part)} in "
                                 f"sequence {k}")  # fmt: skip
        shorter = table.keep_rows([np.arange(self.lag, len(part)) for part in table.parts])
        return shorter._replace(parts=[p[self.lag :] - p[: -self.lag] for p in table.parts])

    def integrate(self, differences: Any, before: Any) -> Array:
        """x (T, F) of its differences (T, F), and at least `lag` rows (L, F) before the first."""
        steps, known = np.asarray(differences), np.asarray(before)
        if len(known) < self.lag or known.shape[1:] != steps.shape[1:]:
            raise ValueError(f"before: expected at least {self.lag} rows of shape "
                             f"{steps.shape[1:]}, got {known.shape}")  # fmt: skip
        rows = list(known[-self.lag :])
        for step in steps:
            rows.append(rows[-self.lag] + step)
        dtype = np.result_type(steps, known)
        return np.array(rows[self.lag :], dtype).reshape(steps.shape)


def known_values(table: Table) -> Iterator[Array]:
    """Of each feature, one after the other, all values that are not missing, float64.

    Raises:
        ValueError: a feature has none, or infinity.
    """
    for k in range(table.features):
        column = np.concatenate([part[:, k] for part in table.parts]).astype(np.float64)
        column = column[~np.isnan(column)]
        if not len(column):
            raise ValueError(f"x: expected a known value in {table.name(k)}, got none")
        if np.isinf(column).any():
            raise ValueError(f"x: expected finite numbers or NaN, got inf in {table.name(k)}")
        yield column


def _sizes(center: Array, scale: Array) -> Array:
    """The scales, 1 where a feature differs by nothing but rounding."""
    return np.where(scale > 10 * np.finfo(np.float64).eps * np.abs(center), scale, 1.0)


def _yeo_johnson(x: Array, power: Array) -> Array:
    """((x + 1)^p - 1) / p for x >= 0, -((1 - x)^(2 - p) - 1) / (2 - p) below; logs for powers 0."""
    return _by_sign(x, power, _box_cox)


def _yeo_johnson_inverse(y: Array, power: Array) -> Array:
    return _by_sign(y, power, _box_cox_inverse)


def _by_sign(x: Array, power: Array, function: Callable[[Array, Array], Array]) -> Array:
    size = np.abs(x, dtype=np.float64)
    bent = np.where(x >= 0, function(size, power), -function(size, 2 - power))
    return bent.astype(x.dtype)


def _box_cox(x: Array, power: Array) -> Array:
    """((x + 1)^power - 1) / power"""
    exponent = np.where(power == 0, 1, power)
    return np.where(power == 0, np.log1p(x), np.expm1(exponent * np.log1p(x)) / exponent)


def _box_cox_inverse(y: Array, power: Array) -> Array:
    exponent = np.where(power == 0, 1, power)
    inner = np.where(exponent * y > -1, exponent * y, np.nan)
    return np.where(power == 0, np.expm1(y), np.expm1(np.log1p(inner) / exponent))
