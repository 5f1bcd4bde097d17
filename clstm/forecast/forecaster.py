"""An LSTM that forecasts series: windows, scales, intervals."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from .._arrays import fraction, integer, number, positive
from .._serialize import Configurable
from .._state import Tensors, pack, unpack
from ..data.transform import Transform
from ..data.transform import get as get_transform
from ..io import tensor_file
from ..losses import IgnoreMissing
from ..optimizers import Adam
from . import heads, networks
from .cutting import Windows, cut, deviation, pasts, split
from .series import Array, Series, quantile_of_scores, read_series

STRATEGIES = ("direct", "recursive")


class Forecaster(Configurable):
    """Forecasts the next steps of series from the last ones, by an LSTM, with intervals.

    A window of `past` rows, relative to its last row and scaled, gives what is to be added to that
    row. "direct": all steps at once; with covariates that are known in advance, a second LSTM reads
    those of the future (Sutskever et al. 2014). "recursive": one step, again and again, each read
    as if it had happened. The intervals are conformal: what the last windows, which are not
    trained on, have as errors at each step (Romano et al. 2019) widens or narrows them.

    Args:
        past: rows that are read. horizon: steps that are forecast.
        strategy: "direct" or "recursive". Default "direct".
        outputs: what the network gives of each step: "quantiles" (of the interval's ends, and the
            median), "gaussian", "student_t", or "point". Default "quantiles".
        interval: share of what comes that is to lie in the interval, 0 .. 1. Default 0.9.
        calibration: share of the windows, the last ones, that give the intervals. Default 0.15.
        targets: columns that are forecast, by number; None: all. The others are covariates of the
            past; "recursive" has none.
        transform: a `clstm.data` Transform of the series that keeps rows and columns, such as one
            that fills gaps; fitted by `fit`. If it has a way back, forecasts are given in the
            series' own units. What it fills is read, but neither trained on nor counted for the
            intervals.
        units, epochs, batch_size, learning_rate: of the LSTM and its training with Adam. Default
            32, 30, 64, 0.003.
        seed: of weights and shuffling; None: they go on from `clstm.set_seed`.

    `model` is the network, `fit` makes it.
    """

    def __init__(
        self, past: int, horizon: int, *, strategy: str = "direct", outputs: str = "quantiles",
        interval: float = 0.9, calibration: float = 0.15, targets: Sequence[int] | None = None,
        transform: Transform | None = None, units: int = 32, epochs: int = 30,
        batch_size: int = 64, learning_rate: float = 0.003, seed: int | None = None,
    ):  # fmt: skip
        self.past, self.horizon = positive("past", past), positive("horizon", horizon)
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy: expected one of {STRATEGIES}, got {strategy!r}")
        self.strategy = strategy
        self.interval = number("interval", interval, above=0, below=1)
        self.outputs, self._head = outputs, heads.get(outputs, self.interval)
        self.calibration = number("calibration", fraction("calibration", calibration), above=0)
        if targets is not None and (not isinstance(targets, (list, tuple)) or not targets):
            raise ValueError(f"targets: expected a list of columns, or None, got {targets!r}")
        self.targets = None if targets is None else [integer("targets", k) for k in targets]
        if self.targets is not None and strategy == "recursive":
            raise ValueError("targets: expected None with strategy='recursive', which has to "
                             "forecast all that it reads")  # fmt: skip
        self.transform = get_transform(transform)
        self.units, self.epochs = positive("units", units), positive("epochs", epochs)
        self.batch_size = positive("batch_size", batch_size)
        self.learning_rate = number("learning_rate", learning_rate, above=0)
        self.seed = None if seed is None else integer("seed", seed)
        self.model: Any = None
        self._learned: dict[str, Any] = {}

    def fit(self, series: Any, known: Any = None, verbose: int | str = 0) -> Forecaster:
        """Learn from series (T,), (T, C), (N, T, C), a list of (T_i, C), or frames.

        known: covariates that are known in advance, of as many rows (or more) and K columns, in the
        same form.

        Raises:
            TypeError, ValueError: series or known are none of these, too short, or have gaps and
                there is no transform; nothing was learned.
        """
        transform = copy.deepcopy(self.transform)
        least = self.past + self.horizon
        raw = read_series("series", series, least, gaps=True)
        read = raw
        if transform is not None:
            read = _transformed(raw, transform.fit_transform(series))
        columns = raw.parts[0].shape[1]
        _require_known("series", read)
        targets = self._read_targets(columns)
        extra, names = self._read_known(known, read, 0)
        learned: dict[str, Any] = {
            "columns": columns, "covariates": 0 if extra is None else extra[0].shape[1],
            "names": None if raw.columns is None else [*raw.columns],
            "known_names": None if names is None else [*names],
        }  # fmt: skip
        ends = split(read.parts, self.past, self.horizon, self.calibration)
        before = [p[: max(e)] for p, e in zip(read.parts, ends[0], strict=True) if len(e)]
        learned["scale"] = deviation([p - p[-1] for p in pasts(before, self.past)])
        if extra is not None:
            rows = np.concatenate(extra)
            learned |= {"known_mean": rows.mean(axis=0), "known_scale": deviation([rows])}
        measured = [np.where(np.isnan(own), np.nan, part) for own, part in
                    zip(raw.parts, read.parts, strict=True)]  # fmt: skip
        trained, held = (self._cut(read.parts, extra, e, learned, measured) for e in ends)
        loss = self._head.loss
        if np.isnan(trained.y).any():
            loss = IgnoreMissing(loss)
        if np.isnan(held.y).all(axis=0).any():
            raise ValueError("series: expected known values among the last windows, got a gap at "
                             "each")  # fmt: skip
        with random.apart(self.seed):
            model = networks.build(self, columns, len(targets), learned["covariates"])
            model.compile(Adam(self.learning_rate), loss)
            y = (trained.y - trained.last[:, None, targets]) / learned["scale"][targets]
            x = trained.inputs()
            if self.strategy == "recursive":
                x, y = trained.x, y[:, 0]
            model.fit(x, y.astype(np.float32), batch_size=self.batch_size,
                      epochs=self.epochs, verbose=verbose)  # fmt: skip
        low, _, high = self._run(model, learned, held)
        learned["scores"] = np.maximum(low - held.y, held.y - high)
        if self.transform is not None:
            self.transform.set_state(transform.get_state())
        self.model, self._learned = model, learned
        return self

    def predict(self, series: Any, known: Any = None) -> Any:
        """A `Forecast` of what comes after the end of the series, or a list of them for several.

        known: covariates, if `fit` was given some, of the series' rows and `horizon` more.
        """
        learned = self._require_fit()
        read = read_series("series", series, self.past, gaps=True)
        read.require_like("series", learned["columns"], learned["names"])
        if self.transform is not None:
            read = _transformed(read, self.transform.transform(series))
        _require_known("series", read)
        extra, names = self._read_known(known, read, self.horizon)
        if (0 if extra is None else extra[0].shape[1]) != learned["covariates"]:
            raise ValueError(f"known: expected {learned['covariates']} columns, as in fit, got "
                             f"{0 if extra is None else extra[0].shape[1]}")  # fmt: skip
        if names is not None and learned["known_names"] not in (None, [*names]):
            raise ValueError(f"known: expected the columns {learned['known_names']}, as in fit, "
                             f"got {[*names]}")  # fmt: skip
        ends = [np.array([len(part)]) for part in read.parts]
        windows = self._cut(read.parts, extra, ends, learned)
        low, middle, high = self._run(self.model, learned, windows)
        margin = quantile_of_scores(learned["scores"], self.interval)
        low, high = np.minimum(low - margin, middle), np.maximum(high + margin, middle)
        low, middle, high = (self._back(a) for a in (low, middle, high))
        return read.forecasts(middle, (middle - low, high - middle), self.interval)

    def _cut(self, parts: list[Array], extra: list[Array] | None, ends: list[Array],
             learned: dict[str, Any], measured: list[Array] | None = None) -> Windows:  # fmt: skip
        targets = self._read_targets(learned["columns"])
        return cut(parts, extra, ends, self.past, self.horizon, targets, learned, measured)

    def _run(self, model: Any, learned: dict[str, Any], w: Windows) -> list[Array]:
        """Lower end, median and upper end (N, horizon, D) of the network's own."""
        targets = self._read_targets(learned["columns"])
        scale, last = learned["scale"][targets], w.last[:, None, targets]
        if self.strategy == "direct":
            p = model.predict(w.inputs(), batch_size=256)
            return [a * scale + last for a in self._head.read(p)]
        steps: list[list[Array]] = [[], [], []]
        x, columns = w.x.copy(), len(targets)
        reached = np.zeros((len(x), columns), x.dtype)  # the last row of x, relative to w.last
        for step in range(self.horizon):
            parts = self._head.read(model.predict(x, batch_size=256))
            for kept, part in zip(steps, parts, strict=True):
                kept.append(reached + part)
            reached = reached + parts[1]
            x[..., :columns] -= parts[1][:, None]
            row = np.zeros((len(x), 1, x.shape[2]), x.dtype)
            if w.known is not None and step + 1 < self.horizon:
                row[:, 0, columns:] = w.known[:, step + 1]
            x = np.concatenate([x[:, 1:], row], axis=1)
        return [np.stack(kept, axis=1) * scale + last for kept in steps]

    def _back(self, values: Array) -> Array:
        """(N, h, D) in the series' own units."""
        transform = self.transform
        if transform is None or not transform.has_inverse:
            return values
        wide = np.zeros((*values.shape[:2], self._learned["columns"]))
        targets = self._read_targets(self._learned["columns"])
        wide[..., targets] = values
        return transform.inverse_transform(wide)[..., targets]

    def _read_targets(self, columns: int) -> list[int]:
        targets = list(range(columns)) if self.targets is None else self.targets
        for k in targets:
            if not 0 <= k < columns:
                raise ValueError(f"targets: expected columns in 0 .. {columns - 1}, got {k}")
        return targets

    def _read_known(self, known: Any, read: Series, more: int) -> tuple[list[Array] | None, Any]:
        """The covariates of each series, and their names."""
        if known is None:
            return None, None
        given = read_series("known", known, 1)
        extra = given.parts
        if len(extra) != len(read.parts):
            raise ValueError(f"known: expected {len(read.parts)} series, got {len(extra)}")
        for k, (part, own) in enumerate(zip(extra, read.parts, strict=True)):
            if len(part) < len(own) + more:
                raise ValueError(f"known: expected {len(own) + more} rows, those of series {k}"
                                 f"{f' and {more} more' if more else ''}, got {len(part)}"
                                 )  # fmt: skip
        return extra, given.columns

    # --- state ---------------------------------------------------------------------------------

    def _require_fit(self) -> dict[str, Any]:
        if self.model is None:
            raise ValueError("Forecaster: expected to be fitted before, got no fit")
        return self._learned

    def save(self, path: Any) -> None:
        """Write all to one file, whole or not at all; `Forecaster.load` reads it.

        Raises:
            ValueError: it is not fitted, or the transform is of a class that is not registered.
        """
        learned = self._require_fit()
        tensors: Tensors = {}
        state = {"learned": learned, "weights": self.model.get_weights(),
                 "transform": {} if self.transform is None else self.transform.get_state()}
        content = {"config": self.get_config(), "state": pack(state, "state", tensors)}
        tensor_file.save(path, tensor_file.FORECASTER, content, tensors)

    @classmethod
    def load(cls, path: Any) -> Forecaster:
        """The Forecaster that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file. ValueError: it is another one, or damaged.
        """
        content, tensors = tensor_file.load(Path(path), tensor_file.FORECASTER)
        made = cls.from_config(content["config"])
        made._set(unpack(content["state"], tensors))
        return made

    def _set(self, state: dict[str, Any]) -> None:
        learned: dict[str, Any] = state["learned"]
        targets = self._read_targets(learned["columns"])
        with random.apart(0):
            model = networks.build(self, learned["columns"], len(targets), learned["covariates"])
        model.set_weights(state["weights"])
        if self.transform is not None:
            self.transform.set_state(state["transform"])
        self.model, self._learned = model, learned


def _transformed(raw: Series, made: Any) -> Series:
    """The series that a transform gave; ValueError unless it kept rows and columns."""
    read = read_series("series", made, 1, gaps=True)
    for name, count in (("rows", 0), ("columns", 1)):
        got, own = ([p.shape[count] for p in s.parts] for s in (read, raw))
        if got != own:
            raise ValueError(f"transform: expected one that keeps the {own} {name}, got {got}")
    return raw._replace(parts=read.parts)


def _require_known(name: str, read: Series) -> None:
    """ValueError if something is missing."""
    for k, part in enumerate(read.parts):
        if not np.isfinite(part).all():
            row, column = np.argwhere(~np.isfinite(part))[0]
            raise ValueError(f"{name}{f'[{k}]' if read.several else ''}: expected numbers, got "
                             f"{part[row, column]} at row {row}; `transform` may fill gaps"
                             )  # fmt: skip
