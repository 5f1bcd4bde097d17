"""The graph of a model: symbols (what flows) and nodes (a layer used once)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .layers.base import Layer

Shape = tuple[int | None, ...]


class Symbol:
    """An array that a model will compute: its shape (None: the batch) and where it comes from."""

    def __init__(self, shape: Shape, node: Node):
        self.shape = tuple(shape)
        self.node = node

    def __repr__(self) -> str:
        return f"<Symbol shape={self.shape} from {self.node.layer.name}>"


class Node:
    """One use of a layer: the symbols that go in and come out, a mask, and resets."""

    def __init__(
        self, layer: Layer, inputs: Sequence[Symbol], mask: Symbol | None = None,
        resets: Symbol | None = None,
    ):  # fmt: skip
        self.layer = layer
        self.inputs = list(inputs)
        self.mask = mask
        self.resets = resets
        self.outputs: list[Symbol] = []

    def sources(self) -> list[Symbol]:
        """All symbols that this node needs."""
        return [*self.inputs, *(s for s in (self.mask, self.resets) if s is not None)]


def is_symbolic(inputs: Any) -> bool:
    """Whether `inputs` is a symbol or a list of them."""
    if isinstance(inputs, (list, tuple)):
        return bool(inputs) and all(isinstance(s, Symbol) for s in inputs)
    return isinstance(inputs, Symbol)


def sort(inputs: Sequence[Symbol], outputs: Sequence[Symbol]) -> list[Node]:
    """The nodes between inputs and outputs, each after those that it needs.

    Raises ValueError if an output needs a symbol that is not reached from the inputs.
    """
    order: list[Node] = []
    done = {id(s.node) for s in inputs}
    stack = [(s.node, False) for s in reversed(outputs)]
    while stack:
        node, visited = stack.pop()
        if id(node) in done:
            continue
        if visited:
            done.add(id(node))
            order.append(node)
            continue
        if not node.inputs:
            raise ValueError(
                f"inputs: expected all that the outputs need, missing {node.layer.name}"
            )
        stack.append((node, True))
        stack += [(s.node, False) for s in reversed(node.sources())]
    return order
