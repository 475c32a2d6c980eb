"""The server at ``SWITCH_URL``: its address and headers, in either dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlunsplit

from multidict import CIMultiDict

from operator_svc.errors import ConfigurationError
from operator_svc.peers.dialect_openai import OpenAiDialect
from operator_svc.peers.dialect_vx11 import Vx11Dialect
from operator_svc.peers.transport import vx11_headers
from operator_svc.settings import Settings
from operator_svc.settings_checks import headers_of, split_url

VERSION = "/v1"


class Upstream(NamedTuple):
    """The upstream's address before its paths, and the headers of every call."""

    url: str
    headers: Mapping[str, str]


def upstream_of(settings: Settings) -> Upstream:
    """The upstream of ``settings``.

    People write an address with and without its version, or that of the chat itself. A version
    is added only where the address has no path at all: a server with a path has its own.
    Raises ConfigurationError for settings that cannot work.
    """
    if problems := settings.problems():
        raise ConfigurationError(problems)
    parts = split_url(settings.switch_url)
    path = parts.path.rstrip("/")
    headers: CIMultiDict[str] = CIMultiDict()
    if settings.switch_dialect == "openai":
        if path.endswith(OpenAiDialect.path):
            path = path.removesuffix(OpenAiDialect.path)
        else:
            path = path or VERSION
        # A server that is none of VX11's gets no token of VX11's.
        if settings.switch_api_key:
            headers["Authorization"] = f"Bearer {settings.switch_api_key}"
    else:
        path = path.removesuffix(Vx11Dialect.path)
        headers.update(vx11_headers(settings.token))
    for name, value in headers_of(settings.switch_headers).items():
        headers[name] = value
    return Upstream(urlunsplit(parts._replace(path=path)), headers)
