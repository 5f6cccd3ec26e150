"""The real server's spans, as a collector gets them: each request in its caller's trace, its stages in it."""

from __future__ import annotations

import asyncio
import gzip
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tools.dialects import said
from tools.dialects.hearing import Wishes

from .scoring import read_wav
from .server import start_server

KEY = "sk-private-key"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PATIENCE = 60.0


class Collector:
    """What was received, decoded."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def one(self, name: str, within: str | None = None) -> Span:
        """The span of that name, once it is there; of several, one in that trace."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for span in self.spans:
                if span.name == name and within in {None, span.trace_id.hex()}:
                    return span
            time.sleep(0.05)
        pytest.fail(f"no span {name!r} among {sorted({span.name for span in self.spans})}")


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A collector, and its address."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.bodies.append(body)
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def attributes(span: Span) -> dict[str, str | int]:
    return {
        one.key: one.value.int_value if one.value.HasField("int_value") else one.value.string_value
        for one in span.attributes
    }


def test_a_recording_and_a_stream_are_traced(models_dir: Path, phone_call: Path, tmp_path: Path) -> None:
    with collecting() as (collector, address):
        server = start_server(
            models_dir,
            tmp_path,
            API_KEYS=KEY,
            OTEL_EXPORTER_OTLP_ENDPOINT=address,
            SPEAKER_DIARIZATION="asked",
            ASR_BEAM_SIZE="1",
        )
        try:
            server.wait_until_ready()
            answer = httpx.post(
                f"{server.base}/v1/audio/transcriptions?private=1",
                headers={
                    "authorization": f"Bearer {KEY}",
                    "traceparent": f"00-{TRACE}-{CALLER}-01",
                    "x-request-id": "traced",
                },
                files={"file": ("private.wav", (phone_call / "sample.wav").read_bytes())},
                data={"language": "en"},
                timeout=PATIENCE * 2,
            )
            assert answer.status_code == 200
            sound = read_wav(phone_call / "sample.wav")[: 2 * 16_000]
            asyncio.run(said("funasr", server.base, sound, wishes=Wishes(token=KEY)))
            assert httpx.get(f"{server.base}/nowhere").status_code == 401
            server.stop(signal.SIGTERM)  # which sends what is left
        finally:
            server.process.kill()
            server.process.wait()
        request = collector.one("POST /v1/audio/transcriptions")
        assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
        assert request.kind == Span.SPAN_KIND_SERVER
        assert attributes(request) == {
            "http.request.method": "POST",
            "http.route": "/v1/audio/transcriptions",
            "http.response.status_code": 200,
            "asr.request_id": "traced",
        }
        for stage in ("decode", "detect", "recognise", "render"):
            span = collector.one(stage, TRACE)
            assert span.parent_span_id == request.span_id, stage
            assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano, stage
            assert span.end_time_unix_nano <= request.end_time_unix_nano, stage
        stream = collector.one("WebSocket /ws/funasr")
        assert attributes(stream)["http.response.status_code"] == 101
        assert stream.trace_id.hex() != TRACE
        refused = collector.one("GET (unknown)")
        assert attributes(refused)["http.response.status_code"] == 401
        words = answer.json()["text"].split()[:4]
        for secret in (KEY, "private", " ".join(words)):
            assert all(secret.encode() not in body for body in collector.bodies)
        resource = {
            one.key: one.value.string_value for one in collector.requests[0].resource_spans[0].resource.attributes
        }
        assert resource["service.name"] == "speech-server"
