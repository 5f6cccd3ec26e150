"""Recordings in JSON, as Open WebUI can be set to send them, and at an address."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openai_server import FAILURES, KEY, MAX_BYTES, Running, serving, wait_until
from starlette.requests import Request

from app.audio.declared import DeclaredSound
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions, SpeechDetection
from app.protocols import json_form
from app.protocols.body import IN_MEMORY, receive_json_as

PATH, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def sound(content: bytes = b"zh", kind: str = "mp3") -> dict[str, str]:
    return {"data": base64_of(content), "format": kind}


def post(raw: httpx.Client, content: bytes = b"zh", **said: object) -> httpx.Response:
    return raw.post(PATH, json={"model": "whisper-1", "input_audio": sound(content), **said})


def refused(answer: httpx.Response, server: Running, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert server.calls.options == []
    return answer.json()["error"]


def test_open_webuis_json_is_heard(raw: httpx.Client, server: Running) -> None:
    answer = raw.post(PATH, json={"model": "whisper-1", "language": "zh", "input_audio": sound()})

    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == "今天天气很好，我们去公园。"
    assert server.calls.contents == [b"zh"]
    assert server.calls.modes == [0o600]
    assert server.calls.options[-1].language == "zh"


def test_every_field_of_the_form_has_its_place_in_json(raw: httpx.Client, server: Running) -> None:
    answer = post(
        raw,
        language=None,
        languages=["zh", "en"],
        prompt="上文。",
        temperature=0.5,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        hotwords={"阿里": 20, "达摩院": 20},
        chunking_strategy={"type": "server_vad", "threshold": 0.6},
        enable_speaker_diarization=False,
        unheard_of={"a": [None]},
    )

    assert answer.status_code == 200, answer.text
    assert [word["word"] for word in answer.json()["words"]][:4] == ["今", "天", "天", "气"]
    asked = server.calls.options[-1]
    assert {hotword.text for hotword in asked.hotwords} == {"阿里", "达摩院"}
    assert asked == RecognitionOptions(
        languages=("zh", "en"),
        prompt="上文。",
        hotwords=asked.hotwords,
        temperature=0.5,
        detection=SpeechDetection(threshold=0.6),
    )


def test_terms_of_a_list_may_have_commas(raw: httpx.Client, server: Running) -> None:
    assert post(raw, keywords=["阿里, 达摩院", "甲"]).status_code == 200
    assert server.calls.options[-1].hotwords == (Hotword("阿里, 达摩院"), Hotword("甲"))


def test_a_stream_may_be_asked_for(raw: httpx.Client) -> None:
    answer = post(raw, stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_translations_are_asked_for_in_json_too(raw: httpx.Client, server: Running) -> None:
    assert raw.post(TRANSLATIONS, json={"input_audio": sound()}).status_code == 200
    assert server.calls.options[-1].task == "translate"


@pytest.mark.parametrize(
    "data",
    [
        base64_of(b"zh 1"),
        base64_of(b"zh 1").rstrip("="),
        "data:audio/mpeg;base64," + base64_of(b"zh 1"),
        "\n".join(base64_of(b"zh 1")) + "\r\n",
    ],
)
def test_base64_as_it_comes(raw: httpx.Client, server: Running, data: str) -> None:
    assert raw.post(PATH, json={"input_audio": {"data": data}}).status_code == 200
    assert server.calls.contents == [b"zh 1"]


def test_a_long_recording_arrives_whole(raw: httpx.Client, server: Running) -> None:
    """Of a length that is no multiple of what is decoded at once."""
    content = bytes(range(256)) * 8000 + b"end"

    assert post(raw, content).status_code == 200
    assert server.calls.contents == [content[:64]]


@pytest.mark.parametrize("every", [1, 3, 76, 70_000])
def test_a_long_recording_arrives_whole_whatever_breaks_its_lines(
    raw: httpx.Client, server: Running, every: int
) -> None:
    content = bytes(range(256)) * 1200 + b"end"
    lines = base64_of(content)
    data = "\r\n".join(lines[first : first + every] for first in range(0, len(lines), every))

    assert raw.post(PATH, json={"input_audio": {"data": data}}).status_code == 200
    assert server.calls.contents == [content[:64]]


@pytest.mark.parametrize("wrong", ["=", "电", "!", "=QUJD"])
@pytest.mark.parametrize("place", [0, json_form._AT_ONCE - 1, json_form._AT_ONCE, 2 * json_form._AT_ONCE])
def test_what_is_no_base64_is_found_wherever_it_stands(
    raw: httpx.Client, server: Running, place: int, wrong: str
) -> None:
    data = "QUJD" * json_form._AT_ONCE

    answer = raw.post(PATH, json={"input_audio": {"data": data[:place] + wrong + data[place:]}})

    assert refused(answer, server)["param"] == "input_audio"


def test_blanks_cost_no_memory() -> None:
    """A text for each piece between them would take forty times the data."""
    data = "ab " * 1_000_000
    tracemalloc.start()
    try:
        decoded = sum(map(len, json_form._decoded(data)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoded == 1_500_000
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("input_audio", "declared"),
    [
        (sound(kind="pcm"), DeclaredSound("s16le", 16_000)),
        (sound(kind="audio/pcm;rate=8000"), DeclaredSound("s16le", 8_000)),
        ({"data": "data:audio/pcmu;base64," + base64_of(b"zh"), "format": "mp3"}, DeclaredSound("mulaw", 8_000)),
        (sound(kind="wav"), None),
        (sound(kind=""), None),
    ],
)
def test_sound_without_a_container_is_what_its_format_says(
    raw: httpx.Client, server: Running, input_audio: dict[str, str], declared: DeclaredSound | None
) -> None:
    assert raw.post(PATH, json={"input_audio": input_audio}).status_code == 200
    assert server.calls.declared == [declared]


@pytest.mark.parametrize(
    "input_audio",
    [
        {"data": "no base64!"},
        {"data": "Q"},
        {"data": "QUJD=QUJD"},
        {"data": "====" + base64_of(b"zh")},
        {"data": "电影"},
        {"data": "data:audio/wav,zh"},
        {"data": ""},
        {"data": "data:audio/wav;base64,"},
        {"data": 7},
        {"format": "mp3"},
        {"data": base64_of(b"zh"), "format": "mp3\r\nx: y"},
        {"data": base64_of(b"zh"), "format": "电影"},
        {"data": base64_of(b"zh"), "format": 3},
        "zh",
        [],
        True,
    ],
)
def test_sound_that_is_none_is_refused(raw: httpx.Client, server: Running, input_audio: object) -> None:
    assert refused(raw.post(PATH, json={"input_audio": input_audio}), server)["param"] == "input_audio"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"input_audio": NaN}',
        b"{" + b'"a":[],' * 200_000 + b'"b":1}',
    ],
)
def test_a_body_that_is_no_object_is_refused(raw: httpx.Client, server: Running, body: bytes) -> None:
    refused(raw.post(PATH, content=body, headers={"content-type": "application/json"}), server)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"language": ["zh"]}, "language"),
        ({"temperature": "warm"}, "temperature"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"\ud800": "1"}, None),
    ],
)
def test_a_value_that_makes_no_sense_is_named(
    raw: httpx.Client, server: Running, said: dict[str, object], name: str | None
) -> None:
    body = json.dumps({"input_audio": sound(), **said})  # halves of characters are escaped

    answer = raw.post(PATH, content=body.encode(), headers={"content-type": "application/json"})

    assert refused(answer, server)["param"] == name


@pytest.mark.parametrize(("limit", "each"), [("MAX_PART_BYTES", 1001), ("MAX_TEXT_BYTES", 501)])
def test_text_is_bounded_one_by_one_and_together(
    raw: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch, limit: str, each: int
) -> None:
    monkeypatch.setattr(json_form, limit, 1000)

    assert refused(post(raw, prompt="a" * each, hotwords="b" * each), server)["message"].startswith("A value is too")


def test_more_fields_than_a_form_may_have_are_refused(raw: httpx.Client, server: Running) -> None:
    few, many = ({f"unheard_{number}": 1 for number in range(count)} for count in (1000, 1200))

    assert post(raw, **few).status_code == 200
    server.calls.options.clear()
    assert refused(post(raw, **many), server)["message"] == "The body has more than 1200 fields."


def test_large_bodies_take_turns_and_small_ones_need_not() -> None:
    large, small = b'"' + b"a" * IN_MEMORY + b'"', b'"a"'
    began: list[str] = []
    has_begun, may_end = threading.Event(), threading.Event()

    def parsed(name: str) -> str:
        began.append(name)
        has_begun.set()
        assert name != "first" or may_end.wait(20)
        return name

    async def main() -> None:
        turns = asyncio.Semaphore(1)
        first = asyncio.create_task(_parsed(large, lambda _: parsed("first"), turns))
        assert await asyncio.to_thread(has_begun.wait, 20)
        second = asyncio.create_task(_parsed(large, lambda _: parsed("second"), turns))
        for _ in range(3):
            assert await _parsed(small, lambda _: parsed("small"), turns) == "small"
        assert began == ["first", "small", "small", "small"]
        may_end.set()
        assert await asyncio.gather(first, second) == ["first", "second"]

    asyncio.run(main())


async def _parsed(body: bytes, made: Callable[[object], str], turns: asyncio.Semaphore) -> str:
    """What `made` makes of a request's body."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}, receive)
    return await receive_json_as(request, made, max_bytes=10**7, max_values=10, folder=None, turns=turns)


def test_the_application_has_one_queue_for_all_its_bodies() -> None:
    app = FastAPI()
    first, second = (Request({"type": "http", "app": app, "headers": []}) for _ in range(2))
    assert json_form._turns(first) is json_form._turns(second)
    assert json_form._turns(Request({"type": "http", "app": FastAPI(), "headers": []})) is not json_form._turns(first)


def test_without_a_recording_the_error_says_where_it_belongs(raw: httpx.Client, server: Running) -> None:
    for answer in (raw.post(PATH, json={"model": "able"}), raw.post(PATH, files={"model": (None, "able")})):
        error = refused(answer, server)
        assert error["param"] == "file"
        assert "input_audio" in error["message"]
        assert "audio_address" in error["message"]


def test_more_json_than_is_taken_is_refused_while_it_arrives(
    raw: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_form, "MAX_JSON_BYTES", 100_000)

    error = refused(post(raw, b"z" * 80_000), server, 413)

    assert error["param"] == "input_audio"
    assert "multipart/form-data" in error["message"]


def test_more_sound_than_is_taken_is_refused(raw: httpx.Client, server: Running) -> None:
    assert refused(post(raw, b"z" * (MAX_BYTES + 10)), server, 413)


def test_a_key_is_needed_before_anything_is_read(server: Running) -> None:
    answer = httpx.post(f"{server.base}{PATH}", json={"input_audio": sound()})

    assert refused(answer, server, 401)


@pytest.mark.parametrize(("failure", "status"), [("undecodable", 400), ("overloaded", 429), ("bug", 500)])
def test_errors_are_openais(raw: httpx.Client, failure: str, status: int) -> None:
    answer = post(raw, f"fail {failure}".encode())

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert str(FAILURES["bug"]) not in answer.text


@pytest.mark.parametrize("how", [{}, {"stream": True}])
def test_sound_that_cannot_be_decoded_is_named_as_it_was_sent(raw: httpx.Client, how: dict[str, object]) -> None:
    answer = post(raw, b"fail undecodable", **how)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input_audio")


# --- at an address ----------------------------------------------------------------------------------------------------


class _Shelf(BaseHTTPRequestHandler):
    """What lies on a server is what its path says."""

    def do_GET(self) -> None:
        content = self.path.removeprefix("/").replace("%20", " ").encode()
        status = 404 if content == b"gone" else 200
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_said: object) -> None:
        pass


@contextlib.contextmanager
def shelf() -> Iterator[str]:
    """The address of a server with recordings."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shelf)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A server that may fetch from this machine, and where there are recordings to fetch."""
    folder = tmp_path_factory.mktemp("near")
    with shelf() as address, serving(folder, audio_address_networks="127.0.0.1/32") as running:
        yield running, address
        assert wait_until(lambda: not list(folder.iterdir())), "a recording was left behind"


def fetch(near: tuple[Running, str], path: str = PATH, **sent: Any) -> httpx.Response:
    running, _ = near
    running.calls.contents.clear()
    return httpx.post(f"{running.base}{path}", headers={"authorization": f"Bearer {KEY}"}, timeout=20, **sent)


@pytest.mark.parametrize("how", ["form", "fields", "json"])
@pytest.mark.parametrize("path", [PATH, TRANSLATIONS])
def test_a_recording_is_fetched(near: tuple[Running, str], how: str, path: str) -> None:
    said = {"audio_address": f"{near[1]}/zh%20song", "response_format": "text"}
    sent = {
        "form": {"files": {name: (None, value) for name, value in said.items()}},
        "fields": {"files": {"file": (None, ""), **{name: (None, value) for name, value in said.items()}}},
        "json": {"json": said},
    }[how]

    answer = fetch(near, path, **sent)

    assert answer.status_code == 200, answer.text
    assert answer.text == "今天天气很好，我们去公园。\n"
    assert near[0].calls.contents == [b"zh song"]
    assert near[0].calls.modes[-1] == 0o600


def test_a_recording_is_fetched_for_a_stream(near: tuple[Running, str]) -> None:
    answer = fetch(near, json={"audio_address": f"{near[1]}/zh", "stream": True})

    assert answer.text.endswith("data: [DONE]\n\n")
    assert near[0].calls.contents == [b"zh"]


@pytest.mark.parametrize("how", ["form", "json"])
def test_a_file_counts_for_more(near: tuple[Running, str], how: str) -> None:
    address = {"audio_address": f"{near[1]}/en"}
    sent = {
        "form": {"files": {"file": ("a.wav", b"zh")}, "data": address},
        "json": {"json": {**address, "input_audio": sound(b"zh")}},
    }[how]

    assert fetch(near, **sent).status_code == 200
    assert near[0].calls.contents == [b"zh"]


def test_an_empty_file_with_an_address_is_no_file(near: tuple[Running, str]) -> None:
    answer = fetch(near, files={"file": ("", b""), "audio_address": (None, f"{near[1]}/zh")})

    assert answer.status_code == 200, answer.text


def test_blanks_round_an_address_do_not_matter(near: tuple[Running, str]) -> None:
    assert fetch(near, json={"audio_address": f" {near[1]}/zh\n"}).status_code == 200
    assert near[0].calls.contents == [b"zh"]


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/zh", "zh", "http://user:word@127.0.0.1/zh", "{shelf}/gone"])
def test_an_address_that_leads_nowhere_is_named(near: tuple[Running, str], address: str) -> None:
    answer = fetch(near, json={"audio_address": address.replace("{shelf}", near[1])})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "audio_address"
    assert near[0].calls.contents == []


def test_an_address_where_there_is_no_sound_is_named(near: tuple[Running, str]) -> None:
    answer = fetch(near, json={"audio_address": f"{near[1]}/fail%20undecodable"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "audio_address")


def test_nothing_is_fetched_for_a_request_that_is_refused(
    near: tuple[Running, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(near[0].service, "fetched", lambda url, *_rest, **_named: fetched.append(url))

    answer = fetch(near, json={"audio_address": f"{near[1]}/zh", "response_format": "xml"})

    assert answer.json()["error"]["param"] == "response_format"
    assert fetched == []


def test_this_machine_is_not_reached_unless_it_may_be(raw: httpx.Client, server: Running) -> None:
    with shelf() as address:
        error = refused(raw.post(PATH, json={"audio_address": f"{address}/zh"}), server)

    assert error["param"] == "audio_address"
    assert "127.0.0.1" not in error["message"]
