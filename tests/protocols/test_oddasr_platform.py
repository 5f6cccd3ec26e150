"""Vocabularies and classes of words as OddASR's imitation of Alibaba Cloud's platform has them: kept, and applied."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oddasr_http_server import KEY, OTHER_KEY, Running, client, forget, serving
from openai_server import Calls

from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.protocols.oddasr.rest.platform_wire import Titles, stored_titles, titles_of, whole_weights
from app.service.vocabularies.lists import VocabularySummary

VOCABS, CLASSES = "/api/v1/asr/vocabs", "/api/v1/asr/class-vocabs"
VOCAB = {
    "id": "demo-vocab",
    "name": "示例词表",
    "description": "这是一个示例词表",
    "word_weights": {"苹果": 2, "西瓜": 3},
}
CLASS = {"id": "demo-class", "name": "示例词表", "description": "这是一个示例词表", "words": ["苹果", "西瓜"]}
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("temp"), max_vocabularies=30) as running:
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


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.pop("request_id") == answer.headers["x-request-id"]
    return body


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"request_id", "error_code", "error_message"}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return answer.json()["error_message"]


def heard(http: httpx.Client, server: Running, path: str, **fields: str) -> tuple[Hotword, ...]:
    """What a recogniser is told to listen for."""
    field = "audio" if path.startswith("/v1/asr") else "file"
    answer = http.post(path, files={field: ("a.wav", b"zh")}, data=fields)
    assert answer.status_code == 200, answer.text
    return server.calls.options[-1].hotwords


def test_a_vocabulary_from_its_beginning_to_its_end(http: httpx.Client, server: Running) -> None:
    assert done(http.post(VOCABS, json=VOCAB)) == {"vocab_id": "demo-vocab"}

    vocab = done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]
    stored = vocab.pop("vocabulary_id")
    times = [vocab.pop("create_time"), vocab.pop("update_time")]
    md5 = vocab.pop("md5")
    assert vocab == VOCAB | {"size": 2}
    assert all(TIME.fullmatch(time) for time in times)
    assert re.fullmatch("[0-9a-f]{32}", md5)

    texts = {hotword.text for hotword in heard(http, server, "/v1/asr", hot_uid="demo-vocab")}
    assert texts == {"苹果", "西瓜"}
    assert {one.text for one in heard(http, server, "/v1/audio/transcriptions", vocabulary_id=stored)} == texts

    changed = VOCAB | {"name": "示例词表（二）", "word_weights": {"香蕉": 1}}
    assert done(http.put(VOCABS, json=changed)) == {}
    after = done(http.get(f"{VOCABS}/{stored}"))["vocab"]
    assert (after["id"], after["name"], after["word_weights"]) == ("demo-vocab", "示例词表（二）", {"香蕉": 1})
    assert after["md5"] != md5

    assert done(http.delete(f"{VOCABS}/demo-vocab")) == {}
    for answer in (http.get(f"{VOCABS}/demo-vocab"), http.get(f"{VOCABS}/{stored}"), http.put(VOCABS, json=VOCAB)):
        refused(answer, 404)
    refused(http.delete(f"{VOCABS}/demo-vocab"), 404)


def test_a_class_of_words_is_heard_too(http: httpx.Client, server: Running) -> None:
    assert done(http.post(CLASSES, json=CLASS)) == {"class_vocab_id": "demo-class"}
    shown = done(http.get(f"{CLASSES}/demo-class"))["class_vocab"]
    assert {name: shown[name] for name in CLASS} == CLASS
    assert shown["size"] == 2
    words = (Hotword("苹果"), Hotword("西瓜"))
    assert heard(http, server, "/v1/asr/file", hot_uid="demo-class") == words
    assert heard(http, server, "/v1/audio/transcriptions", vocabulary_id=shown["vocabulary_id"]) == words
    refused(http.get(f"{VOCABS}/demo-class"), 404)
    done(http.put(f"{CLASSES}/demo-class", json={"words": ["iPhone 15", "iPhone 16"]}))
    assert heard(http, server, "/v1/asr", hot_uid="demo-class") == (Hotword("iPhone 15"), Hotword("iPhone 16"))
    assert done(http.get(f"{CLASSES}/demo-class"))["class_vocab"]["name"] == "示例词表"
    done(http.delete(f"{CLASSES}/demo-class"))
    refused(http.get(f"{CLASSES}/demo-class"), 404)


def test_without_a_chosen_id_one_is_given(http: httpx.Client) -> None:
    given_id = done(http.post(VOCABS, json={"name": "客户", "word_weights": {"王小明": 1}}))["vocab_id"]
    shown = done(http.get(f"{VOCABS}/{given_id}"))["vocab"]
    assert given_id.startswith("vocab_")
    assert (shown["id"], shown["vocabulary_id"], shown["name"], shown["description"]) == (
        given_id,
        given_id,
        "客户",
        "",
    )
    assert http.get(f"/v1/vocabularies/{given_id}").json()["name"] == "客户"
    done(http.put(f"{VOCABS}/{given_id}", json={"name": "新客户", "description": "二〇二六"}))
    changed = done(http.get(f"{VOCABS}/{given_id}"))["vocab"]
    assert (changed["name"], changed["description"], changed["word_weights"]) == ("新客户", "二〇二六", {"王小明": 1})


def test_what_was_shown_can_be_sent_back(http: httpx.Client) -> None:
    done(http.post(VOCABS, json=VOCAB))
    shown = done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]
    done(http.put(f"{VOCABS}/demo-vocab", json=shown))
    again = done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]
    assert again | {"update_time": ""} == shown | {"update_time": ""}


def test_pages(http: httpx.Client) -> None:
    for number in range(23):
        done(http.post(CLASSES, json={"id": f"class-{number:02d}", "words": [f"词{number}"]}))
    first = done(http.get(CLASSES))["page"]
    last = done(http.get(CLASSES, params={"page_number": 3}))["page"]
    assert [len(page["content"]) for page in (first, last)] == [10, 3]
    assert {name: last[name] for name in last if name != "content"} == {
        "total_pages": 3,
        "total_items": 23,
        "page_number": 3,
        "page_size": 10,
    }
    assert last["content"][0].keys() == {
        "id", "name", "description", "size", "md5", "create_time", "update_time", "vocabulary_id",
    }  # fmt: skip
    everything = done(http.get(CLASSES, params={"page_size": 100}))["page"]["content"]
    assert [one["id"] for one in everything] == [f"class-{number:02d}" for number in range(23)]
    assert len({one["md5"] for one in everything}) == 23
    assert done(http.get(CLASSES, params={"page_number": 4}))["page"]["content"] == []
    assert done(http.get(VOCABS))["page"] == {
        "content": [],
        "total_pages": 0,
        "total_items": 0,
        "page_number": 1,
        "page_size": 10,
    }


@pytest.mark.parametrize(
    "query", [{"page_size": 0}, {"page_size": 101}, {"page_number": 0}, {"page_size": "many"}, {"page_number": 1.5}]
)
@pytest.mark.parametrize("path", [VOCABS, CLASSES, "/api/v2/asr/lm/bases"])
def test_pages_that_there_cannot_be(http: httpx.Client, path: str, query: dict[str, Any]) -> None:
    refused(http.get(path, params=query))


def test_there_are_no_base_models(http: httpx.Client) -> None:
    body = done(http.get("/api/v2/asr/lm/bases"))
    assert (body["total_items"], body["page"]["content"]) == (0, [])


def test_another_keys_lists_are_nowhere(http: httpx.Client, server: Running) -> None:
    done(http.post(VOCABS, json=VOCAB))
    stored = done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]["vocabulary_id"]
    with client(server, OTHER_KEY) as other:
        for name in ("demo-vocab", stored):
            refused(other.get(f"{VOCABS}/{name}"), 404)
            refused(other.put(f"{VOCABS}/{name}", json={"name": "x"}), 404)
            refused(other.delete(f"{VOCABS}/{name}"), 404)
        assert done(other.get(VOCABS))["page"]["total_items"] == 0
        done(other.post(VOCABS, json=VOCAB | {"name": "别人"}))
        done(other.delete(f"{VOCABS}/demo-vocab"))
    assert done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]["name"] == "示例词表"
    with client(server, None) as nobody:
        refused(nobody.get(VOCABS), 401)
        refused(nobody.post(VOCABS, json=VOCAB), 401)
        assert nobody.get(VOCABS, headers={"x-nls-user": "default", "x-nls-token": KEY}).status_code == 200


def test_what_is_taken(http: httpx.Client) -> None:
    done(http.post(VOCABS, json=VOCAB))
    refused(http.post(VOCABS, json=VOCAB), 409)
    refused(http.post(VOCABS, json=VOCAB | {"id": "DEMO-vocab"}), 409)
    refused(http.get(f"{VOCABS}/DEMO-vocab"), 404)
    done(http.post(VOCABS, json={"name": "示例词表", "word_weights": {"a": 1}}))
    refused(http.post(VOCABS, json={"name": "示例词表", "word_weights": {"a": 1}}), 409)


def test_words_that_read_like_an_entrys_fields(http: httpx.Client, server: Running) -> None:
    done(http.post(VOCABS, json=VOCAB | {"word_weights": {"word": "3", "text": "6"}}))
    assert done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]["word_weights"] == {"word": 1, "text": 2}


def test_errors_name_the_fields_that_were_sent(http: httpx.Client, server: Running) -> None:
    server.service.vocabularies._max_hotwords = 1
    try:
        assert "word_weights takes 1 terms at most" in refused(http.post(VOCABS, json=VOCAB))
    finally:
        server.service.vocabularies._max_hotwords = 10_000
    done(http.post(VOCABS, json=VOCAB))
    told = refused(http.post(VOCABS, json=VOCAB), 409)
    assert "a vocabulary of that id" in told
    assert "replace its word_weights" in told
    assert refused(http.post(VOCABS, json=VOCAB | {"id": "vocab_0123456789abcdef01234567"})).startswith("id looks like")


def test_who_changes_the_name_and_who_changes_the_description_do_not_undo_each_other(
    http: httpx.Client, server: Running
) -> None:
    done(http.post(VOCABS, json=VOCAB))
    with client(server) as other, ThreadPoolExecutor(2) as threads:
        for number in range(20):
            names = threads.submit(http.put, f"{VOCABS}/demo-vocab", json={"name": f"名{number}"})
            abouts = threads.submit(other.put, f"{VOCABS}/demo-vocab", json={"description": f"说明{number}"})
            done(names.result())
            done(abouts.result())
            shown = done(http.get(f"{VOCABS}/demo-vocab"))["vocab"]
            assert (shown["name"], shown["description"]) == (f"名{number}", f"说明{number}")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        VOCAB | {"words": ["a"]},
        VOCAB | {"id": "a b"},
        VOCAB | {"id": "a/b"},
        VOCAB | {"id": "x" * 65},
        VOCAB | {"id": "vocab_0123456789abcdef01234567"},
        VOCAB | {"id": 7},
        VOCAB | {"name": "x" * 501},
        VOCAB | {"name": 7},
        VOCAB | {"name": "\ud800"},
        VOCAB | {"description": "x" * 500},
        VOCAB | {"description": ["a"]},
        VOCAB | {"description": "\ud800"},
        VOCAB | {"word_weights": {}},
        VOCAB | {"word_weights": ["a"]},
        VOCAB | {"word_weights": {"a": -1}},
        VOCAB | {"word_weights": {"a": "much"}},
        VOCAB | {"word_weights": {"!": 1}},
        VOCAB | {"word_weights": None},
        {"word_weights": {"a": 1}},
    ],
)
def test_bodies_that_make_no_sense(http: httpx.Client, body: Any) -> None:
    refused(http.post(VOCABS, content=json.dumps(body), headers={"content-type": "application/json"}))
    assert done(http.get(VOCABS))["page"]["total_items"] == 0


def test_replacements_that_make_no_sense(http: httpx.Client) -> None:
    done(http.post(CLASSES, json=CLASS))
    for body in (
        {"words": ["a"]},
        {"id": "demo-class"},
        {"id": "demo-class", "words": []},
        {"id": "demo-class", "x": 1},
    ):
        refused(http.put(CLASSES, json=body))
    refused(http.put(f"{CLASSES}/demo-class", json={"id": "another", "words": ["a"]}))
    assert done(http.get(f"{CLASSES}/demo-class"))["class_vocab"]["words"] == CLASS["words"]


def test_a_list_that_is_gone_leaves_no_trace(http: httpx.Client, server: Running) -> None:
    done(http.post(VOCABS, json=VOCAB | {"word_weights": {"绝密代号": 1}}))
    done(http.delete(f"{VOCABS}/demo-vocab"))
    files = list(server.service.settings.data_dir.iterdir())
    assert files
    assert all("绝密代号".encode() not in one.read_bytes() for one in files)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 20, "b": 10}, {"a": 2, "b": 1}),
        ({"a": 0.5, "b": 1}, {"a": 1, "b": 2}),
        ({"a": 7}, {"a": 1}),
    ],
)
def test_weights_come_back_in_whole_numbers(said: dict[str, float], shown: dict[str, int]) -> None:
    weights = whole_weights(parse_hotwords(json.dumps(said), param="x", most=9))
    assert weights == shown
    assert all(isinstance(weight, int) for weight in weights.values())


def test_weights_without_small_whole_proportions_come_back_as_they_are() -> None:
    hotwords = (Hotword("a", 1.0), Hotword("b", 3.14159))
    assert whole_weights(hotwords) == {"a": 1.0, "b": 3.14159}


@given(
    st.none() | st.from_regex(r"\A[a-z.-]{1,9}\Z"),
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=9),
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=9),
)
def test_titles_come_back_as_they_were_kept(chosen: str | None, name: str, description: str) -> None:
    titles = Titles(chosen, name, description)
    key, about = stored_titles(titles)
    assert titles_of(VocabularySummary("vocab_1", "class", key, about, 1, 0, 0)) == titles
