"""Uploads as odd clients send them, and bodies that are broken, endless or lie about their length."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai import OpenAI
from openai_server import KEY, MAX_BYTES, Running, wait_until

PATH = "/v1/audio/transcriptions"
BOUNDARY = "b0undary"
MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, value: bytes, filename: str | None = None, content_type: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    typed = f"Content-Type: {content_type}\r\n" if content_type else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{typed}\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
MODEL = part("model", b"able")
SHAPE = part("response_format", b"text")


@pytest.mark.parametrize("order", ["first", "middle", "last"])
@pytest.mark.parametrize(
    ("filename", "content_type"),
    [("a.wav", "audio/x-wav"), ("upload", "application/octet-stream"), ("file", None), ("../../etc/x", "text/html")],
)
def test_any_place_name_and_type(
    raw: httpx.Client, server: Running, order: str, filename: str, content_type: str | None
) -> None:
    file = part("file", b"zh", filename, content_type)
    parts = {"first": [file, MODEL, SHAPE], "middle": [MODEL, file, SHAPE], "last": [MODEL, SHAPE, file]}[order]
    answer = raw.post(PATH, content=b"".join(parts) + END, headers=MULTIPART)
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("今天")
    assert server.calls.modes == [0o600]


def test_binary_files_arrive_whole(raw: httpx.Client, server: Running) -> None:
    content = b"zh" + bytes(range(256)) * 8000 + f"--{BOUNDARY}x".encode()
    assert raw.post(PATH, files={"file": content}).status_code == 200
    assert server.calls.contents == [content[:64]]


def test_chunked_upload(raw: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for byte in part("file", b"zh", "a") + SHAPE + END:
            yield bytes([byte])

    assert raw.post(PATH, content=pieces(), headers=MULTIPART).text.startswith("今天")


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        (MODEL + END, MULTIPART, "file"),
        (part("file", b"zh") + END, MULTIPART, "file"),
        (part("file", b"", "a.wav") + END, MULTIPART, "file"),
        (part("file", b"zh", "a") * 2 + END, MULTIPART, "file"),
        (part("model", b"able", "model.txt") + part("file", b"zh", "a") + END, MULTIPART, "model"),
        (part("file", b"zh", "a"), MULTIPART, "file"),
        (b"", MULTIPART, None),
        (b"not multipart at all", MULTIPART, None),
        (MODEL + END, {"content-type": "multipart/form-data"}, None),
        (MODEL + END, {"content-type": f"multipart/form-data; boundary={'x' * 1000}"}, None),
        (b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, MULTIPART, None),
        (b'{"model": "able"}', {"content-type": "application/json"}, None),
        (b"model=able", {"content-type": "application/x-www-form-urlencoded"}, None),
        (b"zh", {}, None),
        (b"".join(part(f"f{number}", b"") for number in range(10_000)) + END, MULTIPART, None),
        (part("file", b"zh", "a") * 100 + END, MULTIPART, None),
        (part("x", b"y" * (4 * 1024 * 1024 + 1)) + END, MULTIPART, None),
    ],
)
def test_broken_forms(
    raw: httpx.Client, server: Running, body: bytes, headers: dict[str, str], param: str | None
) -> None:
    answer = raw.post(PATH, content=body, headers=headers)
    assert answer.status_code in ({400, 413} if len(body) > MAX_BYTES else {400}), answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    assert server.calls.options == []


def test_too_large_is_413(client: OpenAI, server: Running) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="able", file=b"z" * (MAX_BYTES + 2 * 1024 * 1024))
    assert caught.value.status_code == 413
    assert caught.value.code == "upload_too_large"
    assert server.calls.options == []


def test_a_little_too_large_is_413(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="able", file=b"z" * (MAX_BYTES + 1))
    assert caught.value.status_code == 413


def test_chunked_too_large_is_413(raw: httpx.Client, server: Running) -> None:
    def endless() -> Iterator[bytes]:
        yield part("file", b"", "a")[:-2]
        for _ in range(200):
            yield b"z" * 65536

    answer = raw.post(PATH, content=endless(), headers=MULTIPART)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "upload_too_large"
    assert answer.headers["connection"] == "close"
    assert wait_until(lambda: not list(server.temp.iterdir()))


def exchange(server: Running, head: str, body: bytes) -> bytes:
    """What a bare socket hears first."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(head.encode() + body)
        heard = b""
        while block := wire.recv(65536):
            heard += block
            if b"\r\n\r\n" in heard:
                break
        return heard


def head(length: int, key: str = KEY, extra: str = "") -> str:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n"
        f"Content-Type: {MULTIPART['content-type']}\r\n{extra}\r\n"
    )


def test_announced_too_large_is_refused_before_a_byte_is_sent(server: Running) -> None:
    heard = exchange(server, head(10**12, extra="Expect: 100-continue\r\n"), b"")
    assert heard.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in heard
    assert b"connection: close" in heard.lower()


def test_no_key_is_refused_before_a_byte_is_sent(server: Running) -> None:
    heard = exchange(server, head(1000, key="nope", extra="Expect: 100-continue\r\n"), b"")
    assert heard.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in heard


def test_a_wrong_key_with_a_large_body_hears_401(server: Running) -> None:
    with (
        OpenAI(base_url=f"{server.base}/v1", api_key="nope", max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError),
    ):
        sdk.audio.transcriptions.create(model="able", file=b"z" * (MAX_BYTES // 2))


def test_hanging_up_halfway_leaves_nothing(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(head(10_000).encode() + part("file", b"z" * 2000, "a"))
        assert wait_until(lambda: list(server.temp.iterdir()))
    assert wait_until(lambda: not list(server.temp.iterdir()))
    assert server.calls.options == []


def test_health_needs_no_key(server: Running) -> None:
    assert httpx.get(f"{server.base}/health").status_code == 200
    assert httpx.get(f"{server.base}/openapi.json").status_code == 200
    assert httpx.get(f"{server.base}/v1/models").status_code == 401
    assert httpx.get(f"{server.base}/nothing").status_code == 401


@pytest.mark.parametrize("header", ["X-NLS-Token", "api-key"])
def test_keys_in_other_headers(server: Running, header: str) -> None:
    assert httpx.get(f"{server.base}/v1/models", headers={header: KEY}).status_code == 200
    assert httpx.get(f"{server.base}/v1/models", headers={header: KEY + "x"}).status_code == 401
