"""The picture of `History.plot`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING, VALIDATION = "#0072b2", "#d55e00"


def draw(epochs: dict[str, list[int]], history: dict[str, list[Any]], path: Any) -> Figure:
    """A panel for each quantity, with its values, and their epochs, in training and validation."""
    names = [name for name in history if not (
        name.startswith("val_") and name.removeprefix("val_") in history)]  # fmt: skip
    columns = min(3, max(1, len(names)))
    rows = math.ceil(max(1, len(names)) / columns)
    figure = new_figure(0.4 + 3.9 * columns, 0.3 + 2.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for key, colour, label in ((name, TRAINING, "training"),
                                   (f"val_{name}", VALIDATION, "validation")):  # fmt: skip
            values = history.get(key, [])
            if not values:
                continue
            marker = "o" if len(values) < 25 else ""
            curves = np.reshape(values, (len(values), -1))
            axes.plot(np.array(epochs[key]) + 1, curves, color=colour, marker=marker,
                      markersize=3.5, label=label)  # fmt: skip
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if f"val_{name}" in history:
            handles, labels = axes.get_legend_handles_labels()
            first = {label: handle for handle, label in zip(handles, labels, strict=True)}
            axes.legend(first.values(), first.keys(), frameon=False, fontsize=9)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    if path is not None:
        figure.savefig(path)
    return figure
