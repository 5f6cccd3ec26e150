"""FunASR's protocol on a real server while somebody speaks: modes `2pass` and `online`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from funasr_server import AT_THE_END, FunasrServer, Talk, serving_funasr
from live_service import Cue, Script
from openai_server import KEY, OTHER_KEY, PLAIN, characters, segment, wait_until
from websockets.exceptions import ConnectionClosed

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.events import Final, Partial, SpeechStarted, SpeechStopped
from app.domain.options import LiveOptions
from app.protocols.funasr import ws
from app.service.auth import KeyRing

SECOND = bytes(32_000)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60)


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunasrServer]:
    with serving_funasr(tmp_path_factory.mktemp("sound"), keys=(KEY, OTHER_KEY)) as server:
        yield server


@pytest.fixture
def server(_server: FunasrServer) -> Iterator[FunasrServer]:
    service = _server.service
    service.forget()
    yield _server
    assert wait_until(lambda: all(heard.left for heard in service.listened)), "a stream was left open"
    assert wait_until(lambda: not list(_server.temp.iterdir())), "sound was left behind"


def utterance(index: int, fed: int | Cue, text: str, *stable: str) -> Script:
    start = float(index)
    words = characters(text, start, 0.2)
    found = (segment(text, start, start + 1, words),) if text else ()
    events = [
        SpeechStarted(index, start),
        *(Partial(index, start, start + 0.5, some, some) for some in stable),
        SpeechStopped(index, start + 1, start + 1.5),
        Final(index, start, start + 1, start + 1.5, text, found),
    ]
    return [(fed, event) for event in events]


def told(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["mode"], message["text"]) for message in messages]


def test_speech_is_told_in_two_passes(server: FunasrServer) -> None:
    server.service.script = utterance(1, 32_000, "你好。", "你", "你好") + utterance(2, AT_THE_END, "再见。", "再")
    with server.talk() as talk:
        talk.say({"mode": "2pass", "wav_name": "demo", "is_speaking": True}, SECOND)
        before = [talk.next() for _ in range(3)]
        talk.say({"is_speaking": False})
        after = talk.until_final()

    assert told(before) == [("2pass-online", "你"), ("2pass-online", "好"), ("2pass-offline", "你好。")]
    assert told(after) == [("2pass-online", "再"), ("2pass-offline", "再见。")]
    assert [message["is_final"] for message in before + after] == [False, False, False, False, True]
    assert {message["wav_name"] for message in before + after} == {"demo"}
    assert json.loads(before[-1]["timestamp"]) == [[1000, 1200], [1200, 1400]]
    assert before[-1]["stamp_sents"][0] == {
        "text_seg": "你 好",
        "punc": "。",
        "start": 1000,
        "end": 1400,
        "ts_list": [[1000, 1200], [1200, 1400]],
    }


def test_speech_is_told_in_one_pass(server: FunasrServer) -> None:
    server.service.script = utterance(1, 32_000, "Hello, world.", "Hello") + utterance(2, AT_THE_END, "Bye.", "Bye")
    with server.talk() as talk:
        talk.say({"mode": "online", "is_speaking": True}, SECOND, {"is_speaking": False})
        messages = talk.until_final()

    assert {message["mode"] for message in messages} == {"online"}
    assert "".join(message["text"] for message in messages) == "Hello, world. Bye."
    assert not any("timestamp" in message for message in messages)


def test_sound_before_any_text_is_heard_as_the_cpp_server_would(server: FunasrServer) -> None:
    server.service.script = utterance(1, 0, "你好。")
    with server.talk() as talk:
        talk.say(SECOND)
        message = talk.next()
        heard = server.service.listened[0]

    assert told([message]) == [("2pass-offline", "你好。")]
    assert message["wav_name"] == "wav-default-id"
    assert heard.declared == DeclaredSound("s16le", 16_000)
    assert heard.live.partials


def test_every_byte_is_heard_in_order_whatever_the_frames(server: FunasrServer) -> None:
    sound = bytes(range(256)) * 300
    with server.talk() as talk:
        talk.say({"audio_fs": 8000}, b"", sound[:1], sound[1:4], sound[4:7], sound[7:50_000], sound[50_000:])
        talk.say({"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].data == sound
    assert server.service.listened[0].declared == DeclaredSound("s16le", 8000)


def test_a_few_bytes_are_heard_too(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(b"\1\2\3\4", {"is_speaking": False})
        assert talk.until_final()[-1]["text"] == ""

    assert server.service.listened[0].data == b"\1\2\3\4"


@pytest.mark.parametrize("said", ["pcm", "PCM", "wav"])
def test_a_wav_file_with_its_header_is_heard_as_a_file(server: FunasrServer, said: str) -> None:
    """As the browser client sends it, under the name PCM."""
    with server.talk() as talk:
        talk.say({"wav_format": said}, WAV[:5], WAV[5:], {"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].declared is None
    assert server.service.listened[0].data == WAV


def test_samples_that_are_called_wav_are_heard_as_samples(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say({"wav_format": "wav"}, SECOND, {"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].declared == DeclaredSound("s16le", 16_000)


def test_other_formats_are_streamed_as_files(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say({"wav_format": "mp3"}, b"ID3" + bytes(100), {"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].declared is None


def test_what_is_asked_for_reaches_the_recogniser(server: FunasrServer) -> None:
    opening = {"model": PLAIN.id, "svs_lang": "zh", "hotwords": '{"阿里巴巴":20}', "itn": False, "near_field": False}
    with server.talk() as talk:
        talk.say(opening, SECOND, {"is_speaking": False})
        talk.until_final()
    heard = server.service.listened[0]

    assert heard.model == PLAIN.id
    assert heard.options.language == "zh"
    assert [hotword.text for hotword in heard.options.hotwords] == ["阿里巴巴"]
    assert heard.options.itn is False
    assert heard.caller.key
    assert heard.live == LiveOptions(longest_seconds=60.0, near_field=False)


def test_what_is_quiet_is_ignored_or_not_as_the_server_is_set(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say(SECOND, {"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].live.near_field is None


def test_the_connection_stays_for_the_next_recording_which_begins_anew(server: FunasrServer) -> None:
    server.service.script = utterance(1, AT_THE_END, "Hello.")
    with server.talk() as talk:
        talk.say({"mode": "2pass", "wav_name": "one", "is_speaking": True}, SECOND, {"is_speaking": False})
        first = talk.until_final()
        talk.say({"mode": "online", "wav_name": "two", "is_speaking": True}, SECOND, {"is_speaking": False})
        second = talk.until_final()
        talk.say(SECOND, {"is_speaking": False})  # as configured before
        third = talk.until_final()

    assert told(first) == [("2pass-offline", "Hello.")]
    assert told(second) == told(third) == [("online", "Hello.")], "no space: nothing comes before it"
    assert [messages[-1]["wav_name"] for messages in (first, second, third)] == ["one", "two", "two"]


def test_the_official_clients_end_is_acknowledged_after_the_last_result(server: FunasrServer) -> None:
    server.service.script = utterance(1, AT_THE_END, "你好。")
    with server.talk() as talk:
        talk.say({"mode": "2pass", "wav_name": "demo"}, SECOND, {"is_speaking": False, "is_end": True})
        result, ack = talk.until_final()[-1], talk.next()

    assert told([result]) == [("2pass-offline", "你好。")]
    assert "is_end" not in result
    assert ack == {"mode": "2pass", "text": "", "wav_name": "demo", "is_final": True, "is_end": True}


def test_an_end_that_is_said_twice_is_answered_once(server: FunasrServer) -> None:
    server.service.script = utterance(1, AT_THE_END, "你好。")
    with server.talk() as talk:
        talk.say(SECOND, {"is_speaking": False}, {"is_speaking": False}, {"is_finished": True})
        talk.until_final()

        assert talk.nothing_comes()


def test_whoever_says_nothing_and_ends_is_answered(server: FunasrServer) -> None:
    with server.talk() as talk:
        talk.say({"mode": "online", "wav_name": "demo"}, {"is_speaking": False})

        assert talk.next() == {"mode": "online", "text": "", "wav_name": "demo", "is_final": True}
    with server.talk() as talk:
        talk.say({"is_finished": True})

        assert talk.next()["is_final"]
    assert server.service.listened == []


def test_a_configuration_in_the_middle_goes_for_what_comes_after(server: FunasrServer) -> None:
    server.service.script = utterance(1, AT_THE_END, "你好。", "你")
    with server.talk() as talk:
        talk.say({"mode": "2pass"}, SECOND, {"mode": "online"}, SECOND, {"is_speaking": False})

        assert told(talk.until_final()) == [("2pass-online", "你"), ("2pass-offline", "你好。")]
    assert len(server.service.listened) == 1
    assert len(server.service.listened[0].data) == 64_000


# --- how it is reached ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/anything/at/all"])
def test_the_port_of_its_own_answers_at_every_path(server: FunasrServer, path: str) -> None:
    with server.talk(url=f"ws://127.0.0.1:{server.bare}{path}") as talk:
        talk.say({"is_speaking": False})
        assert talk.next()["is_final"]


def test_that_port_tells_browsers_what_it_is(server: FunasrServer) -> None:
    import httpx  # noqa: PLC0415 - nothing else here needs it

    answer = httpx.get(f"http://127.0.0.1:{server.bare}/")

    assert answer.status_code == 426
    assert "FunASR" in answer.text


def test_the_subprotocol_of_its_clients_is_echoed(server: FunasrServer) -> None:
    with server.talk(subprotocols=["binary"]) as talk:
        assert talk.connection.subprotocol == "binary"
    with server.talk() as talk:
        assert talk.connection.subprotocol is None


@pytest.mark.parametrize("place", ["port", "bare"])
def test_a_key_may_stand_in_the_address(server: FunasrServer, place: str) -> None:
    path = "/ws/funasr" if place == "port" else "/"
    with server.talk(key=None, url=f"ws://127.0.0.1:{getattr(server, place)}{path}?token={OTHER_KEY}") as talk:
        talk.say(SECOND, {"is_speaking": False})
        talk.until_final()

    assert server.service.listened[0].caller.key == KeyRing([OTHER_KEY]).owner([(b"x-nls-token", OTHER_KEY.encode())])


@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_a_key_the_client_is_told_so_and_sent_away(server: FunasrServer, key: str | None) -> None:
    with server.talk(key=key) as talk:
        error, code, reason = told_to_go(talk)

    assert error["code"] == "AUTHENTICATION_FAILED"
    assert code == 1008
    assert "API key" in reason
    assert server.service.listened == []


# --- what goes wrong --------------------------------------------------------------------------------------------------


def told_to_go(talk: Talk) -> tuple[dict[str, Any], int, str]:
    """The error that is told, and how the connection is closed then."""
    message = talk.next()
    while "error" not in message:
        message = talk.next()
    assert (message["text"], message["is_final"], message["is_end"]) == ("", False, True)
    assert set(message["error"]) == {"code", "message", "details"}
    with pytest.raises(ConnectionClosed) as closed:
        talk.next()
    assert closed.value.rcvd
    assert closed.value.rcvd.reason
    return message["error"], closed.value.rcvd.code, closed.value.rcvd.reason


def test_a_stream_that_fails_is_told_at_once(server: FunasrServer) -> None:
    server.service.script = [
        *utterance(1, 32_000, "你好。"),
        (64_000, errors.EngineFailure("The recogniser died.")),
    ]
    with server.talk() as talk:
        talk.say({"mode": "2pass", "wav_name": "demo"}, SECOND, SECOND)
        error, code, reason = told_to_go(talk)

    assert told(talk.received[:1]) == [("2pass-offline", "你好。")]
    assert (error["code"], error["message"]) == ("INTERNAL_SERVER_ERROR", "The recogniser died.")
    assert (code, reason) == (1011, "The recogniser died.")
    assert not any(message["is_final"] for message in talk.received), "there is no last result"


def test_what_was_said_before_a_failure_is_told_before_it(server: FunasrServer) -> None:
    spoken = [str(number) for number in range(1, 41)]
    script = [entry for number in spoken for entry in utterance(int(number), 32_000, number)]
    server.service.script = [*script, (32_000, errors.EngineFailure("The recogniser died."))]
    with server.talk() as talk:
        talk.say({"mode": "2pass"}, *[SECOND] * 5)
        assert told_to_go(talk)[2] == "The recogniser died."

    assert [message["text"].strip() for message in talk.received if message["text"]] == spoken


def test_a_failure_while_sound_still_comes_is_told_too(server: FunasrServer) -> None:
    server.service.script = [(32_000, errors.EngineFailure("The recogniser died."))]
    with server.talk() as talk:
        talk.say({"mode": "2pass"})
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                talk.say(SECOND)
        assert told_to_go(talk)[0]["message"] == "The recogniser died."


@pytest.mark.parametrize("end", [{"is_speaking": False}, {"is_speaking": False, "is_end": True}])
def test_a_failure_at_the_very_end_is_told_once(server: FunasrServer, end: dict[str, Any]) -> None:
    server.service.script = [(AT_THE_END, errors.EngineFailure("The recogniser died."))]
    with server.talk() as talk:
        talk.say(SECOND, end)
        assert told_to_go(talk)[2] == "The recogniser died."

    assert len(talk.received) == 1


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (errors.Overloaded("Too many.", retry_after=5), "SERVICE_OVERLOADED"),
        (errors.ModelUnavailable("Loading."), "SERVICE_UNAVAILABLE"),
    ],
)
def test_a_stream_that_cannot_be_had_is_told(server: FunasrServer, refusal: errors.SpeechError, code: str) -> None:
    server.service.refusal = refusal
    with server.talk() as talk:
        talk.say(SECOND)
        error, closed, _ = told_to_go(talk)

    assert error["code"] == code
    assert error["details"]["retry_after"] == 5
    assert closed == 1013


@pytest.mark.parametrize(
    ("said", "code", "param"),
    [
        ({"audio_fs": 4000}, "INVALID_SAMPLE_RATE", "audio_fs"),
        ({"mode": "4pass"}, "INVALID_VALUE", "mode"),
        ("{broken", "INVALID_MESSAGE_FORMAT", None),
        ("START", "PROTOCOL_ERROR", None),
    ],
)
def test_a_message_that_makes_no_sense_is_told(server: FunasrServer, said: Any, code: str, param: str | None) -> None:
    with server.talk() as talk:
        talk.say(said)
        error, closed, _ = told_to_go(talk)

    assert error["code"] == code
    assert error["details"].get("param") == param
    assert closed == 1008


@pytest.mark.parametrize("said", [{"model": "nobody"}, {"language": "klingonese"}, {"hotwords": '{"a"'}])
def test_a_wish_that_cannot_be_fulfilled_is_told_at_the_first_sound(server: FunasrServer, said: Any) -> None:
    with server.talk() as talk:
        talk.say(said)
        assert talk.nothing_comes(0.1)
        talk.say(SECOND)
        assert told_to_go(talk)[1] == 1008

    assert server.service.listened == []


def test_a_fault_nobody_foresaw_is_told_without_its_internals(server: FunasrServer) -> None:
    server.service.script = [(32_000, ZeroDivisionError("secret internals"))]
    with server.talk() as talk:
        talk.say(SECOND)
        error, code, reason = told_to_go(talk)

    assert (error["code"], code) == ("INTERNAL_SERVER_ERROR", 1011)
    assert "secret" not in json.dumps(error) + reason


# --- clients that leave, or stay too long -----------------------------------------------------------------------------


@pytest.mark.parametrize("said", [[SECOND], [SECOND, {"is_speaking": False}], []])
def test_a_client_that_vanishes_leaves_nothing(server: FunasrServer, said: list[Any]) -> None:
    with server.talk() as talk:
        talk.say({"mode": "2pass"}, *said)
        assert wait_until(lambda: len(server.service.listened) == bool(said))
        talk.connection.socket.close()

    assert wait_until(lambda: all(heard.left for heard in server.service.listened))


def test_a_client_that_sends_faster_than_is_heard_waits_and_loses_nothing(server: FunasrServer) -> None:
    server.service.slow = 0.005
    server.service.script = utterance(1, AT_THE_END, "你好。")
    frame = bytes(3200)
    with server.talk() as talk:
        talk.say({"mode": "2pass"}, *[frame] * 300, {"is_speaking": False})
        assert told(talk.until_final()) == [("2pass-offline", "你好。")]

    assert len(server.service.listened[0].data) == 300 * 3200


def test_a_client_that_falls_silent_is_told_and_sent_away(
    server: FunasrServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "IDLE_SECONDS", 0.5)
    with server.talk() as talk:
        talk.say(SECOND)
        error, code, _ = told_to_go(talk)

    assert (error["code"], code) == ("UPLOAD_TOO_SLOW", 1008)


def test_between_recordings_a_client_may_rest_much_longer(
    server: FunasrServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(ws, "REST_SECONDS", 1.5)
    with server.talk() as talk:
        talk.say({"mode": "2pass"})
        assert talk.nothing_comes(0.6)
        with pytest.raises(ConnectionClosed) as closed:
            talk.next()

    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1000


def test_two_clients_at_once_hear_only_their_own(server: FunasrServer) -> None:
    server.service.script = utterance(1, AT_THE_END, "你好。", "你")
    with server.talk() as one, server.talk() as two:
        one.say({"wav_name": "one"}, SECOND)
        two.say({"wav_name": "two", "mode": "online"}, SECOND)
        for talk in (two, one):
            talk.say({"is_speaking": False})
        assert _names(one) == {"one"}
        assert _names(two) == {"two"}


def _names(talk: Talk) -> set[str]:
    return {message["wav_name"] for message in talk.until_final()}
