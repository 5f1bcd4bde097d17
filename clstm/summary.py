"""The table that `model.summary()` prints."""

from __future__ import annotations

from typing import Any


def table(model: Any) -> str:
    """Layers, output shapes and numbers of weights of a model, as text."""
    shapes: dict[int, str] = {}
    for node in getattr(model, "_nodes", []):
        parts = [str(s.shape) for s in node.outputs]
        shapes.setdefault(id(node.layer), ", ".join(parts))
    rows = [("Layer (type)", "Output shape", "Weights")]
    for layer in model._layers or model.layers:
        shape = shapes.get(id(layer), str(getattr(getattr(layer, "symbol", None), "shape", "?")))
        count = f"{layer.count_params():,}" if layer.built else "not built"
        rows.append((f"{layer.name} ({type(layer).__name__})", shape, count))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    line = "-" * (sum(widths) + 4)

    def text(row: tuple[str, str, str]) -> str:
        return f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}"

    total = sum(w.size for layer in model.layers for w in layer.weights)
    size = sum(w.nbytes for layer in model.layers for w in layer.weights)
    return "\n".join(
        [f"Model: {model.name}", line, text(rows[0]), line, *map(text, rows[1:]), line,
         f"Total weights: {total:,} ({size / 1024:.1f} KiB)"]
    )  # fmt: skip
