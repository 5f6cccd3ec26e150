"""FunASR's protocol on a real server with whole recordings: mode `offline`."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator

import pytest
from funasr_server import FunasrServer, serving_funasr
from openai_server import PLAIN, Calls, wait_until
from websockets.exceptions import ConnectionClosed

from app.protocols.funasr import utterances

OFFLINE = {"mode": "offline", "wav_name": "demo", "is_speaking": True}
END = {"is_speaking": False}
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunasrServer]:
    with serving_funasr(tmp_path_factory.mktemp("sound"), max_audio_size=f"{MAX_BYTES}B", max_requests=2) as server:
        yield server


@pytest.fixture
def server(_server: FunasrServer) -> Iterator[FunasrServer]:
    _server.service.calls = Calls()
    yield _server
    assert wait_until(lambda: _server.service.active == 0), "a place was not given back"
    assert wait_until(lambda: not list(_server.temp.iterdir())), "a recording was left behind"
    assert _server.service.listened == [], "a recording was heard live"


def test_a_recording_has_one_result_which_is_final(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"zh ", bytes(64_000), END)
        message = talk.next()
        assert talk.nothing_comes()

    assert message["mode"] == "offline"
    assert message["text"] == "今天天气很好，我们去公园。"
    assert message["wav_name"] == "demo"
    assert message["is_final"] is True
    assert len(json.loads(message["timestamp"])) == len("今天天气很好我们去公园")
    assert [(it["text_seg"], it["punc"]) for it in message["stamp_sents"]] == [
        ("今 天 天 气 很 好", "，"),
        ("我 们 去 公 园", "。"),
    ]


def test_the_recording_is_kept_for_this_user_only_until_it_is_recognised(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"zh", bytes(64_000))
        assert wait_until(lambda: len(list(server.temp.glob("upload-*"))) == 1)
        talk.say(END)
        talk.next()
        assert wait_until(lambda: not list(server.temp.iterdir()))

    assert server.service.calls.modes == [0o600]


@pytest.mark.parametrize("mode", ["offline", "office", "OFFLINE"])
def test_every_spelling_of_the_mode_is_known(server: FunasrServer, mode: str) -> None:
    with server.talk() as talk:
        talk.say({"mode": mode}, b"zh", END)
        assert talk.next()["mode"] == "offline"


def test_several_recordings_follow_each_other(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"zh", END)
        first = talk.next()
        talk.say(OFFLINE | {"wav_name": "second"}, b"warned", {"is_speaking": False, "is_end": True})
        second, ack = talk.next(), talk.next()

    assert first["text"] == "今天天气很好，我们去公园。"
    assert (second["text"], second["wav_name"]) == ("好", "second")
    assert ack == {"mode": "offline", "text": "", "wav_name": "second", "is_final": True, "is_end": True}


def test_recordings_sent_ahead_are_recognised_in_turn(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"sleepy", END, OFFLINE | {"wav_name": "second"}, b"warned", END, END)
        assert [talk.next()["wav_name"] for _ in range(2)] == ["demo", "second"]
        assert talk.nothing_comes()


def test_what_is_asked_for_reaches_the_recogniser(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE | {"model": PLAIN.id, "language": "zh", "hotwords": "达摩院", "itn": False}, b"zh", END)
        talk.next()
    options = server.service.calls.options[0]

    assert server.service.calls.models == [PLAIN.id]
    assert (options.language, options.itn, options.timed) == ("zh", False, True)
    assert [hotword.text for hotword in options.hotwords] == ["达摩院"]


def test_an_empty_recording_says_nothing_and_is_no_error(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, END)
        assert talk.next() == {"mode": "offline", "text": "", "wav_name": "demo", "is_final": True}
        talk.say(OFFLINE, b"empty", END)
        assert talk.next() == {"mode": "offline", "text": "", "wav_name": "demo", "is_final": True}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"fail undecodable", "AUDIO_DATA_CORRUPTED"),
        (b"fail engine", "INTERNAL_SERVER_ERROR"),
        (b"fail unavailable", "SERVICE_UNAVAILABLE"),
        (b"fail long", "AUDIO_TOO_LONG"),
    ],
)
def test_a_recognition_that_fails_is_told(server: FunasrServer, said: bytes, code: str) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, said, {"is_speaking": False, "is_end": True})
        message = talk.next()
        with pytest.raises(ConnectionClosed):
            talk.next()

    assert message["error"]["code"] == code
    assert (message["mode"], message["wav_name"], message["text"]) == ("offline", "demo", "")
    assert (message["is_end"], message["is_final"]) == (True, False)


def test_a_button_touched_by_accident_says_nothing_and_is_no_error(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"fail short", END)
        assert talk.next() == {"mode": "offline", "text": "", "wav_name": "demo", "is_final": True}
        talk.say(b"zh", END)
        assert talk.next()["text"]


def test_a_recording_that_is_too_large_is_told_as_soon_as_it_is(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, *[bytes(100_000)] * 4)
        message = talk.next()
        with pytest.raises(ConnectionClosed):
            talk.next()
        assert wait_until(lambda: not list(server.temp.iterdir())), "what nobody will read is kept"

    assert message["error"]["code"] == "UPLOAD_TOO_LARGE"
    assert "MAX_AUDIO_SIZE" in message["error"]["message"]
    assert server.service.calls.contents == []


def test_a_recording_just_as_large_as_may_be_is_taken(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"zh " + bytes(MAX_BYTES - 3), END)
        assert talk.next()["text"]


def test_who_cannot_be_served_is_told_at_the_first_sound(server: FunasrServer) -> None:
    with server.talk() as one, server.talk() as two, server.talk() as three:
        one.say(OFFLINE, b"zh")
        two.say(OFFLINE, b"zh")
        assert wait_until(lambda: server.service.active == 2)
        three.say(OFFLINE, b"zh")
        message = three.next()
        one.say(END)
        assert one.next()["text"]

    assert message["error"]["code"] == "SERVICE_OVERLOADED"
    assert message["error"]["details"]["retry_after"] >= 1


def test_a_connection_that_only_waits_takes_no_place(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE)
        assert talk.nothing_comes()
        assert server.service.active == 0


def test_sound_that_hardly_arrives_is_given_up(server: FunasrServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utterances, "GRACE_SECONDS", 0.3)
    with server.talk() as talk:
        talk.say(OFFLINE, b"zh")
        time.sleep(0.6)
        talk.say(b"zh")
        assert talk.next()["error"]["code"] == "UPLOAD_TOO_SLOW"


@pytest.mark.parametrize("said", [[], [END], [END, END]])
def test_a_client_that_vanishes_leaves_nothing(server: FunasrServer, said: list[dict[str, object]]) -> None:
    with server.talk() as talk:
        talk.say(OFFLINE, b"slow", *said)
        assert wait_until(lambda: server.service.active == 1)
        if said:
            assert wait_until(lambda: bool(server.service.calls.contents))
        talk.connection.socket.close()

    assert wait_until(lambda: server.service.active == 0)
    assert wait_until(lambda: server.service.calls.cancelled == bool(said))


@pytest.mark.parametrize("chunk", [1000, 100_000])
def test_a_full_disk_is_told_and_nothing_stays_on_it(server: FunasrServer, chunk: int) -> None:
    """Small messages wait in the file's buffer, of which the disk is asked again when the file is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with server.talk() as talk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES // 2, limits[1]))
        try:
            talk.say(OFFLINE, *[bytes(chunk)] * (200_000 // chunk), END)
            message = talk.next()
            with pytest.raises(ConnectionClosed) as closed:
                talk.next()
            assert wait_until(lambda: not list(server.temp.iterdir())), "the recording stayed"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert message["error"]["details"]["code"] == "storage_full"
    assert message["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
