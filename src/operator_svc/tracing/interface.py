"""Spans and tracers, as far as the service needs them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["internal", "server", "client"]
Attribute: TypeAlias = str | int | float | bool | None


class Span(Protocol):
    """A piece of work that is timed; a context manager around it."""

    def __enter__(self) -> Span: ...

    def __exit__(self, kind: object, error: object, trace: object, /) -> None: ...

    def set(self, **attributes: Attribute) -> None:
        """Add attributes; ``__`` in a name stands for its dot, None is left out."""

    def failed(self, code: str) -> None:
        """Mark the work as failed, for the reason ``code``."""


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self, name: str, kind: Kind, headers: Mapping[str, str] | None, **attributes: Attribute
    ) -> Span:
        """A span below the one under way, or below the one that ``headers`` name."""

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Name the span under way in the headers of a call."""

    def close(self) -> None:
        """Send what waits."""
