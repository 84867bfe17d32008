"""OpenTelemetry, for those who have it (extra: otel): a span from the message that completed an alert to its sending.

The parent is the ``traceparent`` header of that message (W3C Trace Context), which the gateway passes on from the
producer, or begins. With no exporter configured (``OTEL_EXPORTER_OTLP_ENDPOINT``) nothing is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from monitor.errors import StartupError
from schemas.alerts import Alert

Trace = Callable[[Alert], None]


def tracer() -> Trace | None:
    """Return what records an alert's span, None where no exporter is configured.

    Raises
    ------
    StartupError
        One is, and the extra is not installed.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise StartupError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and what exports traces is not installed ({error}): install the extra"
            " tocsin[otel], or unset the variable."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "tocsin"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return spans(provider)


def spans(provider: object) -> Trace:
    """Return what records an alert's span with an OpenTelemetry tracer provider."""
    from opentelemetry.trace import TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    assert isinstance(provider, TracerProvider)
    tracer = provider.get_tracer("tocsin")
    propagator = TraceContextTextMapPropagator()

    def record(alert: Alert) -> None:
        parent = propagator.extract({"traceparent": alert.provenance.trace})
        span = tracer.start_span(
            f"alert {alert.finding.typology}",
            context=parent,
            start_time=min(alert.times.available_at, alert.times.detected_at),
            attributes={
                "tocsin.alert_id": alert.alert_id,
                "tocsin.episode_id": alert.episode_id,
                "tocsin.instrument": alert.subject.instrument,
                "tocsin.severity": alert.finding.severity,
                "tocsin.activity": alert.activity,
            },
        )
        span.end(end_time=alert.times.detected_at)

    return record
