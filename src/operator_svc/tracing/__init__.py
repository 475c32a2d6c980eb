"""Traces by OpenTelemetry, where they are wanted (``OPERATOR_OTEL=on``, extra ``otel``).

While they are off nothing of OpenTelemetry is imported, and a span costs a call that does
nothing. Names and attributes follow its semantic conventions for HTTP, databases and
generative AI. No span holds a message's text, a token or a SQL parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING

from operator_svc.errors import ConfigurationError
from operator_svc.tracing.interface import Attribute, Kind, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


class _Nothing:
    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, kind: object, error: object, trace: object, /) -> None:
        return None

    def set(self, **attributes: Attribute) -> None:
        return None

    def failed(self, code: str) -> None:
        return None


_NOTHING = _Nothing()
_tracer: Tracer | None = None


def start(exporter: SpanExporter | None = None) -> None:
    """Start tracing; ``exporter`` replaces the one that the OTEL_* variables name.

    Raises ConfigurationError where OpenTelemetry is not installed.
    """
    global _tracer
    try:
        from operator_svc.tracing.otel import OtelTracer
    except ImportError as error:
        raise ConfigurationError(
            ["OPERATOR_OTEL=on needs OpenTelemetry: pip install ./clients/python '.[otel]'"]
        ) from error
    _tracer = OtelTracer(exporter)


def stop() -> None:
    """Send the spans that wait, and stop tracing."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.close()


def is_on() -> bool:
    """True while spans are recorded."""
    return _tracer is not None


def span(
    name: str,
    kind: Kind = "internal",
    headers: Mapping[str, str] | None = None,
    **attributes: Attribute,
) -> Span:
    """A span around a piece of work; ``headers`` are those of the request that asks for it."""
    if _tracer is None:
        return _NOTHING
    return _tracer.span(name, kind, headers, **attributes)


def inject(headers: MutableMapping[str, str]) -> None:
    """Put ``traceparent`` into the headers of a call to a peer."""
    if _tracer is not None:
        _tracer.inject(headers)
