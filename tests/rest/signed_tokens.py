"""Services that trust an issuer of signed tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer
from tests.rest.rest_service import Service, running

ME = "/operator/me"


@asynccontextmanager
async def trusting(
    database_url: str, issuer: Issuer | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """A service that trusts an issuer."""
    usual = {"jwks_url": issuer.url} if issuer is not None else {}
    usual |= {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    async with running(database_url, **{**usual, **settings}) as service:
        yield service


async def me(service: Service, token: str, **kwargs: Any) -> Any:
    """The caller that the service takes a token for; the status where it takes it for none."""
    answer = await service.get(ME, token=token, **kwargs)
    return await answer.json() if answer.status == 200 else answer.status
