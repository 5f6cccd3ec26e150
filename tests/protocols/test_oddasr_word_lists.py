"""OddASR's word lists by unique_id: kept, shown, applied, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from oddasr_http_server import KEY, OTHER_KEY, Running, client, forget, serving
from openai_server import Calls

from app.domain.errors import VocabularyExists
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.protocols.oddasr.rest.stored import keep as keep_list
from app.service.auth import KeyRing

OWNER = KeyRing([KEY]).owner([(b"x-nls-token", KEY.encode())])
HOTWORDS, SENSITIVE = "/v1/asr/hotwords", "/v1/asr/sensitivewords"


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("temp")) as running:
        yield running


@pytest.fixture
def server(_running: Running) -> Running:
    _running.service.calls = Calls()
    forget(_running)
    return _running


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with client(server) as one:
        yield one


def keep(http: httpx.Client, path: str = HOTWORDS, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def hotwords(http: httpx.Client, unique_id: str, hotwords_type: int) -> list[str]:
    answer = http.get(f"{HOTWORDS}/unique_id/{unique_id}/hotwords_type/{hotwords_type}")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["error_code"], answer.json()["data"]["hotwords_type"]) == (0, hotwords_type)
    return answer.json()["data"]["words"]


def sensitive(http: httpx.Client, unique_id: str) -> list[str]:
    answer = http.get(f"{SENSITIVE}/unique_id/{unique_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["words"]


def recognize(http: httpx.Client, **fields: str) -> httpx.Response:
    return http.post("/v1/asr/file", files={"audio": ("a.wav", b"zh")}, data=fields)


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error_code", "error_desc", "data"}
    assert answer.json()["error_code"] != 0
    return answer.json()["error_desc"]


def test_what_the_browser_client_sends_and_reads(http: httpx.Client) -> None:
    kept = keep(http, token="xxx", hotwords_type=0, unique_id="123456", words=["你好", "大家"])
    assert kept == {
        "error_code": 0,
        "error_desc": "ok",
        "data": {"unique_id": "123456", "hotwords_type": 0, "words": ["你好", "大家"]},
    }
    assert hotwords(http, "123456", 0) == ["你好", "大家"]
    keep(http, SENSITIVE, unique_id="123456", words=["坏话"], token="xxx")
    assert http.get(f"{SENSITIVE}/unique_id/123456").json() == {
        "error_code": 0,
        "error_desc": "ok",
        "data": {"unique_id": "123456", "words": ["坏话"]},
    }


def test_the_page_sends_lines_and_the_type_as_text(http: httpx.Client) -> None:
    keep(http, unique_id="test123", hotwords_type="2", words=["阿里 巴巴", "", " ", "iPhone 15", "iPhone 16"])
    assert hotwords(http, "test123", 2) == ["阿里 巴巴", "iPhone 15", "iPhone 16"]


def test_each_type_is_a_list_of_its_own_and_hot_uid_means_all(http: httpx.Client, server: Running) -> None:
    keep(http, unique_id="u", hotwords_type=0, words=["王小明"])
    keep(http, unique_id="u", hotwords_type=1, words=["杭州"])
    keep(http, unique_id="u", hotwords_type=0, words=["李小红"])
    assert [hotwords(http, "u", number) for number in (0, 1, 2)] == [["李小红"], ["杭州"], []]

    assert recognize(http, hot_uid="u", hotwords="小落").status_code == 200
    assert server.calls.options[-1].hotwords == (Hotword("小落"), Hotword("李小红"), Hotword("杭州"))


def test_no_words_are_no_list(http: httpx.Client) -> None:
    keep(http, unique_id="u", hotwords_type=0, words=["王小明"])
    keep(http, unique_id="u", hotwords_type=0, words=[""])
    keep(http, unique_id="never", hotwords_type=0, words=[])
    assert hotwords(http, "u", 0) == []
    assert http.get("/v1/vocabularies").json()["data"] == []


def test_sensitive_uid_masks(http: httpx.Client, server: Running) -> None:
    keep(http, SENSITIVE, unique_id="u", words=["天气"])
    assert recognize(http, sensitive_uid="u", sensitive_style="remove").status_code == 200
    assert server.calls.options[-1].masking == (Masking(("天气",), "remove"),)
    assert recognize(http, sensitive_uid="u", sensitive_words="公园").status_code == 200
    assert server.calls.options[-1].masking == (Masking(("公园", "天气")),)
    for name in ("sensitive_uid[]", "sensitive_uid[0]"):
        assert recognize(http, **{name: "u"}).status_code == 200
        assert server.calls.options[-1].masking == (Masking(("天气",)),)


def test_words_to_mask_are_counted_together(
    http: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(http, SENSITIVE, unique_id="u", words=["天气", "公园"])
    monkeypatch.setattr(server.service.settings, "max_hotwords", 3)
    assert recognize(http, sensitive_uid="u", sensitive_words="公园，晴").status_code == 200
    server.calls.options.clear()
    answer = recognize(http, sensitive_uid="u", sensitive_words="雨，晴")
    assert (answer.status_code, server.calls.options) == (400, [])
    assert "more than 3 sensitive words together" in answer.text


def test_lists_of_other_routes_can_be_named_by_their_ids(http: httpx.Client, server: Running) -> None:
    heard = http.post("/v1/vocabularies", json={"name": "one", "hotwords": ["阿里巴巴"]}).json()["id"]
    masked = http.post("/v1/sensitive_words", json={"name": "two", "words": ["天气"]}).json()["id"]
    assert recognize(http, hot_uid=heard, sensitive_uid=masked).status_code == 200
    options = server.calls.options[-1]
    assert (options.hotwords, options.masking) == ((Hotword("阿里巴巴"),), (Masking(("天气",)),))


@pytest.mark.parametrize("name", ["sensitive_words", "sensitive_words[]", "sensitive_uid", "hot_uid[]", "hotwords[0]"])
def test_a_field_that_comes_as_a_file_is_not_overlooked(http: httpx.Client, server: Running, name: str) -> None:
    keep(http, SENSITIVE, unique_id="u", words=["天气"])
    answer = http.post("/v1/asr", files={"audio": ("a.wav", b"zh"), name: ("words.txt", b"u")})
    assert (answer.status_code, server.calls.options) == (400, [])
    assert "not files" in answer.json()["error"]


@pytest.mark.parametrize("fields", [{"sensitive_uid": ["u", "v"]}, {"sensitive_uid": "u", "sensitive_uid[]": "v"}])
def test_one_list_can_be_named_in_a_request(http: httpx.Client, server: Running, fields: dict[str, Any]) -> None:
    answer = http.post("/v1/asr", files={"audio": ("a.wav", b"zh")}, data=fields)
    assert (answer.status_code, answer.json()["error"]) == (400, "sensitive_uid was sent 2 times; send it once.")
    assert server.calls.options == []


def test_names_that_no_list_has(http: httpx.Client) -> None:
    answer = http.post("/v1/asr", files={"audio": ("a.wav", b"zh")}, data={"sensitive_uid[x]": "u"})
    assert answer.status_code == 400
    assert "sensitive_uid must be sent as" in answer.json()["error"]


def test_lists_that_are_not_there(http: httpx.Client, server: Running) -> None:
    keep(http, SENSITIVE, unique_id="u", words=["天气"])
    for fields in ({"hot_uid": "u"}, {"hot_uid": "nobody"}, {"sensitive_uid": "nobody"}, {"hot_uid": "x" * 2000}):
        answer = recognize(http, **fields)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert server.calls.options == []


def test_another_keys_lists_are_nowhere(http: httpx.Client, server: Running) -> None:
    keep(http, unique_id="u", hotwords_type=0, words=["王小明"])
    keep(http, SENSITIVE, unique_id="u", words=["天气"])
    with client(server, OTHER_KEY) as other:
        assert hotwords(other, "u", 0) == []
        assert sensitive(other, "u") == []
        assert recognize(other, hot_uid="u").status_code == 404
        assert recognize(other, sensitive_uid="u").status_code == 404
        keep(other, unique_id="u", hotwords_type=0, words=["别人"])
        keep(other, SENSITIVE, unique_id="u", words=[])
    assert hotwords(http, "u", 0) == ["王小明"]
    assert sensitive(http, "u") == ["天气"]


def test_ids_that_differ_in_case_are_not_the_same_list(http: httpx.Client) -> None:
    keep(http, SENSITIVE, unique_id="User", words=["天气"])
    assert sensitive(http, "user") == []
    assert recognize(http, sensitive_uid="USER").status_code == 404
    assert "case" in refused(http.post(SENSITIVE, json={"unique_id": "user", "words": ["公园"]}), 409)
    assert "case" in refused(http.post(SENSITIVE, json={"unique_id": "user", "words": []}), 409)
    assert sensitive(http, "User") == ["天气"]


def test_of_ids_that_differ_in_case_and_come_at_once_one_is_kept(http: httpx.Client, server: Running) -> None:
    async def main() -> list[Any]:
        store = server.service.vocabularies
        ids = ("Abc", "abc")
        kept = (keep_list(store, OWNER, one, (Hotword(one),), "sensitive") for one in ids)
        return await asyncio.gather(*kept, return_exceptions=True)

    first, second = asyncio.run(main())
    assert first is None
    assert isinstance(second, VocabularyExists)
    assert "unique_id" in second.message
    assert sensitive(http, "Abc") == ["Abc"]


def test_a_list_may_be_deleted_by_two_at_once(http: httpx.Client, server: Running) -> None:
    keep(http, SENSITIVE, unique_id="u", words=["天气"])

    async def main() -> None:
        store = server.service.vocabularies
        await asyncio.gather(*(keep_list(store, OWNER, "u", (), "sensitive") for _ in range(2)))

    asyncio.run(main())
    assert sensitive(http, "u") == []


def test_an_id_is_the_same_however_its_letters_are_composed(http: httpx.Client, server: Running) -> None:
    keep(http, unique_id="cafe\u0301", hotwords_type=0, words=["王小明"])
    keep(http, unique_id="caf\u00e9", hotwords_type=0, words=["李小红"])
    assert hotwords(http, "cafe\u0301", 0) == hotwords(http, "caf\u00e9", 0) == ["李小红"]


@pytest.mark.parametrize(
    "body",
    [
        {"hotwords_type": 0, "words": ["a"]},
        {"unique_id": "", "hotwords_type": 0, "words": ["a"]},
        {"unique_id": 7, "hotwords_type": 0, "words": ["a"]},
        {"unique_id": "a/b", "hotwords_type": 0, "words": ["a"]},
        {"unique_id": "x" * 61, "hotwords_type": 0, "words": ["a"]},
        {"unique_id": "\ud800", "hotwords_type": 0, "words": ["a"]},
        {"unique_id": "\u202e", "hotwords_type": 0, "words": ["a"]},
        {"unique_id": "u", "words": ["a"]},
        {"unique_id": "u", "hotwords_type": 3, "words": ["a"]},
        {"unique_id": "u", "hotwords_type": True, "words": ["a"]},
        {"unique_id": "u", "hotwords_type": 0},
        {"unique_id": "u", "hotwords_type": 0, "words": "a"},
        {"unique_id": "u", "hotwords_type": 0, "words": [1]},
        {"unique_id": "u", "hotwords_type": 0, "words": ["x" * 201]},
        {"unique_id": "u", "hotwords_type": 0, "words": ["!"]},
        [],
    ],
)
def test_bodies_that_make_no_sense(http: httpx.Client, body: Any) -> None:
    content, kind = json.dumps(body), {"content-type": "application/json"}
    refused(http.post(HOTWORDS, content=content, headers=kind))
    if isinstance(body, dict) and "words" in body and body.get("unique_id") != "u":
        refused(http.post(SENSITIVE, content=content, headers=kind))
    assert http.get("/v1/vocabularies").json()["data"] == []


def test_addresses_that_make_no_sense(http: httpx.Client) -> None:
    refused(http.get(f"{HOTWORDS}/unique_id/u/hotwords_type/3"))
    refused(http.get(f"{HOTWORDS}/unique_id/{'x' * 61}/hotwords_type/0"))
    refused(http.get(f"{SENSITIVE}/unique_id/{'x' * 61}"))
    refused(http.get(HOTWORDS), 405)
    assert sensitive(http, "%ED%A0%80") == []


def test_only_json_is_a_body_and_only_so_much_of_it(tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    with serving(temp, max_hotwords=3) as running, client(running) as http:
        refused(http.post(HOTWORDS, data={"unique_id": "u"}))
        refused(http.post(HOTWORDS, content=b"{", headers={"content-type": "application/json"}))
        refused(http.post(HOTWORDS, json={"unique_id": "u", "hotwords_type": 0, "words": ["a", "b", "c", "d"]}))
        refused(http.post(SENSITIVE, json={"unique_id": "u", "words": ["a", "b", "c", "d"]}))
        refused(http.post(SENSITIVE, json={"unique_id": "u", "words": ["a" * 100_000]}), 413)


def test_without_a_key_nothing_is_kept_or_shown(http: httpx.Client, server: Running) -> None:
    with client(server, None) as nobody:
        body = {"unique_id": "u", "hotwords_type": 0, "words": ["a"], "token": "test-key-one"}
        refused(nobody.post(HOTWORDS, json=body), 401)
        refused(nobody.get(f"{SENSITIVE}/unique_id/u"), 401)
        assert nobody.get(f"{HOTWORDS}/unique_id/u/hotwords_type/0?token=test-key-one").status_code == 200
    assert hotwords(http, "u", 0) == []
