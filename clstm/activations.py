"""Activation functions by Keras's names, each with its gradient.

`get(name)` gives an `Activation`: `forward(x) -> y` and `backward(dy, x, y) -> dx`, on float arrays
of any shape. Both are plain NumPy; the kernels have their own versions of the common ones.

Some have parameters alpha and beta, ONNX's: {"name": "hard_sigmoid", "alpha": 0.2, "beta": 0.5}
instead of a name gives others than the defaults, which are Keras 3's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arrays import number

Array = np.ndarray


class Activation(NamedTuple):
    name: str
    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array, Array], Array]  # dy, x, y -> dx
    parameters: tuple[float, ...] = ()  # alpha, or alpha and beta

    @property
    def identifier(self) -> str | dict[str, Any]:
        """What `get` makes this activation from: its name if its parameters are the defaults."""
        if not self.parameters or self.parameters == _PARAMETRIC[self.name][2]:
            return self.name
        return {"name": self.name, **dict(zip(("alpha", "beta"), self.parameters))}  # noqa: B905


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softmax(x: Array) -> Array:
    """e^x / sum(e^x) over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """x - log(sum(e^x)) over the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softplus(x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _normal_cdf(x: Array) -> Array:
    from scipy.special import ndtr

    return ndtr(x)


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


# Self-normalizing neural networks, Klambauer et al. 2017
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _gelu_slope(x: Array) -> Array:
    return _normal_cdf(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi).astype(x.dtype)


def _silu_slope(x: Array) -> Array:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


def _mish_slope(x: Array) -> Array:
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


# name: function of x, slope dy/dx of x and y
_ELEMENTWISE: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "tanh": (np.tanh, lambda x, y: 1 - y * y),
    "sigmoid": (sigmoid, lambda x, y: y * (1 - y)),
    "relu": (lambda x: np.maximum(x, 0), lambda x, y: (x > 0).astype(x.dtype)),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x, y: ((x > 0) & (x < 6)).astype(x.dtype)),
    "selu": (
        lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
        lambda x, y: np.where(x > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    ),
    "softplus": (softplus, lambda x, y: sigmoid(x)),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x, y: (1 - np.abs(y)) ** 2),
    "exponential": (np.exp, lambda x, y: y),
    "hard_silu": (
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        lambda x, y: np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0).astype(x.dtype),
    ),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), lambda x, y: (np.abs(x) < 1).astype(x.dtype)),
    "silu": (lambda x: x * sigmoid(x), lambda x, y: _silu_slope(x)),
    "gelu": (lambda x: x * _normal_cdf(x), lambda x, y: _gelu_slope(x)),
    "mish": (lambda x: x * np.tanh(softplus(x)), lambda x, y: _mish_slope(x)),
    "log_sigmoid": (lambda x: -softplus(-x), lambda x, y: sigmoid(-x)),
}
# name: function of x and the parameters, slope of x, y and the parameters, their defaults
_PARAMETRIC: dict[str, tuple[Callable[..., Array], Callable[..., Array], tuple[float, ...]]] = {
    "leaky_relu": (
        lambda x, alpha: np.where(x > 0, x, alpha * x),
        lambda x, y, alpha: np.where(x > 0, 1, alpha),
        (0.2,),
    ),
    "elu": (_elu, lambda x, y, alpha: np.where(x > 0, 1, y + alpha), (1.0,)),
    "thresholded_relu": (
        lambda x, alpha: np.where(x > alpha, x, 0),
        lambda x, y, alpha: np.where(x > alpha, 1, 0),
        (1.0,),
    ),
    "hard_sigmoid": (
        lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
        lambda x, y, alpha, beta: np.where((y > 0) & (y < 1), alpha, 0),
        (1 / 6, 0.5),
    ),
    "scaled_tanh": (
        lambda x, alpha, beta: alpha * np.tanh(beta * x),
        lambda x, y, alpha, beta: beta * (alpha - y * y / alpha),
        (1.0, 1.0),
    ),
    "affine": (
        lambda x, alpha, beta: alpha * x + beta,
        lambda x, y, alpha, beta: np.full_like(x, alpha),
        (1.0, 0.0),
    ),
}


def _parametric(name: str, given: dict[str, Any]) -> Activation:
    function, slope, defaults = _PARAMETRIC[name]
    names = ("alpha", "beta")[: len(defaults)]
    if not given.keys() <= set(names):
        raise ValueError(f"activation: expected {', '.join(names)} of {name}, got {sorted(given)}")
    parameters = tuple(
        number(f"{key} of {name}", given[key]) if key in given else default
        for key, default in zip(names, defaults, strict=True)
    )
    if name == "scaled_tanh" and parameters[0] == 0:
        raise ValueError("alpha of scaled_tanh: expected a number other than 0, got 0")

    def forward(x: Array) -> Array:
        return np.asarray(function(x, *parameters), x.dtype)

    def backward(dy: Array, x: Array, y: Array) -> Array:
        return np.asarray(dy * slope(x, y, *parameters), dy.dtype)

    return Activation(name, forward, backward, parameters)


def _elementwise(name: str) -> Activation:
    function, slope = _ELEMENTWISE[name]

    def forward(x: Array) -> Array:
        return np.asarray(function(x), x.dtype)

    def backward(dy: Array, x: Array, y: Array) -> Array:
        return np.asarray(dy * slope(x, y), dy.dtype)

    return Activation(name, forward, backward)


_ACTIVATIONS = {name: _elementwise(name) for name in _ELEMENTWISE} | {
    name: _parametric(name, {}) for name in _PARAMETRIC
} | {
    "linear": Activation("linear", lambda x: x, lambda dy, x, y: dy),
    "softmax": Activation(
        "softmax", softmax, lambda dy, x, y: y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    ),
    "log_softmax": Activation(
        "log_softmax",
        log_softmax,
        lambda dy, x, y: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True),
    ),
}


def is_known(activation: Activation) -> bool:
    """Whether it is one of this file's, not somebody's own by the same name."""
    return bool(activation.parameters) or _ACTIVATIONS.get(activation.name) is activation


_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}


def get(identifier: str | dict[str, Any] | Activation | None) -> Activation:
    """The activation of that name, or of {"name": name, "alpha": ..., "beta": ...}; None is linear.

    Raises ValueError for an unknown name or parameter, TypeError for anything that is neither: a
    function alone has no gradient.
    """
    if identifier is None:
        return _ACTIVATIONS["linear"]
    if isinstance(identifier, Activation):
        return identifier
    given: dict[str, Any] = {}
    if isinstance(identifier, dict) and isinstance(identifier.get("name"), str):
        given = {key: value for key, value in identifier.items() if key != "name"}
        identifier = identifier["name"]
    if not isinstance(identifier, str):
        raise TypeError(
            f"activation: expected the name of an activation, got {type(identifier).__name__}"
        )
    name = _ALIASES.get(identifier, identifier)
    if name not in _ACTIVATIONS:
        known = ", ".join(sorted(_ACTIVATIONS | _ALIASES))
        raise ValueError(f"activation: expected one of {known}, got {identifier!r}")
    if given and name not in _PARAMETRIC:
        raise ValueError(f"activation: expected no parameters of {name}, got {sorted(given)}")
    return _parametric(name, given) if given else _ACTIVATIONS[name]
