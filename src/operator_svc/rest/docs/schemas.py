"""JSON Schema of structs, in a form that generators of clients understand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec.inspect import (
    DateTimeType,
    Field,
    StructType,
    Type,
    UnionType,
    multi_type_info,
    type_info,
)

from operator_svc.rest.docs import examples
from operator_svc.rest.docs.field_texts import field_texts

REF = "#/components/schemas/{name}"


def schemas_of(
    shown: Mapping[type[msgspec.Struct], msgspec.Struct | None],
) -> dict[str, Any]:
    """The schemas of these structs, with their examples, and of all that they are made of, by
    name."""
    _, components = msgspec.json.schema_components(list(shown), ref_template=REF)
    for struct in _structs(shown):
        properties = components[struct.__name__]["properties"]
        for name, text in field_texts(struct).items():
            properties[name] = {"description": text} | properties[name]
        info = type_info(struct)
        assert isinstance(info, StructType)
        if info.tag_field is not None:
            tag = properties[info.tag_field]
            properties[info.tag_field] = {"description": "The kind of frame."} | tag
        for field in info.fields:
            _say_time(properties[field.encode_name], field.type)
    schemas: dict[str, Any] = _tidy(components)
    for struct, example in shown.items():
        if example is not None:
            schemas[struct.__name__]["examples"] = [examples.shown(example)]
    return dict(sorted(schemas.items()))


def _say_time(schema: dict[str, Any], kind: Type) -> None:
    """Give the schema of a time its format, which msgspec says of those alone that must have a
    zone; all are written in UTC."""
    if isinstance(kind, DateTimeType):
        schema["format"] = "date-time"
    elif isinstance(kind, UnionType) and any(isinstance(one, DateTimeType) for one in kind.types):
        for branch in schema["anyOf"]:
            if branch["type"] == "string":
                branch["format"] = "date-time"


def _structs(kinds: Iterable[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    """These structs and all that they are made of."""
    return {struct for info in multi_type_info(kinds) for struct in _structs_in(info)}


def _structs_in(info: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(info, StructType):
        yield info.cls
    if isinstance(info, Type | Field):
        for name in info.__struct_fields__:
            yield from _structs_in(getattr(info, name))
    elif isinstance(info, tuple):
        for part in info:
            yield from _structs_in(part)


def schema_of(kind: Any) -> dict[str, Any]:
    """The schema of a parameter's or a content's type."""
    if kind is bytes:
        return {"type": "string", "contentMediaType": "application/octet-stream"}
    if get_origin(kind) is list:
        return {"type": "array", "items": schema_of(*get_args(kind))}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {"$ref": REF.format(name=kind.__name__)}
    schema: dict[str, Any] = _tidy(msgspec.json.schema(kind))
    if "$ref" in schema:  # an enumeration
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _tidy(value: Any) -> Any:
    """Add what JSON Schema makes optional and generators need: the items of an array, the members
    of an object. Omit a default of null, which is not a value of the type.

    Docstrings become text; and ``$``, which means the very end in JSON Schema, stands alone for it.
    """
    if isinstance(value, list | tuple):
        return [_tidy(child) for child in value]
    if not isinstance(value, dict):
        return value
    tidied = {key: _tidy(child) for key, child in value.items()}
    if tidied.get("type") == "array":
        tidied.setdefault("items", {})
    if tidied.get("type") == "object" and "properties" not in tidied:
        tidied.setdefault("additionalProperties", True)
    for name in [name for name, empty in _SAY_NOTHING if tidied.get(name, 0) == empty]:
        del tidied[name]
    if isinstance(text := tidied.get("description"), str):
        tidied["description"] = re.sub(r"\s+", " ", text).replace("``", "`")
    if isinstance(pattern := tidied.get("pattern"), str):
        tidied["pattern"] = pattern.replace(r"(?!\n)$", "$")
    return tidied


_SAY_NOTHING: tuple[tuple[str, Any], ...] = (("default", None), ("required", []))


def name_enums(document: dict[str, Any]) -> None:
    """Move each enumeration that has a title to the document's schemas, under that name."""
    schemas = document["components"]["schemas"]
    for inner in list(_dicts(document)):
        if not {"title", "enum"} <= inner.keys() or inner is schemas.get(inner["title"]):
            continue
        name = inner.pop("title")
        enum = {"title": name, "type": "string", "enum": sorted(inner.pop("enum"))}
        inner.pop("type", None)
        assert schemas.setdefault(name, enum) == enum, f"two enumerations are named {name}"
        inner["$ref"] = REF.format(name=name)
    document["components"]["schemas"] = dict(sorted(schemas.items()))


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _dicts(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _dicts(child)
