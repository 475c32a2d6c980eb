"""Names, types and docstrings of what is written."""

from __future__ import annotations

import keyword
import re
import textwrap
from typing import Any

WRITTEN = "Written by ``make docs`` from the published documents; edits are lost."
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
Schema = dict[str, Any]


def snake(name: str) -> str:
    """A name of JSON as one of Python."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).lower()
    return f"{words}_" if keyword.iskeyword(words) else words


def name_of(ref: str) -> str:
    """The name of a schema that is referred to."""
    return ref.rpartition("/")[2]


def annotation(schema: Schema) -> str:
    """The type of a schema's values."""
    if "$ref" in schema:
        return name_of(schema["$ref"])
    if "anyOf" in schema:
        parts = list(dict.fromkeys(annotation(part) for part in schema["anyOf"]))
        return "Any" if "Any" in parts else " | ".join(parts)
    if "enum" in schema or "const" in schema:
        return "str"
    match schema.get("type"):
        case "array":
            return f"list[{annotation(schema['items'])}]"
        case "object":
            inner = schema["additionalProperties"]
            return f"dict[str, {'Any' if inner is True else annotation(inner)}]"
        case "string" if schema.get("format") == "date-time":
            return "datetime"
        case None:
            return "Any"
        case kind:
            return PLAIN[kind]


def docstring(text: str, indent: str = "    ") -> str:
    """A docstring of these paragraphs."""
    text = text.replace("`", "``").rstrip(".") + "."
    lines = [textwrap.wrap(part, 85) for part in text.split("\n")]
    body = "\n".join("\n".join(part) for part in lines)
    end = "\n" if "\n" in body else ""
    return textwrap.indent(f'"""{body}{end}"""', indent)
