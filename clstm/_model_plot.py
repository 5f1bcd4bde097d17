"""The picture of `model.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INPUT, RECURRENT, OTHER, LINE = "#e8f1e4", "#d9e8f5", "#f4f4f4", "#666666"


def draw(model: Any, path: Any) -> Figure:
    """A box for each use of a layer, below those that it reads, with arrows from these.

    A box stands in the row behind the last one that it needs, as far as it can below what it reads.
    """
    nodes = [*(symbol.node for symbol in model.inputs), *model._nodes]
    row: dict[int, int] = {}
    rows: dict[int, list[Any]] = {}
    for node in nodes:
        row[id(node)] = max((row[id(s.node)] + 1 for s in node.sources()), default=0)
        rows.setdefault(row[id(node)], []).append(node)
    across = max(map(len, rows.values()))
    figure = new_figure(0.4 + 3.3 * across, 0.3 + 1.05 * len(rows), layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-across / 2 - 0.1, across / 2 + 0.1), ylim=(-len(rows) + 0.5, 0.5))
    axes.set_axis_off()
    place: dict[int, tuple[float, float]] = {}

    def above(node: Any) -> float:
        """Where on average the boxes are that a node reads."""
        sources = [place[id(s.node)][0] for s in node.sources()]
        return sum(sources) / max(1, len(sources))

    for depth, members in sorted(rows.items()):
        members.sort(key=above)
        for k, node in enumerate(members):
            place[id(node)] = x, y = k - (len(members) - 1) / 2, -depth
            _box(axes, node, x, y)
    for node in nodes:
        for symbol in node.sources():
            _arrow(axes, place[id(symbol.node)], place[id(node)], symbol is node.mask)
    if path is not None:
        figure.savefig(path)
    return figure


def _arrow(axes: Any, source: tuple[float, float], target: tuple[float, float], mask: bool) -> None:
    """From a box to one below; round the boxes between, where there are."""
    (x0, y0), (x1, y1) = source, target
    begin, end, way = (x0, y0 - 0.31), (x1, y1 + 0.31), "arc3"
    if y0 - y1 > 1.5:
        side = 0.45 if x0 >= x1 else -0.45
        end = (x1 + side, y1)
        if x0 == x1:
            begin, way = (x0 + side, y0), "arc3,rad=-0.4"
        else:
            way = "angle,angleA=-90,angleB=0,rad=8"
    axes.annotate("", end, begin, arrowprops={
        "arrowstyle": "->", "color": LINE, "linestyle": "--" if mask else "-", "shrinkA": 0,
        "shrinkB": 0, "connectionstyle": way})  # fmt: skip


def _box(axes: Any, node: Any, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    layer = node.layer
    kind = type(layer).__name__
    recurrent = any(name in kind for name in ("LSTM", "Bidirectional"))
    colour = RECURRENT if recurrent else OTHER if node.inputs else INPUT
    axes.add_patch(FancyBboxPatch((x - 0.42, y - 0.28), 0.84, 0.56, facecolor=colour,
                                  edgecolor=LINE, boxstyle="round,pad=0.02"))  # fmt: skip
    shape = ", ".join(str(symbol.shape) for symbol in node.outputs).replace("None", "·")
    weights = layer.count_params()
    axes.text(x, y + 0.13, kind, ha="center", va="center", fontsize=10, weight="bold")
    axes.text(x, y - 0.02, layer.name, ha="center", va="center", fontsize=8, color=LINE)
    axes.text(x, y - 0.17, shape + (f"   {weights:,} weights" if weights else ""), ha="center",
              va="center", fontsize=8)  # fmt: skip
