"""A client of Operator: its calls over HTTP, and the way to its sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Self

from operator_client.calls import Calls
from operator_client.connection import Call, ClientConnection, Token
from operator_client.conversation import Conversation
from operator_client.models import Me
from operator_client.session_socket import SessionSocket
from operator_client.watch import Watch


def _nothing() -> None:
    """Take a change that nobody asks for."""


class OperatorClient(Calls):
    """Operator at ``url``; use it as an asynchronous context manager.

    ``token`` is a token, or a function (of either kind) that gives the one to use now. Calls raise
    ClientError: with Operator's own code where it refused, ``unreachable`` where it did not answer.
    They are tried again where that may help and cannot do a thing twice.
    """

    def __init__(self, url: str, token: Token = "") -> None:
        super().__init__(ClientConnection(url, token))

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.aclose()

    def conversation(
        self,
        session_id: str | None = None,
        *,
        on_reconnect: Callable[[], None] = _nothing,
        on_back: Callable[[], None] = _nothing,
    ) -> Conversation:
        """A session to talk in, a new one by default.

        ``on_reconnect`` is called before each attempt to connect again, ``on_back`` each time
        that the server has let it in.
        """
        session_id = session_id or uuid.uuid4().hex
        return Conversation(self._connection, session_id, on_reconnect, on_back)

    def watch(
        self,
        session_id: str,
        *,
        after: int | None = None,
        epoch: str | None = None,
        deltas: bool = False,
    ) -> Watch:
        """The events of a session as they happen, whoever causes them; ``deltas`` asks for the
        texts of replies while they are written, too.

        It begins with what happens from now on, or after the event ``after`` of the history of
        ``epoch``: both as an earlier watch had them. The session need not exist yet.
        """
        return Watch(SessionSocket(self._connection, session_id, after, epoch), deltas=deltas)

    async def get_me(self) -> Me:
        """The name, role and user of the token. It is tried once, to tell at once what is amiss."""
        return await self._connection.call(Me, Call("GET", "/operator/me"), tries=1)
