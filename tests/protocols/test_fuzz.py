"""Made-up headers and forms on bare sockets: always an answer in shape, never a failure of the server's.

FUZZ_EXAMPLES raises the budget.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_server import KEY, Running, serving, wait_until

from app.protocols.openai.wishes import KNOWN_FIELDS

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
BUDGET = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("fuzz"), upload_idle_seconds=1.0) as running:
        yield running
        reply = httpx.post(
            f"{running.base}/v1/audio/transcriptions",
            files={"file": ("a.wav", b"zh")},
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert reply.status_code == 200, "the next request is answered"
        assert wait_until(lambda: list(running.temp.iterdir()) == [])


def exchange(server: Running, request: bytes) -> bytes:
    """All that the server says."""
    heard = b""
    with (
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire,
    ):
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        while block := wire.recv(65536):
            heard += block
    return heard


def check(heard: bytes) -> None:
    """An answer in shape, or none (the sender broke the protocol and was hung up on)."""
    if not heard:
        return
    status = int(heard.split(b" ", 2)[1])
    head, _, body = heard.partition(b"\r\n\r\n")
    if status == 100:
        return
    assert status < 500, heard
    if status >= 400 and b"application/json" in head and body and b"chunked" not in head:  # HEAD has none
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}


TOKEN = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_"), min_size=1, max_size=20)
VALUE = st.binary(max_size=60)
NAMES = st.one_of(
    st.sampled_from(["content-type", "content-length", "transfer-encoding", "authorization", "expect", "connection"]),
    st.sampled_from(["x-request-id", "x-stainless-read-timeout", "x-nls-token", "accept", "host", "upgrade"]),
    TOKEN,
)


@BUDGET
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]),
    path=st.one_of(st.sampled_from(["/", "/health", "/v1/models", "/v1/audio/transcriptions"]), TOKEN.map("/".__add__)),
    headers=st.lists(st.tuples(NAMES, VALUE), max_size=8),
    body=st.binary(max_size=200),
    key=st.booleans(),
)
def test_headers(
    fuzzed: Running, method: str, path: str, headers: list[tuple[str, bytes]], body: bytes, key: bool
) -> None:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"connection: close"]
    lines += [f"authorization: Bearer {KEY}".encode()] if key else []
    lines += [name.encode() + b": " + value.translate(None, b"\r\n") for name, value in headers]
    check(exchange(fuzzed, b"\r\n".join(lines) + b"\r\n\r\n" + body))


FIELD = st.one_of(st.sampled_from(sorted(KNOWN_FIELDS)), st.sampled_from(["file", "model"]), TOKEN)
TEXT = st.one_of(
    st.text(max_size=80),
    st.sampled_from(["NaN", "inf", "-1", "1e999", "true", "null", "[]", "{}", '["a"]', "[" * 2000, "whisper-1", "zh"]),
    st.sampled_from(["diarized_json", "verbose_json", "all", "2", "data:audio/wav;base64,emg=", "data:,x"]),
)


def part(name: str, value: bytes, filename: str | None) -> bytes:
    """A part of a form; quotes and line ends in names are the sender's own doing."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + value + b"\r\n"


@BUDGET
@given(
    fields=st.lists(st.tuples(FIELD, TEXT, st.none() | st.text(max_size=10)), max_size=8),
    file=st.booleans(),
    cut=st.integers(0, 400) | st.just(1_000_000),
    change=st.none() | st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4)),
)
def test_forms(
    fuzzed: Running,
    fields: list[tuple[str, str, str | None]],
    file: bool,
    cut: int,
    change: tuple[int, bytes] | None,
) -> None:
    parts = [part(name, value.encode("utf-8", "replace"), given) for name, value, given in fields]
    body = bytearray(b"".join([*parts, *([part("file", b"zh", "a.wav")] if file else [])]) + b"--b--\r\n")
    if change:
        body[change[0] : change[0] + len(change[1])] = change[1]
    del body[cut:]
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    check(exchange(fuzzed, head.encode() + body))
