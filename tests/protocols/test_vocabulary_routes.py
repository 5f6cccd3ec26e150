"""Vocabularies over HTTP: stored, shown, replaced and deleted, each caller among their own."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from vocabulary_server import KEY, OTHER_KEY, Running, serving

from app.domain.errors import UnknownVocabulary
from app.domain.hotwords import Hotword
from app.main import create_app
from app.protocols.body import IN_MEMORY
from app.protocols.vocabularies import schema
from app.protocols.vocabularies.bodies import BODY_SLACK, BYTES_PER_HOTWORD
from app.protocols.vocabularies.wire import FIELDS
from app.settings import Settings

PLACE = "/v1/vocabularies"
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


def create(http: httpx.Client, name: object = "Names", hotwords: object = ("Anna", "Bert")) -> httpx.Response:
    return http.post(PLACE, json={"name": name, "hotwords": hotwords})


def names(http: httpx.Client) -> list[str]:
    body = http.get(PLACE).json()
    assert body["object"] == "list"
    return [vocabulary["name"] for vocabulary in body["data"]]


def texts(answer: httpx.Response) -> list[str]:
    return [hotword["text"] for hotword in answer.json()["hotwords"]]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()["error"]
    assert body.keys() == {"message", "type", "param", "code"}
    return answer.status_code, body["code"], body["param"]


# --- a vocabulary's life ----------------------------------------------------------------------------------------------


def test_a_vocabulary_is_stored_replaced_and_deleted(raw: httpx.Client) -> None:
    answer = create(raw, " 客户 🎉 ", ["阿里巴巴", "Kubernetes"])
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"vocab_[0-9a-f]{24}", made["id"])
    assert made["created_at"] == made["updated_at"] > 1_700_000_000
    times = {"created_at": made["created_at"], "updated_at": made["updated_at"]}
    summary = {"id": made["id"], "object": "vocabulary", "name": "客户 🎉", "description": "", "count": 2, **times}
    assert made == summary | {"hotwords": [{"text": "阿里巴巴", "weight": 1.0}, {"text": "Kubernetes", "weight": 1.0}]}
    place = f"{PLACE}/{made['id']}"
    assert raw.get(place).json() == made
    assert raw.get(PLACE).json() == {"object": "list", "data": [summary]}

    renamed = raw.put(place, json={"name": "People"})
    assert (renamed.status_code, renamed.json()["name"], texts(renamed)) == (200, "People", ["阿里巴巴", "Kubernetes"])
    changed = raw.put(place, json={"hotwords": ["Carla"], "name": None})
    assert (changed.json()["name"], changed.json()["count"], texts(changed)) == ("People", 1, ["Carla"])
    assert raw.get(place).json() == changed.json()

    gone = raw.delete(place)
    assert gone.status_code == 200
    assert gone.json() == {"id": made["id"], "object": "vocabulary.deleted", "deleted": True}
    assert names(raw) == []
    for answer in (raw.get(place), raw.delete(place), raw.put(place, json={"name": "x"})):
        assert error(answer) == (404, "vocabulary_not_found", None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["阿里巴巴", "New York"], {"阿里巴巴": 1.0, "New York": 1.0}),
        ([{"text": "阿里巴巴", "weight": 20}, {"text": "New York"}], {"阿里巴巴": 1.0, "New York": 1.0}),
        ({"阿里巴巴": 40, "New York": 20, "Köln": 10}, {"阿里巴巴": 2.0, "New York": 1.0, "Köln": 0.5}),
        ('{"阿里巴巴": 20, "New York": 5, "Köln": 5}', {"阿里巴巴": 4.0, "New York": 1.0, "Köln": 1.0}),
        ('["阿里巴巴", "New York"]', {"阿里巴巴": 1.0, "New York": 1.0}),
        ("阿里巴巴 3\nKubernetes 1", {"阿里巴巴": 1.5, "Kubernetes": 0.5}),
        ("阿里巴巴,Kubernetes", {"阿里巴巴": 1.0, "Kubernetes": 1.0}),
    ],
)
def test_ways_to_say_hotwords(raw: httpx.Client, server: Running, said: object, kept: dict[str, float]) -> None:
    answer = create(raw, hotwords=said)
    assert answer.status_code == 201
    assert {hotword["text"]: hotword["weight"] for hotword in answer.json()["hotwords"]} == kept
    for repeated in (said, answer.json()["hotwords"]):  # what came back can be sent again
        again = raw.put(f"{PLACE}/{answer.json()['id']}", json={"hotwords": repeated})
        assert again.json()["hotwords"] == answer.json()["hotwords"]


def test_a_description_is_kept_changed_and_taken_away(raw: httpx.Client) -> None:
    made = raw.post(PLACE, json={"name": "Names", "hotwords": ["Anna"], "description": " our customers\nof 2026 "})
    assert (made.status_code, made.json()["description"]) == (201, "our customers\nof 2026")
    place = f"{PLACE}/{made.json()['id']}"
    assert raw.get(PLACE).json()["data"][0]["description"] == "our customers\nof 2026"
    assert raw.put(place, json={"hotwords": ["Bert"]}).json()["description"] == "our customers\nof 2026"
    changed = raw.put(place, json={"description": "old"}).json()
    assert (changed["description"], changed["hotwords"][0]["text"]) == ("old", "Bert")
    assert raw.put(place, json={"description": ""}).json()["description"] == ""
    for bad in ("x" * 501, "a\x00b", "\ud800", 5, ["a"]):
        content = json.dumps({"name": "Other", "hotwords": ["x"], "description": bad})
        for method, path in (("POST", PLACE), ("PUT", place)):
            answer = raw.request(method, path, content=content, headers={"content-type": "application/json"})
            assert error(answer) == (400, "invalid_value", "description")
    assert names(raw) == ["Names"]


def test_a_restart_keeps_all(tmp_path: Path) -> None:
    with serving(tmp_path) as running, running.client(KEY) as http:
        made = create(http).json()
    with serving(tmp_path) as running, running.client(KEY) as http:
        assert http.get(f"{PLACE}/{made['id']}").json() == made


def test_what_a_request_gets_by_id(raw: httpx.Client, server: Running) -> None:
    """As the routes that recognise ask for it, with the owner that the key stands for."""
    made = create(raw, hotwords={"Anna": 3, "Bert": 1}).json()
    with closing(sqlite3.connect(server.service.settings.data_dir / "vocabularies.db")) as file:
        ((owner,),) = file.execute("SELECT owner FROM vocabularies").fetchall()
    found = asyncio.run(server.service.vocabularies.hotwords_of(owner, made["id"]))
    assert found == (Hotword("Anna", 1.5), Hotword("Bert", 0.5))
    assert KEY not in owner
    with pytest.raises(UnknownVocabulary):
        asyncio.run(server.service.vocabularies.hotwords_of("", made["id"]))


def test_ten_thousand_long_terms(raw: httpx.Client, server: Running) -> None:
    said = [f"{number:05}" + "字" * 195 for number in range(10_000)]
    escaped = json.dumps({"name": "Long", "hotwords": said})  # as many clients send it: 12 MB
    assert len(escaped) > 11_000_000
    made = raw.post(PLACE, content=escaped, headers={"content-type": "application/json"})
    assert made.status_code == 201
    assert texts(raw.get(f"{PLACE}/{made.json()['id']}")) == said
    assert error(create(raw, "More", [str(number) for number in range(10_001)])) == (400, "invalid_value", "hotwords")
    assert error(create(raw, "Longer", ["x" * 201])) == (400, "invalid_value", "hotwords")
    assert names(raw) == ["Long"]


def test_deleting_leaves_no_byte(raw: httpx.Client, server: Running) -> None:
    folder = server.service.settings.data_dir
    keep = create(raw, "Kept", ["Bertholdina"]).json()
    gone = create(raw, "Annabella", [f"Wilhelmina {number}" for number in range(500)]).json()
    raw.put(f"{PLACE}/{keep['id']}", json={"hotwords": ["Carlotta"]})
    raw.delete(f"{PLACE}/{gone['id']}")
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"Carlotta" in content
    assert not any(trace in content for trace in (b"Annabella", b"Wilhelmina", b"Bertholdina", gone["id"].encode()))


# --- whose they are ---------------------------------------------------------------------------------------------------


def test_keys_have_vocabularies_of_their_own(raw: httpx.Client, other: httpx.Client) -> None:
    mine, theirs = create(raw).json(), create(other, hotwords=["Carla"]).json()
    assert names(raw) == names(other) == ["Names"]
    place = f"{PLACE}/{mine['id']}"
    for answer in (other.get(place), other.delete(place), other.put(place, json={"hotwords": ["x"]})):
        assert error(answer) == (404, "vocabulary_not_found", None)
    assert raw.get(place).json() == mine
    assert other.get(f"{PLACE}/{theirs['id']}").json() == theirs


def test_no_key_no_vocabularies(server: Running) -> None:
    place = f"{PLACE}/{NOBODY}"
    for method, path in (("GET", PLACE), ("POST", PLACE), ("GET", place), ("PUT", place), ("DELETE", place)):
        assert httpx.request(method, server.base + path).status_code == 401


def test_open_access_shares_one_set(tmp_path: Path) -> None:
    with serving(tmp_path, keys=(), max_vocabularies=2) as running, httpx.Client(base_url=running.base) as anybody:
        for name in ("One", "Two"):
            assert create(anybody, name).status_code == 201
        answer = create(anybody, "Three")
        assert error(answer) == (400, "invalid_value", None)
        assert "MAX_VOCABULARIES" in answer.json()["error"]["message"]
        with running.client("any key at all") as somebody:
            assert names(somebody) == ["One", "Two"]


def test_fifty_at_once(raw: httpx.Client) -> None:
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda number: create(raw, f"Number {number % 40}"), range(50)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (40, 10)
    assert sorted(names(raw)) == sorted(f"Number {number}" for number in range(40))


# --- bodies that make no sense ----------------------------------------------------------------------------------------


def test_fields_that_make_no_sense(raw: httpx.Client) -> None:
    made = create(raw, "There").json()
    cases: list[tuple[object, str | None]] = [
        ({"hotwords": ["x"]}, "name"),
        ({"name": None, "hotwords": ["x"]}, "name"),
        ({"name": "Names"}, "hotwords"),
        ({"name": "Names", "hotwords": None}, "hotwords"),
        *(({"name": name, "hotwords": ["x"]}, "name") for name in ("", "x" * 65, "a\x00b", NOBODY, 5, ["a"], {}, True)),
        *(({"name": "Names", "hotwords": said}, "hotwords") for said in ([], {}, "", " \n", 5, True, 0.5)),
        *(({"name": "Names", "hotwords": [said]}, "hotwords") for said in (5, None, ["a"], {}, {"text": 5}, True)),
        ({"name": "Names", "hotwords": {"Anna": "heavy"}}, "hotwords"),
        ({"name": "Names", "hotwords": {"Anna": {"weight": 1}}}, "hotwords"),
        (
            {"name": "Names", "hotwords": [{"text": "Anna", "weight": None}, {"text": "Bert", "weight": [1]}]},
            "hotwords",
        ),
        ({"name": "Names", "hotwords": ["x"], "weights": [1]}, None),
        ({"Anna": 20}, None),
        ({}, "hotwords"),
        ([], None),
        ("Anna", None),
        (None, None),
        (5, None),
    ]
    answers = [raw.post(PLACE, json=body) for body, _ in cases]
    expected = [(body, (400, "invalid_value", param)) for body, param in cases]
    assert [(body, error(answer)) for (body, _), answer in zip(cases, answers, strict=True)] == expected
    for body in ({}, {"name": None}, {"hotwords": []}, {"name": ""}, {"terms": ["x"]}):
        assert error(raw.put(f"{PLACE}/{made['id']}", json=body))[:2] == (400, "invalid_value")
    assert names(raw) == ["There"]
    assert raw.get(f"{PLACE}/{made['id']}").json() == made


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name=Names&hotwords=Anna",
        b'{"name": "Names", "hotwords": ["Anna"',
        b'{"name": "Names", "hotwords": ["Anna"]}}',
        b'{"name": "Names", "hotwords": {"Anna": NaN}}',
        b'{"name": "Names", "hotwords": {"Anna": 1e999}}',
        b'{"name": "Names", "hotwords": {"Anna": ' + b"9" * 5000 + b"}}",
        b'{"name": "Names", "hotwords": ["\\ud800"]}',
        b'{"name": "\\ud800", "hotwords": ["Anna"]}',
        b'{"name": "Names", "hotwords": ["\xff\xfe"]}',
        b'{"name": "Names", "hotwords": ' + b"[" * 100_000,
        b'{"name": "Names", "hotwords": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"name": "Names", "hotwords": ' + json.dumps("[" * 50_000).encode() + b"}",
    ],
)
def test_broken_bodies(raw: httpx.Client, content: bytes) -> None:
    answer = raw.post(PLACE, content=content, headers={"content-type": "application/json"})
    assert error(answer)[:2] == (400, "invalid_value")
    assert names(raw) == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_what_is_declared_json_is_read(raw: httpx.Client, kind: str) -> None:
    content = b'{"name": "Names", "hotwords": ["Anna"]}'
    answer = raw.post(PLACE, content=content, headers={"content-type": kind} if kind else {})
    assert error(answer) == (400, "invalid_value", None)
    assert "application/json" in answer.json()["error"]["message"]
    good = raw.post(
        PLACE, content=b"\xef\xbb\xbf" + content, headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert good.status_code == 201


def test_bodies_that_are_too_large(tmp_path: Path) -> None:
    most = 100 * BYTES_PER_HOTWORD + BODY_SLACK
    with serving(tmp_path, max_hotwords=100) as running, running.client(KEY) as http:
        blank = b" " * (most - len(b'{"name":"Names","hotwords":["x"]}')) + b'{"name":"Names","hotwords":["x"]}'
        headers = {"content-type": "application/json"}
        assert http.post(PLACE, content=blank, headers=headers).status_code == 201
        for content in (b" " + blank, iter([blank, b" " * 10])):
            assert error(http.post(PLACE, content=content, headers=headers)) == (413, "upload_too_large", None)
        assert error(http.put(f"{PLACE}/{NOBODY}", content=b" " + blank, headers=headers))[0] == 413
        assert error(create(http, "More", [str(number) for number in range(101)])) == (400, "invalid_value", "hotwords")
        assert names(http) == ["Names"]


def test_bodies_of_countless_values(raw: httpx.Client) -> None:
    for value in (b"{}", b"[]", b"1", b'"x"', b'{"text": "x", "weight": 1}'):
        content = b'{"name": "Names", "hotwords": [' + b",".join([value] * 90_000) + b"]}"
        answer = raw.post(PLACE, content=content, headers={"content-type": "application/json"})
        assert error(answer) == (400, "invalid_value", None)
        assert "commas" in answer.json()["error"]["message"]
    said = [f"{number}" + ",." * 3 for number in range(10_000)]
    assert texts(create(raw, hotwords=said)) == said


def test_a_body_that_stops_arriving(server: Running, raw: httpx.Client) -> None:
    """Also one that has begun to wait on disk."""
    port = int(server.base.rsplit(":", 1)[1])
    for sent in (b'{"name":', b" " * (2 * IN_MEMORY)):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(
                f"POST {PLACE} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
                f"content-type: application/json\r\ncontent-length: {3 * IN_MEMORY}\r\n\r\n".encode()
            )
            line.sendall(sent)
            assert line.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert names(raw) == []


def test_ids_that_nothing_has(raw: httpx.Client) -> None:
    for wanted in (NOBODY, "x", "张三 20", "a" * 5000, "%ff", "%00"):
        for answer in (raw.get(f"{PLACE}/{wanted}"), raw.delete(f"{PLACE}/{wanted}")):
            assert error(answer) == (404, "vocabulary_not_found", None)
            assert wanted not in answer.json()["error"]["message"].split()


# --- when the database cannot be used, and what is written down -------------------------------------------------------


def test_a_database_that_cannot_be_used_is_503(raw: httpx.Client, server: Running) -> None:
    made = create(raw).json()
    path = server.service.settings.data_dir / "vocabularies.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for answer in (create(raw, "More"), raw.delete(f"{PLACE}/{made['id']}")):
            assert error(answer) == (503, "vocabularies_unavailable", None)
            assert str(path) not in answer.text
    assert create(raw, "More").status_code == 201
    path.rename(path.with_name("aside"))
    path.write_bytes(b"not a database" * 1000)
    assert error(raw.get(PLACE)) == (503, "vocabularies_unavailable", None)


def test_no_log_line_says_what_was_stored(raw: httpx.Client, server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = create(raw, "Annabella", ["Bertholdina"]).json()
    bad: list[object] = [
        {"Bertholdina": 20},
        {"name": "ANNABELLA", "hotwords": ["x"]},
        {"name": "Annabella\x00", "hotwords": ["x"]},
        *({"name": "Other", "hotwords": said} for said in ({"Bertholdina": "heavy"}, {"Bertholdina": -1e300})),
        *(
            {"name": "Other", "hotwords": said}
            for said in (["Bertholdina" * 100], [{"Bertholdina": 1}], [["Bertholdina"]])
        ),
        *({"name": "Other", "hotwords": said} for said in ('{"Bertholdina', '["Bertholdina', "Bertholdina 1e999")),
    ]
    for body in bad:
        assert raw.post(PLACE, json=body).status_code in {400, 409}, body
    for content in (b'["Bertholdina', b'["Bertholdina\\ud800"]}'):
        body = b'{"name": "Annabella Three", "hotwords": ' + content
        assert raw.post(PLACE, content=body, headers={"content-type": "application/json"}).status_code == 400
    with closing(sqlite3.connect(server.service.settings.data_dir / "vocabularies.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert create(raw, "Annabella Two", ["Bertholdina"]).status_code == 503
    raw.delete(f"{PLACE}/{made['id']}")
    logged = "\n".join(record.getMessage() for record in caplog.records) + caplog.text
    assert "vocabulary_exists" in logged
    assert "database is locked" in logged
    assert not any(trace in logged.lower() for trace in ("annabella", "bertholdina"))


# --- documentation ----------------------------------------------------------------------------------------------------


def test_documentation(server: Running) -> None:
    document = httpx.get(f"{server.base}/openapi.json").json()
    paths = document["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == {
        route
        for place in (PLACE, "/v1/sensitive_words")
        for route in (
            (place, "get"),
            (place, "post"),
            (f"{place}/{{id}}", "get"),
            (f"{place}/{{id}}", "put"),
            (f"{place}/{{id}}", "delete"),
        )
    }
    assert [given["name"] for given in paths[f"{PLACE}/{{id}}"]["put"]["parameters"]] == ["id"]
    assert {"201", "400", "401", "409", "413", "503"} <= paths[PLACE]["post"]["responses"].keys()
    assert all("security" in operation for methods in paths.values() for operation in methods.values())
    whole = create_app(Settings(_env_file=None)).openapi()["paths"]
    assert {path: whole.get(path) for path in paths} == paths


def test_documented_examples_work(raw: httpx.Client) -> None:
    content = schema.vocabulary_request()["requestBody"]["content"]["application/json"]
    assert content["schema"]["properties"].keys() == FIELDS
    shown = schema.vocabulary_responses("")[200]["content"]["application/json"]["example"]
    for way, example in content["examples"].items():
        made = raw.post(PLACE, json=example["value"]).json()
        assert made.keys() == shown.keys()
        assert (made["name"], made["count"]) == (shown["name"], shown["count"])
        assert [hotword["text"] for hotword in made["hotwords"]] == [hotword["text"] for hotword in shown["hotwords"]]
        assert way == "terms" or made["hotwords"] == shown["hotwords"]
        raw.delete(f"{PLACE}/{made['id']}")
