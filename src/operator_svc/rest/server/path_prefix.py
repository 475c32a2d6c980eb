"""The path under which clients find Operator behind a proxy, where the proxy keeps it.

It is the path of OPERATOR_URL. A proxy may take it away or keep it: both kinds of path are served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

RequestFactory: TypeAlias = Callable[..., web.BaseRequest]


def without_prefix(factory: RequestFactory, app: web.Application, prefix: str) -> RequestFactory:
    """``factory``, for requests without ``prefix`` before one of the paths of ``app``.

    The rest must begin as a path of ours does: under the prefix ``/operator``, ``/operator/me``
    comes from a proxy that took it away.
    """
    first = {resource.canonical.split("/")[1] for resource in app.router.resources()}

    def make(message: RawRequestMessage, *more: Any) -> web.BaseRequest:
        path = message.url.raw_path
        if path == prefix or path.startswith(f"{prefix}/"):
            rest = path[len(prefix) :] or "/"
            if rest.split("/")[1] in first:
                url = message.url.with_path(rest, encoded=True, keep_query=True)
                message = message._replace(url=url)
        return factory(message, *more)

    return make
