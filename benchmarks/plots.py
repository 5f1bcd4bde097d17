"""PNG pictures of a results file."""

from __future__ import annotations

from pathlib import Path

import figures
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter
from tables import MODES, layers, number, where

COLOURS = {
    "clstm-native": "#c0392b", "clstm-blas": "#e67e22", "clstm-numpy": "#f3c89b",
    "torch": "#2c3e80", "onnxruntime": "#2e86c1", "openvino": "#76b7e0", "jax": "#1e8449",
    "keras-jax": "#7dc58f", "keras-tensorflow": "#8e6bb0", "keras-torch": "#c3aed6",
}  # fmt: skip
ORDER = list(COLOURS)


def _labels(results: list[dict]) -> list[str]:
    seen = {label for r in results for label in r["libraries"] if figures.median(r, label)}
    return sorted(seen & set(ORDER), key=ORDER.index)


def times_plot(results: list[dict], title: str, path: Path) -> None:
    """A panel for each shape: horizontal bars on a logarithmic axis, shorter is faster."""
    labels = _labels(results)
    columns = min(2 if len(results) <= 10 else 4, len(results))
    lines = -(-len(results) // columns)
    size = (5.6 * columns, lines * (0.85 + 0.24 * len(labels)))
    figure, axes = plt.subplots(lines, columns, squeeze=False, layout="constrained", figsize=size)
    for axis, result in zip(axes.flat, results, strict=False):
        here = [label for label in labels if figures.median(result, label)]
        values = [1e3 * figures.median(result, label) for label in here]
        axis.barh(here, values, color=[COLOURS[label] for label in here], height=0.75)
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(min(values) / 3, max(values) * 4)
        axis.invert_yaxis()
        axis.set_title(f"B, T, I, H = {where(result)}", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        for k, value in enumerate(values):
            axis.text(value * 1.08, k, number(value), va="center", fontsize=8)
    for axis in axes.flat[len(results) :]:
        axis.set_visible(False)
    figure.suptitle(f"{title}: milliseconds, logarithmic, shorter is faster", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def peak_plot(data: dict, results: list[dict], title: str, path: Path) -> None:
    """The part of the FMA peak that each library reaches at each shape."""
    gflops = data["peak"]["gflops"]
    labels = _labels(results)
    figure, axis = plt.subplots(figsize=(10, 0.8 + 0.62 * len(results)), layout="constrained")
    for label in reversed(labels):
        points = [(100 * f, k) for k, r in enumerate(results)
                  if (f := figures.peak_fraction(r, label, gflops)) is not None]  # fmt: skip
        ours = label in figures.OURS
        axis.scatter(*zip(*points, strict=True), label=label, color=COLOURS[label],
                     s=110 if ours else 55, marker="D" if ours else "o", zorder=3,
                     edgecolor="white", linewidth=0.8, clip_on=False)  # fmt: skip
    axis.set_yticks(range(len(results)), [where(r) for r in results], fontsize=8)
    axis.invert_yaxis()
    axis.set_ylabel("B, T, I, H", fontsize=9)
    axis.set_xlim(0, 100)
    axis.set_xlabel(f"% of the measured float32 FMA peak, {number(gflops)} GFLOP/s", fontsize=9)
    axis.grid(axis="both", color="#dddddd", zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title, fontsize=11, loc="left")
    axis.legend(*(list(reversed(x)) for x in axis.get_legend_handles_labels()), fontsize=8,
                loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)  # fmt: skip
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(data: dict, folder: Path) -> list[Path]:
    """Every picture of one results file, as folder/NAME-SOURCE-MODE.png and ..-peak.png."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in ("clstm", "DeepBench"):
        for mode, words in MODES.items():
            results = [r for r in layers(data, source, mode) if _labels([r])]
            if not results:
                continue
            stem = "-".join([data["name"], mode] if source == "clstm"
                            else [data["name"], source.lower(), mode])  # fmt: skip
            title = f"LSTM layer, {words}, {data['threads']} threads"
            written.append(folder / f"{stem}.png")
            times_plot(results, title, written[-1])
            if data.get("peak"):
                written.append(folder / f"{stem}-peak.png")
                peak_plot(data, results, title, written[-1])
    return written
