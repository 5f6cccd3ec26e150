"""Requests as OpenTelemetry's spans: one for each HTTP request and WebSocket, and in it one for each stage of its work.

They carry routes, statuses and request ids; never addresses' parameters, keys, names or what was said.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.domain.meters import Meter, Stage
from app.service.routes import route_of

_SEND_SECONDS: Final = 5.0
"""How long a collector may take for what is sent at once, and at the server's end for all that is left."""
_UNNAMED: Final = "unknown_service"
"""How the name begins that OpenTelemetry gives a service for which no variable has one."""
_NANO: Final = 1_000_000_000


class Tracing:
    """Makes spans, and sends them on a thread of its own."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is a collector's base address. OTEL_SERVICE_NAME and the like count where they are set.

        Raises:
            ValueError: OpenTelemetry does not understand one of them.
        """
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer("app", __version__)
        self.meter: Meter = _StageSpans(self.tracer)

    def traced(self, app: ASGIApp) -> Traced:
        """`app`, with a span for each request."""
        return Traced(app, tracer=self.tracer)

    @property
    def resource(self) -> dict[str, object]:
        """What every span says of its sender."""
        return dict(self._provider.resource.attributes)

    def close(self) -> None:
        """Send what is left. Blocking, for some seconds at most: what a collector has not taken by then is dropped."""
        # The provider waits for half a minute, and its exporter tries again and again.
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(_SEND_SECONDS)
        if ending.is_alive():
            self._exporter.shutdown()


class Traced:
    """A server span for each HTTP request and WebSocket, which continues the caller's trace (W3C traceparent)."""

    def __init__(self, app: ASGIApp, *, tracer: trace.Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WebSocket")
        context = self._propagator.extract(Headers(scope=scope), getter=_HeadersGetter())
        span = self._tracer.start_span(method, context=context, kind=trace.SpanKind.SERVER)

        async def send_seen(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                _note_status(span, message["status"])
            elif message["type"] == "websocket.accept":
                _note_status(span, 101)
            await send(message)

        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                await self._app(scope, receive, send_seen)
        except Exception:
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            self._end(span, scope, method)

    def _end(self, span: trace.Span, scope: Scope, method: str) -> None:
        route = route_of(scope)
        span.update_name(f"{method} {route}")
        if scope["type"] == "http":
            span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("asr.request_id", str(scope.get("state", {}).get("request_id", "-")))
        span.end()


def _resource() -> Resource:
    """What sends the spans, as OpenTelemetry's variables have it; in their absence with this server's name."""
    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes.get("service.name", _UNNAMED)).startswith(_UNNAMED):
        resource = resource.merge(Resource({"service.name": "speech-server"}))
    return resource


class _StageSpans(Meter):
    """A span for each stage, in the request's, which is where stages are told."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage took so long, up to now."""
        if trace.get_current_span().is_recording():
            now = time.time_ns()
            self._tracer.start_span(stage, start_time=now - round(seconds * _NANO)).end(now)


class _HeadersGetter(Getter[Headers]):
    def get(self, carrier: Headers, key: str) -> list[str] | None:
        return carrier.getlist(key) or None

    def keys(self, carrier: Headers) -> list[str]:
        return list(carrier.keys())


def _note_status(span: trace.Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)
