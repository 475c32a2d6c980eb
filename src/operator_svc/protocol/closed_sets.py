"""Closed sets of values, by the names that generated clients give them.

The fields are plain text to whoever decodes them: a client of this version reads the answers of a
later one, which may know more values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta

from operator_svc.errors import ErrorCode
from operator_svc.models import ReplyStatus, Role, TaskStatus, ToolCallStatus


def named(name: str, values: Iterable[str]) -> Meta:
    """The annotation of a field that has one of ``values``."""
    schema: dict[str, Any] = {"enum": [str(value) for value in values]}
    return Meta(title=name, extra_json_schema=schema)


MessageRole = Annotated[str, named("MessageRole", Role)]
MessageStatus = Annotated[str, named("MessageStatus", ReplyStatus)]
BrowserTaskStatus = Annotated[str, named("TaskStatus", TaskStatus)]
RecordedStatus = Annotated[str, named("ToolCallStatus", ToolCallStatus)]
Code = Annotated[str, named("ErrorCode", ErrorCode)]
CallerRole = Annotated[str, named("CallerRole", ("client", "operator"))]
HealthStatus = Annotated[str, named("HealthStatus", ("ok", "degraded", "draining"))]
