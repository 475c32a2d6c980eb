"""The pages about the documents and the errors, and the names of calls."""

from __future__ import annotations

import re
from pathlib import Path

from operator_svc import rest
from operator_svc.errors import ErrorCode
from operator_svc.rest.docs import openapi
from tests.rest.rest_service import Service

PATHS = openapi.document([operation for table in rest.TABLES for operation in table])["paths"]
CALLS = [call for methods in PATHS.values() for call in methods.values()]
VERB = "add|apply|cancel|chat|create|delete|export|get|list|resume|revert|send|stop|update"
NOUN = re.compile("(A|All|An|The) ")


def test_ids_of_calls_are_unique_and_begin_with_a_verb() -> None:
    ids = [call["operationId"] for call in CALLS]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(f"({VERB})([A-Z][a-z]*)*", name)] == []
    assert {"chat", "getSession", "cancelReply"} <= set(ids)


def test_summaries_of_calls_begin_with_a_verb() -> None:
    assert [call["summary"] for call in CALLS if NOUN.match(call["summary"])] == []


def test_the_page_about_errors_lists_all_of_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    table = text.partition("<!-- errors -->")[2].partition("<!-- /errors -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{code}` | {code.status} | {code.summary} | {'yes' if code.retryable else 'no'} |"
        for code in ErrorCode
    ]


async def test_errors_have_pages(service: Service) -> None:
    problem = await (await service.get("/operator/session/none")).json()
    response = await service.get(problem["type"], token=None)
    assert await response.json() == {
        "error": "session_not_found",
        "status": 404,
        "title": problem["title"],
        "retryable": False,
    }
    unknown = await service.get("/errors/nonsense", token=None)
    assert (unknown.status, (await unknown.json())["error"]) == (404, "not_found")
