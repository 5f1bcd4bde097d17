"""How good forecasts would have been, had they been made in the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arrays import boolean, positive
from .series import read_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray


class Score(NamedTuple):
    """Of one forecaster, over all origins and steps: the mean absolute error, the root of the mean
    square, the share of values within the interval, and the interval's mean width."""

    mae: float
    rmse: float
    coverage: float
    width: float


class Backtest(NamedTuple):
    """What `backtest` found.

    origins (n,): rows before each forecast. actual (n, h, D), NaN where nothing is known; values,
    lower, upper: by name of the forecaster, likewise. scores: by name.
    """

    origins: Array
    actual: Array
    values: dict[str, Array]
    lower: dict[str, Array]
    upper: dict[str, Array]
    scores: dict[str, Score]

    def by_step(self, name: str) -> Array:
        """(h,) the mean absolute error of each step."""
        return np.nanmean(np.abs(self.values[name] - self.actual), axis=(0, 2))

    def plot(self, path: Any = None) -> Figure:
        """Draw the error of each step, and how much lay within the intervals.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Raises:
            ImportError: matplotlib, the extra `plot`, is not installed.
        """
        from .plots import draw_backtest

        return draw_backtest(self, path)

    def __str__(self) -> str:
        lines = [f"{'':16}{'MAE':>10}{'RMSE':>10}{'coverage':>10}{'width':>10}"]
        lines += [f"{name:16}{s.mae:10.4g}{s.rmse:10.4g}{s.coverage:10.1%}{s.width:10.4g}"
                  for name, s in self.scores.items()]  # fmt: skip
        return "\n".join(lines)


def backtest(
    forecasters: dict[str, Any], series: Any, first: int, every: int = 1, refit: int | None = None,
    known: Any = None, verbose: bool = False,
) -> Backtest:  # fmt: skip
    """Forecast from row `first` on, every so many rows, by what was known then (Tashman 2000).

    Args:
        forecasters: `Forecaster`s and baselines by name, of one horizon. They are fitted here.
        series: (T,) or (T, C), or a frame.
        first: rows before the first forecast.
        every: rows from one forecast to the next.
        refit: fit anew at every so many forecasts, by all rows before; None: once, at the first.
        known: (T, K), covariates that are known in advance; only `Forecaster`s read them.
        verbose: print a line for each origin.

    Raises:
        TypeError, ValueError: an argument is none of these; no horizon fits after `first`.
    """
    if not isinstance(forecasters, dict) or not forecasters:
        raise ValueError(f"forecasters: expected a dict of at least one, got {forecasters!r}")
    horizons = {name: f.horizon for name, f in forecasters.items()}
    horizon = next(iter(horizons.values()))
    for name, other in horizons.items():
        if other != horizon:
            raise ValueError(f"forecasters: expected the horizon {horizon} of all, got {other} of "
                             f"{name!r}")  # fmt: skip
    for name, f in forecasters.items():
        transform = getattr(f, "transform", None)
        if transform is not None and not transform.has_inverse:
            raise ValueError(f"forecasters: expected a transform with a way back of {name!r}, got "
                             f"{type(transform).__name__}")  # fmt: skip
    first, every = positive("first", first), positive("every", every)
    refit = None if refit is None else positive("refit", refit)
    verbose = boolean("verbose", verbose)
    read = read_series("series", series, first + horizon, gaps=True)
    if read.several:
        raise ValueError(f"series: expected one, got {len(read.parts)}")
    part = read.parts[0]
    origins = np.arange(first, len(part) - horizon + 1, every)
    targets = _targets(forecasters, part.shape[1])
    actual = np.stack([part[o : o + horizon][:, targets] for o in origins])
    if not np.isfinite(actual).any():
        raise ValueError(f"series: expected a known value after row {first}, got none")
    found: dict[str, list[list[Array]]] = {name: [[], [], []] for name in forecasters}
    for k, origin in enumerate(origins):
        history = _rows(series, int(origin))
        for name, forecaster in forecasters.items():
            reads = {} if known is None or not hasattr(forecaster, "targets") else {"known": known}
            if k == 0 or (refit is not None and k % refit == 0):
                past = {n: _rows(v, int(origin)) for n, v in reads.items()}
                forecaster.fit(history, **past)
            ahead = {n: _rows(v, int(origin) + horizon) for n, v in reads.items()}
            forecast = forecaster.predict(history, **ahead)
            for kept, values in zip(found[name], forecast[:3], strict=True):
                wide = np.reshape(values, (horizon, -1))
                chosen = getattr(forecaster, "targets", None) is not None
                kept.append(wide if chosen else wide[:, targets])
        if verbose:
            print(f"origin {origin}, {k + 1} of {len(origins)}", flush=True)
    values, lower, upper = ({name: np.stack(f[k]) for name, f in found.items()} for k in range(3))
    scores = {name: _score(actual, values[name], lower[name], upper[name]) for name in forecasters}
    return Backtest(origins, actual, values, lower, upper, scores)


def _targets(forecasters: dict[str, Any], columns: int) -> list[int]:
    """The columns that all of them forecast."""
    found = [f.targets for f in forecasters.values() if getattr(f, "targets", None) is not None]
    if any(targets != found[0] for targets in found):
        raise ValueError(f"forecasters: expected the targets {found[0]} of all, got {found}")
    return found[0] if found else list(range(columns))


def _rows(series: Any, end: int) -> Any:
    """The first rows of an array or a frame."""
    return series.iloc[:end] if hasattr(series, "iloc") else series[:end]


def _score(actual: Array, values: Array, lower: Array, upper: Array) -> Score:
    known = np.isfinite(actual)
    error = (values - actual)[known]
    within = ((lower <= actual) & (actual <= upper))[known]
    return Score(float(np.abs(error).mean()), float(np.sqrt((error**2).mean())),
                 float(within.mean()), float((upper - lower)[known].mean()))  # fmt: skip
