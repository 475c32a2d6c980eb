"""Browser tasks: pages to be opened, and what came of them."""

from __future__ import annotations

from aiohttp import web
from aiohttp.helpers import ETag

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import TaskStatus
from operator_svc.protocol.browser import (
    DEFAULT_WAIT,
    MAX_WAIT,
    TASK_PATH,
    BrowserTaskBody,
    BrowserTaskView,
    task_of,
)
from operator_svc.protocol.ids import Cursor, SessionId, UserId, is_task_id
from operator_svc.rest import requests, responses
from operator_svc.rest.request_context import CALL, caller_of

TASKS_LIMIT, TASKS_MOST = 50, 200
SANDBOX = "sandbox"
"""Content-Security-Policy of a picture, should a browser show it as a page (api.md)."""


async def add(request: web.Request) -> web.StreamResponse:
    """Store a task; 200 with what came of it, or 202 where that takes longer than ``wait``."""
    body = await requests.body(request, BrowserTaskBody)
    source = "web" if request[CALL].origin is not None else "api"
    caller = caller_of(request)
    tasks = request.app[SERVICES].browser_tasks
    preference = requests.preference(request)
    wait = DEFAULT_WAIT if body.wait is None else body.wait
    if preference.wait is not None:
        wait = min(preference.wait, MAX_WAIT)
    task_id = await tasks.add(caller, task_of(body, source=source))
    view = await tasks.wait(caller, task_id, wait)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    if _unfinished(view):
        headers["Location"] = TASK_PATH + task_id
        return responses.json(view, status=202, headers=headers)
    return responses.json(view, headers=headers)


def _unfinished(view: BrowserTaskView) -> bool:
    return view.status in (TaskStatus.PENDING, TaskStatus.RUNNING)


def _task_id(request: web.Request) -> str:
    value = request.match_info["task_id"]
    if not is_task_id(value):
        raise OperatorError(ErrorCode.TASK_NOT_FOUND, "there is no such task")
    return value


async def task(request: web.Request) -> web.StreamResponse:
    """A task as it stands."""
    view = await request.app[SERVICES].browser_tasks.get(caller_of(request), _task_id(request))
    return responses.json(view)


async def cancel(request: web.Request) -> web.StreamResponse:
    """Stop a task, whichever process runs it; one that has ended stays as it is."""
    tasks = request.app[SERVICES].browser_tasks
    return responses.json(await tasks.cancel(caller_of(request), _task_id(request)))


async def tasks(request: web.Request) -> web.StreamResponse:
    """A page of tasks, newest first."""
    page = await request.app[SERVICES].browser_tasks.page(
        caller_of(request),
        session_id=requests.parameter(request, "session_id", SessionId),
        user_id=requests.parameter(request, "user_id", UserId),
        status=requests.parameter(request, "status", TaskStatus),
        limit=requests.limit(request, TASKS_LIMIT, TASKS_MOST),
        cursor=requests.parameter(request, "cursor", Cursor),
    )
    return responses.json(page)


async def screenshot(request: web.Request) -> web.StreamResponse:
    """A task's picture, a PNG; 404 where there is none, or none yet."""
    caller, task_id = caller_of(request), _task_id(request)
    service = request.app[SERVICES].browser_tasks
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
    }
    known = request.if_none_match
    if known is not None:
        etag = await service.screenshot_etag(caller, task_id)
        if known == (ETag("*"),) or any(tag.value == etag for tag in known):
            return web.Response(status=304, headers={**headers, "ETag": f'"{etag}"'})
    picture = await service.screenshot(caller, task_id)
    headers["ETag"] = f'"{picture.screenshot_etag}"'
    return web.Response(body=picture.screenshot, content_type="image/png", headers=headers)


ROUTES = [
    web.post("/operator/browser/task", add),
    web.get("/operator/browser/tasks", tasks),
    web.get("/operator/browser/task/{task_id}", task),
    web.get("/operator/browser/task/{task_id}/screenshot", screenshot),
    web.post("/operator/browser/task/{task_id}/cancel", cancel),
]
