from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data.reader import array_of
from ..graph import Symbol
from ..layers.base import Layer, unique_name
from ..layers.embedding import Embedding
from ..layers.input import Input, InputLayer
from ..training import Trainer
from .model import Model


class Sequential(Model):
    """A chain of layers.

    Args:
        layers: Layers, the first of which may be what `Input` gave; more with `add`.
        name: of the model.

    It is built as soon as the shape of its inputs is known: from Input, from the first layer's
    `input_shape`, or from the first data.
    """

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None):
        Trainer.__init__(self)
        self.name = unique_name("sequential") if name is None else name
        self._chain: list[Layer] = []
        self._input: Symbol | None = None
        self._nodes = []
        self._layers = []
        for layer in layers or []:
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Append a layer."""
        if isinstance(layer, Symbol) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        if any(layer is other for other in self._chain):
            raise ValueError(f"layer: expected one that is not in the model yet, got {layer.name}")
        if any(layer.name == other.name for other in self._chain):
            raise ValueError(f"layer: expected a name of its own, got {layer.name!r} twice")
        if isinstance(layer, InputLayer):
            if self._chain or self._input is not None:
                raise ValueError("layer: expected Input before all other layers")
            self._input = layer.symbol
            return
        symbol = self._input
        if symbol is None and not self._chain and layer.input_shape is not None:
            symbol = _input_for(layer, layer.input_shape)
        if symbol is not None:
            self._extend(symbol, [layer])
        self._chain.append(layer)
        self._objective = None

    def _extend(self, symbol: Symbol, layers: Sequence[Layer]) -> None:
        """Connect `layers` behind what is built so far, or behind the input `symbol`."""
        output: Any = symbol
        if self.built:
            output = self.outputs if self.several_outputs else self.outputs[0]
        for layer in layers:
            if isinstance(output, list):
                raise ValueError(f"layer: expected one input for {layer.name}, got the "
                                 f"{len(output)} outputs of the layer before it")  # fmt: skip
            output = layer(output)
        self._connect(symbol, output)
        self._input = symbol

    @property
    def built(self) -> bool:
        """Whether the weights are there."""
        return bool(self._nodes)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape, the batch (None) included."""
        if not self._chain:
            raise ValueError("model: expected at least one layer, got none")
        if not self.built:
            self._extend(_input_for(self._chain[0], tuple(input_shape)[1:]), self._chain)

    @property
    def layers(self) -> list[Layer]:
        """The layers."""
        return list(self._chain)

    def _output_names(self) -> list[str]:
        if self.built:
            return super()._output_names()
        return [self._chain[-1].name if self._chain else "output"]

    def _require_built(self, x: Any = None) -> None:
        if self.built:
            return
        if x is None:
            raise ValueError("model: expected a built one; give the first layer an input_shape, "
                             "or call build(input_shape)")  # fmt: skip
        self.build(array_of("x", x).shape)


def _input_for(layer: Layer, shape: Sequence[int | None]) -> Symbol:
    return Input(shape, dtype="int64" if isinstance(layer, Embedding) else None)
