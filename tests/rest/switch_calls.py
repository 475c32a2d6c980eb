"""The paths of adjustments and feedback, and short ways to call them."""

from __future__ import annotations

from typing import Any

from tests.rest.rest_service import Service

ADJUST = "/operator/switch/adjustment"
FEEDBACK = "/operator/switch/feedback"
ENGINES = "/operator/switch/engines"


async def answer(response: Any, status: int) -> Any:
    assert response.status == status, await response.text()
    return await response.json()


async def recorded(service: Service, after: dict[str, Any], **fields: Any) -> Any:
    body = {"after_config": after, "reason": "why", **fields}
    return await answer(await service.post(ADJUST, body), 201)
