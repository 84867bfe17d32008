from __future__ import annotations

import sys

import msgspec
import pytest

from monitor.errors import StartupError
from monitor.tracing import spans, tracer
from tests.golden.examples import ALERT

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_alerts_span_continues_the_trace_of_its_cause() -> None:
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="extra otel missing")
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    simple = pytest.importorskip("opentelemetry.sdk.trace.export")
    exporter = export.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(simple.SimpleSpanProcessor(exporter))
    alert = msgspec.structs.replace(ALERT, provenance=msgspec.structs.replace(ALERT.provenance, trace=PARENT))
    spans(provider)(alert)
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.end_time == alert.times.detected_at
    assert span.attributes["tocsin.alert_id"] == alert.alert_id


def test_nothing_is_traced_where_no_exporter_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert tracer() is None


def test_an_exporter_that_cannot_be_had_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(StartupError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.*tocsin\[otel\], or unset"):
        tracer()
