"""The picture of `LearningRates.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import rate_finder
from ._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EACH, SMOOTHED, SUGGESTED = "#999999", "#0072b2", "#d55e00"


def draw(found: rate_finder.LearningRates, path: Any) -> Figure:
    """The loss of each step and their average over the rates; a line at the suggestion."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, ".", color=EACH, markersize=4, label="each batch")
    axes.plot(found.rates, found.smoothed, color=SMOOTHED, label="smoothed")
    if found.suggestion is not None:
        axes.axvline(found.suggestion, color=SUGGESTED, linestyle="--", linewidth=1,
                     label=f"suggestion: {found.suggestion:.2g}")  # fmt: skip
        falling = found.smoothed[: np.argmin(found.smoothed) + 1]
        span = falling.max() - falling.min()
        axes.set_ylim(falling.min() - span / 2, falling.max() + span / 2)  # not what came after
    axes.set_xscale("log")
    axes.set_xlabel("learning rate", fontsize=9)
    axes.set_title("loss", loc="left", fontsize=11)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    if path is not None:
        figure.savefig(path)
    return figure
