"""The endpoint of the websocket: the handshake, authentication, and then the session."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from functools import partial

import msgspec
import structlog
from aiohttp import hdrs, web

from operator_svc.background import aside
from operator_svc.context import SERVICES, Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import headers
from operator_svc.protocol.frames import (
    MAX_FRAME,
    SUBPROTOCOL,
    TOKEN_SUBPROTOCOL,
    Auth,
    CloseCode,
    FrameId,
    Resume,
)
from operator_svc.protocol.ids import is_session_id
from operator_svc.rest.routing import RouteTable
from operator_svc.rest.server.connections import connection_of
from operator_svc.services.auth import ANONYMOUS, WrongTokenError
from operator_svc.ws.connection import Connection
from operator_svc.ws.frame_decoder import InvalidFrameError, read

log = structlog.get_logger(__name__)


class Handshake(msgspec.Struct, frozen=True):
    """A request for a websocket. ``caller`` is None where the token is still to come; ``token``
    is that of the subprotocol, which is checked after the upgrade."""

    session_id: str
    address: str
    after: int | None
    epoch: str | None
    caller: Caller | None
    token: str | None


class Upgrade(web.WebSocketResponse):
    """The answer to the handshake, and no more: the connection leaves aiohttp after it."""

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Do nothing: others send the close frame."""
        return True


route = RouteTable(None, auth="own")


@route("GET", "/ws")
@route("GET", "/ws/")
@route("GET", "/ws/{session_id}")
async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve a session, without an id a new one, whose id the frame ``ready`` carries.

    Raises OperatorError before the upgrade; after it, failures come as a frame or a close
    code.
    """
    services = request.app[SERVICES]
    ws = Upgrade(protocols=(SUBPROTOCOL,), compress=False)
    handshake = await _read_handshake(request, services)
    if not ws.can_prepare(request):
        raise OperatorError(ErrorCode.INVALID_PARAMETER, "this address is for websockets")
    services.drain.refuse_new()
    await _check_owner(services, handshake)
    await ws.prepare(request)
    upgraded = connection_of(request).hand_over(MAX_FRAME + 1)
    connection = Connection(services, upgraded, handshake.session_id)
    services.tasks.start(_serve(services, connection, handshake), "websocket")
    return ws


async def _serve(services: Services, connection: Connection, handshake: Handshake) -> None:
    """Serve a session until the connection ends."""
    services.clients.enter(connection, anonymous=handshake.caller is None)
    try:
        auth_id = await _authenticate(connection, services, handshake)
        if connection.caller is None:
            await connection.until_left()
        elif not services.clients.admit(connection):
            connection.close(CloseCode.FULL)
            await connection.until_left()
        else:
            await connection.serve(handshake.after, handshake.epoch, auth_id)
    except Exception:
        log.exception("a websocket failed", session_id=handshake.session_id)
        connection.close(CloseCode.INTERNAL_ERROR)
        await connection.until_left()
    finally:
        services.clients.leave(connection)
        connection.writer.finish()


# Before the upgrade.


async def _read_handshake(request: web.Request, services: Services) -> Handshake:
    session_id = request.match_info.get("session_id") or uuid.uuid4().hex
    if not is_session_id(session_id):
        raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")
    caller, token = None, None
    address = connection_of(request).address
    offered = _offered(request)
    if not services.tokens.required:
        caller = ANONYMOUS
    elif header := headers.token_of(request.headers):
        caller = await services.authenticator.identify(header, address)
    else:
        token = next(
            (_decoded(name) for name in offered if name.startswith(TOKEN_SUBPROTOCOL)), None
        )
    if caller is not None:
        services.authenticator.count(caller)
    after, epoch = _place(request)
    return Handshake(session_id, address, after, epoch, caller, token)


def _offered(request: web.Request) -> list[str]:
    """The subprotocols that the client offers.

    aiohttp warns of those that it does not know, in clear, and one may be a token: so where
    there are some, ours must be among them, and on the first line, the only one it looks at.
    """
    lines = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    offered = [[name.strip() for name in line.split(",")] for line in lines]
    if offered and SUBPROTOCOL not in offered[0]:
        raise OperatorError(
            ErrorCode.INVALID_PARAMETER, f"the subprotocol {SUBPROTOCOL} must be offered first"
        )
    return [name for names in offered for name in names]


def _decoded(subprotocol: str) -> str:
    """The token in a subprotocol; no token at all where it is not base64url."""
    raw = subprotocol.removeprefix(TOKEN_SUBPROTOCOL)
    try:
        padded = raw.rstrip("=") + "=" * (-len(raw.rstrip("=")) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        return ""


def _place(request: web.Request) -> tuple[int | None, str | None]:
    """The place from which the client resumes: ``?after=&epoch=``."""
    if not request.rel_url.query_string:
        return None, None  # nothing is parsed that would stay as long as the socket
    query = request.rel_url.query
    epoch = query.get("epoch") or None
    if "after" not in query:
        return None, epoch
    try:
        place = msgspec.convert(
            {"type": "resume", "after": query["after"], "epoch": epoch}, Resume, strict=False
        )
    except msgspec.ValidationError:
        raise OperatorError(
            ErrorCode.INVALID_PARAMETER, "after: it must be the number of an event"
        ) from None
    return place.after, epoch


async def _check_owner(services: Services, handshake: Handshake) -> None:
    """A session of another user is as if it were not there."""
    if handshake.caller is None or handshake.caller.user_id is None:
        return
    session = await services.sessions.find(handshake.session_id)
    if session is not None and session.user_id != handshake.caller.user_id:
        raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")


# After it.


async def _authenticate(
    connection: Connection, services: Services, handshake: Handshake
) -> FrameId | None:
    """Find the caller; where there is none, the connection is closing. Returns the id of the
    frame that brought the token, if any."""
    if handshake.caller is not None:
        if services.tokens.is_current(handshake.caller):
            connection.authenticated(handshake.caller)
        else:
            connection.close(CloseCode.FORBIDDEN)
        return None
    token, frame_id = handshake.token, None
    if token is None:
        try:
            async with asyncio.timeout(services.settings.auth_timeout):
                text = await connection.receive()
        except TimeoutError:
            connection.close(CloseCode.AUTH_TOO_LATE)
            return None
        except InvalidFrameError:
            text = ""
        if text is None:
            return None
        frame = await aside(len(text), partial(_read_auth, text))
        if frame is None:
            connection.close(CloseCode.NOT_AUTHENTICATED)
            return None
        token, frame_id = frame.token, frame.id
    try:
        caller = await services.authenticator.identify(token, handshake.address)
        services.authenticator.count(caller)
    except OperatorError as error:
        log.warning(
            "audit", action="websocket", caller=None, outcome="refused", status=error.code.status
        )
        if isinstance(error, WrongTokenError):
            await asyncio.sleep(error.delay)
            connection.close(CloseCode.FORBIDDEN)
        elif error.code is ErrorCode.RATE_LIMITED:
            connection.close(CloseCode.TOO_MANY_FRAMES)
        else:  # the keys of signed tokens cannot be had
            connection.close(CloseCode.INTERNAL_ERROR)
        return None
    if connection.writer.code is None:  # it was not sent away meanwhile
        connection.authenticated(caller)
    return frame_id


def _read_auth(text: str) -> Auth | None:
    try:
        frame = read(text)
    except InvalidFrameError:
        return None
    return frame if isinstance(frame, Auth) else None
