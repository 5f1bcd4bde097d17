from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from .._arrays import copy_into
from ..data.reader import Reader
from ..graph import Node, Symbol, is_symbolic, sort
from ..layers.base import Layer, unique_name
from ..layers.input import InputLayer
from ..parameters import Parameters
from ..training import Trainer
from .executor import Executor
from .stream import Stream

Array = np.ndarray


class Model(Trainer):
    """A graph of layers from inputs to outputs.

    Args:
        inputs: the symbol that `Input` gave, or a list of them.
        outputs: symbol or list of symbols that layers gave.
        name: of the model.

    A layer that is called more than once is one layer with shared weights.

    Raises:
        TypeError: inputs or outputs are no symbols.
        ValueError: an input did not come from `Input`, an output needs an input that is not listed,
            or two layers have one name.
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
        several_outputs = isinstance(outputs, (list, tuple))
        ins = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        outs = list(outputs) if several_outputs else [outputs]
        for symbol in ins:
            if not isinstance(symbol.node.layer, InputLayer):
                raise ValueError("inputs: expected symbols that Input gave, got one of "
                                 f"{symbol.node.layer.name}")  # fmt: skip
        nodes = sort(ins, outs)
        layers = {id(node.layer): node.layer for node in nodes}
        layers = [*(s.node.layer for s in ins), *layers.values()]
        names = [layer.name for layer in layers]
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"layers: expected different names, got {twice!r} twice")
        parameters = Parameters(layers)  # raises if the dtypes differ
        self.inputs: list[Symbol] = ins
        self.outputs: list[Symbol] = outs
        self.several_outputs = several_outputs
        self._nodes: list[Node] = nodes
        self._layers: list[Layer] = layers
        self._parameters = parameters
        self._reader = Reader(ins, outs)
        self._executor = Executor(ins, nodes, outs)

    def _plan(self) -> None:
        """Read the layers' `trainable` anew."""
        self._parameters = self._parameters.current(replan=True)
        self._executor = Executor(self.inputs, self._nodes, self.outputs)

    @property
    def built(self) -> bool:
        """Whether the weights are there: always, but in a Sequential that waits for a shape."""
        return True

    def _require_built(self, x: Any = None) -> None:
        """Build for x, or raise ValueError if that cannot be done."""

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The outputs for a batch of arrays: an array, or a list for several outputs."""
        if is_symbolic(x):
            raise TypeError("x: expected arrays, got symbols: a model cannot be part of another")
        self._require_built(x)
        outputs = self._executor.forward(self._reader.inputs(x), training, keep=training)[0]
        return outputs if self.several_outputs else outputs[0]

    def stream(self, batch_size: int = 1, context: Any = None) -> Stream:
        """An object that is fed one step at a time, for serving: `step(x)`, `reset()`, `state`.

        Args:
            batch_size: B, rows of each step.
            context: of a model with several inputs, what the others are than the one that is fed:
                arrays (B, ...) by the names of the inputs; or an array, or a list of arrays, of all
                inputs but the last. What depends on them alone, such as an encoder, is computed
                once. So the model that was trained to predict `target` from `source` and the target
                so far writes one, with its initial states and attention.

        Raises:
            ValueError: the model is not built, has several outputs, or a layer does not read step
                by step: Bidirectional, attention among the steps; or the context does not fit.
        """
        self._require_built()
        return Stream(self, batch_size, context)

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
        parts = {id(part): part for layer in self.layers for part in layer.walk()}
        return [w for part in parts.values() for w in part.params.values()]

    def get_weights(self) -> list[Array]:
        """Copies of all weights, in Keras's order."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in the order and shapes of `get_weights`.

        Raises ValueError, with nothing set, if a number or a shape differs.
        """
        copy_into(self.weights, weights)

    def count_params(self) -> int:
        """Number of weights."""
        return sum(w.size for w in self.weights)

    @property
    def _keys(self) -> list[random.Keys]:
        """Those of layers with a seed."""
        parts = [part for layer in self._layers for part in layer.walk()]
        found = {id(part.random_keys): part.random_keys for part in parts}
        return [keys for keys in found.values() if keys is not None]

    def reset_states(self) -> None:
        """Forget the states that stateful layers carry."""
        if self.built:
            for layer in self._executor.stateful():
                layer.reset_state()

    def summary(self, print_fn: Any = print) -> None:
        """Print a table of the layers, their output shapes and their numbers of weights."""
        from ..summary import table

        print_fn(table(self))

    def plot(self, path: Any = None) -> Any:
        """Draw the layers: their outputs' shapes, numbers of weights, and what reads what.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Returns:
            a matplotlib Figure.

        Raises:
            ValueError: the model is not built. ImportError: matplotlib, the extra `plot`, is not
                installed.
        """
        from .._model_plot import draw

        self._require_built()
        return draw(self, path)

    # --- to and from a file --------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The architecture as JSON values."""
        from ..io.architecture import to_config

        return to_config(self)

    def save(self, path: Any) -> None:
        """Write the model, its weights, and how far its training is, to one file.

        The file is written beside `path` and then renamed, so that `path` is the old file or the
        new one, never half of one. `clstm.load_model` reads it. `transforms`, a dict of fitted
        `clstm.data.Transform`s by names of yours, is saved too.

        Raises:
            ValueError: the model is not built, or has a layer, loss, metric or transform of a class
                that is not registered; nothing is written. TypeError: transforms are none.
            FileNotFoundError: there is no such folder.
        """
        from ..io.model_file import save

        save(self, path)

    def save_weights(self, path: Any) -> None:
        """Write the weights to a file, as `save` does; ValueError if the model is not built."""
        from ..io.model_file import save_weights

        save_weights(self, path)

    def load_weights(self, path: Any) -> None:
        """Set the weights that `save_weights` of a model of the same layers wrote.

        Raises:
            FileNotFoundError: there is none. ValueError: it is another file, damaged, or its
                weights have other shapes; nothing is set.
        """
        from ..io.model_file import load_weights

        load_weights(self, path)
