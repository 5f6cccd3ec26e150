"""OpenAI's paths as clients spell them, and that no other path is taken for one of them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from openai_server import KEY, Running

from app.main import create_app
from app.protocols.spellings import Spellings, right_path
from app.settings import Settings

TRANSCRIPTIONS = "/v1/audio/transcriptions"
SPELLINGS = [
    "/audio/transcriptions",
    "/openai/v1/audio/transcriptions",
    "/openai/audio/transcriptions",
    "/v1/v1/audio/transcriptions",
    "/v1/audio/transcriptions/",
    "//v1/audio/transcriptions",
    "/v1//audio/transcriptions",
    "/v1/audio/transcriptions/audio/transcriptions",
    "/v1/audio/transcriptions/v1/audio/transcriptions",
    "/audio/transcriptions/v1/audio/transcriptions/",
    "/openai/v1/audio/transcriptions/openai/v1/audio/transcriptions",
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_a_recording_is_heard_at_every_spelling(raw: httpx.Client, path: str) -> None:
    answer = raw.post(path, files={"file": b"zh"}, data={"response_format": "text"})

    assert answer.status_code == 200, answer.text
    assert answer.text == "今天天气很好，我们去公园。\n"


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_is_a_way_round_the_key(server: Running, path: str) -> None:
    answer = httpx.post(f"{server.base}{path}", files={"file": b"zh"})

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert server.calls.options == []


@pytest.mark.parametrize("path", ["/models", "/models/", "/openai/v1/models", "/v1/v1/models", "/v1/models/"])
def test_models_are_listed_at_every_spelling(raw: httpx.Client, path: str) -> None:
    assert [model["id"] for model in raw.get(path).json()["data"]] == ["able", "group/plain"]


@pytest.mark.parametrize("path", ["/models/group/plain", "/openai/v1/models/group/plain"])
def test_a_model_is_shown_whatever_its_name(raw: httpx.Client, path: str) -> None:
    assert raw.get(path).json()["id"] == "group/plain"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/realtime", "/v1/realtime"),
        ("/openai/v1/realtime", "/v1/realtime"),
        ("/realtime/client_secrets", "/v1/realtime/client_secrets"),
        ("/openai/v1/voices/abc", "/v1/voices/abc"),
        ("/audio/translations", "/v1/audio/translations"),
        ("/v1/audio/translations/audio/translations", "/v1/audio/translations"),
        # What an app adds to the other route's path is not what its user gave: nobody knows which is meant.
        ("/v1/audio/translations/audio/transcriptions", "/v1/audio/translations/audio/transcriptions"),
        ("/", "/"),
        ("//", "//"),
        ("/v1", "/v1"),
        ("/openai", "/openai"),
        ("/openai/v1", "/openai/v1"),
        ("/audio", "/audio"),
        ("/audio/speech", "/audio/speech"),
        ("/xmodels", "/xmodels"),
        ("/models.txt", "/models.txt"),
        ("/other/v1/audio/transcriptions", "/other/v1/audio/transcriptions"),
        ("/health/v1/models", "/health/v1/models"),
        ("/web/models", "/web/models"),
    ],
)
def test_what_is_meant(path: str, meant: str) -> None:
    assert right_path(path) == meant


def test_no_path_of_this_server_is_taken_for_another() -> None:
    routes = create_app(Settings(_env_file=None)).routes
    paths = {route.path for route in routes if isinstance(route, APIRoute | APIWebSocketRoute)}

    assert {"/asr", "/health", TRANSCRIPTIONS, "/v1/realtime"} <= paths
    assert {path: right_path(path) for path in paths if right_path(path) != path} == {}


def test_spellings_are_not_in_the_documentation(raw: httpx.Client) -> None:
    paths = raw.get("/openapi.json").json()["paths"]

    assert TRANSCRIPTIONS in paths
    assert not [path for path in paths if path.startswith(("/audio", "/models", "/openai"))]


def test_sockets_are_led_to_the_right_path_too() -> None:
    seen: list[tuple[str, bytes]] = []

    async def application(scope: dict[str, object], _receive: object, _send: object) -> None:
        seen.append((str(scope["path"]), bytes(scope["raw_path"])))  # type: ignore[call-overload]

    async def unused() -> dict[str, object]:
        raise AssertionError

    async def unsent(_message: object) -> None:
        raise AssertionError

    scope = {"type": "websocket", "path": "/openai/v1/realtime", "raw_path": b"/openai/v1/realtime"}
    asyncio.run(Spellings(application)(scope, unused, unsent))  # type: ignore[arg-type]

    assert seen == [("/v1/realtime", b"/v1/realtime")]
    assert scope["path"] == "/openai/v1/realtime", "the access log has what was asked"


def test_a_key_is_enough_at_every_spelling(server: Running) -> None:
    assert httpx.get(f"{server.base}/openai/v1/models", params={"token": KEY}).status_code == 200
