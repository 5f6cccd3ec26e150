"""OddASR's recognition routes: fields, layouts, and errors in their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from oddasr_http_server import KEY, MAX_BYTES, Running, client, serving
from openai_server import Calls, wait_until

from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.oddasr.rest import schema
from app.protocols.oddasr.rest.wishes import FIELDS

ROUTES = ("/v1/asr", "/v1/asr/file", "/v1/asr/sentence")
MISSING = "Invalid parameter. audio param is required."


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture
def server(_running: Running) -> Iterator[Running]:
    _running.service.calls = Calls()
    _running.service.has_speakers(True)
    _running.service.can_write(punctuation=True, numbers=True)
    yield _running
    assert wait_until(lambda: not list(_running.temp.iterdir())), "an upload was left behind"


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with client(server) as one:
        yield one


def post(http: httpx.Client, content: bytes = b"zh", path: str = "/v1/asr", **fields: Any) -> httpx.Response:
    return http.post(path, files={"audio": ("a.wav", content)}, data=fields)


def text(http: httpx.Client, content: bytes = b"zh", path: str = "/v1/asr", **fields: Any) -> str:
    answer = post(http, content, path, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"text"}
    return answer.json()["text"]


def asked(http: httpx.Client, server: Running, **fields: Any) -> RecognitionOptions:
    text(http, **fields)
    return server.calls.options[-1]


def refused(http: httpx.Client, server: Running, status: int = 400, **fields: Any) -> str:
    answer = post(http, **fields)
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert server.calls.options == []
    return answer.json()["error"]


# --- what OddASR's own client does ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["txt", "spk", "srt"])
def test_the_sample_clients_request(http: httpx.Client, server: Running, layout: str) -> None:
    assert text(http, b"two", hotwords="小落 小落同学 奥德元 小奥", mode="file", output_format=layout)
    options = server.calls.options[-1]
    assert options.hotwords == tuple(map(Hotword, ("小落", "小落同学", "奥德元", "小奥")))


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("field", ["audio", "file"])
def test_a_recording_and_nothing_else(http: httpx.Client, server: Running, path: str, field: str) -> None:
    answer = http.post(path, files={field: ("a.wav", b"zh")})
    assert (answer.status_code, answer.json()) == (200, {"text": "今天天气很好，我们去公园。"})
    assert answer.headers["x-asr-model"] == "able"
    assert server.calls.options == [RecognitionOptions(timed=False)]


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_txt_has_a_line_for_each_sentence(http: httpx.Client) -> None:
    assert text(http, b"three") == "今天天气很好，Hello there!\n我们去公园。\n好啊。"


def test_of_a_few_words_txt_is_one_line(http: httpx.Client) -> None:
    assert text(http, b"three", "/v1/asr/sentence") == "今天天气很好，Hello there! 我们去公园。好啊。"


def test_spk_says_who_speaks_in_each_line(http: httpx.Client, server: Running) -> None:
    assert text(http, b"three", output_format="spk").split("\n") == [
        "发言人 0: 今天天气很好，",
        "Anna: Hello there!",
        "发言人 0: 我们去公园。",
        "发言人 2: 好啊。",
    ]
    assert server.calls.options[-1].speakers == SpeakerOptions()


def test_srt_is_numbered_from_one_with_times_on_a_line_of_their_own(http: httpx.Client, server: Running) -> None:
    cues = text(http, b"three", output_format="srt").split("\n\n")
    assert cues[0] == "1\n00:00:00,000 --> 00:00:01,800\n发言人 0: 今天天气很好，"
    assert [cue.split("\n")[0] for cue in cues] == ["1", "2", "3", "4"]
    assert [cue.split("\n")[2] for cue in cues[1:]] == [
        "Anna: Hello there!",
        "发言人 0: 我们去公园。",
        "发言人 2: 好啊。",
    ]
    assert server.calls.options[-1].timed


@pytest.mark.parametrize("layout", ["txt", "spk", "srt"])
def test_nothing_said_is_no_text(http: httpx.Client, layout: str) -> None:
    assert text(http, b"empty", output_format=layout) == ""


def test_speakers_can_have_english_labels(tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    with serving(temp, speaker_labels="en") as running, client(running) as http:
        assert text(http, b"two", output_format="spk").startswith("Speaker 0: ")


def test_an_unknown_layout_is_named_and_refused(http: httpx.Client, server: Running) -> None:
    assert refused(http, server, output_format="json") == "output_format must be one of: txt, spk, srt."


# --- speakers ---------------------------------------------------------------------------------------------------------


def test_subtitles_without_speakers_where_none_can_be_told(http: httpx.Client, server: Running) -> None:
    server.service.has_speakers(False)
    assert "发言人" not in text(http, b"three", output_format="srt")


def test_subtitles_without_speakers_where_none_are_wanted(http: httpx.Client, server: Running) -> None:
    assert "发言人" not in text(http, b"three", output_format="srt", speakers="false")


def test_speakers_that_cannot_be_told_are_no_silent_omission(http: httpx.Client, server: Running) -> None:
    server.service.has_speakers(False)
    assert refused(http, server, 503, output_format="spk")
    assert refused(http, server, 503, output_format="srt", speakers="true")


@pytest.mark.parametrize(
    "fields",
    [{"output_format": "spk", "speakers": "false"}, {"output_format": "txt", "speakers": "true"}, {"speakers": "yes!"}],
)
def test_contradictions_about_speakers(http: httpx.Client, server: Running, fields: dict[str, str]) -> None:
    assert "speakers" in refused(http, server, **fields)


# --- the text ---------------------------------------------------------------------------------------------------------


def test_hotwords_with_weights(http: httpx.Client, server: Running) -> None:
    first, second = asked(http, server, hotwords="小落 20 奥德元 10").hotwords
    assert (first.text, second.text) == ("小落", "奥德元")
    assert first.weight == pytest.approx(2 * second.weight)


def test_marks_digits_and_the_language(http: httpx.Client, server: Running) -> None:
    options = asked(http, server, punctuation="false", itn="true", language="zh-CN")
    assert (options.punctuation, options.itn, options.language) == (False, True, "zh")
    assert asked(http, server, language="auto").language is None


def test_words_to_mask(http: httpx.Client, server: Running) -> None:
    assert asked(http, server, sensitive_words="天气，公园").masking == (Masking(("天气", "公园")),)
    said = asked(http, server, sensitive_words='["天气"]', sensitive_style="parentheses")
    assert said.masking == (Masking(("天气",), "parentheses"),)


def test_words_to_mask_that_come_as_a_file_are_not_overlooked(http: httpx.Client, server: Running) -> None:
    files = {"audio": ("a.wav", b"zh"), "sensitive_words": ("words.txt", "天气".encode())}
    answer = http.post("/v1/asr", files=files)
    assert (answer.status_code, server.calls.options) == (400, [])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mode": "stream"}, "unsupported mode: 'stream'."),
        ({"sensitive_style": "blur"}, "sensitive_style must be one of"),
        ({"hotwords": "a 1 b"}, "hotwords: "),
        ({"punctuation": "perhaps"}, "punctuation must be true or false."),
        ({"language": "klingon"}, "is not a language"),
        ({"model": "group/plain", "language": "en"}, "is not a language that group/plain knows"),
    ],
)
def test_values_that_make_no_sense(http: httpx.Client, server: Running, fields: dict[str, str], told: str) -> None:
    assert told in refused(http, server, **fields)


def test_what_the_server_cannot_do_is_refused(http: httpx.Client, server: Running) -> None:
    server.service.can_write(punctuation=False, numbers=False)
    assert "itn" in refused(http, server, itn="true").lower()
    assert "no punctuation" in refused(http, server, model="group/unmarked", punctuation="true")


def test_unknown_models(http: httpx.Client, server: Running) -> None:
    assert refused(http, server, 404, model="nobody") == "No such model here; there is able."


# --- errors -----------------------------------------------------------------------------------------------------------


def test_no_recording(http: httpx.Client, server: Running) -> None:
    answer = http.post("/v1/asr", files={"other": ("a.wav", b"zh")}, data={"mode": "file"})
    assert (answer.status_code, answer.json()) == (400, {"error": MISSING})


@pytest.mark.parametrize(
    "body",
    [
        {"content": b"zh"},
        {"json": {"audio": "zh"}},
        {"data": {"audio": "zh"}},
        {"files": {"audio": (None, b"zh")}},
        {"files": {"audio": ("a.wav", b"")}},
        {"files": [("audio", ("a.wav", b"zh")), ("audio", ("b.wav", b"zh"))]},
        {"files": {"audio": ("a.wav", b"zh"), "file": ("b.wav", b"zh")}},
        {"content": b"--x\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ],
)
def test_bodies_without_one_recording(http: httpx.Client, server: Running, body: dict[str, Any]) -> None:
    answer = http.post("/v1/asr/file", **body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert server.calls.options == []


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("overloaded", 429),
        ("unavailable", 503),
        ("engine", 500),
        ("undecodable", 400),
        ("short", 400),
        ("long", 413),
        ("bug", 500),
    ],
)
def test_failures_have_a_status_and_a_text(http: httpx.Client, name: str, status: int) -> None:
    answer = post(http, f"fail {name}".encode())
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status in {429, 503})


def test_too_many_bytes(http: httpx.Client, server: Running) -> None:
    assert "MAX_AUDIO_SIZE" in refused(http, server, 413, content=b"x" * (MAX_BYTES + 1))


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("path", ROUTES)
def test_without_a_key_nothing_is_done(server: Running, path: str, key: str | None) -> None:
    with client(server, key) as http:
        answer = post(http, path=path)
    assert (answer.status_code, list(answer.json())) == (401, ["error"])
    assert server.calls.options == []


@pytest.mark.parametrize(
    "key", [{"headers": {"x-nls-token": KEY}}, {"params": {"token": KEY}}, {"headers": {"api-key": KEY}}]
)
def test_a_key_may_come_in_other_ways(server: Running, key: dict[str, Any]) -> None:
    with client(server, None) as http:
        assert http.post("/v1/asr", files={"audio": ("a.wav", b"zh")}, **key).status_code == 200


def test_other_methods_and_paths(http: httpx.Client) -> None:
    for method, path, status in (("GET", "/v1/asr", 405), ("POST", "/v1/asr/nothing", 404)):
        answer = http.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_errors_of_other_protocols_keep_their_shape(http: httpx.Client) -> None:
    assert http.post("/v1/audio/transcriptions", files={"file": ("a.wav", b"")}).json()["error"]["param"] == "file"


def test_who_leaves_ends_the_work(server: Running) -> None:
    with client(server) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/asr", files={"audio": ("a.wav", b"slow")}, timeout=0.5)
    assert wait_until(lambda: server.calls.cancelled == 1)


# --- what OddASR only pretended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/asr/file/upload", "/api/v3/file/upload", "/update_transmit", "/login"])
def test_nothing_says_ok_that_does_nothing(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={})
    assert (answer.status_code, list(answer.json())) == (501, ["error"])


@pytest.mark.parametrize(
    "path", ["/index.html", "/asr_file.html", "/asr_live.html", "/hotwords.html", "/sensiwords.html"]
)
def test_bookmarks_lead_to_the_page_also_without_a_key(server: Running, path: str) -> None:
    with client(server, None) as http:
        answer = http.get(path)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")


def test_the_documentation_has_the_fields_there_are() -> None:
    form = schema.recognition_request()["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == FIELDS
    assert re.fullmatch(r"txt.*spk.*srt.*", form["properties"]["output_format"]["description"])
