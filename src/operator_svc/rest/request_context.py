"""The context of a request while it is answered: its id, its caller, its origin and its limits."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import TypeAlias

import structlog
from aiohttp import web
from multidict import istr

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import headers
from operator_svc.protocol.ids import is_request_id
from operator_svc.services.rate_limit import RateLimit

log = structlog.get_logger(__name__)

_REQUEST_ID, _CORRELATION_ID = istr(headers.REQUEST_ID), istr(headers.CORRELATION_ID)
_process = os.urandom(5).hex()
_numbers = itertools.count(1)


Rate: TypeAlias = tuple[str, RateLimit, str]
"""A limit that a request counts for: the policy's name, the limit, and the key within it."""


class Call:
    """One request, which came at the moment ``begun`` of perf_counter. ``origin`` is set where it
    is an allowed one."""

    __slots__ = ("begun", "caller", "origin", "rates", "request_id")

    def __init__(self, request_id: str, begun: float) -> None:
        self.request_id = request_id
        self.begun = begun
        self.caller: Caller | None = None
        self.origin: str | None = None
        self.rates: list[Rate] | None = None

    def tell_rate(self, name: str, limit: RateLimit, key: str) -> None:
        """Put a limit into the answer's headers, with as much as is left of it by then."""
        rates = self.rates = self.rates or []
        rates.append((name, limit, key))


CALL: web.RequestKey[Call] = web.RequestKey("call", Call)


def new_request_id() -> str:
    """An id that no other request of any process has."""
    return f"{_process}{next(_numbers):06x}"


def request_id_of(sent: Mapping[str, str]) -> str:
    """The id that a client sent, under either name, if it is safe in a header and a log; otherwise
    a new one."""
    for name in (_REQUEST_ID, _CORRELATION_ID):
        brought = sent.get(name)
        if brought is not None and is_request_id(brought):
            return brought
    return new_request_id()


def caller_of(request: web.Request) -> Caller:
    """The caller. Only for routes that ask for a token."""
    caller = request[CALL].caller
    assert caller is not None, "an open route has no caller"
    return caller


def require_operator(request: web.Request, action: str) -> Caller:
    """The caller, who must have the role ``operator``; writes the audit line of ``action``.

    Raises OperatorError(forbidden).
    """
    caller = caller_of(request)
    if caller.role != "operator":
        raise OperatorError(ErrorCode.FORBIDDEN, "this needs the role operator")
    log.info("audit", action=action, caller=caller.name, outcome="allowed")
    return caller
