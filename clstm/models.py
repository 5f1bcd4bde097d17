"""Models: a graph of layers (`Model`), a chain of them (`Sequential`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._arrays import copy_into, mask_array, numbers
from .graph import Node, Symbol, is_symbolic, sort
from .layers.base import Layer, unique_name
from .layers.input import Input, InputLayer
from .parameters import Parameters
from .training import Trainer

Array = np.ndarray


class _Step(NamedTuple):
    """One node of the graph, as the executor runs it: slots number the model's symbols."""

    layer: Layer
    inputs: list[int]
    mask: int | None  # slot of an explicit mask or lengths
    outputs: list[int]
    need_dx: bool  # an input's gradient is of use to somebody
    trains: bool  # a gradient at the outputs is of use to somebody


class Model(Trainer):
    """A graph of layers from inputs to outputs.

    Args:
        inputs: the symbol that `Input` gave, or a list of them.
        outputs: symbol or list of symbols that layers gave.
        name: of the model.

    A layer that is called more than once is one layer with shared weights.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None):
        super().__init__()
        self.name = unique_name(type(self).__name__.lower()) if name is None else name
        self._connect(inputs, outputs)

    def _connect(self, inputs: Any, outputs: Any) -> None:
        for argument, symbols in (("inputs", inputs), ("outputs", outputs)):
            if not is_symbolic(symbols):
                raise TypeError(
                    f"{argument}: expected what Input or a layer gave, or a list of it, got "
                    f"{type(symbols).__name__}"
                )
        self.inputs: list[Symbol] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.several_outputs = isinstance(outputs, (list, tuple))
        self.outputs: list[Symbol] = list(outputs) if self.several_outputs else [outputs]
        for symbol in self.inputs:
            if not isinstance(symbol.node.layer, InputLayer):
                raise ValueError("inputs: expected symbols that Input gave, got one of "
                                 f"{symbol.node.layer.name}")  # fmt: skip
        self._nodes = sort(self.inputs, self.outputs)
        layers = {id(node.layer): node.layer for node in self._nodes}
        self._layers = [*(s.node.layer for s in self.inputs), *layers.values()]
        names = [layer.name for layer in self._layers]
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"layers: expected different names, got {twice!r} twice")
        self._plan()

    def _plan(self) -> None:
        """Take the weights and lay out the steps of a run; the layers' `trainable` is read here."""
        self._parameters = Parameters(self._layers)
        symbols = [*self.inputs, *(s for node in self._nodes for s in node.outputs)]
        slot = {id(symbol): k for k, symbol in enumerate(symbols)}
        self._slots = len(symbols)
        moves: set[int] = set()  # slots that depend on a weight in training
        self._steps: list[_Step] = []
        for node in self._nodes:
            inputs = [slot[id(s)] for s in node.inputs]
            outputs = [slot[id(s)] for s in node.outputs]
            need_dx = any(k in moves for k in inputs)
            trains = need_dx or any(part.params for part in node.layer.trained())
            if trains:
                moves.update(outputs)
            mask = None if node.mask is None else slot[id(node.mask)]
            self._steps.append(_Step(node.layer, inputs, mask, outputs, need_dx, trains))
        self._output_slots = [slot[id(s)] for s in self.outputs]

    # --- running -------------------------------------------------------------------------------

    def _forward(self, inputs: list[Array], training: bool, keep: bool) -> tuple[Any, Any, Any]:
        """Outputs, their masks, and the tapes of all steps if `keep`."""
        values: list[Any] = [*inputs, *[None] * (self._slots - len(inputs))]
        masks: list[Array | None] = [None] * self._slots
        tapes = []
        for step in self._steps:
            layer = step.layer
            x = (
                values[step.inputs[0]]
                if len(step.inputs) == 1
                else [values[k] for k in step.inputs]
            )
            mask = next((masks[k] for k in step.inputs if masks[k] is not None), None)
            if step.mask is not None:
                mask = _explicit_mask(values[step.mask], x)
            if keep:
                y, tape = layer.forward(x, training, mask)
                tapes.append((tape, y if layer.activity_regularizer else None))
            else:
                y = layer.infer(x, mask)
            out_mask = layer.compute_mask(x, mask)
            if len(step.outputs) == 1:
                values[step.outputs[0]] = y
                masks[step.outputs[0]] = out_mask
            else:
                for k, value in zip(step.outputs, y, strict=True):
                    values[k] = value
                masks[step.outputs[0]] = out_mask
        outputs = self._output_slots
        return [values[k] for k in outputs], [masks[k] for k in outputs], tapes

    def _backward(self, tapes: list[Any], d_outputs: list[Array]) -> None:
        """Add the gradients of all weights, from those of the outputs."""
        d: list[Any] = [None] * self._slots
        for k, dy in zip(self._output_slots, d_outputs, strict=True):
            d[k] = dy if d[k] is None else d[k] + dy
        for step, (tape, output) in zip(reversed(self._steps), reversed(tapes), strict=True):
            if not step.trains:
                continue
            gradients = [d[k] for k in step.outputs]
            for k in step.outputs:
                d[k] = None
            if output is not None:
                gradients[0] = _activity_gradient(step.layer, output, gradients[0])
            if all(g is None for g in gradients):
                continue
            if len(gradients) == 1:
                dx = step.layer.backward(tape, gradients[0], step.need_dx)
            else:
                dx = step.layer.backward(tape, gradients, step.need_dx)
            if not step.need_dx:
                continue
            for k, g in zip(step.inputs, dx if len(step.inputs) > 1 else [dx], strict=True):
                if g is not None:
                    d[k] = g if d[k] is None else d[k] + g

    def _arrays(self, x: Any) -> list[Array]:
        """What a user passes as x, as one array per input."""
        if isinstance(x, dict):
            names = [s.node.layer.name for s in self.inputs]
            if set(x) != set(names):
                raise ValueError(f"x: expected the keys {names}, got {list(x)}")
            parts = [x[name] for name in names]
        elif len(self.inputs) > 1:
            if not isinstance(x, (list, tuple)) or len(x) != len(self.inputs):
                got = len(x) if isinstance(x, (list, tuple)) else type(x).__name__
                raise ValueError(f"x: expected a list of {len(self.inputs)} arrays, got {got}")
            parts = list(x)
        else:
            parts = [x]
        arrays = []
        for k, (part, symbol) in enumerate(zip(parts, self.inputs, strict=True)):
            name = "x" if len(parts) == 1 else f"x[{k}]"
            array = numbers(name, part)
            shape = symbol.shape
            if array.ndim == len(shape) - 1 and shape[-1] == 1:
                array = array[..., None]  # Keras takes (B,) for (B, 1)
            if array.ndim != len(shape) or any(
                want is not None and size != want
                for size, want in zip(array.shape, shape, strict=True)
            ):
                letters = ", ".join("any" if s is None else str(s) for s in shape)
                raise ValueError(f"{name}: expected shape ({letters}), got {array.shape}")
            arrays.append(array)
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(f"x: expected as many rows in every array, got "
                             f"{[len(array) for array in arrays]}")  # fmt: skip
        return arrays

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The outputs for a batch of arrays."""
        self._require_built(x)
        outputs, _, _ = self._forward(self._arrays(x), training, keep=training)
        return outputs if self.several_outputs else outputs[0]

    def _require_built(self, x: Any = None) -> None:
        """A Model is built from the start."""

    # --- weights and structure -----------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers, inputs left out."""
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    def get_layer(self, name: str) -> Layer:
        """The layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"name: expected one of {[x.name for x in self.layers]}, got {name!r}")

    @property
    def weights(self) -> list[Array]:
        """All weights: views, so writing into one changes the model."""
        return [w for layer in self.layers for w in layer.weights]

    def get_weights(self) -> list[Array]:
        """Copies of all weights, in Keras's order."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in the order and shapes of `get_weights`."""
        copy_into(self.weights, weights)

    def count_params(self) -> int:
        """Number of weights."""
        return sum(w.size for w in self.weights)

    def reset_states(self) -> None:
        """Forget the states that stateful layers carry."""
        for layer in self.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()

    def summary(self, print_fn: Any = print) -> None:
        """Print a table of the layers, their output shapes and their numbers of weights."""
        from .summary import table

        print_fn(table(self))

    # --- to and from a file --------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The architecture as JSON values."""
        from ._serialize import to_config

        index = {id(layer): k for k, layer in enumerate(self._layers)}
        place = {id(s): [-1 - k, 0] for k, s in enumerate(self.inputs)}
        for n, node in enumerate(self._nodes):
            place.update({id(s): [n, k] for k, s in enumerate(node.outputs)})
        return {
            "class_name": type(self).__name__,
            "name": self.name,
            "layers": [to_config(layer) for layer in self._layers],
            "inputs": len(self.inputs),
            "nodes": [
                {
                    "layer": index[id(node.layer)],
                    "inputs": [place[id(s)] for s in node.inputs],
                    "mask": None if node.mask is None else place[id(node.mask)],
                }
                for node in self._nodes
            ],
            "outputs": [place[id(s)] for s in self.outputs],
            "several_outputs": self.several_outputs,
        }

    def save(self, path: Any) -> None:
        """Write the model, its weights, and how far its training is, to one file.

        The file is written beside `path` and then renamed, so that `path` is the old file or the
        new one, never half of one. `clstm.load_model` reads it.
        """
        from .io.model_file import save

        save(self, path)


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
        symbol = self._input
        if isinstance(layer, InputLayer):
            if self._chain or symbol is not None:
                raise ValueError("layer: expected Input before all other layers")
            self._input = layer.symbol
            return
        if not self._chain and symbol is None and layer.input_shape is not None:
            symbol = _input_for(layer, layer.input_shape)
        if symbol is not None:
            self._rebuild(symbol, [*self._chain, layer])
        self._chain.append(layer)

    def _rebuild(self, symbol: Symbol, chain: list[Layer]) -> None:
        output = symbol
        if self.built:
            output = self.outputs[0]
            chain_left = chain[len(self._chain) :]
        else:
            chain_left = chain
        for layer in chain_left:
            if isinstance(output, list):
                raise ValueError(f"layer: expected one input for {layer.name}, got the "
                                 f"{len(output)} outputs of the layer before it")  # fmt: skip
            output = layer(output)
        self._input = symbol
        self._connect(symbol, output)
        self._uncompile()

    @property
    def built(self) -> bool:
        """Whether the weights are there."""
        return bool(self._nodes)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape, the batch (None) included."""
        if not self._chain:
            raise ValueError("model: expected at least one layer, got none")
        if not self.built:
            self._rebuild(_input_for(self._chain[0], tuple(input_shape)[1:]), self._chain)

    @property
    def layers(self) -> list[Layer]:
        """The layers."""
        return list(self._chain)

    def _require_built(self, x: Any = None) -> None:
        if self.built:
            return
        if x is None:
            raise ValueError("model: expected a built one; give the first layer an input_shape, "
                             "or call build(input_shape)")  # fmt: skip
        self.build(numbers("x", x).shape)


def _input_for(layer: Layer, shape: tuple[int | None, ...]) -> Symbol:
    from .layers.embedding import Embedding

    return Input(shape, dtype="int64" if isinstance(layer, Embedding) else None)


def _explicit_mask(value: Array, x: Any) -> Array | None:
    """The mask (B, T) of a `mask=` or `lengths=` symbol's value, for inputs x."""
    batch, time = (x[0] if isinstance(x, list) else x).shape[:2]
    if value.ndim == 2 and value.shape == (batch, 1) and time != 1:
        value = value[:, 0]
    if value.ndim == 1:
        return mask_array(None, value.astype(np.int64), batch, time)
    return mask_array(value, None, batch, time)


def _activity_gradient(layer: Layer, output: Any, gradient: Array | None) -> Array:
    first = output[0] if isinstance(output, list) else output
    gradient = np.zeros_like(first) if gradient is None else np.array(gradient)
    layer.activity_regularizer.add_gradient(first, gradient)
    return gradient


def from_config(config: Any) -> Model:
    """The model that `get_config` described; ValueError if it describes none."""
    from ._serialize import from_config as make

    try:
        layers = [make("layer", c) for c in config["layers"]]
        count = int(config["inputs"])
        if config["class_name"] == "Sequential":
            return Sequential([layers[0].symbol, *layers[1:]], name=config["name"])
        if config["class_name"] != "Model":
            raise ValueError(f"expected a Sequential or a Model, got {config['class_name']!r}")
        inputs = [layer.symbol for layer in layers[:count]]
        nodes: list[Node] = []

        def symbol(place: Any) -> Symbol:
            node, output = place
            return inputs[-1 - node] if node < 0 else nodes[node].outputs[output]

        for entry in config["nodes"]:
            arguments = [symbol(p) for p in entry["inputs"]]
            mask = None if entry["mask"] is None else symbol(entry["mask"])
            made = layers[entry["layer"]](
                arguments if len(arguments) > 1 else arguments[0], mask=mask
            )
            nodes.append((made[0] if isinstance(made, list) else made).node)
        outputs = [symbol(p) for p in config["outputs"]]
        return Model(inputs, outputs if config["several_outputs"] else outputs[0],
                     name=config["name"])  # fmt: skip
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the architecture does not describe a model: {error!r}") from error
