"""Frozen dataclasses to plain JSON and back, strictly: an unknown key, a missing one or a wrong type is an error that names it.

One decoder is compiled per class and cached, because a report may read a hundred thousand records.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, Union

__all__ = ["DecodeError", "decode", "encode"]

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]


class DecodeError(ValueError):
    """Data that does not have the declared form; the message names the key."""


@cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _as_dict(value: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is not stored")
    return {name: getattr(value, name) for name in _names(type(value))}


# json's own C code walks the value and asks only for what it does not know: ten times as fast as walking in Python.
_ENCODER = json.JSONEncoder(default=_as_dict, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def encode(value: Any) -> str:
    """A dataclass (or a container of them) as one line of JSON. Raises ValueError for floats that are not finite."""
    try:
        return _ENCODER.encode(value)
    except ValueError as error:
        raise ValueError(f"a value that is not finite is stored as null, with a status that says why ({error})") from None


def decode(cls: type[T], data: Any, where: str = "") -> T:
    """`data` as `cls`. Raises DecodeError."""
    decoder: Decoder = _decoder(cls)  # type: ignore[arg-type]
    return typing.cast(T, decoder(data, where))


def _scalar(kind: type, name: str) -> Decoder:
    def read(data: Any, where: str) -> Any:
        if type(data) is kind:
            return data
        raise DecodeError(f"{where or 'value'} is {_show(data)}, not {name}")

    return read


def _read_float(data: Any, where: str) -> float:
    if type(data) is float or type(data) is int:
        try:
            value = float(data)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
    raise DecodeError(f"{where or 'value'} is {_show(data)}, not a finite number")


def _show(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 40 else text[:37] + "..."


def _optional(inner: Decoder) -> Decoder:
    return lambda data, where: None if data is None else inner(data, where)


def _tuple(inner: Decoder) -> Decoder:
    def read(data: Any, where: str) -> tuple[Any, ...]:
        if type(data) is not list:
            raise DecodeError(f"{where or 'value'} is {_show(data)}, not a list")
        return tuple([inner(item, where) for item in data])

    return read


def _mapping(inner: Decoder) -> Decoder:
    def read(data: Any, where: str) -> dict[str, Any]:
        if type(data) is not dict:
            raise DecodeError(f"{where or 'value'} is {_show(data)}, not a table")
        return {str(key): inner(item, f"{where}.{key}") for key, item in data.items()}

    return read


def _dataclass(cls: Any) -> Decoder:
    hints = typing.get_type_hints(cls)
    fields = [(f.name, _decoder(hints[f.name])) for f in dataclasses.fields(cls)]
    required = {
        f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    known = {name for name, _ in fields}

    def read(data: Any, where: str) -> Any:
        if type(data) is not dict:
            raise DecodeError(f"{where or cls.__name__} is {_show(data)}, not a table")
        prefix = where + "." if where else ""
        if unknown := data.keys() - known:
            raise DecodeError(f"{prefix}{_show(sorted(map(str, unknown))[0])[1:-1]} is not known")
        if missing := required - data.keys():
            raise DecodeError(f"{prefix}{min(missing)} is missing")
        try:
            return cls(**{name: read_field(data[name], prefix + name) for name, read_field in fields if name in data})
        except DecodeError:
            raise
        except ValueError as error:
            raise DecodeError(f"{where or cls.__name__}: {error}") from None

    return read


@cache
def _decoder(kind: Any) -> Decoder:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"only X | None is a union of the schema, not {kind}")
        return _optional(_decoder(inner[0]))
    if origin is tuple:
        return _tuple(_decoder(arguments[0]))
    if origin is dict:
        return _mapping(_decoder(arguments[1]))
    if kind is Any:
        return lambda data, where: data
    if kind is float:
        return _read_float
    if kind is int:
        return _scalar(int, "a whole number")
    if kind is str:
        return _scalar(str, "text")
    if kind is bool:
        return _scalar(bool, "true or false")
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"the schema has no decoder for {kind}")
