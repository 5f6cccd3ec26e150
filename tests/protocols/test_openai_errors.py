"""Every failure reaches the SDK as the exception its users catch, and leaves nothing running or lying about."""

from __future__ import annotations

import re
import time

import httpx
import openai
import pytest
from openai import OpenAI
from openai_server import FAILURES, KEY, Calls, Running, serving, wait_until

from app.domain import errors
from app.domain.errors import SpeechError
from app.protocols import event_stream
from app.protocols.faults import STATUS, status_of

TRANSCRIBE = "/v1/audio/transcriptions"


def create(client: OpenAI, content: str, **extra: object) -> object:
    return client.audio.transcriptions.create(model="able", file=content.encode(), **extra)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("failure", "kind", "status"),
    [
        ("overloaded", openai.RateLimitError, 429),
        ("unavailable", openai.InternalServerError, 503),
        ("store", openai.InternalServerError, 503),
        ("engine", openai.InternalServerError, 500),
        ("bug", openai.InternalServerError, 500),
        ("undecodable", openai.BadRequestError, 400),
        ("short", openai.BadRequestError, 400),
        ("long", openai.APIStatusError, 413),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_failures(client: OpenAI, failure: str, kind: type[openai.APIStatusError], status: int, stream: bool) -> None:
    with pytest.raises(kind) as caught:
        create(client, f"fail {failure}", stream=stream)
    error = caught.value
    assert error.status_code == status
    assert error.request_id
    expected = FAILURES[failure]
    assert error.code == (expected.code if isinstance(expected, SpeechError) else "server_error")
    assert "secret" not in error.message
    assert ("retry-after" in error.response.headers) == (status in {429, 503})
    assert (error.response.headers.get("x-should-retry") == "false") == (failure == "bug")
    assert error.body == error.response.json()["error"]


def test_retry_after_is_honoured(server: Running) -> None:
    with OpenAI(base_url=f"{server.base}/v1", api_key=KEY, max_retries=1) as sdk:
        started = time.monotonic()
        create(sdk, "once overloaded")
        assert 0.9 < time.monotonic() - started < 5
    assert len(server.calls.options) == 2


def test_every_error_has_a_status() -> None:
    def leaves(kind: type[SpeechError]) -> list[type[SpeechError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    assert all(any(parent in STATUS for parent in kind.__mro__) for kind in leaves(SpeechError))
    assert status_of(errors.EmptyAudio("x")) == 400
    assert status_of(errors.VerificationFailed("x")) == 503


def test_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="nonesuch", file=b"zh")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no/such")


def test_wrong_key(server: Running) -> None:
    with OpenAI(base_url=f"{server.base}/v1", api_key="wrong-key-9", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            create(sdk, "zh")
        assert caught.value.code == "invalid_api_key"
        assert caught.value.request_id
        answer = caught.value.response
        assert "wrong-key" not in answer.text + str(answer.headers)
        assert answer.headers["www-authenticate"] == "Bearer"
        with pytest.raises(openai.AuthenticationError):
            sdk.models.list()
    assert server.calls.options == []


def test_error_in_a_started_stream(client: OpenAI) -> None:
    for failure in ("engine", "bug"):
        stream = create(client, f"part {failure}", stream=True)
        first = next(stream)  # type: ignore[call-overload]
        assert first.delta == "今天天气很好，"
        with pytest.raises(openai.APIError) as caught:
            list(stream)  # type: ignore[call-overload]
        assert not isinstance(caught.value, openai.APIStatusError)
        assert "secret" not in caught.value.message


def test_keep_alive(raw: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.1)
    answer = raw.post(TRANSCRIBE, data={"stream": "true"}, files={"file": b"sleepy"})
    assert ": keep-alive\n\n" in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_slow_start_streams_keep_alives_first(raw: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.1)
    with raw.stream("POST", TRANSCRIBE, data={"stream": "true"}, files={"file": b"slow"}) as answer:
        assert next(answer.iter_text()).startswith(": keep-alive")


@pytest.mark.parametrize(("content", "stream"), [("slow", False), ("slow", True), ("stall", True)])
def test_leaving_ends_the_work(server: Running, raw: httpx.Client, content: str, stream: bool) -> None:
    with pytest.raises(httpx.ReadTimeout):
        raw.post(TRANSCRIBE, data={"stream": str(stream)}, files={"file": content.encode()}, timeout=0.5)
    assert wait_until(lambda: server.calls.cancelled == 1)
    assert wait_until(lambda: not list(server.temp.iterdir()))


def test_paths_and_methods(raw: httpx.Client) -> None:
    missing = raw.get("/v1/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "not_found"
    wrong = raw.get(TRANSCRIBE)
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"
    assert wrong.json()["error"]["type"] == "invalid_request_error"
    invalid = raw.get("/bug", params={"number": "seventeen"})
    assert invalid.status_code == 400
    assert invalid.json()["error"]["param"] == "number"
    assert "seventeen" not in invalid.text


def test_request_ids(raw: httpx.Client) -> None:
    assert raw.get("/v1/models", headers={"x-request-id": "mine-1.2:3"}).headers["x-request-id"] == "mine-1.2:3"
    for bad in ("with space", "x" * 129, "<b>"):
        assert re.fullmatch(
            r"[0-9a-f]{32}", raw.get("/v1/models", headers={"x-request-id": bad}).headers["x-request-id"]
        )
    failed = raw.get("/bug", params={"number": 1}, headers={"x-request-id": "seen"})
    assert failed.status_code == 500
    assert failed.headers["x-request-id"] == "seen"
    assert "secret" not in failed.text


def test_no_keys_no_check(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("open"), keys=(), openai_default_format="json") as running:
        answer = httpx.post(running.base + TRANSCRIBE, files={"file": b"zh"})
        assert answer.json().keys() == {"text", "languages", "usage"}
        running.service.calls = Calls()
