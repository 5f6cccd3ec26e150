"""/metrics of the whole application with engines that a test decides over: who may read it, in which format, and what
stands in it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from house import House, furnished
from pipeline.test_batching import until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from app.audio import storing

KEY = {"authorization": "Bearer secret-key"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


async def polled(ask: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(20):
        while not await ask():  # noqa: ASYNC110 - it is asked over HTTP
            await asyncio.sleep(0.01)


async def ready(client: httpx.AsyncClient) -> None:
    async def ask() -> bool:
        return (await client.get("/health/ready")).status_code == 200

    await polled(ask)


async def warm(client: httpx.AsyncClient, house: House) -> None:
    """Ready, and its decoders, too."""
    await ready(client)
    files = {"file": await asyncio.to_thread(house.sound.read_bytes)}
    answer = await client.post("/v1/audio/transcriptions", files=files, data={"language": "en"}, headers=KEY)
    assert answer.status_code == 200


async def scraped(client: httpx.AsyncClient, **headers: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Every series' samples."""
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in read_text(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def of(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_with_api_keys_one_is_needed(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        refused = await client.get("/metrics")
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert (await client.get("/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401
        found = await scraped(client, **KEY)
        assert found["asr_http_requests_total"][of(route="/metrics", method="GET", status="401")] == 2

    house.serve(scenario, api_keys="secret-key,another")


def test_metrics_can_be_opened_and_nothing_else_is(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        assert "asr_build_info" in await scraped(client)
        assert (await client.get("/v1/models")).status_code == 401

    house.serve(scenario, api_keys="secret-key", metrics_open=True)


def test_without_keys_it_is_open(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        assert "asr_build_info" in await scraped(client)

    house.serve(scenario)


def test_the_format_is_the_one_that_is_asked_for(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        plain = await client.get("/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        asked = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        newer = await client.get("/metrics", headers=asked)
        assert newer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert newer.text.endswith("# EOF\n")
        names = {family.name for family in read_openmetrics(newer.text)}
        assert {"asr_http_requests", "asr_ready", "process_open_fds"} <= names
        assert "_created" not in plain.text + newer.text

    house.serve(scenario)


def test_it_answers_while_the_model_is_loading_and_says_so(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        found = await scraped(client)
        assert found["asr_ready"][of()] in {0, 1}
        await warm(client, house)
        found = await scraped(client)
        assert found["asr_ready"][of()] == 1
        assert found["asr_model_state"][of(model="whisper-base", state="loaded")] == 1
        assert sum(found["asr_model_state"].values()) == 1

    house.serve(scenario)


def test_what_fails_to_load_is_not_ready(house: House) -> None:
    def loading() -> None:
        raise RuntimeError("not my day")

    house.loading = loading

    async def scenario(client: httpx.AsyncClient) -> None:
        async def failed() -> bool:
            return (await client.get("/health/ready")).json()["status"] == "failed"

        await polled(failed)
        assert (await scraped(client))["asr_ready"][of()] == 0

    house.serve(scenario)


def test_a_queue_is_seen_while_it_stands(house: House) -> None:
    """Three pieces of a recording: one in a call that does not end, two that wait."""
    house.recognizer.held = True

    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        work = asyncio.create_task(house.post(client))
        await until(lambda: bool(house.recognizer.calls))

        async def waiting() -> bool:
            return bool((await scraped(client))["asr_pieces_waiting"][of()])

        await polled(waiting)
        found = await scraped(client)
        assert found["asr_requests_in_progress"][of()] == 1
        assert found["asr_streams_in_progress"][of()] == 0
        older = await scraped(client)
        assert older["asr_oldest_piece_wait_seconds"][of()] > found["asr_oldest_piece_wait_seconds"][of()] > 0
        house.recognizer.release(10)
        assert (await work).status_code == 200
        found = await scraped(client)
        assert found["asr_pieces_waiting"][of()] == found["asr_oldest_piece_wait_seconds"][of()] == 0
        assert found["asr_backlog_seconds"][of()] == 0
        assert found["asr_recordings_total"][of(model="whisper-base", outcome="ok")] == 1
        assert found["asr_audio_seconds_total"][of(kind="file", model="whisper-base")] == pytest.approx(16.0)
        for stage in ("decode", "detect", "recognise", "write", "render"):
            assert found["asr_stage_duration_seconds_count"][of(stage=stage)] == 1, stage
        assert found["asr_piece_wait_seconds_count"][of(model="whisper-base")] == 3

    house.serve(scenario)


def test_speakers_are_a_stage_of_their_own(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        answer = await house.post(client, response_format="verbose_json", enable_speaker_diarization="true")
        assert answer.status_code == 200
        found = await scraped(client)
        assert found["asr_stage_duration_seconds_count"][of(stage="speakers")] == 1

    house.serve(scenario)


def test_routes_are_told_as_they_are_written_and_unknown_paths_are_one(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        for number in range(20):
            assert (await client.get(f"/nothing/{number}", headers=KEY)).status_code == 404
            await client.get(f"/v1/voices/voice_{number}", headers=KEY)
            await client.get(f"/v1/vocabularies/vocab_{number}")  # refused before any route
        await client.post("/openai/v1/v1/audio/transcriptions", headers=KEY)
        await client.patch("/v1/models", headers=KEY)
        requests = (await scraped(client, **KEY))["asr_http_requests_total"]
        assert requests[of(route="(unknown)", method="GET", status="404")] == 20
        assert requests[of(route="/v1/voices/{id}", method="GET", status="404")] == 20
        assert requests[of(route="/v1/vocabularies/{id}", method="GET", status="401")] == 20
        assert requests[of(route="/v1/audio/transcriptions", method="POST", status="400")] == 1
        assert requests[of(route="/v1/audio/transcriptions", method="POST", status="200")] == 1
        assert requests[of(route="/v1/models", method="PATCH", status="405")] == 1
        assert not [labels for labels in requests if "voice_1" in str(labels) or "vocab_1" in str(labels)]

    house.serve(scenario, api_keys="secret-key")


def test_free_disk_is_told_of_folders_that_are_not_there_yet(house: House) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        free = (await scraped(client))["asr_disk_free_bytes"]
        assert free[of(folder="temp")] > 0
        assert free[of(folder="data")] > 0

    house.serve(scenario, data_dir=house.temp.parent / "not" / "made" / "yet")


@pytest.mark.parametrize(("what", "code"), [(errno.EMFILE, "rate_limit_exceeded"), (errno.ENOSPC, "storage_full")])
def test_what_fails_while_it_arrives_is_counted_and_a_burst_before_the_first_scrape_is_seen(
    house: House, monkeypatch: pytest.MonkeyPatch, what: int, code: str
) -> None:
    def full(**_: object) -> None:
        raise OSError(what, "no")

    async def scenario(client: httpx.AsyncClient) -> None:
        await warm(client, house)
        refusals = (await scraped(client))["asr_refused_total"]
        none = {"rate_limit_exceeded", "key_limit_exceeded", "storage_full", "engine_failure", "deadline_exceeded"}
        none |= {"too_many_jobs", "too_many_uploads"}
        assert refusals == {of(code=code): 0 for code in none}, "there before anything happens"
        monkeypatch.setattr(storing, "NamedTemporaryFile", full)
        assert (await house.post(client)).status_code in {429, 507}
        address = {"audio_address": "http://127.0.0.1:9/sound.wav"}
        assert (await client.post("/v1/audio/transcriptions", json=address)).status_code in {429, 507}
        raw = await client.post("/stream/v1/asr", content=b"sound")
        assert raw.status_code != 200
        found = await scraped(client)
        assert found["asr_refused_total"] == refusals | {of(code=code): 3}
        assert found["asr_recordings_total"] == {of(model="whisper-base", outcome="ok"): 1}

    house.serve(scenario)
