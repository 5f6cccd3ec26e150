"""/v1/admin of the whole application with engines that a test decides over: whose it is, what it tells and ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from service.house import House, furnished

from app.domain.errors import ConfigUnusable
from app.main import create_app
from app.service.service import SpeechService

KEY, OTHER = {"authorization": "Bearer an-api-key"}, {"authorization": "Bearer another-api-key"}
ADMIN = {"authorization": "Bearer the-admin-key"}
KEYS = {"api_keys": "an-api-key,another-api-key", "admin_keys": "the-admin-key,a-second-admin-key"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            if (await client.get("/health/ready")).status_code == 200:
                return
            await asyncio.sleep(0.01)


async def post(client: httpx.AsyncClient, house: House, headers: dict[str, str], **data: str) -> httpx.Response:
    files = {"file": ("secret-name.wav", await asyncio.to_thread(house.sound.read_bytes))}
    form = {"language": "en", **data}
    return await client.post("/v1/audio/transcriptions", files=files, data=form, headers=headers)


async def running(client: httpx.AsyncClient, count: int) -> dict[str, object]:
    """What /v1/admin says once so many things are recognised."""
    async with asyncio.timeout(20):
        while True:
            body = (await client.get("/v1/admin", headers=ADMIN)).json()
            if [one["stage"] for one in body["running"]] == ["recognise"] * count:
                return body
            await asyncio.sleep(0.01)


def error(answer: httpx.Response) -> dict[str, object]:
    """In OpenAI's shape."""
    return answer.json()["error"]


def test_without_admin_keys_nobody_may_ask(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in ({}, KEY, ADMIN):
            for method, path in (("GET", "/v1/admin"), ("DELETE", "/v1/admin/running/x"), ("GET", "/v1/admin/nothing")):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 403
                assert "ADMIN_KEYS" in str(error(answer)["message"])
                assert error(answer)["code"] == "permission_denied"

    house.serve(scenario, api_keys="an-api-key")


def test_an_admin_key_is_needed_and_an_api_key_is_none(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in ({}, KEY, {"authorization": "Bearer the-admin-ke"}, {"authorization": "Bearer "}):
            answer = await client.get("/v1/admin", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert error(answer)["code"] == "invalid_api_key"
        assert (await client.get("/v1/admin", params={"token": "the-admin-key"})).status_code == 401
        assert (
            await client.get("/v1/admin", headers={"authorization": "Bearer a-second-admin-key"})
        ).status_code == 200
        assert (await client.get("/v1/admin/nothing", headers=ADMIN)).status_code == 404

    house.serve(scenario, **KEYS)


def test_an_admin_key_is_no_api_key_but_may_read_metrics(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        assert (await post(client, house, ADMIN)).status_code == 401
        assert (await client.get("/v1/models", headers=ADMIN)).status_code == 401
        assert (await client.get("/metrics", headers=ADMIN)).status_code == 200
        assert (await client.get("/metrics", headers=KEY)).status_code == 200
        assert (await client.get("/metrics")).status_code == 401

    house.serve(scenario, **KEYS)


def test_it_tells_what_runs_and_nothing_that_is_private(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        empty = (await client.get("/v1/admin", headers=ADMIN)).json()
        assert (empty["phase"], empty["reason"], empty["running"], empty["keys"]) == ("ready", None, [], [])
        assert [model["state"] for model in empty["models"]] == ["loaded"]
        assert {one["role"] for one in empty["processes"]} >= {"server", "decoder"}
        assert all(one["resident_bytes"] > 0 for one in empty["processes"])
        assert {one["folder"]: one["free_bytes"] > 0 for one in empty["disks"]} == {"temp": True, "data": True}
        house.recognizer.held = True
        first = asyncio.create_task(post(client, house, KEY | {"x-request-id": "first"}, hotwords="secretword"))
        await running(client, 1)
        second = asyncio.create_task(post(client, house, OTHER | {"x-request-id": "second"}))
        body = await running(client, 2)
        assert [one["id"] for one in body["running"]] == ["first", "second"]
        shown = body["running"][0]
        assert (shown["kind"], shown["path"], shown["model"]) == (
            *("recording", "/v1/audio/transcriptions"),
            "whisper-base",
        )
        assert shown["audio_seconds"] == 16.0
        assert [(one["requests"], one["streams"]) for one in body["keys"]] == [(1, 0), (1, 0)]
        assert {one["key"] for one in body["keys"]} == {one["key"] for one in body["running"]}
        assert body["queue"]["pieces_waiting"] > 0
        told = json.dumps(body)
        for secret in ("secret", "an-api-key", "another-api-key", "the-admin-key"):
            assert secret not in told
        house.recognizer.release(99)
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert (await client.get("/v1/admin", headers=ADMIN)).json()["running"] == []

    house.serve(scenario, **KEYS)


def test_it_tells_what_is_used_of_limits(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        assert (await post(client, house, KEY)).status_code == 200
        used = (await client.get("/v1/admin", headers=ADMIN)).json()["usage"]
        assert sorted((one["used"]["requests"], one["limits"]["requests"]) for one in used) == [(0, 7), (1, 7)]

    house.serve(scenario, key_requests_per_minute=7, **KEYS)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_what_runs_can_be_ended(house: House, stream: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        house.recognizer.held = True
        work = asyncio.create_task(post(client, house, KEY | {"x-request-id": "mine"}, stream=stream))
        await running(client, 1)
        nothing = await client.delete("/v1/admin/running/another", headers=ADMIN)
        assert (nothing.status_code, error(nothing)["code"]) == (404, "not_running")
        assert (await client.delete("/v1/admin/running/mine", headers=KEY)).status_code == 401
        done = await client.delete("/v1/admin/running/mine", headers=ADMIN)
        assert (done.status_code, done.json()) == (200, {"id": "mine", "ended": 1})
        answer = await work
        assert (answer.status_code, error(answer)["code"]) == (503, "ended_by_operator")
        assert "operator" in str(error(answer)["message"])
        assert answer.headers["x-should-retry"] == "false"
        assert (await client.delete("/v1/admin/running/mine", headers=ADMIN)).status_code == 404
        house.recognizer.release(99)

    house.serve(scenario, **KEYS)


def test_what_is_drawn_can_be_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        drawing = asyncio.Event()

        async def endless(*_: object, **__: object) -> None:
            drawing.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(SpeechService, "drawing", endless)
        sound = await asyncio.to_thread(house.sound.read_bytes)
        for path, field in (
            ("/v1/audio/transcriptions", "file"),
            ("/asr", "audio_file"),
            ("/asr", "file"),
            ("/recognition", "audio"),
            ("/v1/asr", "audio"),
            ("/stream/v1/asr", None),
        ):
            drawing.clear()
            sent = {"content": sound} if field is None else {"files": {field: ("a.wav", sound)}}
            work = asyncio.create_task(client.post(path, headers=KEY | {"x-request-id": "mine"}, **sent))
            await asyncio.wait_for(drawing.wait(), 20)
            body = (await client.get("/v1/admin", headers=ADMIN)).json()
            assert [one["stage"] for one in body["running"]] == ["answer"]
            assert (await client.delete("/v1/admin/running/mine", headers=ADMIN)).json()["ended"] == 1
            answer = await work
            assert answer.status_code >= 500, path
            assert "operator" in answer.text, path

    house.serve(scenario, **KEYS)


def test_no_id_is_taken_out_of_the_path_that_ends_it(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for name in ("..", ".", ".x", "-x", ":"):
            assert (await client.get("/health/live", headers={"x-request-id": name})).headers["x-request-id"] != name
        for name in ("a..", "0", "a:b-c_d.e", "x" * 128):
            assert (await client.get("/health/live", headers={"x-request-id": name})).headers["x-request-id"] == name

    house.serve(scenario)


@pytest.mark.parametrize("setting", ["api_keys", "apptoken", "api_key"])
def test_a_key_is_not_both(house: House, setting: str) -> None:
    keys = {setting: "a-key", "admin_keys": "another-key,a-key"}
    with pytest.raises(ConfigUnusable, match=r"ADMIN_KEYS.*of their own") as told:
        create_app(house.settings(**keys))
    assert "a-key" not in told.value.message


def test_an_upload_can_be_ended_while_it_arrives(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        going_on = asyncio.Event()

        async def body() -> object:
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(1000)
            await going_on.wait()

        headers = KEY | {"x-request-id": "mine", "content-type": "multipart/form-data; boundary=b"}
        upload = asyncio.create_task(client.post("/v1/audio/transcriptions", content=body(), headers=headers))
        async with asyncio.timeout(20):
            while True:
                if (await client.delete("/v1/admin/running/mine", headers=ADMIN)).status_code == 200:
                    break
                await asyncio.sleep(0.01)
        going_on.set()
        answer = await upload
        assert (answer.status_code, error(answer)["code"]) == (503, "ended_by_operator")

    house.serve(scenario, **KEYS)
