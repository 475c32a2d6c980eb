"""Access: the user that a caller acts for, and the sessions and records that it may see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from urllib.parse import urlsplit

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import DEFAULT_USER, Caller, Message, ReplyStatus
from operator_svc.settings import Settings
from operator_svc.settings_checks import is_loopback


def acting_user(caller: Caller, named: str | None) -> str:
    """The user that ``caller`` acts for: its own, else the one it names, else the usual one.

    Raises OperatorError(forbidden) where its token is bound to another user than ``named``.
    """
    return _own_user(caller, named) or DEFAULT_USER


def listed_user(caller: Caller, named: str | None, session_id: str | None = None) -> str | None:
    """The one user whose records a list of ``caller`` holds; None for those of all users.

    Raises OperatorError(forbidden) where its token is bound to another user than ``named``, and
    for the records of all users where it has not the role ``operator``. A list of one session is
    none of those: whoever knows the session's id may read it.
    """
    if not (caller.user_id or named or session_id) and caller.role != "operator":
        raise OperatorError(
            ErrorCode.FORBIDDEN, "the records of all users need the role operator; name a user_id"
        )
    return _own_user(caller, named)


def _own_user(caller: Caller, named: str | None) -> str | None:
    if caller.user_id is not None and named not in (None, caller.user_id):
        raise OperatorError(ErrorCode.FORBIDDEN, "this token is bound to another user")
    return caller.user_id or named


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The names and addresses, beside loopback, under which callers may ask without a token."""
    named = {host.strip().lower() for host in settings.allowed_hosts.split(",")}
    named.add((urlsplit(settings.public_url).hostname or "").lower())
    return frozenset(named - {""})


def check_host(host: str, allowed: Collection[str]) -> None:
    """Raise OperatorError(forbidden) for a header Host that is neither loopback nor allowed.

    Where no token is asked for, a page of the web could otherwise read all, under a name of its
    own that leads here (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = host
    if name in allowed or is_loopback(name):
        return
    raise OperatorError(ErrorCode.FORBIDDEN, "this host is not in OPERATOR_ALLOWED_HOSTS")


class HasMessages(Protocol):
    """The messages, as far as records need them."""

    async def get(self, message_id: int, viewer: str | None = None) -> Message | None:
        """The message, or None where there is none that ``viewer`` may see."""


async def session_of(
    messages: HasMessages, caller: Caller, session_id: str | None, message_id: int | None
) -> str | None:
    """The session of a record that names a session, a message, both or none.

    Raises OperatorError(message_not_found), also for a message of another session. Whether a
    session that is named without a message exists is seen by the write itself.
    """
    if message_id is None:
        return session_id
    message = await messages.get(message_id, caller.user_id)
    if message is None or session_id not in (None, message.session_id):
        raise _no_message()
    return message.session_id


async def rated_reply(
    messages: HasMessages, caller: Caller, session_id: str | None, message_id: int | None
) -> Message | None:
    """The ended reply that ``caller`` gives feedback on, of its own sessions; None for feedback on
    no reply, which is the role operator's.

    A token of no user names the reply's session too, as for lists: numbers of messages can be
    guessed. Raises OperatorError: forbidden, message_not_found, validation_error for a message that
    is no reply, conflict for a reply that is being written.
    """
    if message_id is None:
        if caller.role != "operator":
            raise OperatorError(
                ErrorCode.FORBIDDEN,
                "feedback without a message_id needs the role operator; name the reply",
            )
        return None
    if caller.user_id is None and session_id is None and caller.role != "operator":
        raise OperatorError(
            ErrorCode.FORBIDDEN, "feedback with a token of no user names the reply's session_id"
        )
    message = await messages.get(message_id, caller.user_id)
    if message is None or session_id not in (None, message.session_id):
        raise _no_message()
    if message.role != "assistant":
        raise OperatorError.invalid("message_id", "this message is not a reply")
    if message.status == ReplyStatus.STREAMING:
        raise OperatorError(ErrorCode.CONFLICT, "this reply is still being written")
    return message


def _no_message() -> OperatorError:
    return OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")


def no_session() -> OperatorError:
    """The failure of a record whose session does not exist, or is not visible to the caller."""
    return OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")
