"""operator_pod: the running processes and their leases, by the database's clock."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from operator_svc.db import Database
from operator_svc.errors import OperatorError
from operator_svc.models import Backend, Pod, Record

R = TypeVar("R", bound=msgspec.Struct)

PATIENCE = 0.7
"""Seconds after which the next way is tried beside the one that gives no answer: a pod whose
renewals do not arrive for 2 s may be taken for dead."""


class Removed(Record, frozen=True):
    """A pod that was taken off the list."""

    pod_id: str


class PodStore:
    """A pod owns its replies while its lease holds."""

    def __init__(self, *ways: Database) -> None:
        """``ways`` lead to the same database: the one that answered last is asked first."""
        self._ways = list(ways)

    async def _write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """Write by the way that answered last, and by the next one where that fails or gives no
        answer soon: it may be done more than once."""
        ways = [*self._ways]
        attempts: dict[asyncio.Task[list[R]], Database] = {}
        failure: OperatorError | None = None
        try:
            while ways or attempts:
                if ways:
                    way = ways.pop(0)
                    attempts[asyncio.create_task(way.write(query, record, **params))] = way
                done, _ = await asyncio.wait(
                    attempts,
                    timeout=PATIENCE if ways else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for attempt in done:
                    way = attempts.pop(attempt)
                    try:
                        rows = attempt.result()
                    except OperatorError as error:
                        failure = error
                    else:
                        self._prefer(way)
                        return rows
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        assert failure is not None, "there is one way at least"
        raise failure

    def _prefer(self, way: Database) -> None:
        self._ways.remove(way)
        self._ways.insert(0, way)

    async def register(self, pod_id: str, ttl: float, backend: Backend | None = None) -> Pod:
        """Begin a lease of ``ttl`` seconds; ``backend`` is the session whose end is the pod's."""
        rows = await self._write("pod_register", Pod, pod_id=pod_id, ttl=ttl, **_columns(backend))
        return rows[0]

    async def renew(self, pod_id: str, ttl: float, backend: Backend | None = None) -> bool:
        """Prolong a lease to ``ttl`` seconds from now; False where it has run out."""
        rows = await self._write("pod_renew", Pod, pod_id=pod_id, ttl=ttl, **_columns(backend))
        return bool(rows)

    async def remove_dead(self, pod_id: str, *, silence: float, settled: float) -> list[str]:
        """Take pods off the list whose session has ended and that have not renewed for
        ``silence`` seconds; their ids. None where ``pod_id`` itself has not had its session for
        ``settled`` seconds.

        Asks the way that answered the last renewal alone: of two attempts the second would find
        none, and might be heard first.
        """
        rows = await self._ways[0].write(
            "pods_remove_dead", Removed, pod_id=pod_id, silence=silence, settled=settled
        )
        return [row.pod_id for row in rows]

    async def remove(self, pod_id: str) -> None:
        """Give a lease up."""
        await self._write("pod_remove", Removed, pod_id=pod_id)


def _columns(backend: Backend | None) -> dict[str, Any]:
    return {
        "backend_pid": backend.pid if backend else None,
        "backend_start": backend.started_at if backend else None,
    }
