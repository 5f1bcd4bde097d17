"""The architecture of a model as JSON values, and back."""

from __future__ import annotations

from typing import Any

from .. import _serialize
from ..graph import Node
from ..layers.input import InputLayer
from ..models import Model, Sequential


def to_config(model: Model) -> dict[str, Any]:
    """Layers by number, and the nodes that connect them, in the order of a run.

    A symbol is [node, output]; the node of input k is -1 - k.
    """
    index = {id(layer): k for k, layer in enumerate(model._layers)}
    place = {id(s): [-1 - k, 0] for k, s in enumerate(model.inputs)}
    for n, node in enumerate(model._nodes):
        place.update({id(s): [n, k] for k, s in enumerate(node.outputs)})
    return {
        "class_name": type(model).__name__,
        "name": model.name,
        "layers": [_serialize.to_config(layer) for layer in model._layers],
        "inputs": len(model.inputs),
        "nodes": [
            {
                "layer": index[id(node.layer)],
                "inputs": [place[id(s)] for s in node.inputs],
                "mask": None if node.mask is None else place[id(node.mask)],
                **({} if node.resets is None else {"resets": place[id(node.resets)]}),
            }
            for node in model._nodes
        ],
        "outputs": [place[id(s)] for s in model.outputs],
        "several_outputs": model.several_outputs,
    }


def from_config(config: Any) -> Model:
    """The model that `to_config` described; ValueError if it describes none."""
    try:
        layers = [_serialize.from_config("layer", c) for c in config["layers"]]
        if not isinstance(config["name"], str):
            raise ValueError(f"name: expected a string, got {type(config['name']).__name__}")
        if config["class_name"] == "Sequential":
            return Sequential([layers[0].symbol, *layers[1:]], name=config["name"])
        if config["class_name"] != "Model":
            raise ValueError(f"expected a Sequential or a Model, got {config['class_name']!r}")
        return _graph(config, layers)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError,
            RecursionError, NotImplementedError) as error:  # fmt: skip
        raise ValueError(f"the architecture does not describe a model: {error!r}") from error


def _graph(config: Any, layers: list[Any]) -> Model:
    inputs = [layer.symbol for layer in layers[: int(config["inputs"])]]
    nodes: list[Node] = []

    def symbol(place: Any) -> Any:
        node, output = place
        return inputs[-1 - node] if node < 0 else nodes[node].outputs[output]

    for entry in config["nodes"]:
        layer = layers[entry["layer"]]
        if isinstance(layer, InputLayer):
            raise ValueError(f"expected a layer with inputs, got {layer.name}")
        arguments = [symbol(p) for p in entry["inputs"]]
        mask = None if entry["mask"] is None else symbol(entry["mask"])
        options = {"resets": symbol(entry["resets"])} if "resets" in entry else {}
        made = layer(arguments if len(arguments) > 1 else arguments[0], mask=mask, **options)
        nodes.append((made[0] if isinstance(made, list) else made).node)
    outputs = [symbol(p) for p in config["outputs"]]
    return Model(inputs, outputs if config["several_outputs"] else outputs[0], name=config["name"])
