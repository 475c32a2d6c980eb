"""Browser tasks: pages to be opened, and their results."""

from __future__ import annotations

from aiohttp import web
from aiohttp.helpers import ETag

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.models import TaskStatus
from operator_svc.protocol.browser import (
    DEFAULT_WAIT,
    MAX_WAIT,
    TASK_PATH,
    BrowserTaskBody,
    BrowserTaskView,
    task_of,
)
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples, schema_rules
from operator_svc.rest.request_context import CALL, caller_of
from operator_svc.rest.routing import (
    CURSOR,
    OF_SESSION,
    OF_USER,
    PNG,
    PREFER,
    Answer,
    Parameter,
    RouteTable,
    json,
    limit,
)

SANDBOX = "sandbox"
"""Content-Security-Policy of a picture, should a browser show it as a page (api.md)."""


route = RouteTable("browser")


@route(
    "POST",
    "/operator/browser/task",
    parameters=(PREFER,),
    body=BrowserTaskBody,
    example=BrowserTaskBody(url="https://example.org/", session_id="s-1", wait=10),
    rules=schema_rules.BROWSER_TASK,
    answers={
        200: json(examples.TASK, "The task, ended.", "Preference-Applied"),
        202: json(examples.TASK, "The task has not ended yet.", "Location", "Preference-Applied"),
    },
    errors=(
        ErrorCode.SESSION_NOT_FOUND,
        ErrorCode.CONFLICT,
        ErrorCode.BROWSER_UNAVAILABLE,
        ErrorCode.DRAINING,
    ),
)
async def add_browser_task(request: web.Request) -> web.StreamResponse:
    """Open a page in the browser.

    The task is stored at once, and runs when its turn comes. ``Prefer`` overrides ``wait``.
    """
    body = await requests.body(request, BrowserTaskBody)
    source = "web" if request[CALL].origin is not None else "api"
    caller = caller_of(request)
    services = request.app[SERVICES]
    tasks = services.browser_tasks
    preference = requests.preference(request)
    wait = DEFAULT_WAIT if body.wait is None else body.wait
    if preference.wait is not None:
        wait = min(preference.wait, MAX_WAIT)
    task_id = await tasks.add(caller, task_of(body, source=source))
    async with services.clients.calling(caller, services.tokens):
        view = await tasks.wait(caller, task_id, wait)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    if _unfinished(view):
        headers["Location"] = responses.own_path(request, TASK_PATH + task_id)
        return responses.json(view, status=202, headers=headers)
    return responses.json(view, headers=headers)


def _unfinished(view: BrowserTaskView) -> bool:
    return view.status in (TaskStatus.PENDING, TaskStatus.RUNNING)


@route(
    "GET",
    "/operator/browser/task/{task_id}",
    answers={200: json(examples.TASK, "The task.")},
)
async def get_browser_task(request: web.Request) -> web.StreamResponse:
    """Get a browser task in its current state."""
    tasks, task_id = request.app[SERVICES].browser_tasks, requests.task_id(request)
    return responses.json(await tasks.get(caller_of(request), task_id))


@route(
    "POST",
    "/operator/browser/task/{task_id}/cancel",
    answers={200: json(examples.TASK, "The task; one that had ended is unchanged.")},
)
async def cancel_browser_task(request: web.Request) -> web.StreamResponse:
    """Stop a browser task, whichever process runs it."""
    tasks, task_id = request.app[SERVICES].browser_tasks, requests.task_id(request)
    return responses.json(await tasks.cancel(caller_of(request), task_id))


@route(
    "GET",
    "/operator/browser/tasks",
    parameters=(
        OF_SESSION,
        OF_USER,
        Parameter("status", TaskStatus, "Only tasks in this state."),
        limit(50, 200),
        CURSOR,
    ),
    answers={200: json(examples.TASKS, "A page of tasks.")},
)
async def list_browser_tasks(request: web.Request) -> web.StreamResponse:
    """List browser tasks, newest first."""
    tasks = request.app[SERVICES].browser_tasks
    return responses.json(await tasks.page(caller_of(request), **requests.query(request)))


@route(
    "GET",
    "/operator/browser/task/{task_id}/screenshot",
    parameters=(
        Parameter(
            "If-None-Match", str, "The `ETag` of the screenshot that the client has.", "header"
        ),
    ),
    answers={
        200: Answer(meaning="The screenshot.", content={PNG: bytes}, headers=("ETag",)),
        304: Answer(meaning="The client has this screenshot already.", headers=("ETag",)),
    },
)
async def get_screenshot(request: web.Request) -> web.StreamResponse:
    """Get the screenshot of a page.

    404 if the task has no screenshot, or none yet.
    """
    caller, task_id = caller_of(request), requests.task_id(request)
    service = request.app[SERVICES].browser_tasks
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": SANDBOX,
    }
    known = request.if_none_match
    if known is not None:
        etag = await service.screenshot_etag(caller, task_id)
        if known == (ETag("*"),) or any(tag.value == etag for tag in known):
            return web.Response(status=304, headers={**headers, "ETag": f'"{etag}"'})
    picture = await service.screenshot(caller, task_id)
    headers["ETag"] = f'"{picture.screenshot_etag}"'
    return web.Response(body=picture.screenshot, content_type="image/png", headers=headers)
