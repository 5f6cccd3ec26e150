"""Whatever goes wrong at Alibaba's HTTP routes is told in JSON, in the shape that was asked for, with its status."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from aliyun_http_server import ASR, FLASH, Running, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_server import KEY, MAX_BYTES, Calls, wait_until
from shelf import recording_at

from app.domain import errors
from app.protocols.aliyun.rest import parameters

STRICT = {"x-nls-strict": "1"}
WRONG = "wrong-token-123"
PATHS = [ASR, FLASH]


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("errors"), upload_idle_seconds=0.5) as running:
        yield running


@pytest.fixture
def server(_server: Running) -> Iterator[Running]:
    _server.service.calls = Calls()
    yield _server
    assert wait_until(lambda: not list(_server.temp.iterdir())), "a recording was left behind"
    assert _server.service.active == 0


def refused(answer: httpx.Response, http: int, status: int, name: str = "", parameter: str | None = None) -> str:
    """The message of an error in the default shape, which is checked field by field."""
    assert answer.status_code == http, answer.text
    body = answer.json()
    assert list(body) == ["error_code", "message", "task_id", "timestamp", "details", "status", "result"]
    assert re.fullmatch(r"[0-9a-f]{32}", body["task_id"])
    assert answer.headers["task_id"] == answer.headers["x-request-id"] == body["task_id"]
    assert (body["status"], body["result"]) == (status, ""), body
    assert not name or body["error_code"] == name
    assert body["details"] == ({"parameter": parameter} if parameter else {})
    age = datetime.now(UTC) - datetime.strptime(body["timestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert age.total_seconds() < 60
    return str(body["message"])


def refused_strictly(answer: httpx.Response, http: int, status: int, name: str) -> str:
    """The message of an error in the cloud's shape."""
    assert answer.status_code == http, answer.text
    body = answer.json()
    assert list(body) == ["task_id", "result", "status", "message"]
    assert (body["result"], body["status"]) == ("", status)
    assert body["message"].startswith(f"Gateway:{name}:")
    assert answer.headers["task_id"] == body["task_id"]
    return str(body["message"])


FAILURES = [
    ("overloaded", 429, 40000005, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS"),
    ("unavailable", 503, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
    ("store", 503, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
    ("engine", 500, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
    ("bug", 500, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
    ("undecodable", 400, 40270003, "INVALID_MESSAGE", "DECODE_ERROR"),
    ("short", 400, 40270002, "INVALID_MESSAGE", "NO_VALID_AUDIO"),
    ("long", 413, 41010104, "INVALID_MESSAGE", "TOO_LONG_SPEECH"),
]


@pytest.mark.parametrize(("failure", "http", "status", "seed", "cloud"), FAILURES)
def test_failures(server: Running, failure: str, http: int, status: int, seed: str, cloud: str) -> None:
    content = f"fail {failure}".encode()
    answer = server.post(ASR, content)
    message = refused(answer, http, status, seed)
    assert "secret" not in message
    assert ("retry-after" in answer.headers) == (http in {429, 503})
    for strict in (server.post(ASR, content, STRICT), server.post(FLASH, content)):
        assert "secret" not in refused_strictly(strict, http, status, cloud)


@pytest.mark.parametrize(
    ("headers", "query"),
    [({}, {}), ({"x-nls-token": WRONG}, {}), ({}, {"token": WRONG}), ({"authorization": f"Bearer {WRONG}"}, {})],
)
def test_a_wrong_token_is_told_and_not_repeated(
    server: Running, headers: dict[str, str], query: dict[str, str]
) -> None:
    url = f"{server.base}{ASR}"
    answer = httpx.post(url, content=b"zh", headers=headers, params=query)
    message = refused(answer, 401, 40000001, "AUTHENTICATION_FAILED")
    assert message.startswith("Gateway:ACCESS_DENIED:The token is missing or invalid")
    strict = httpx.post(url, content=b"zh", headers=headers | STRICT, params=query)
    refused_strictly(strict, 401, 40000001, "ACCESS_DENIED")
    flash = httpx.post(f"{server.base}{FLASH}", content=b"zh", headers=headers, params=query)
    refused_strictly(flash, 401, 40000001, "ACCESS_DENIED")
    assert WRONG[:4] not in answer.text + strict.text + flash.text
    assert server.calls.options == []


def test_a_token_in_the_address_will_do(server: Running) -> None:
    for path in PATHS:
        assert httpx.post(f"{server.base}{path}?token={KEY}", content=b"zh").status_code == 200


def test_an_appkey_where_one_is_set(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("appkey"), appkey="项目-one") as server:
        for query in ({}, {"appkey": "another"}, {"appkey": ""}):
            message = refused(server.post(ASR, b"zh", **query), 403, 40020105, "AUTHENTICATION_FAILED", "appkey")
            assert "another" not in message
            refused_strictly(server.post(FLASH, b"zh", **query), 403, 40020105, "APPKEY_NOT_EXIST")
        assert server.post(ASR, b"zh", appkey="项目-one").status_code == 200
        assert server.post(FLASH, b"zh", appkey="项目-one").status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "http", "status", "parameter"),
    [
        ({"format": "docx"}, 400, 41010100, "format"),
        ({"format": "opu"}, 400, 41010100, "format"),
        ({"sample_rate": "7999"}, 400, 41010101, "sample_rate"),
        ({"sample_rate": "96000"}, 400, 41010101, "sample_rate"),
        ({"sample_rate": "16000.5"}, 400, 41010101, "sample_rate"),
        ({"sample_rate": "1_6000"}, 400, 40000003, "sample_rate"),
        ({"sample_rate": "fast"}, 400, 40000003, "sample_rate"),
        ({"sample_rate": "nan"}, 400, 40000003, "sample_rate"),
        ({"model_id": "nonesuch"}, 404, 40000003, "model_id"),
        ({"model_id": "x" * 65}, 400, 40000003, "model_id"),
        ({"language": "klingon"}, 400, 40000003, "language"),
        ({"language": "fr"}, 400, 40000003, "language"),
        ({"enable_punctuation_prediction": "maybe"}, 400, 40000003, "enable_punctuation_prediction"),
        ({"enable_inverse_text_normalization": "2"}, 400, 40000003, "enable_inverse_text_normalization"),
        ({"vocabulary_id": "vocab_" + "0" * 24}, 404, 40000003, "vocabulary_id"),
        ({"hotwords": "[1,"}, 400, 40000003, "hotwords"),
        ({"special_word_filter": "{"}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": "[]"}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"filter_with_stars":{}}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"filter_with_signed":["a"]}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"filter_with_empty":{"word_list":[1]}}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"system_reserved_filter":true}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"system_reserved_filter":"yes"}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"system_reserved_filter":[]}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"system_reserved_filter":{}}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"system_reserved_filter":1}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"filter_with_signed":{"words":["a"]}}'}, 400, 40000003, "special_word_filter"),
        ({"special_word_filter": '{"filter_with_signed":{"word_list":null}}'}, 400, 40000003, "special_word_filter"),
        (
            {"special_word_filter": '{"filter_with_signed":{"word_list":["a"],"words":["b"]}}'},
            400,
            40000003,
            "special_word_filter",
        ),
        (
            {"special_word_filter": '{"filter_with_empty":{"word_list":["a"]},"filter_with_empty":{}}'},
            400,
            40000003,
            "special_word_filter",
        ),
        (
            {"special_word_filter": '{"filter_with_empty":{"word_list":["a"],"word_list":[]}}'},
            400,
            40000003,
            "special_word_filter",
        ),
        ({"audio_address": "ftp://example.com/a.wav"}, 400, 40000003, "audio_address"),
        ({"audio_address": "http://127.0.0.1:1/a.wav"}, 400, 41050002, "audio_address"),
    ],
)
def test_a_bad_parameter_is_named(
    server: Running, path: str, query: dict[str, str], http: int, status: int, parameter: str
) -> None:
    answer = server.post(path, b"zh", **query)
    if path == ASR:
        refused(answer, http, status, "INVALID_PARAMETER", parameter)
    assert (answer.status_code, answer.json()["status"]) == (http, status)
    assert server.calls.options == []


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (ASR, "enable_speaker_diarization", "maybe"),
        (ASR, "word_timestamps", "3"),
        (ASR, "enable_voice_detection", "x"),
        (ASR, "disfluency", "x"),
        (FLASH, "enable_word_level_result", "x"),
        (FLASH, "first_channel_only", "left"),
        (FLASH, "sentence_max_length", "3"),
        (FLASH, "sentence_max_length", "51"),
        (FLASH, "sentence_max_length", "4.5"),
        (FLASH, "speech_noise_threshold", "1.1"),
        (FLASH, "speech_noise_threshold", "loud"),
        (FLASH, "enable_timestamp_alignment", "x"),
    ],
)
def test_a_bad_parameter_of_one_route(server: Running, path: str, name: str, value: str) -> None:
    answer = server.post(path, b"zh", **{name: value})
    assert (answer.status_code, answer.json()["status"]) == (400, 40000003)
    assert name in answer.json()["message"]
    assert server.calls.options == []


def test_what_a_model_cannot_do_is_refused(server: Running) -> None:
    plain = {"model_id": "group/plain"}
    refused(server.post(ASR, b"zh", word_timestamps=1, **plain), 400, 40000003, "INVALID_PARAMETER", "word_timestamps")
    flash = server.post(FLASH, b"zh", enable_word_level_result=1, **plain)
    assert "enable_word_level_result" in refused_strictly(flash, 400, 40000003, "PARAMETER_INVALID")
    server.service.has_speakers(False)
    try:
        refused(server.post(ASR, b"zh", enable_speaker_diarization=True), 503, 50000000)
    finally:
        server.service.has_speakers(True)


def test_speakers_that_are_never_told_apart_are_refused_by_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("off"), speaker_diarization="off") as server:
        answer = server.post(ASR, b"zh", enable_speaker_diarization=True)
        refused(answer, 400, 40000003, "INVALID_PARAMETER", "enable_speaker_diarization")


def test_words_to_mask_are_counted_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("few"), max_hotwords=3) as server:
        said = {"filter_with_signed": {"word_list": ["a", "b"]}, "filter_with_empty": {"word_list": ["c"]}}
        assert server.post(ASR, b"zh", special_word_filter=json.dumps(said)).status_code == 200
        said["filter_with_empty"]["word_list"].append("d")
        answer = server.post(ASR, b"zh", special_word_filter=json.dumps(said))
        refused(answer, 400, 40000003, "INVALID_PARAMETER", "special_word_filter")


def test_a_header_that_says_neither_yes_nor_no(server: Running) -> None:
    for said in ("2", "maybe"):
        refused(server.post(ASR, b"zh", {"x-nls-strict": said}), 400, 40000003, "INVALID_PARAMETER", "X-NLS-Strict")
    assert server.calls.options == []


def test_a_parameter_sent_twice_is_an_error(server: Running) -> None:
    for name in ("format", "token", "enable_magic"):
        url = f"{server.base}{ASR}?{name}=private1&{name}=private2"
        message = refused(httpx.post(url, content=b"zh", headers={"x-nls-token": KEY}), 400, 40000003, "", name)
        assert name in message
        assert "private" not in message


def test_secrets_of_a_filter_are_not_repeated(server: Running) -> None:
    answer = server.post(ASR, b"zh", special_word_filter=json.dumps({"filter_with_signed": "verysecret"}))
    assert "verysecret" not in answer.text


def test_no_sound(server: Running) -> None:
    assert "no audio" in refused(server.post(ASR, b""), 400, 40270002, "INVALID_MESSAGE", "body")
    refused_strictly(server.post(FLASH, b""), 400, 40270002, "NO_VALID_AUDIO")


def test_too_large_whether_it_says_so_or_not(server: Running) -> None:
    refused(server.post(ASR, bytes(2 * MAX_BYTES)), 413, 40000002, "INVALID_MESSAGE")

    def chunks() -> Iterator[bytes]:
        for _ in range(2 * MAX_BYTES // 65536):
            yield bytes(65536)

    answer = httpx.post(f"{server.base}{ASR}", content=chunks(), headers={"x-nls-token": KEY}, timeout=20)
    refused(answer, 413, 40000002, "INVALID_MESSAGE", "body")


def test_a_recording_at_an_address_that_may_not_be_reached(server: Running) -> None:
    with recording_at(b"zh") as shelf:
        message = refused(server.post(ASR, b"", audio_address=shelf.url), 400, 41050002, "", "audio_address")
    assert shelf.asked == []
    assert "127.0.0.1" not in message


def test_a_body_that_does_not_arrive(server: Running) -> None:
    port = int(server.base.rsplit(":", 1)[1])
    for path, strict in ((ASR, False), (FLASH, True)):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sender:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nX-NLS-Token: {KEY}\r\nContent-Length: 100\r\n\r\nzh"
            sender.sendall(head.encode())
            said = b"".join(iter(lambda: sender.recv(65536), b"")).decode()
        assert said.startswith("HTTP/1.1 408 ")
        body = json.loads(said.partition("\r\n\r\n")[2].splitlines()[-1])
        assert (body["status"], "error_code" in body) == (41040201, not strict)


def test_other_paths_and_methods(server: Running) -> None:
    key = {"x-nls-token": KEY}
    refused(httpx.post(f"{server.base}/stream/v1/tts", headers=key), 404, 40010001)
    refused(httpx.get(f"{server.base}{ASR}", headers=key), 405, 40000000, "DEFAULT_CLIENT_ERROR")
    refused_strictly(httpx.get(f"{server.base}{FLASH}", headers=key), 405, 40000000, "CLIENT_ERROR")
    assert "error" in httpx.get(f"{server.base}/stream/v2", headers=key).json(), "everybody else's errors are theirs"


@pytest.mark.parametrize(
    ("error", "http", "status", "seed", "cloud"),
    [
        (errors.DeadlineExceeded("Too late."), 504, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
        (errors.NoAudioStream("No sound."), 400, 40270004, "INVALID_MESSAGE", "NO_AUDIO_STREAM"),
        (errors.UnknownModel("Gone.", param="model"), 404, 40000003, "INVALID_PARAMETER", "PARAMETER_INVALID"),
        (errors.VocabulariesUnavailable("No database."), 503, 50000000, "DEFAULT_SERVER_ERROR", "SERVER_ERROR"),
        (errors.RequestError("Something else."), 400, 40000000, "DEFAULT_CLIENT_ERROR", "CLIENT_ERROR"),
    ],
)
def test_other_errors(server: Running, error: Exception, http: int, status: int, seed: str, cloud: str) -> None:
    server.service.failing = error
    try:
        parameter = "model_id" if http == 404 else None
        assert refused(server.post(), http, status, seed, parameter) == str(error)
        assert str(error) in refused_strictly(server.post(FLASH), http, status, cloud)
    finally:
        server.service.failing = None


NAMES = st.sampled_from(sorted(parameters.ASR | parameters.FLASH)) | st.text(max_size=8)
VALUES = st.text(max_size=20) | st.sampled_from(["true", "0", "-1", "1e9", "inf", "{}", "[]", "null", "%00", "vocab_a"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.dictionaries(NAMES, VALUES, max_size=5), st.booleans())
def test_whatever_an_address_says_is_answered(server: Running, path: str, query: dict[str, str], strict: bool) -> None:
    answer = httpx.post(
        f"{server.base}{path}",
        params=query,
        content=b"zh",
        headers={"x-nls-token": KEY} | (STRICT if strict else {}),
        timeout=20,
    )
    body = answer.json()
    assert answer.status_code in {200, 400, 404}, body
    assert answer.headers["task_id"] == body["task_id"]
    assert (body["status"] in {200, 20000000}) == (answer.status_code == 200)


def test_the_work_ends_when_the_client_leaves(server: Running) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.base}{ASR}", content=b"slow", headers={"x-nls-token": KEY}, timeout=0.5)
    assert wait_until(lambda: server.calls.cancelled == 1)
