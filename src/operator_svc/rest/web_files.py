"""Static files of the pages for people: the console, and the published documents to read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePath

from aiohttp import web

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.rest import responses

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A page may use files of its own host only, and no script that stands in the page."""


def read(package: str) -> Mapping[str, bytes]:
    """The files of a folder by their names."""
    return {path.name: path.read_bytes() for path in files(package).iterdir() if path.is_file()}


def answer(request: web.Request, known: Mapping[str, bytes], name: str) -> web.StreamResponse:
    """Answer one of the ``known`` files; any other name is not found."""
    found = known.get(name)
    if found is None:
        raise OperatorError(ErrorCode.NOT_FOUND, "there is nothing at this address")
    headers = {
        "Content-Security-Policy": POLICY,
        "Content-Type": CONTENT_TYPES[PurePath(name).suffix],
    }
    return responses.cached(request, found, headers)
