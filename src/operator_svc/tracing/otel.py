"""Spans of OpenTelemetry; imported only where traces are on."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

import operator_svc

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from operator_svc.tracing.interface import Attribute, Kind

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
}


def _named(attributes: Mapping[str, Attribute]) -> dict[str, str | int | float | bool]:
    return {
        name.replace("__", "."): value for name, value in attributes.items() if value is not None
    }


class OtelSpan:
    """See tracing.Span."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._use = trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        )

    def __enter__(self) -> OtelSpan:
        self._use.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object, /) -> None:
        if isinstance(error, BaseException):
            self.failed(str(getattr(error, "code", type(error).__name__)))
        self._use.__exit__(None, None, None)

    def set(self, **attributes: Attribute) -> None:
        """See tracing.Span.set."""
        self._span.set_attributes(_named(attributes))

    def failed(self, code: str) -> None:
        """See tracing.Span.failed."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(trace.Status(trace.StatusCode.ERROR))


class OtelTracer:
    """See tracing.Tracer. The service's name is ``operator-svc`` unless OTEL_SERVICE_NAME says
    another."""

    def __init__(self, exporter: SpanExporter | None) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "operator-svc")
        resource = Resource.create({"service.name": name})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if exporter is not None
            else BatchSpanProcessor(OTLPSpanExporter())
        )
        self._tracer = self._provider.get_tracer("operator_svc", operator_svc.__version__)

    def span(
        self, name: str, kind: Kind, headers: Mapping[str, str] | None, **attributes: Attribute
    ) -> OtelSpan:
        """See tracing.Tracer.span."""
        context = None if headers is None else propagate.extract(headers)
        return OtelSpan(
            self._tracer.start_span(
                name, context=context, kind=_KINDS[kind], attributes=_named(attributes)
            )
        )

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """See tracing.Tracer.inject."""
        propagate.inject(headers)

    def close(self) -> None:
        """See tracing.Tracer.close."""
        self._provider.shutdown()
