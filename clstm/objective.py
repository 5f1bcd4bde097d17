"""What a model's outputs are measured by: a loss and metrics for each output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import losses, metrics
from ._arrays import number
from .data.reader import unique_names

Array = np.ndarray
Shape = tuple[int | None, ...]
_CHECKED_AT_ONCE = 65536  # rows of labels: bounds the memory of a check


class Objective:
    """Losses and metrics of outputs that have `names`.

    loss, loss_weights: one for all, a list, or a dict by output name. metrics, weighted_metrics
    (the ones that see the sample weights): a list for a single output, else a list of lists or a
    dict of lists. Strings such as "accuracy" are resolved with the first labels.
    """

    def __init__(
        self, names: Sequence[str], loss: Any, loss_weights: Any, plain: Any, weighted: Any
    ):
        self.names = list(names)
        self._given_losses = _spread("loss", loss, self.names)
        for identifier in self._given_losses:
            if identifier not in ("crossentropy", "ce"):
                losses.get(identifier)  # raises for what it does not know
        factors = _spread("loss_weights", 1.0 if loss_weights is None else loss_weights, self.names)
        self._factors = [1.0 if f is None else number("loss_weights", f) for f in factors]
        self._given = [
            (k, identifier, uses_weights)
            for uses_weights, group in ((False, plain), (True, weighted))
            for k, identifiers in enumerate(_lists("metrics", group, self.names))
            for identifier in identifiers
        ]
        for _, identifier, _ in self._given:
            if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
                continue
            if metrics.get(identifier) is None:  # raises for what it does not know
                raise TypeError("metrics: expected names or Metrics, got None")
        self.losses: list[losses.Loss | None] = []
        self._metrics: list[tuple[int, metrics.Metric, bool, str]] = []
        self._total = metrics.Mean("loss")
        self._parts = [metrics.Mean() for _ in self.names]

    def resolve(self, y: Sequence[Array], shapes: Sequence[Shape]) -> None:
        """Choose, once, the losses and metrics that depend on the shapes of labels and outputs."""
        if self.losses:
            return
        chosen = self._losses_for(y, shapes)
        found: list[tuple[int, metrics.Metric, bool, str]] = []
        names: list[str] = []
        for k, identifier, uses_weights in self._given:
            metric = metrics.resolve(identifier, chosen[k], y[k].shape, shapes[k])
            output = "" if len(self.names) == 1 else f"{self.names[k]}_"
            name = output + metric.name
            if uses_weights and name in names:
                name = f"{output}weighted_{metric.name}"
            names.append(name)
            found.append((k, metric, uses_weights, unique_names(names)[-1]))
        self.losses, self._metrics = chosen, found

    def _losses_for(self, y: Sequence[Array], shapes: Sequence[Shape]) -> list[losses.Loss | None]:
        return [
            losses.resolve(given, labels.shape, shape)
            for given, labels, shape in zip(self._given_losses, y, shapes, strict=True)
        ]

    def check(
        self, y: Sequence[Array], shapes: Sequence[Shape], masked: Sequence[bool]
    ) -> None:
        """Raise ValueError if a label cannot be one; then `resolve`.

        Labels of outputs that may be masked are not looked at: at masked steps they do not matter.
        """
        chosen = self.losses or self._losses_for(y, shapes)
        for loss, labels, shape, may_mask in zip(chosen, y, shapes, masked, strict=True):
            if loss is None or may_mask:
                continue
            known = labels.shape + (1,) * (len(shape) - labels.ndim)
            sizes = [known[d] if s is None else s for d, s in enumerate(shape)][1:]
            for begin in range(0, len(labels), _CHECKED_AT_ONCE):
                some = labels[begin : begin + _CHECKED_AT_ONCE]
                loss.check(some, (len(some), *sizes))
        self.resolve(y, shapes)

    def counts(self, y: Sequence[Array], masks: Sequence[Any]) -> list[Array]:
        """(T,) for each output: how much of each step its loss, a mean, is divided by."""
        found = []
        for loss, labels, mask in zip(self.losses, y, masks, strict=True):
            counted = np.ones((*labels.shape[:2], 1), bool)
            if loss is not None and loss.ignore_class is not None:
                counted = labels.reshape(*labels.shape[:2], -1) != loss.ignore_class
            known = None if loss is None else loss.known(labels)
            if known is not None:
                counted = known.reshape(*known.shape[:2], -1)
            if mask is not None:
                counted = counted & mask[:, :, None]
            found.append(counted.sum(axis=(0, 2)))
        return found

    def gradients(
        self, y: Sequence[Array], outputs: Sequence[Array], weight: Any, masks: Sequence[Any],
        shares: Sequence[float] | None = None, free: Sequence[bool] | None = None,
    ) -> tuple[list[float], float, list[Array | None]]:  # fmt: skip
        """The losses of the outputs, their weighted sum, and its gradients.

        shares: factors of the outputs' losses beside the loss weights.
        free: which outputs nobody needs any more: gradients may be written there.
        """
        values: list[float] = []
        gradients: list[Array | None] = []
        total = 0.0
        for k, loss in enumerate(self.losses):
            if loss is None:
                values.append(0.0)
                gradients.append(None)
                continue
            mask = masks[k] if outputs[k].ndim > 2 else None  # else there are no steps to mask
            over = {"overwrite": True} if free and free[k] and loss.overwrites else {}
            value, gradient = loss.value_and_gradient(
                y[k], outputs[k], None if weight is None else weight[k], mask, **over
            )
            factor = self._factors[k]
            share = 1.0 if shares is None else shares[k]
            values.append(share * value)
            total += factor * (share * value)
            factor *= share
            if factor != 1:
                gradient *= gradient.dtype.type(factor)
            gradients.append(gradient)
        return values, total, gradients

    def update_losses(
        self, values: Sequence[float], total: float, y: Sequence[Array], share: float = 1.0
    ) -> None:
        """Take a batch into the running means of the losses, which count its rows.

        share: of the steps of the rows, less than 1 for a window of them. Of a single output with
        missing labels, rows count by the share of labels that are known.
        """
        rows: float = len(y[0])
        if len(self.losses) == 1 and self.losses[0] is not None:
            known = self.losses[0].known(y[0])
            rows *= 1 if known is None else float(known.mean())
        self._total.update_state(total / share, rows * share)
        if len(self.names) > 1:
            for part, value in zip(self._parts, values, strict=True):
                part.update_state(value / share, rows * share)

    def update_metrics(
        self, y: Sequence[Array], outputs: Sequence[Array], weight: Any, masks: Sequence[Any],
        share: float = 1.0,
    ) -> None:  # fmt: skip
        """Take a batch into the metrics, the steps of windows (share < 1) as rows."""
        for k, metric, uses_weights, _ in self._metrics:
            w = weight[k] if uses_weights and weight is not None else None
            mask, labels = masks[k], y[k]
            if mask is not None and outputs[k].ndim > 2:
                w = mask if w is None else np.reshape(w, (len(w), -1)) * mask
                valid = mask.reshape(mask.shape + (1,) * (labels.ndim - 2))
                labels = np.where(valid, labels, 0)  # 0 times NaN would be NaN
            loss = self.losses[k]
            known = None if loss is None else loss.known(labels)
            if known is not None:
                w, labels = _of_known(known, labels, w, outputs[k].ndim)
            predicted = outputs[k]
            if share < 1:
                labels, predicted, w = _steps_as_rows(labels, predicted, w)
            metric.update_state(labels, predicted, w)

    def results(self) -> dict[str, float]:
        """The loss and the metrics since the last reset, by name."""
        logs = {"loss": self._total.result()}
        if len(self.names) > 1:
            logs |= {f"{n}_loss": p.result() for n, p in zip(self.names, self._parts, strict=True)}
        return logs | {name: metric.result() for _, metric, _, name in self._metrics}

    def names_of_logs(self) -> dict[str, str | None]:
        """The names in `results`, each with "min" or "max", what is better, or None."""
        known = {"loss": "min"}
        if len(self.names) > 1:
            known |= {f"{name}_loss": "min" for name in self.names}
        return known | {name: metric.better for _, metric, _, name in self._metrics}

    def reset(self) -> None:
        """Forget all batches."""
        for measure in self._measures():
            measure.reset_state()

    def _measures(self) -> list[metrics.Metric]:
        return [self._total, *self._parts, *(metric for _, metric, _, _ in self._metrics)]

    def get_state(self) -> list[dict[str, Any]]:
        """What has been added up since the last reset."""
        return [measure.get_state() for measure in self._measures()]

    def set_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `get_state` gave."""
        for measure, state in zip(self._measures(), states, strict=True):
            measure.set_state(state)


def _of_known(known: Array, labels: Array, weight: Any, ndim: int) -> tuple[Array, Array]:
    """Weights with 0 for rows and steps of which a label is not known, and labels with 0 there."""
    lead = labels.shape[: max(1, ndim - 1)]
    whole = known.reshape(*lead, -1).all(axis=-1)
    if weight is not None:
        given = np.asarray(weight)
        whole = whole * given.reshape(given.shape + (1,) * (whole.ndim - given.ndim))
    return whole, np.where(known, labels, 0)


def _steps_as_rows(labels: Array, outputs: Array, weight: Any) -> tuple[Array, Array, Any]:
    """(B T, ...) from (B, T, ...)."""
    positions = outputs.shape[:2]
    if weight is not None:
        weight = np.broadcast_to(np.reshape(weight, (len(weight), -1)), positions).ravel()
    return (labels.reshape(-1, *labels.shape[2:]), outputs.reshape(-1, *outputs.shape[2:]),
            weight)  # fmt: skip


def _spread(argument: str, value: Any, names: list[str]) -> list[Any]:
    """One value for each output."""
    if isinstance(value, dict) and "class_name" not in value:
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(f"{argument}: expected output names {names}, got {unknown}")
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(f"{argument}: expected {len(names)} values, got {len(value)}")
        return list(value)
    return [value] * len(names)


def _lists(argument: str, value: Any, names: list[str]) -> list[list[Any]]:
    """A list of metrics for each output."""
    if value is None:
        return [[] for _ in names]
    if isinstance(value, dict):
        parts = _spread(argument, value, names)
    elif len(names) == 1:
        parts = [value]
    elif isinstance(value, (list, tuple)) and all(isinstance(v, (list, tuple)) for v in value):
        parts = _spread(argument, value, names)
    else:
        raise ValueError(
            f"{argument}: expected a list of lists or a dict, for the outputs {names}, got {value}"
        )
    return [[] if p is None else list(p) if isinstance(p, (list, tuple)) else [p] for p in parts]
