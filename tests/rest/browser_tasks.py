"""Calls of browser tasks over HTTP."""

from __future__ import annotations

from typing import Any

from tests.fakes.eventually import eventually

PATH = "/operator/browser/task"

PAGE = "https://example.org/"


async def add(service: Any, url: str = PAGE, **fields: Any) -> dict[str, Any]:
    response = await service.post(PATH, {"url": url, **fields})
    assert response.status in (200, 202), await response.text()
    body: dict[str, Any] = await response.json()
    return body


async def until_running(service: Any, task_id: str) -> None:
    async def runs() -> bool:
        return bool((await (await service.get(f"{PATH}/{task_id}")).json())["status"] == "running")

    await eventually(runs)
