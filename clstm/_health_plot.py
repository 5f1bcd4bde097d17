"""The picture of `GradientHealth.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import health
from ._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL, OUTPUT, GREY = "#0072b2", "#d55e00", "#666666"
VERDICTS = {"healthy": "#1e8449", "vanishes": "#c0392b", "explodes": "#c0392b"}


def draw(report: health.GradientHealth, path: Any) -> Figure:
    """A line of three panels for each run of an LSTM, of one for each of an RNN."""
    lines = len(report.layers)
    figure = new_figure(12, 0.6 + 2.9 * lines)
    figure.suptitle(f"Gradients of the loss ({report.loss:.4g}) through the recurrent layers")
    panels = figure.subplots(lines, 3, squeeze=False, gridspec_kw={"width_ratios": (1.4, 1, 1)})
    for layer, (left, middle, right) in zip(report.layers, panels, strict=True):
        _norms(left, layer)
        if layer.closed:
            _time_constants(middle, layer)
            _gates(right, layer)
        else:
            middle.set_axis_off()
            right.set_axis_off()
        for axes in (left, middle, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=9)
    if path is not None:
        figure.savefig(path)
    return figure


def _norms(axes: Any, layer: health.LayerHealth) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = np.arange(1, len(layer.rows) + 1)
    marker = "o" if len(steps) < 5 else ""
    trend = f"first / last {layer.ratio:.2g}, a step back × {layer.factor:.3g}"
    for values, colour, label in ((layer.dc, CELL, rf"$|dL/dc_t|$: {trend}"),
                                  (layer.dh, OUTPUT, r"$|dL/dh_t|$")):  # fmt: skip
        shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        axes.plot(steps, shown, color=colour, marker=marker, markersize=4, label=label)
        if np.isfinite(shown).any():
            axes.set_yscale("log")
    axes.set_xlim(1, max(len(steps), 2))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step, in the order of reading", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(f"{layer.name}: {layer.verdict}", loc="left", fontsize=11,
                   color=VERDICTS.get(layer.verdict, GREY))  # fmt: skip


def _time_constants(axes: Any, layer: health.LayerHealth) -> None:
    values = np.sort(layer.time_constants)
    length = len(layer.rows)
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    axes.plot(np.arange(1, len(values) + 1), shown, ".", color=CELL, markersize=5)
    axes.axhline(length, color=GREY, linestyle="--", linewidth=1)
    below = values[-1] > length  # the units with the largest stand at the right
    axes.annotate("all steps", (1, length), (-2, -3 if below else 3), color=GREY, fontsize=9,
                  ha="right", va="top" if below else "bottom",
                  xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(min(np.nanmin(shown, initial=length) / 2, 0.5),
                  3 * np.nanmax(shown, initial=length))  # fmt: skip
    axes.set_xlabel("unit, sorted", fontsize=9)
    axes.grid(alpha=0.3)
    axes.set_title("Time constant of f, steps", loc="left", fontsize=10)


def _gates(axes: Any, layer: health.LayerHealth) -> None:
    names = ["input", "forget", "output"]
    closed, opened = 100 * health.saturation(layer).T
    axes.barh(names, closed, color=OUTPUT, height=0.6, label="closed")
    axes.barh(names, 100 - closed - opened, left=closed, color="#e4e4e4", height=0.6,
              label="between")  # fmt: skip
    axes.barh(names, opened, left=100 - opened, color=CELL, height=0.6, label="open")
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.set_xlabel("% of units, rows and steps", fontsize=9)
    axes.set_title("Gates", loc="left", fontsize=10)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3, fontsize=9, frameon=False,
                borderaxespad=0, handlelength=1, columnspacing=1)  # fmt: skip
