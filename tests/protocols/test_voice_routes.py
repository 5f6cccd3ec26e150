"""Voices over HTTP: enrolled, listed, recognised and deleted, each caller among their own."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from openai_server import wait_until
from voice_server import KEY, MAX_BYTES, OTHER_KEY, THRESHOLD, Running, embedding, serving

from app.audio.declared import DeclaredSound
from app.domain.speakers import KnownVoice, Voiceprint
from app.pipeline.diarization.matching import best_first, similarity
from app.protocols.voices import http, schema
from app.service.voices.store import MAX_SAMPLES

Parts = list[tuple[str, tuple[str, bytes, str]]]
VOICES = "/v1/voices"
NOBODY = "voice_" + "0" * 24


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as running:
        yield running
        assert wait_until(lambda: not list(running.temp.iterdir())), "an upload was left behind"
        assert running.service.admission.active == 0


@pytest.fixture
def raw(server: Running) -> Iterator[httpx.Client]:
    with client(server, KEY) as made:
        yield made


@pytest.fixture
def other(server: Running) -> Iterator[httpx.Client]:
    with client(server, OTHER_KEY) as made:
        yield made


def client(server: Running, key: str) -> httpx.Client:
    # A connection for each request: the server closes it after a failure that nobody foresaw.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {key}"}, timeout=20, limits=limits)


def parts(*contents: str, field: str = "files") -> Parts:
    return [(field, (f"{place}.wav", content.encode(), "audio/wav")) for place, content in enumerate(contents)]


def enrol(http: httpx.Client, name: str, *contents: str) -> httpx.Response:
    return http.post(VOICES, data={"name": name}, files=parts(*(contents or (f"{name} 2",))))


def names(http: httpx.Client) -> list[str]:
    body = http.get(VOICES).json()
    assert body["object"] == "list"
    return [voice["name"] for voice in body["data"]]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()["error"]
    assert body.keys() == {"message", "type", "param", "code"}
    return answer.status_code, body["code"], body["param"]


# --- enrolling --------------------------------------------------------------------------------------------------------


def test_a_voice_is_enrolled_grows_and_is_deleted(raw: httpx.Client) -> None:
    answer = enrol(raw, " 王小明 ", "wang 2.5", "wang 3")
    assert answer.status_code == 201
    voice = answer.json()
    assert re.fullmatch(r"voice_[0-9a-f]{24}", voice["id"])
    assert voice.pop("created") > 1_700_000_000
    place = f"{VOICES}/{voice['id']}"
    expected = {"object": "voice", "name": "王小明", "samples": 2, "seconds": 5.5, "encoder": "encoder-one"}
    assert voice == expected | {"id": voice["id"]}

    grown = raw.post(f"{place}/samples", files=parts("wang 4", field="file"))
    assert grown.status_code == 200
    assert (grown.json()["samples"], grown.json()["seconds"]) == (3, 9.5)
    assert raw.get(place).json() == grown.json()
    assert raw.get(VOICES).json()["data"] == [grown.json()]

    gone = raw.delete(place)
    assert gone.status_code == 200
    assert gone.json() == {"id": voice["id"], "object": "voice.deleted", "deleted": True}
    assert names(raw) == []
    for answer in (raw.get(place), raw.delete(place), raw.post(f"{place}/samples", files=parts("wang"))):
        assert error(answer) == (404, "voice_not_found", None)


@pytest.mark.parametrize("field", ["files", "files[]", "files[3]", "file", "file[]"])
def test_names_of_the_file_parts(raw: httpx.Client, server: Running, field: str) -> None:
    answer = raw.post(VOICES, data={"name": "Anna"}, files=parts("anna 1", "anna 2", field=field))
    assert answer.json()["samples"] == 2
    assert [name for name, _ in server.service.heard] == ["anna", "anna"]


def test_raw_sound_is_declared_by_its_part(raw: httpx.Client, server: Running) -> None:
    files = [("files", ("a", b"anna 1", "audio/pcm;rate=8000")), ("files", ("b", b"anna 1", "audio/x-wav"))]
    assert raw.post(VOICES, data={"name": "Anna"}, files=files).status_code == 201
    assert server.service.heard == [("anna", DeclaredSound("s16le", 8000)), ("anna", None)]
    files[1] = ("files", ("b", b"anna 1", "audio/L16"))
    assert error(raw.post(VOICES, data={"name": "Bert"}, files=files)) == (400, "audio_undecodable", "files[1]")


def test_the_most_samples(raw: httpx.Client) -> None:
    many = [f"anna {place + 1}" for place in range(MAX_SAMPLES)]
    assert error(enrol(raw, "Anna", *many, "anna 1"))[:2] == (400, "invalid_value")
    voice = enrol(raw, "Anna", *many).json()
    assert voice["samples"] == MAX_SAMPLES
    answer = raw.post(f"{VOICES}/{voice['id']}/samples", files=parts("anna"))
    assert error(answer) == (400, "invalid_value", "files")
    assert raw.get(f"{VOICES}/{voice['id']}").json() == voice


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("short", (400, "audio_too_short", "files[1]")),
        ("damaged", (400, "audio_undecodable", "files[1]")),
        ("", (400, "audio_empty", "files[1]")),
        ("x" * (MAX_BYTES + 1), (413, "upload_too_large", "files[1]")),
        ("bug", (500, "server_error", None)),
    ],
)
def test_one_bad_sample_spoils_all(raw: httpx.Client, content: str, expected: tuple[int, str, str | None]) -> None:
    anna = enrol(raw, "Anna").json()
    assert error(enrol(raw, "Bert", "bert 2", content, "bert 3")) == expected
    answer = raw.post(f"{VOICES}/{anna['id']}/samples", files=parts("anna 2", content))
    assert error(answer) == expected
    assert raw.get(VOICES).json()["data"] == [anna]


def test_forms_that_make_no_sense(raw: httpx.Client, server: Running) -> None:
    cases = [
        (raw.post(VOICES, files=parts("anna")), "name"),
        (raw.post(VOICES, data={"name": "  "}, files=parts("anna")), "name"),
        (raw.post(VOICES, data={"name": ["a", "b"]}, files=parts("anna")), "name"),
        (raw.post(VOICES, data={"name": "x" * 65}, files=parts("anna")), "name"),
        (raw.post(VOICES, data={"name": "a\u0000b"}, files=parts("anna")), "name"),
        (raw.post(VOICES, data={"name": NOBODY}, files=parts("anna")), "name"),
        (raw.post(VOICES, files=parts("anna", field="name")), "name"),
        (raw.post(VOICES, data={"name": "Anna"}, files=parts("anna", field="other")), "files"),
        (raw.post(VOICES, data={"name": "Anna", "files": "text"}, files=parts("anna")), "files"),
        (raw.post(VOICES, json={"name": "Anna"}), None),
        (raw.post(f"{VOICES}/identify", files=parts("anna")), "file"),
        (raw.post(f"{VOICES}/identify", files=parts("anna", "bert", field="file")), "file"),
    ]
    assert [error(answer) for answer, _ in cases] == [(400, "invalid_value", param) for _, param in cases]
    assert names(raw) == []
    assert server.service.heard == []


def test_a_name_is_taken_whatever_its_case(raw: httpx.Client) -> None:
    voice = enrol(raw, "Zoë").json()
    answer = enrol(raw, "ZOE\u0308")
    assert error(answer) == (409, "voice_exists", "name")
    assert voice["id"] in answer.json()["error"]["message"]
    assert names(raw) == ["Zoë"]


def test_fifty_at_once(raw: httpx.Client) -> None:
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda number: enrol(raw, f"Voice {number % 40}"), range(50)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (40, 10)
    assert sorted(names(raw)) == sorted(f"Voice {number}" for number in range(40))


def test_leaving_ends_the_work(raw: httpx.Client, server: Running) -> None:
    for path, field in ((VOICES, "files"), (f"{VOICES}/identify", "file")):
        cancelled = server.service.cancelled
        with pytest.raises(httpx.ReadTimeout):
            raw.post(path, data={"name": "Anna"}, files=parts("slow", field=field), timeout=0.5)
        assert wait_until(lambda before=cancelled: server.service.cancelled == before + 1)
    assert names(raw) == []


# --- whose they are ---------------------------------------------------------------------------------------------------


def test_keys_have_voices_of_their_own(raw: httpx.Client, other: httpx.Client) -> None:
    mine, theirs = enrol(raw, "Anna").json(), enrol(other, "Anna", "anna 5").json()
    assert names(raw) == names(other) == ["Anna"]
    place = f"{VOICES}/{mine['id']}"
    for answer in (other.get(place), other.delete(place), other.post(f"{place}/samples", files=parts("x"))):
        assert error(answer) == (404, "voice_not_found", None)
    answer = other.post(f"{VOICES}/identify", data={"voices": mine["id"]}, files=parts("anna", field="file"))
    assert error(answer) == (404, "voice_not_found", "voices")
    answer = other.post(f"{VOICES}/identify", files=parts("anna", field="file"))
    assert [candidate["id"] for candidate in answer.json()["candidates"]] == [theirs["id"]]
    assert raw.get(place).json() == mine


def test_no_key_no_voices(server: Running) -> None:
    for method, path in (
        ("GET", VOICES),
        ("POST", VOICES),
        ("GET", f"{VOICES}/{NOBODY}"),
        ("DELETE", f"{VOICES}/{NOBODY}"),
        ("POST", f"{VOICES}/identify"),
    ):
        assert httpx.request(method, server.base + path).status_code == 401


def test_open_access_shares_one_set(tmp_path: Path) -> None:
    with serving(tmp_path, keys=(), max_voices=2) as running, httpx.Client(base_url=running.base) as anybody:
        for name in ("Anna", "Bert"):
            assert enrol(anybody, name).status_code == 201
        answer = enrol(anybody, "Carla")
        assert error(answer) == (400, "invalid_value", None)
        assert "MAX_VOICES" in answer.json()["error"]["message"]
        with client(running, "any key at all") as somebody:
            assert names(somebody) == ["Anna", "Bert"]


# --- who speaks -------------------------------------------------------------------------------------------------------


def identify(http: httpx.Client, content: str, **data: str | list[str]) -> httpx.Response:
    return http.post(f"{VOICES}/identify", data=data, files=parts(content, field="file"))


def test_who_speaks(raw: httpx.Client) -> None:
    ids = {name: enrol(raw, name, f"{name} 2").json()["id"] for name in ("Anna", "Bert", "C, D", "Emil", "Fay", "Gus")}
    body = identify(raw, "Bert 7.25").json()
    assert (body["object"], body["threshold"], body["seconds"]) == ("voice.identification", THRESHOLD, 7.25)
    assert body["voice"] == {"id": ids["Bert"], "name": "Bert", "similarity": 1.0}
    assert body["candidates"][0] == body["voice"]
    similarities = [candidate["similarity"] for candidate in body["candidates"]]
    assert len(similarities) == 5
    assert similarities == sorted(similarities, reverse=True)

    stranger = identify(raw, "stranger").json()
    assert stranger["voice"] is None
    assert len(stranger["candidates"]) == 5

    among = identify(raw, "Bert", **{"voices[]": ["anna", ids["Gus"]]}).json()
    assert among["voice"] is None
    assert {candidate["name"] for candidate in among["candidates"]} == {"Anna", "Gus"}
    asked = identify(raw, "C, D", voices='["C, D"]').json()
    assert [candidate["name"] for candidate in asked["candidates"]] == ["C, D"]


def test_nobody_is_known(raw: httpx.Client) -> None:
    body = identify(raw, "anna 3").json()
    assert (body["voice"], body["candidates"], body["seconds"]) == (None, [], 3.0)


def test_an_unknown_voice_is_named_before_any_work(raw: httpx.Client, server: Running) -> None:
    answer = identify(raw, "anna", voices="nobody")
    assert error(answer) == (404, "voice_not_found", "voices")
    assert "'nobody'" in answer.json()["error"]["message"]
    assert identify(raw, "anna", voices='["\\ud800"]').status_code == 404
    assert server.service.heard == []


def test_voices_of_another_encoder_are_not_compared(raw: httpx.Client, server: Running) -> None:
    enrol(raw, "Anna")
    server.service.encoder_id = "encoder-two"
    assert identify(raw, "Anna").json()["candidates"] == []
    assert error(identify(raw, "Anna", voices="Anna")) == (404, "voice_not_found", "voices")
    assert names(raw) == ["Anna"]


def test_similarity() -> None:
    def sample(vector: list[float], seconds: float) -> Voiceprint:
        return Voiceprint(np.array(vector, np.float32), seconds, "encoder")

    east, north = [1.0, 0.0], [0.0, 1.0]
    mostly_east = KnownVoice("a", (sample(east, 3.0), sample(north, 1.0)))
    assert similarity(mostly_east, sample(east, 1.0)) == pytest.approx(3 / 10**0.5)
    assert similarity(mostly_east, sample([-0.6, -0.2], 1.0)) == pytest.approx(-1.0)
    assert -1.0 <= similarity(mostly_east, sample([-3.0, -1.0], 1.0)) <= 1.0
    assert similarity(KnownVoice("b", (sample(east, 1.0), sample([-1.0, 0.0], 1.0))), sample(east, 1.0)) == 0.0
    assert similarity(KnownVoice("c", ()), sample(east, 1.0)) == 0.0
    voices = [KnownVoice(name, (sample(vector, 1.0),)) for name, vector in (("n", north), ("e", east), ("n2", north))]
    assert [voice.name for voice, _ in best_first(voices, sample(east, 1.0))] == ["e", "n", "n2"]


# --- when the database cannot be used, and what is written down -------------------------------------------------------


def test_a_database_that_cannot_be_used_is_503(raw: httpx.Client, server: Running) -> None:
    anna = enrol(raw, "Anna").json()
    path = server.service.settings.data_dir / "voices.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for answer in (enrol(raw, "Bert"), raw.delete(f"{VOICES}/{anna['id']}")):
            assert error(answer) == (503, "voices_unavailable", None)
            assert str(path) not in answer.text
    assert enrol(raw, "Bert").status_code == 201
    path.rename(path.with_name("aside"))
    path.write_bytes(b"not a database" * 1000)
    assert error(raw.get(VOICES)) == (503, "voices_unavailable", None)


def test_no_log_line_says_who_was_enrolled(
    raw: httpx.Client, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "python_multipart")  # as the server sets it
    caplog.set_level(logging.DEBUG)
    voice = enrol(raw, "Annabella").json()
    for answer in (enrol(raw, "ANNABELLA"), identify(raw, "x", voices="Annabella Two"), identify(raw, "Annabella")):
        assert answer.status_code in {200, 404, 409}
    enrol(raw, "Annabella\x00")
    with closing(sqlite3.connect(server.service.settings.data_dir / "voices.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert enrol(raw, "Annabella Three").status_code == 503
    raw.delete(f"{VOICES}/{voice['id']}")
    assert "voice_not_found" in caplog.text
    assert "database is locked" in caplog.text
    assert "annabella" not in caplog.text.lower()
    shown = embedding("Annabella")
    assert not any(trace in caplog.text for trace in (repr(shown.tobytes()[:8])[2:-1], str(shown[0]), str(shown[-1])))


# --- documentation ----------------------------------------------------------------------------------------------------


def test_documentation(server: Running) -> None:
    document = httpx.get(f"{server.base}/openapi.json").json()
    paths = document["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == {
        (VOICES, "get"),
        (VOICES, "post"),
        (f"{VOICES}/identify", "post"),
        (f"{VOICES}/{{id}}", "get"),
        (f"{VOICES}/{{id}}", "delete"),
        (f"{VOICES}/{{id}}/samples", "post"),
    }
    assert [given["name"] for given in paths[f"{VOICES}/{{id}}"]["get"]["parameters"]] == ["id"]
    assert "201" in paths[VOICES]["post"]["responses"]


@pytest.mark.parametrize(
    ("request_schema", "read"),
    [
        (schema.enrolment_request(), http.ENROLMENT_FIELDS),
        (schema.samples_request(), http.SAMPLE_FIELDS),
        (schema.identification_request(), http.IDENTIFICATION_FIELDS),
    ],
)
def test_documented_fields_are_the_ones_read(request_schema: schema.Schema, read: frozenset[str]) -> None:
    form = request_schema["requestBody"]["content"]["multipart/form-data"]["schema"]
    documented = {name.removesuffix("[]") for name in form["properties"]}
    assert documented | {"file"} == read
