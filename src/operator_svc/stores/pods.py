"""operator_pod: the running processes and their leases, by the database's clock."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import Pod, Record


class Removed(Record, frozen=True):
    """A pod that was taken off the list."""

    pod_id: str


class PodStore:
    """A pod owns its replies while its lease holds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def register(self, pod_id: str, ttl: float) -> Pod:
        """Begin a lease of ``ttl`` seconds."""
        return (await self._db.write("pod_register", Pod, pod_id=pod_id, ttl=ttl))[0]

    async def renew(self, pod_id: str, ttl: float) -> bool:
        """Prolong a lease to ``ttl`` seconds from now; False where it has run out."""
        return bool(await self._db.write("pod_renew", Pod, pod_id=pod_id, ttl=ttl))

    async def remove(self, pod_id: str) -> None:
        """Give a lease up."""
        await self._db.write("pod_remove", Removed, pod_id=pod_id)
