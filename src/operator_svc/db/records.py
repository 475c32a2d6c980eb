"""Rows into frozen records.

For each record type and dialect a reader is compiled once: a list comprehension that builds the
struct from the row and converts only the columns that the driver does not give as they should be.
"""

from __future__ import annotations

import datetime as dt
import enum
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from operator_svc.db.contract import AsJson, Dialect
from operator_svc.timestamps import utc_text

R = TypeVar("R", bound=msgspec.Struct)

_Kind = Literal["plain", "int", "float", "bool", "time", "enum", "json", "typed_json"]

_JSON_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


class RowReader(NamedTuple, Generic[R]):
    """Turns rows into ``record``: its columns in order, and the compiled conversion."""

    record: type[R]
    columns: tuple[str, ...]
    read: Callable[[Sequence[Any]], list[R]]
    whole: tuple[int, ...]

    def check(self, query: str, columns: tuple[str, ...], row: Sequence[Any] | None) -> None:
        """Raise TypeError where a query does not select the record's fields in their order.

        ``row`` is one of its rows, if there is one: ``sum`` of a bigint is numeric in PostgreSQL,
        so a query that forgets its cast would put a Decimal into an int field.
        """
        if columns != self.columns:
            raise TypeError(
                f"{query} selects {columns}, but {self.record.__name__} has {self.columns}"
            )
        for i in self.whole if row is not None else ():
            if row is not None and row[i] is not None and type(row[i]) is not int:
                raise TypeError(f"{query} gives a {type(row[i]).__name__} as {columns[i]}")


class _Field(NamedTuple):
    kind: _Kind
    type: Any
    optional: bool


@cache
def reader(record: type[R], dialect: Dialect) -> RowReader[R]:
    """The reader of ``record`` for rows as the driver of ``dialect`` gives them."""
    hints = typing.get_type_hints(record, include_extras=True)
    names = record.__struct_fields__
    scope: dict[str, Any] = {"_record": record}
    fields = [_field(hints[name]) for name in names]
    whole = tuple(i for i, field in enumerate(fields) if field.kind == "int")
    values = [_expression(f"c{i}", field, dialect, scope) for i, field in enumerate(fields)]
    if not names:
        return RowReader(record, (), lambda rows: [], ())
    row = ", ".join(f"c{i}" for i in range(len(names)))
    if all(value == f"c{i}" for i, value in enumerate(values)):
        code = "lambda rows: [_record(*row) for row in rows]"
    else:
        code = f"lambda rows: [_record({', '.join(values)}) for {row}, in rows]"
    read = eval(code, scope)  # noqa: S307  the code has only numbered names in it
    return RowReader(record, names, read, whole)


def _field(hint: Any) -> _Field:
    optional = False
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint = hint.__origin__
        elif origin is typing.Union or origin is types.UnionType:
            rest = [arm for arm in typing.get_args(hint) if arm is not type(None)]
            optional = optional or len(rest) < len(typing.get_args(hint))
            if len(rest) > 1:
                return _Field("json", Any, optional)
            hint = rest[0]
        else:
            kind = _kind(hint, origin)
            return _Field(kind, hint, optional or kind == "json")


def _kind(hint: Any, origin: Any) -> _Kind:
    if hint is Any or hint is object or (origin or hint) in (dict, list, Mapping, Sequence):
        arms = [arm for arm in typing.get_args(hint) if arm not in (Any, str)]
        return "typed_json" if arms else "json"
    if origin is Literal:
        return "plain"
    if isinstance(hint, type):
        if issubclass(hint, msgspec.Struct):
            return "typed_json"
        if issubclass(hint, enum.Enum):
            return "enum"
        simple: dict[type, _Kind] = {bool: "bool", int: "int", float: "float", dt.datetime: "time"}
        if kind := simple.get(hint):
            return kind
        if hint in (str, bytes):
            return "plain"
    raise TypeError(f"{hint!r} is not a type that a column can have")


def _expression(name: str, field: _Field, dialect: Dialect, scope: dict[str, Any]) -> str:
    convert = _converter(field, dialect)
    if convert is None:
        return name
    scope[f"_{name}"] = convert
    call = f"_{name}({name})"
    return f"None if {name} is None else {call}" if field.optional else call


def _converter(field: _Field, dialect: Dialect) -> Callable[[Any], Any] | None:
    kind, sqlite = field.kind, dialect == "sqlite"
    if kind == "enum":
        # Enum's own lookup by call costs ten times as much.
        return typing.cast(Callable[[Any], Any], field.type._value2member_map_.__getitem__)
    if kind == "float":
        return float  # an aggregate may be an integer or a Decimal
    if kind == "bool":
        return bool if sqlite else None
    if kind == "time":
        return dt.datetime.fromisoformat if sqlite else None
    if kind == "json":
        return _JSON_DECODER.decode if sqlite else None
    if kind == "typed_json":
        if sqlite:
            return msgspec.json.Decoder(field.type).decode
        return lambda value: msgspec.convert(value, field.type)
    return None


_AS_IT_IS = frozenset({str, int, float, bool, bytes, type(None)})


def sqlite_params(params: dict[str, Any]) -> dict[str, Any]:
    """``params`` with what SQLite has no type for made into text; the dict may be changed."""
    for name, value in params.items():
        if type(value) not in _AS_IT_IS:
            params[name] = _sqlite_value(value)
    return params


def _sqlite_value(value: Any) -> Any:
    if type(value) is dict or type(value) is list:
        return _ENCODER.encode(value).decode()
    if isinstance(value, dt.datetime):
        return utc_text(value)
    if isinstance(value, AsJson):
        return json_text(value.value)
    if isinstance(value, dict | list | tuple | msgspec.Struct):
        return json_text(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"a {type(value).__name__} cannot be a parameter")


def json_text(value: Any) -> str:
    """``value`` as JSON text; raises what msgspec raises for values that JSON has no form for."""
    return _ENCODER.encode(value.value if isinstance(value, AsJson) else value).decode()


json_value: Callable[[str | bytes], Any] = _JSON_DECODER.decode
"""The value that JSON text encodes; called by the driver for each, so it is no function of ours."""
