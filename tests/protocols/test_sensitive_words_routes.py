"""Sensitive words over HTTP: stored, shown, replaced and deleted, apart from vocabularies, each caller their own."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from vocabulary_server import KEY, OTHER_KEY, Running, serving

from app.main import create_app
from app.protocols.vocabularies import schema
from app.protocols.vocabularies.wire import SENSITIVE_FIELDS
from app.settings import Settings

PLACE, VOCABULARIES = "/v1/sensitive_words", "/v1/vocabularies"
NOBODY = "vocab_" + "0" * 24


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as running:
        yield running
        assert list(running.temp.iterdir()) == [], "a body was left behind"


@pytest.fixture
def raw(server: Running) -> Iterator[httpx.Client]:
    with server.client(KEY) as made:
        yield made


@pytest.fixture
def other(server: Running) -> Iterator[httpx.Client]:
    with server.client(OTHER_KEY) as made:
        yield made


def create(http: httpx.Client, name: object = "Codes", words: object = ("飞鸟", "Project Falcon")) -> httpx.Response:
    return http.post(PLACE, json={"name": name, "words": words})


def names(http: httpx.Client, place: str = PLACE) -> list[str]:
    return [one["name"] for one in http.get(place).json()["data"]]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()["error"]
    assert body.keys() == {"message", "type", "param", "code"}
    return answer.status_code, body["code"], body["param"]


def test_a_list_is_stored_replaced_and_deleted(raw: httpx.Client) -> None:
    answer = raw.post(PLACE, json={"name": " 代号 ", "words": ["飞鸟", "Project  Falcon"], "description": "2026"})
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"vocab_[0-9a-f]{24}", made["id"])
    summary = {
        "id": made["id"],
        "object": "sensitive_words",
        "name": "代号",
        "description": "2026",
        "count": 2,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert made == summary | {"words": ["飞鸟", "Project Falcon"]}
    place = f"{PLACE}/{made['id']}"
    assert raw.get(place).json() == made
    assert raw.get(PLACE).json() == {"object": "list", "data": [summary]}

    renamed = raw.put(place, json={"name": "Codes"}).json()
    assert (renamed["name"], renamed["description"], renamed["words"]) == ("Codes", "2026", made["words"])
    changed = raw.put(place, json={"words": ["one"], "description": ""}).json()
    assert (changed["name"], changed["description"], changed["count"], changed["words"]) == ("Codes", "", 1, ["one"])
    assert raw.get(place).json() == changed

    gone = raw.delete(place)
    assert gone.json() == {"id": made["id"], "object": "sensitive_words.deleted", "deleted": True}
    assert names(raw) == []
    for answer in (raw.get(place), raw.delete(place), raw.put(place, json={"name": "x"})):
        assert error(answer) == (404, "vocabulary_not_found", None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["飞鸟", "Project Falcon", "飞鸟"], ["飞鸟", "Project Falcon"]),
        (["Falcon", "FALCON"], ["Falcon"]),
        ("飞鸟，Project Falcon；three、four\nfive", ["飞鸟", "Project Falcon", "three", "four", "five"]),
        ('["a, b", "c"]', ["a, b", "c"]),
        (["word 20"], ["word 20"]),
    ],
)
def test_ways_to_say_words(raw: httpx.Client, said: object, kept: list[str]) -> None:
    made = create(raw, words=said)
    assert (made.status_code, made.json()["words"]) == (201, kept)


def test_they_are_apart_from_vocabularies(raw: httpx.Client) -> None:
    secret = create(raw, "Names").json()
    heard = raw.post(VOCABULARIES, json={"name": "Names", "hotwords": ["Anna"]}).json()
    assert (names(raw), names(raw, VOCABULARIES)) == (["Names"], ["Names"])
    for place, strange in ((PLACE, heard["id"]), (VOCABULARIES, secret["id"])):
        for answer in (
            raw.get(f"{place}/{strange}"),
            raw.put(f"{place}/{strange}", json={"name": "x"}),
            raw.delete(f"{place}/{strange}"),
        ):
            assert error(answer) == (404, "vocabulary_not_found", None)
    assert raw.get(f"{PLACE}/{secret['id']}").json() == secret
    assert error(create(raw, "names")) == (409, "vocabulary_exists", "name")


def test_keys_have_lists_of_their_own(server: Running, raw: httpx.Client, other: httpx.Client) -> None:
    mine = create(raw).json()
    place = f"{PLACE}/{mine['id']}"
    assert names(other) == []
    for answer in (other.get(place), other.delete(place), other.put(place, json={"words": ["x"]})):
        assert error(answer) == (404, "vocabulary_not_found", None)
    assert raw.get(place).json() == mine
    for method, path in (("GET", PLACE), ("POST", PLACE), ("GET", place), ("PUT", place), ("DELETE", place)):
        assert httpx.request(method, server.base + path).status_code == 401


def test_fields_that_make_no_sense(raw: httpx.Client) -> None:
    made = create(raw, "There").json()
    cases: list[tuple[object, str | None]] = [
        ({"words": ["x"]}, "name"),
        ({"name": "Codes"}, "words"),
        ({"name": "Codes", "words": None}, "words"),
        *(({"name": name, "words": ["x"]}, "name") for name in ("", "x" * 65, "a\x00b", NOBODY, 5, True)),
        *(({"name": "Codes", "words": said}, "words") for said in ([], {}, {"x": 1}, "", " ,", 5, True, "[1]", "{}")),
        *(({"name": "Codes", "words": [said]}, "words") for said in (5, None, ["a"], {}, "", " ", "***", "x" * 201)),
        ({"name": "Codes", "words": [str(number) for number in range(10_001)]}, "words"),
        ({"name": "Codes", "words": ["x"], "hotwords": ["x"]}, None),
        ({"name": "Codes", "words": ["x"], "description": 5}, "description"),
        ([], None),
        ("x", None),
    ]
    answers = [raw.post(PLACE, json=body) for body, _ in cases]
    expected = [(body, (400, "invalid_value", param)) for body, param in cases]
    assert [(body, error(answer)) for (body, _), answer in zip(cases, answers, strict=True)] == expected
    surrogate = b'{"name": "Codes", "words": ["\\ud800x"]}'
    sent = raw.post(PLACE, content=surrogate, headers={"content-type": "application/json"})
    assert error(sent) == (400, "invalid_value", "words")
    for body in ({}, {"name": None}, {"words": []}, {"name": ""}, {"hotwords": ["x"]}):
        assert error(raw.put(f"{PLACE}/{made['id']}", json=body))[:2] == (400, "invalid_value")
    assert raw.get(PLACE).json()["data"][0]["updated_at"] == made["updated_at"]
    assert names(raw) == ["There"]


def test_ten_thousand_long_terms(raw: httpx.Client) -> None:
    said = [f"{number:05}" + "字" * 195 for number in range(10_000)]
    content = json.dumps({"name": "Long", "words": said})
    made = raw.post(PLACE, content=content, headers={"content-type": "application/json"})
    assert (made.status_code, made.json()["words"] == said) == (201, True)


def test_nothing_stays_and_no_log_line_says_what_was_stored(
    raw: httpx.Client, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = create(raw, "Annabella", ["Bertholdina"]).json()
    for words in (["Bertholdina" * 100], [["Bertholdina"]], '["Bertholdina', {"Bertholdina": 1}):
        assert create(raw, "Other", words).status_code == 400
    assert create(raw, "ANNABELLA").status_code == 409
    raw.delete(f"{PLACE}/{made['id']}")
    content = b"".join(file.read_bytes() for file in server.service.settings.data_dir.iterdir())
    assert not any(trace in content for trace in (b"Annabella", b"Bertholdina"))
    assert "vocabulary_exists" in caplog.text
    assert not any(trace in caplog.text.lower() for trace in ("annabella", "bertholdina"))


def test_documentation(server: Running, raw: httpx.Client) -> None:
    paths = httpx.get(f"{server.base}/openapi.json").json()["paths"]
    own = {path: methods for path, methods in paths.items() if path.startswith(PLACE)}
    assert {(path, method) for path, methods in own.items() for method in methods} == {
        (PLACE, "get"),
        (PLACE, "post"),
        (f"{PLACE}/{{id}}", "get"),
        (f"{PLACE}/{{id}}", "put"),
        (f"{PLACE}/{{id}}", "delete"),
    }
    whole = create_app(Settings(_env_file=None)).openapi()["paths"]
    assert {path: whole.get(path) for path in own} == own
    content = schema.sensitive_request()["requestBody"]["content"]["application/json"]
    assert content["schema"]["properties"].keys() == SENSITIVE_FIELDS
    shown = schema.sensitive_responses("")[200]["content"]["application/json"]["example"]
    for example in content["examples"].values():
        made = raw.post(PLACE, json=example["value"]).json()
        assert made.keys() == shown.keys()
        assert (made["name"], made["count"], made["words"]) == (shown["name"], shown["count"], shown["words"])
        raw.delete(f"{PLACE}/{made['id']}")
