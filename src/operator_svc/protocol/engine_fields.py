"""Fields of OpenAI's protocols that travel to the engine with a chat, and how they are kept."""

from __future__ import annotations

from typing import Any

import msgspec

from operator_svc.models import Json

MAX_METADATA_BYTES = 64 * 1024
"""Maximum size of a chat's ``metadata`` as JSON: the history and each event repeat it."""


class EngineFields(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of OpenAI's protocols that travel to the engine, as its chat completions have
    them.

    ``content`` are the message's parts, where it has more than text. ``messages`` is the whole
    conversation, where the client brings it: it takes the place of the history and the message.
    ``input`` follows the history and takes the place of the message alone; ``before`` are the
    messages in between, up to the tool calls that it answers. ``instructions`` are the system
    message before all. ``response`` are the fields of a response as they came, from
    which its ``parameters`` are made. ``reasoning`` is an item of that kind as it came, which no
    engine is sent.
    """

    parameters: dict[str, Json] = {}
    content: list[Json] | None = None
    messages: list[dict[str, Json]] | None = None
    before: list[dict[str, Json]] | None = None
    input: list[dict[str, Json]] | None = None
    instructions: str | None = None
    max_tokens: int | None = None
    response: dict[str, Json] | None = None
    reasoning: dict[str, Json] | None = None

    def after(self, said: list[dict[str, Json]], question: str) -> EngineFields:
        """The same, where a user's message and what followed it were ``said`` before the message
        and have no answer."""
        if self.before is not None:
            return msgspec.structs.replace(self, before=joined_messages(said, self.before))
        if self.input is not None or len(said) > 1:
            asked = self.input or [{"role": "user", "content": self.content or question}]
            joined = joined_messages(said, asked)
            return msgspec.structs.replace(self, content=None, input=joined)
        content = said[0]["content"]
        if self.content is not None or not isinstance(content, str):
            parts = said_before(content, self.content or question)
            return msgspec.structs.replace(self, content=parts)
        return self

    def kept(self) -> dict[str, Json]:
        """The fields as the message's metadata keep them: the largest are left out, and named in
        ``left_out``, until the rest has at most ``MAX_METADATA_BYTES``."""
        fields: dict[str, Json] = msgspec.to_builtins(self)
        if self.response is not None:
            fields.pop("parameters", None)
        left_out = []
        for name in (
            "messages",
            "before",
            "content",
            "input",
            "parameters",
            "response",
            "instructions",
            "reasoning",
        ):
            if name in fields and len(msgspec.json.encode(fields)) > MAX_METADATA_BYTES:
                del fields[name]
                left_out.append(name)
        return {**fields, "left_out": left_out} if left_out else fields


def said_before(first: str | list[Json], second: str | list[Json]) -> Any:
    """The content of two messages as one: text, or parts where one of them has any."""
    if isinstance(first, str) and isinstance(second, str):
        return "\n\n".join(filter(None, (first, second)))
    parts: list[Json] = []
    for content in (first, second):
        text = [{"type": "text", "text": content}] if content else []
        parts += text if isinstance(content, str) else content
    return parts


def joined_messages(
    said: list[dict[str, Json]], then: list[dict[str, Json]]
) -> list[dict[str, Json]]:
    """The messages ``then`` after a user's that has no answer, and what followed that. The two
    messages of the user are one, because many templates want the roles to alternate."""
    place = next((i for i, one in enumerate(then) if one["role"] not in SYSTEM_ROLES), len(then))
    if place == len(then) or then[place]["role"] != "user":
        return [*then[:place], *said, *then[place:]]
    both = said_before(said[0]["content"], then[place]["content"])
    return [*then[:place], {**then[place], "content": both}, *said[1:], *then[place + 1 :]]


SYSTEM_ROLES = frozenset({"system", "developer"})
NO_ENGINE_FIELDS = EngineFields()
ENGINE_FIELDS = "openai"
"""The field of a message's metadata that keeps its ``EngineFields``, for further replies to it."""
