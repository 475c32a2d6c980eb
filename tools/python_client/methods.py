"""The module of calls, and their table."""

from __future__ import annotations

import re
from typing import NamedTuple

from tools.python_client.document import JSON, Published, body_of, operations
from tools.python_client.text import WRITTEN, Schema, annotation, docstring, snake

BY_HAND = ("getMe",)
"""Calls that the client has by hand, because they are tried once."""
KEY = "Idempotency-Key"
STREAM, LINES = "text/event-stream", "application/x-ndjson"
MEDIA = {
    LINES: "AsyncIterator[Any]",
    "image/png": "bytes",
    "text/plain": "str",
    "text/html": "str",
}
HARMLESS = ("/cancel", "/stop")
"""Ends of paths whose calls may be made twice."""


class Method(NamedTuple):
    """One method of the client: a call, for its answer or for its stream."""

    call: Published
    streams: bool

    @property
    def name(self) -> str:
        """Its name."""
        both = self.streams and JSON in self.call.answers["200"]
        return f"{self.call.name}_stream" if both else self.call.name

    @property
    def gives(self) -> dict[str, str]:
        """The type of the answer by its status."""
        if self.streams:
            return {"200": "AsyncIterator[ServerSentEvent]"}
        given = {}
        for status, content in self.call.answers.items():
            for media, schema in content.items() or [("", {"type": "null"})]:
                kind = annotation(schema) if media in ("", JSON) else MEDIA.get(media)
                if kind is not None:
                    given[status] = kind
        return given

    @property
    def result(self) -> str:
        """The type of the answer."""
        return " | ".join(dict.fromkeys(self.gives.values()))

    def code(self) -> str:
        """Its code."""
        again = "async " if self.result.startswith("Async") is False else ""
        head = f"    {again}def {self.name}(\n        self, {self._arguments()}\n    )"
        text = f"{self.call.operation['summary']}.\n\n{self.call.operation.get('description', '')}"
        notes = [f"`{snake(name)}`: {one['description']}" for name, one in self._described()]
        body = docstring("\n\n".join([text.strip("\n"), "\n".join(notes)]).strip(), " " * 8)
        first = ""
        if len(set(self.gives.values())) > 1:
            plain = head.replace("prefer: str | None = None", "prefer: None = None")
            given = head.replace("prefer: str | None = None", "prefer: str")
            first = (
                f"    @overload\n{plain} -> {self.gives['200']}: ...\n\n"
                f"    @overload\n{given} -> {self.result}: ...\n\n"
            )
        return f"{first}{head} -> {self.result}:\n{body}\n        {self._work()}\n"

    def _described(self) -> list[tuple[str, Schema]]:
        return [*self._query().items(), *self.call.parameters("header").items()]

    def _query(self) -> dict[str, Schema]:
        found = self.call.parameters("query")
        return {name: one for name, one in found.items() if name != "stream"}

    def _arguments(self) -> str:
        path = [
            f"{name}: {annotation(one['schema'])}"
            for name, one in self.call.parameters("path").items()
        ]
        if (body := body_of(self.call)) is not None:
            path.append(f"body: {body} | Mapping[str, Any]")
        more = [
            f"{snake(name)}: {annotation(one['schema'])} | None = None"
            for name, one in self._described()
        ]
        return ", ".join([*path, *(["*", *more] if more else [])])

    def _work(self) -> str:
        media, call = self._media(), self._call()
        if self.streams:
            return f"return self._connection.events({call})"
        if media == LINES:
            return f"return self._connection.records({call})"
        if self.result == "None":
            return f"await self._connection.content({call})"
        if self.result == "bytes":
            return f"return await self._connection.content({call})"
        if media.startswith("text/"):
            return f"return (await self._connection.content({call})).decode()"
        kinds = dict(self.gives)
        plain = kinds.pop("200", None) or kinds.popitem()[1]
        if set(kinds.values()) - {plain}:
            other = ", ".join(f"{status}: {kind}" for status, kind in kinds.items())
            return (
                f"return await self._connection.call_either({{{other}}}, {call}, otherwise={plain})"
            )
        return f"return await self._connection.call({plain}, {call})"

    def _media(self) -> str:
        """The type of the answer; that of one without a body is empty."""
        media = next(iter(self.call.answers.get("200", {})), "")
        return media if media in MEDIA or self.result == "None" else JSON

    def _call(self) -> str:
        path = re.sub(r"\{(\w+)\}", r"{segment(\1)}", self.call.path)
        parts = [f"{self.call.method!r}", f"{'f' if '{' in path else ''}{path!r}"]
        query = [f"{name!r}: {snake(name)}" for name in self._query()]
        if self.streams and "stream" in self.call.parameters("query"):
            query.append("'stream': True")
        headers = [f"{name!r}: {snake(name)}" for name in self.call.parameters("header")]
        keyed = KEY in self.call.parameters("header")
        shown = ", ".join(headers).replace(snake(KEY), f"{snake(KEY)} or new_key()")
        parts += [f"query={{{', '.join(query)}}}"] if query else []
        parts += [f"headers={{{shown}}}"] if headers else []
        if body_of(self.call) is not None:
            parts.append("body=streamed(body)" if self._streams_by_body() else "body=body")
        if self.call.method == "POST" and not (keyed or self.call.path.endswith(HARMLESS)):
            parts.append("again=False")
        if not self.streams and (media := self._media()) != JSON:
            parts.append(f"media={media!r}")
        return f"Call({', '.join(parts)})"

    def _streams_by_body(self) -> bool:
        return self.streams and self.call.path != "/ai/chat"


def methods(api: Schema) -> list[Method]:
    """The methods of the client."""
    found = []
    for call in operations(api):
        media = {kind for content in call.answers.values() for kind in content}
        if media != {STREAM}:
            found.append(Method(call, streams=False))
        if STREAM in media:
            found.append(Method(call, streams=True))
    return found


def calls(api: Schema) -> str:
    """The module of the calls."""
    made = [one for one in methods(api) if one.call.operation["operationId"] not in BY_HAND]
    code = "\n".join(one.code() for one in made)
    structs = sorted(
        name for name in set(re.findall(r"\b[A-Z]\w+", code)) & api["components"]["schemas"].keys()
    )
    return f'''"""The calls of Operator over HTTP.

{WRITTEN}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, overload

from operator_client.connection import Call, ClientConnection, new_key, segment, streamed
from operator_client.event_stream import ServerSentEvent
from operator_client.models import ({", ".join(structs)})


class Calls:
    """All calls of ``/openapi.json``, by the names of their operations. They raise ClientError."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

{code}'''


def table(api: Schema) -> str:
    """The table of all calls, for the page."""
    rows = ["| call | route | gives |", "| --- | --- | --- |"]
    for one in methods(api):
        route = f"{one.call.method} {one.call.path}"
        gives = one.result.replace("|", "or")
        rows.append(f"| `{one.name}` | `{route}` | `{gives}` |")
    return "\n".join(rows) + "\n"
