"""The module of structs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tools.python_client.document import operations
from tools.python_client.text import WRITTEN, Schema, annotation, docstring, name_of, snake

FRAMES = ("Delta", "Resync", "Snapshot")


def refs_in(value: Any) -> Iterator[str]:
    """The names of the schemas that ``value`` refers to."""
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str) and "/schemas/" in ref:
            yield name_of(ref)
        for child in value.values():
            yield from refs_in(child)
    elif isinstance(value, list):
        for child in value:
            yield from refs_in(child)


def reached(schemas: dict[str, Schema], roots: Iterable[str]) -> list[str]:
    """The names of these schemas and of all that they are made of."""
    waiting, seen = list(roots), set[str]()
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += refs_in(schemas[name])
    return sorted(seen)


def struct(name: str, schema: Schema) -> str:
    """The code of a struct, or of a closed set."""
    if "enum" in schema:
        values = ", ".join(f"`{value}`" for value in schema["enum"])
        note = docstring(f"One of {values}; a newer Operator may have more.", "")
        return f"{name}: TypeAlias = str\n{note}\n"
    text = docstring(schema.get("description", f"The fields of {name}."))
    lines = [
        f"class {name}(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):\n{text}\n"
    ]
    for key, field in schema["properties"].items():
        if key == "type" and len(field.get("enum", ())) == 1:
            continue  # the kind of frame, which the class says
        kind, default = annotation(field), field.get("default")
        if key not in schema.get("required", ()) and default is None and "None" not in kind:
            kind += "" if kind == "Any" else " | None"
        written = "" if key in schema.get("required", ()) else f" = {default!r}"
        if isinstance(default, dict):
            given = ", ".join(f"{name}={value!r}" for name, value in default.items())
            written = f" = msgspec.field(default_factory=lambda: {kind}({given}))"
        if snake(key) != key:
            more = f"default={default!r}, " if written else ""
            written = f" = msgspec.field({more}name={key!r})"
        lines.append(f"    {snake(key)}: {kind}{written}")
        if "description" in field:
            lines.append(docstring(field["description"]))
    return "\n".join(lines) + "\n"


def models(api: Schema, frames: Schema) -> str:
    """The module of all structs."""
    schemas = api["components"]["schemas"] | frames["components"]["schemas"]
    messages = frames["components"]["messages"]
    events = {}
    for name, message in messages.items():
        payload = frames["components"]["schemas"][name_of(message["payload"]["$ref"])]
        if message["name"] == "event" and "const" in payload["properties"]["event"]:
            events[name] = name_of(payload["properties"]["data"]["$ref"])
    wanted = refs_in([operation.shown for operation in operations(api)])
    codes = frames["x-close-codes"]
    table = "\n".join(f"    {name!r}: {kind}," for name, kind in events.items())
    reasons = "\n".join(f"    {code}: {reason!r}," for code, reason in codes.items())
    union = " | ".join(sorted(set(events.values())))
    return "\n\n".join(
        [
            f'"""The structs of answers, bodies, frames and events.\n\n{WRITTEN}\n"""',
            "from __future__ import annotations",
            "from datetime import datetime\nfrom typing import Any, TypeAlias\n\nimport msgspec",
            *(
                struct(name, schemas[name])
                for name in reached(schemas, [*wanted, *FRAMES, *events.values()])
            ),
            f"EventData: TypeAlias = {union}",
            f"EVENT_DATA: dict[str, type[EventData]] = {{\n{table}\n}}",
            f"CLOSE_REASONS = {{\n{reasons}\n}}",
        ]
    )
