"""Objects to JSON and back without running code.

An object is written as `{"class_name": ..., "config": ...}`, where `config` holds the arguments of
its constructor. Reading instantiates registered classes and nothing else: a file names a class, it
never brings one.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

KINDS = (
    "loss",
    "metric",
    "initializer",
    "regularizer",
    "constraint",
    "schedule",
    "optimizer",
    "layer",
    "transform",
)

_CLASSES: dict[str, dict[str, type[Configurable]]] = {kind: {} for kind in KINDS}
# Each name that a user may pass instead of an object, with the arguments that the name stands for.
_NAMES: dict[str, dict[str, tuple[type[Configurable], dict[str, Any]]]] = {k: {} for k in KINDS}

_NESTED_KEYS = {"kind", "class_name", "config"}
_POSITIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)

C = TypeVar("C", bound="type[Configurable]")
Self = TypeVar("Self", bound="Configurable")


class Configurable:
    """An object described entirely by the arguments of its constructor.

    Every argument `x` of `__init__` is kept as the attribute `x`, unchanged in meaning. The base
    class of a family sets `kind`; user classes derived from it are accepted wherever that family
    is, and can be saved once they are registered.
    """

    kind: ClassVar[str]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as JSON values.

        Returns:
            dict: None, bool, int, float, str, lists and dicts of these; a nested `Configurable` is
            `{"kind": ..., "class_name": ..., "config": ...}`.

        Raises:
            TypeError: an argument has no JSON form.
        """
        return {
            name: encode(getattr(self, name), f"{type(self).__name__}.{name}")
            for name in parameters(type(self))
        }

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """Constructs an object from what `get_config` returned.

        Raises:
            ValueError: an argument is unknown, missing or refused by the constructor.
        """
        known = parameters(cls)  # type: ignore[arg-type]
        unknown = sorted(str(key) for key in config if key not in known)
        if unknown:
            raise ValueError(
                f"config of {cls.__name__} has unknown keys {unknown}; known: {list(known)}"
            )
        missing = [name for name, required in known.items() if required and name not in config]
        if missing:
            raise ValueError(f"config of {cls.__name__} lacks the keys {missing}")
        arguments = {name: decode(value) for name, value in config.items()}
        try:
            return cls(**arguments)
        except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise ValueError(f"config of {cls.__name__} does not fit it: {error}") from error


def register(kind: str, *aliases: str) -> Callable[[C], C]:
    """Class decorator: makes a class loadable and its names usable in place of an instance.

    Args:
        kind: one of `KINDS`.
        aliases: further names. The class name, its snake_case form and its lower-case form are
            registered without being listed.

    Raises:
        ValueError: the kind is unknown, or the class name is taken by another class.
    """

    def decorate(cls: C) -> C:
        classes = _classes(kind)
        name = cls.__name__
        if name in classes and classes[name].__module__ != cls.__module__:
            raise ValueError(f"{kind} class name {name!r} is taken by {classes[name]!r}")
        cls.kind = kind
        classes[name] = cls
        for alias_name in (name, snake_case(name), name.lower(), *aliases):
            alias(kind, alias_name, cls)
        return cls

    return decorate


def alias(kind: str, name: str, cls: type[Configurable], **config: Any) -> None:
    """Lets the string `name` stand for `cls(**config)`."""
    _NAMES[kind][name] = (cls, config)


def to_config(obj: Configurable) -> dict[str, Any]:
    """Returns `{"class_name": ..., "config": obj.get_config()}`.

    Raises:
        TypeError: `obj` is not a Configurable.
        ValueError: its class is not registered, so that it could not be loaded again.
    """
    if not isinstance(obj, Configurable):
        raise TypeError(f"expected a configurable object, received {type(obj).__name__}")
    cls = type(obj)
    if _classes(cls.kind).get(cls.__name__) is not cls:
        raise ValueError(
            f"class {cls.__name__} is not registered and cannot be saved; "
            f"decorate it with @register({cls.kind!r})"
        )
    return {"class_name": cls.__name__, "config": obj.get_config()}


def from_config(kind: str, config: Any) -> Any:
    """Constructs the object that `to_config` described.

    Args:
        kind: one of `KINDS`: only classes registered under it are instantiated.
        config: `{"class_name": str, "config": dict}`.

    Raises:
        ValueError: `config` is malformed, or names an unknown class.
    """
    classes = _classes(kind)
    if not isinstance(config, dict) or not {"class_name", "config"} <= config.keys():
        raise ValueError(
            f"expected a {kind} as a dict with the keys 'class_name' and 'config', "
            f"received {_shorten(config)}"
        )
    unknown = sorted(str(key) for key in config.keys() - _NESTED_KEYS)
    if unknown:
        raise ValueError(f"{kind} config has unknown keys {unknown}")
    if config.get("kind", kind) != kind:
        raise ValueError(f"expected a {kind}, received kind={_shorten(config['kind'])}")
    name, arguments = config["class_name"], config["config"]
    if not isinstance(name, str) or name not in classes:
        raise ValueError(f"unknown {kind} class_name={_shorten(name)}; known: {sorted(classes)}")
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ValueError(
            f"expected 'config' of {name} as a dict with string keys, "
            f"received {_shorten(arguments)}"
        )
    try:
        return classes[name].from_config(arguments)
    except RecursionError as error:
        raise ValueError(f"config of {name} is nested too deeply") from error


def get(kind: str, identifier: Any) -> Any:
    """Returns the object that a user's argument stands for.

    Args:
        kind: one of `KINDS`.
        identifier: None (returned as it is), an instance of that kind (returned as it is), a name
            ("GlorotUniform", "glorot_uniform", "mse"), or a dict made by `to_config`.

    Raises:
        ValueError: the name or the dict is not understood; the message lists the known names.
        TypeError: `identifier` is of another type.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        names = _names(kind)
        if identifier not in names:
            raise ValueError(f"unknown {kind} {identifier!r}; known: {sorted(names)}")
        cls, config = names[identifier]
        try:
            return cls(**config)
        except TypeError as error:
            raise ValueError(
                f"{kind} {identifier!r} needs arguments, pass an instance: {error}"
            ) from error
    if isinstance(identifier, dict):
        return from_config(kind, identifier)
    if isinstance(identifier, Configurable) and getattr(identifier, "kind", None) == kind:
        return identifier
    received = identifier.__name__ if isinstance(identifier, type) else type(identifier).__name__
    raise TypeError(
        f"expected a {kind} as None, a name, a config dict or an instance, received {received}"
    )


def _classes(kind: str) -> dict[str, type[Configurable]]:
    if kind not in _CLASSES:
        raise ValueError(f"unknown kind {kind!r}; known: {list(KINDS)}")
    return _CLASSES[kind]


def _names(kind: str) -> dict[str, tuple[type[Configurable], dict[str, Any]]]:
    _classes(kind)
    return _NAMES[kind]


def snake_case(name: str) -> str:
    """GlorotUniform -> glorot_uniform, AUC -> auc."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@functools.cache
def parameters(cls: type[Configurable]) -> dict[str, bool]:
    """The constructor's argument names, each with whether it is required.

    A constructor that takes `**kwargs` hands them to the next one in the method resolution order,
    whose arguments are then part of it.
    """
    found: dict[str, bool] = {}
    for owner in cls.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        passes_on = False
        for parameter in parameters:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                passes_on = True
            elif parameter.kind not in _POSITIONAL:
                required = parameter.default is inspect.Parameter.empty
                found.setdefault(parameter.name, required)
        if not passes_on:
            break
    return found


def encode(value: Any, where: str) -> Any:
    """`value` as JSON values; TypeError, naming `where` it stands, if it has no such form."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return encode(value.item(), where)
    if isinstance(value, (list, tuple)):
        return [encode(item, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: encode(item, where) for key, item in value.items()}
    if isinstance(value, Configurable):
        return {"kind": value.kind, **to_config(value)}
    raise TypeError(f"{where} of type {type(value).__name__} has no JSON form")


def decode(value: Any) -> Any:
    """What `encode` encoded; ValueError for an object that cannot be made."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == _NESTED_KEYS:
            kind = value["kind"]
            if not isinstance(kind, str):
                raise ValueError(f"expected 'kind' as a string, received {_shorten(kind)}")
            return from_config(kind, value)
        return {key: decode(item) for key, item in value.items()}
    return value


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
