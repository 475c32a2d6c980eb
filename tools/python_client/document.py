"""The calls that ``/openapi.json`` describes."""

from __future__ import annotations

from typing import NamedTuple

from tools.python_client.text import Schema, name_of, snake

UNUSED_HEADERS = ("If-None-Match", "Last-Event-ID")
"""Headers of browsers' caches and event sources; the client's parameters say the same."""
JSON = "application/json"


class Published(NamedTuple):
    """A call of the document."""

    method: str
    path: str
    operation: Schema

    @property
    def name(self) -> str:
        """The name of the client's method."""
        return snake(self.operation["operationId"])

    @property
    def answers(self) -> dict[str, dict[str, Schema]]:
        """The content of each good answer, by its status and its type."""
        responses = self.operation["responses"]
        return {
            status: {kind: one.get("schema", {}) for kind, one in answer.get("content", {}).items()}
            for status, answer in responses.items()
            if status < "300"
        }

    @property
    def shown(self) -> list[Schema]:
        """The schemas that the client's types stand for."""
        body = self.operation.get("requestBody", {})
        parameters = [one["schema"] for one in self.operation.get("parameters", ())]
        return [body, *parameters, *(content for content in self.answers.values())]

    def parameters(self, place: str) -> dict[str, Schema]:
        """The parameters of one place, by name."""
        return {
            one["name"]: one
            for one in self.operation.get("parameters", ())
            if one["in"] == place and one["name"] not in UNUSED_HEADERS
        }


def operations(api: Schema) -> list[Published]:
    """The calls of the document; OPTIONS are browsers' own."""
    return [
        Published(method.upper(), path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
        if method != "options"
    ]


def body_of(call: Published) -> str | None:
    """The name of the struct of a call's body."""
    body = call.operation.get("requestBody")
    return None if body is None else name_of(body["content"][JSON]["schema"]["$ref"])
