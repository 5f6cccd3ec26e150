"""Limits of each key over HTTP, in every protocol's own shape."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from limits_server import Limited, limited
from openai import OpenAI, RateLimitError
from openai_server import wait_until
from real.scoring import wav_bytes

from app.domain.errors import Overloaded
from app.protocols.openai.limits import duration
from app.service.admission import Ticket

Ask = Callable[[httpx.Client, bytes], httpx.Response]


def _strict(body: dict[str, Any]) -> Any:
    return body["status"]


@dataclass(frozen=True)
class Door:
    """A route: how a recording is sent to it, and where its errors have their code and their message."""

    ask: Ask
    code: Callable[[dict[str, Any]], Any]
    busy: Any
    """The code of too much."""
    told: Callable[[dict[str, Any]], str]


def _form(path: str, field: str, **data: str) -> Ask:
    return lambda http, sound: http.post(path, files={field: ("a.wav", sound)}, data=data)


def _bare(path: str, **headers: str) -> Ask:
    return lambda http, sound: http.post(path, content=sound, params={"format": "wav"}, headers=headers)


DOORS = {
    "openai": Door(
        _form("/v1/audio/transcriptions", "file", language="en"),
        lambda body: (body["error"]["type"], body["error"]["code"]),
        ("rate_limit_error", "rate_limit_exceeded"),
        lambda body: body["error"]["message"],
    ),
    "openai-stream": Door(
        _form("/v1/audio/transcriptions", "file", language="en", stream="true"),
        lambda body: (body["error"]["type"], body["error"]["code"]),
        ("rate_limit_error", "rate_limit_exceeded"),
        lambda body: body["error"]["message"],
    ),
    "aliyun": Door(_bare("/stream/v1/asr"), _strict, 40000005, lambda body: body["message"]),
    "aliyun-strict": Door(
        _bare("/stream/v1/asr", **{"x-nls-strict": "1"}), _strict, 40000005, lambda body: body["message"]
    ),
    "flash": Door(_bare("/stream/v1/FlashRecognizer"), _strict, 40000005, lambda body: body["message"]),
    "whisper-asr": Door(_form("/asr?language=en", "audio_file"), lambda _: None, None, lambda body: body["detail"]),
    "language": Door(_form("/detect-language", "audio_file"), lambda _: None, None, lambda body: body["detail"]),
    "funasr": Door(_form("/recognition", "audio"), lambda body: body["code"], 1, lambda body: body["msg"]),
    "oddasr": Door(_form("/v1/asr", "audio"), lambda _: None, None, lambda body: body["error"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "house"


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Limited]:
    """Every door has a key of its own; recordings are 16 s."""
    keys = [*DOORS, *(f"{name}-other" for name in DOORS), "sdk"]
    with limited(folder, monkeypatch, api_keys=keys, **request.param) as running:
        yield running
        assert wait_until(lambda: not list(running.house.temp.iterdir())), "an upload was left behind"


def ask(server: Limited, name: str, key: str | None = None) -> httpx.Response:
    with server.client(key or name) as http:
        return DOORS[name].ask(http, server.house.sound.read_bytes())


def check_refused(answer: httpx.Response, name: str, told: str) -> None:
    door = DOORS[name]
    assert answer.status_code == 429, (name, answer.text)
    body = answer.json()
    assert door.code(body) == door.busy, name
    assert told in door.told(body), name
    assert answer.headers["x-request-id"]
    seconds = int(re.findall(r"again in (\d+) s", door.told(body))[0])
    assert int(answer.headers["retry-after"]) == seconds
    assert answer.headers["x-should-retry"] == ("true" if seconds <= 60 else "false")


@pytest.mark.parametrize("server", [{"key_requests_per_minute": 1}], indirect=True)
def test_requests_a_minute(server: Limited) -> None:
    for name in DOORS:
        assert ask(server, name).status_code == 200, name
        check_refused(ask(server, name), name, "the 1 requests a minute that it may (KEY_REQUESTS_PER_MINUTE)")
        assert ask(server, name, f"{name}-other").status_code == 200, name


@pytest.mark.parametrize("server", [{"key_audio_seconds_per_hour": 40}], indirect=True)
def test_seconds_of_sound_an_hour(server: Limited) -> None:
    for name in DOORS:
        for _ in range(2):
            assert ask(server, name).status_code == 200, name
        check_refused(ask(server, name), name, "16 s of sound, and of the 40 s an hour that this key may send, 8 s")
        assert ask(server, name, f"{name}-other").status_code == 200, name


@pytest.mark.parametrize("server", [{"key_audio_seconds_per_hour": 15}], indirect=True)
def test_a_recording_that_will_never_be_taken(server: Limited) -> None:
    for name, door in DOORS.items():
        answer = ask(server, name)
        assert answer.status_code == 400, (name, answer.text)
        assert "it will never be taken" in door.told(answer.json()), name
        assert "retry-after" not in answer.headers
    assert ask(server, "openai").json()["error"]["code"] == "audio_quota_too_small"
    assert ask(server, "aliyun").json()["status"] == 41010104


@pytest.mark.parametrize("server", [{"key_audio_seconds_per_hour": 16}], indirect=True)
def test_recordings_that_cannot_be_recognised_cost_nothing(server: Limited) -> None:
    def fail(*_: object) -> Any:
        raise MemoryError("made to fail")

    hears, server.house.recognizer.hears = server.house.recognizer.hears, fail
    assert ask(server, "openai").status_code == 500
    with server.client("openai") as http:
        assert DOORS["openai"].ask(http, b"no sound").status_code == 400
    server.house.recognizer.hears = hears
    assert ask(server, "openai").status_code == 200
    assert ask(server, "openai").status_code == 429


@pytest.mark.parametrize("server", [{"key_requests_per_minute": 2, "key_audio_seconds_per_hour": 16}], indirect=True)
def test_what_is_refused_for_its_sound_is_no_request(server: Limited) -> None:
    for name in DOORS:
        assert ask(server, name).status_code == 200, name
        for _ in range(3):
            check_refused(ask(server, name), name, "and of the 16 s an hour that this key may send, 0 s are left")
    refused = ask(server, "openai")
    assert refused.headers["x-ratelimit-remaining-requests"] == "1"
    with server.client("openai") as http:
        assert DOORS["openai"].ask(http, b"no sound").headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("server", [{"key_requests_per_minute": 1}], indirect=True)
def test_what_the_server_is_too_busy_for_is_no_request(server: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it may know only once it has seen how long the recording is."""

    def busy(*_: object) -> None:
        raise Overloaded("made to be busy", retry_after=1)

    with monkeypatch.context() as patch:
        patch.setattr(Ticket, "expect", busy)
        for name, door in DOORS.items():
            for _ in range(2):
                assert "made to be busy" in door.told(ask(server, name).json()), name
    assert ask(server, "openai").status_code == 200


@pytest.mark.parametrize("server", [{"key_audio_seconds_per_hour": 30}], indirect=True)
def test_what_came_with_a_recording_that_is_refused_costs_nothing(server: Limited) -> None:
    tone = np.sin(np.arange(16000) / 10).astype(np.float32) / 4
    ten, twelve = (wav_bytes(np.tile(tone, seconds)) for seconds in (10, 12))
    reference = "data:audio/wav;base64," + base64.b64encode(ten).decode()
    asked = {"response_format": "diarized_json", "known_speaker_names[]": "A", "known_speaker_references[]": reference}
    whose = hashlib.sha256(b"sdk").hexdigest()[:8]
    with server.client("sdk") as http:
        for _ in range(2):
            answer = http.post(
                "/v1/voices", data={"name": "A"}, files=[("files", sound) for sound in (ten, ten, twelve)]
            )
            assert (answer.status_code, server.used(whose)) == (429, (0, 0, 0))
        for sound, status, seconds in ((b"no sound", 400, 0), (ten, 200, 20), (ten, 429, 20)):
            answer = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", sound)}, data=asked)
            assert (answer.status_code, server.used(whose)) == (status, (0, 0, seconds))


@pytest.mark.parametrize("server", [{"key_requests_per_minute": 3}], indirect=True)
def test_openai_clients_are_told_how_many_requests_are_left(server: Limited) -> None:
    sound = ("a.wav", server.house.sound.read_bytes())
    with OpenAI(base_url=f"{server.base}/v1", api_key="sdk", max_retries=0, timeout=60) as sdk:
        for left in (2, 1, 0):
            raw = sdk.audio.transcriptions.with_raw_response.create(file=sound, model="whisper-1", language="en")
            assert raw.headers["x-ratelimit-limit-requests"] == "3"
            assert raw.headers["x-ratelimit-remaining-requests"] == str(left)
            assert re.fullmatch(r"1m0s|\d\d(\.\d+)?s", raw.headers["x-ratelimit-reset-requests"])
        with pytest.raises(RateLimitError) as failure:
            sdk.audio.transcriptions.create(file=sound, model="whisper-1")
    assert failure.value.code == "rate_limit_exceeded"
    assert failure.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    with server.client("nobody") as http:
        stranger = DOORS["openai"].ask(http, b"")
    assert stranger.status_code == 401
    assert not [name for name in stranger.headers if name.startswith("x-ratelimit")]
    assert not [name for name in ask(server, "oddasr").headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize("server", [{"key_streams": 1}], indirect=True)
def test_where_requests_are_not_limited_nobody_is_told(server: Limited) -> None:
    assert not [name for name in ask(server, "openai").headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize("server", [{"key_requests_per_minute": 1, "log_level": "DEBUG"}], indirect=True)
def test_an_operator_sees_who_used_what(server: Limited) -> None:
    assert ask(server, "openai").status_code == 200
    used = [one for one in server.service.quotas.usage() if one.used.requests]
    assert len(used) == 1
    assert re.fullmatch(r"[0-9a-f]{8}", used[0].name)
    assert (used[0].used.requests, used[0].limits.requests) == (1, 1)


def test_without_keys_the_address_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(folder, monkeypatch, key_requests_per_minute=1) as server:
        assert ask(server, "openai").status_code == 200
        answer = ask(server, "whisper-asr")
        assert answer.status_code == 429
        assert answer.json()["detail"].startswith("This address has made the 1 requests a minute")
        assert server.used("127.0.0.1") == (1, 0, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (7.5, "7.5s"), (59.9996, "1m0s"), (60, "1m0s"), (61.25, "1m1.25s")],
)
def test_durations_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
