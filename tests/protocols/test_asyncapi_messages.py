"""Sessions of every live protocol, by clients that others use, too: what either side says is in the AsyncAPI document,
and everything in the document is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aliyun_server import SCRIPT, AliyunServer, serving_aliyun
from asyncapi_document import Recording, document, recording
from funasr_server import serving_funasr
from live_service import Script, final
from oddasr_server import STOP, serving_oddasr
from openai_server import KEY
from qwen_live_server import serving_qwen, utterance
from realtime_server import committed, serving_realtime
from realtime_server import utterance as spoken
from wyoming_server import SPEECH, serving_wyoming

from app.domain.errors import EngineFailure
from app.domain.events import Cleared, Committed, Partial, SpeechStarted, SpeechStopped
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, TokenLogprob, Word
from tools.dialects import DIALECTS, Heard, Wishes, said

SILENCE = np.zeros(48_000, np.int16)
WORDS = (Word("Hello,", 1.0, 1.4, 0.9), Word("world.", 1.5, 1.9, 0.8))
WISHES = Wishes(language="en", hotwords=("Kubernetes",), token=KEY, silence=500)


def hello(index: int = 1) -> Script:
    """One utterance with everything that one may have, while sound comes."""
    told = final(index, index, index + 1, "Hello, world.", WORDS)
    whose = Speaker(0, None)
    words = tuple(replace(word, speaker=whose) for word in WORDS)
    segment = Segment(
        index, index + 1, "Hello, world.", words, speaker=whose, logprobs=(TokenLogprob("Hello", b"Hello", -0.1),)
    )
    return [
        (3200, SpeechStarted(index, float(index))),
        (6400, Partial(index, float(index), index + 0.5, "Hello", "Hello")),
        (9600, SpeechStopped(index, index + 1.0, index + 1.8)),
        (9600, replace(told, segments=(segment,), time=index + 3.0)),
    ]


def play(protocol: str, port: int, wishes: Wishes = WISHES, path: str = "") -> Heard:
    """A session of the protocol's client."""
    able = DIALECTS[protocol].can_say
    fit = Wishes(**{name: getattr(wishes, name) for name in able})
    heard = asyncio.run(said(protocol, f"http://127.0.0.1:{port}{path}", SILENCE, wishes=fit))
    assert any(event.kind == "final" and "Hello, world." in event.text for event in heard.events), heard.events
    return heard


# --- one for each channel ---------------------------------------------------------------------------------------------


def aliyun(temp: Path) -> None:
    with serving_aliyun(temp) as server:
        server.service.script[""] = [*SCRIPT["begins"], *SCRIPT["hello"], *SCRIPT["pause"]]
        play("aliyun", server.port)
        server.service.forget()
        _aliyun_by_hand(server)


def _aliyun_by_hand(server: AliyunServer) -> None:
    with server.talk() as talk:
        talk.start(enable_words=True, enable_intermediate_result=True, frobnicate=1)
        talk.say("ControlTranscriber", {})
        talk.send(*(name.encode() for name in ("begins", "hello", "pause", "more")))
        talk.stop()
    with server.talk(speech="Recognition") as talk:
        talk.start(enable_intermediate_result=True)
        talk.send(b"hello", b"pause")
        talk.stop()
    with server.talk(headers={}) as talk:
        talk.say("StartTranscription", {})
        assert talk.fails()[0] == 40000001


def funasr(temp: Path) -> None:
    with serving_funasr(temp) as server:
        server.service.script = hello()
        play("funasr", server.port)
        play("funasr", server.bare, path="/")
        with server.talk() as talk:
            talk.say({"mode": "online", "chunk_size": [5, 10, 5], "wav_name": "one", "is_speaking": True})
            talk.say(bytes(9600), {"is_speaking": False, "is_end": True})
            talk.until_final()
            assert talk.next()["is_end"] is True
        server.service.refusal = EngineFailure("It broke.")
        with server.talk() as talk:
            talk.say({"is_speaking": True}, bytes(3200))
            assert talk.next()["error"]["code"] == "INTERNAL_SERVER_ERROR"


def qwen(temp: Path) -> None:
    with serving_qwen(temp) as server:
        server.service.script = [*hello(), *utterance(2, 12_800, "More.", "Mo", silence=0.3)]
        play("qwen", server.port)
        with server.talk() as talk:
            talk.start(word_timestamps=True, frobnicate=1)
            talk.say(bytes(12_800))
            talk.stop()
        with server.talk() as talk:
            talk.say({"type": "start", "payload": None})
            assert talk.next()["type"] == "started"
        with server.talk(key=None) as talk:
            assert talk.fails() == "AUTHENTICATION_FAILED"


def realtime(temp: Path) -> None:
    with serving_realtime(temp) as server:
        over: Script = [("commit", Committed(1, False, 3.0)), ("clear", Cleared(None, 3.0))]
        server.service.scripts = [[*hello(), *over], hello()]
        play("openai", server.port)
        play("vllm", server.port)
        server.service.script = spoken(1, 9600, "Hello.", "Hel")
        with server.talk(headers={"openai-beta": "realtime=v1"}) as talk:
            flat = {"input_audio_format": "pcm16", "include": ["item.input_audio_transcription.logprobs"]}
            talk.say("transcription_session.update", session=flat, event_id="mine")
            talk.until("transcription_session.updated")
            talk.hear()
            talk.until("conversation.item.created")
        server.service.script = [*committed(1, 1.0, "Hello.", "Hel"), ("clear", Cleared(None, 1.0))]
        with server.talk() as talk:
            talk.update(turn_detection=None, noise_reduction={"type": "near_field"})
            talk.hear()
            talk.say("input_audio_buffer.commit")
            talk.until("conversation.item.input_audio_transcription.completed")
            talk.say("input_audio_buffer.commit")
            assert talk.failure()["code"] == "input_audio_buffer_commit_empty"
            talk.say("input_audio_buffer.clear")
            talk.until("input_audio_buffer.cleared")
        server.service.script = [(1, SpeechStarted(1, 0.0)), (1, EngineFailure("It broke."))]
        with server.talk() as talk:
            talk.hear()
            talk.until("conversation.item.input_audio_transcription.failed")
        with server.talk() as talk:
            talk.say("session.update", model="no-such-model")
            assert isinstance(talk.next()["error"], str)


def oddasr(temp: Path) -> None:
    with serving_oddasr(temp) as server:
        server.service.script = hello()
        play("oddasr", server.port)
        with server.talk() as talk:
            talk.start(frobnicate=1)
            talk.say(bytes(9600), STOP)
            talk.until_end()
        with server.talk() as talk:
            talk.say({"name": "StartTranscription", "token": "wrong"})
            assert talk.fails()[0] == 40000001


def wyoming(temp: Path) -> None:
    with serving_wyoming(temp) as server:
        server.service.script = hello()
        play("wyoming", server.port)
        with server.talk() as talk:
            talk.say("describe")
            talk.say("ping", {"text": "here"})
            talk.say("select-program", {"name": "speech-server"})
            assert [told.type for told in talk.until("pong")] == ["info", "pong"]
            talk.speak(bytes(9600), ask={"language": "en"}, form=SPEECH)
            talk.transcript()
        server.service.refusal = EngineFailure("It broke.")
        with server.talk() as talk:
            talk.say("audio-start", SPEECH)
            talk.say("audio-chunk", SPEECH, bytes(3200))
            assert talk.error().data["code"] == "engine_failure"


SESSIONS: dict[str, Callable[[Path], None]] = {
    run.__name__: run for run in (aliyun, funasr, qwen, realtime, oddasr, wyoming)
}


@pytest.fixture(scope="module", params=SESSIONS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(request.param, clients=True) as found:
        SESSIONS[request.param](tmp_path_factory.mktemp(request.param))
    yield found


def test_all_that_either_side_says_is_in_the_document(recorded: Recording) -> None:
    assert recorded.strange == []


def test_all_that_is_in_the_document_is_said(recorded: Recording) -> None:
    documented = {
        *document().names(recorded.channel, "receive"),
        *document().names(recorded.channel, "send"),
    }
    assert documented - recorded.seen == set()


def test_every_channel_is_one_of_these_or_says_the_same() -> None:
    known = [(document().names(channel, "receive"), document().names(channel, "send")) for channel in SESSIONS]
    for channel in document().whole["channels"]:
        assert (document().names(channel, "receive"), document().names(channel, "send")) in known, channel


@pytest.mark.parametrize(
    "change",
    [
        {"frobnicate": 1},
        {"text": 1},
        {"is_final": "false"},
        {"mode": "3pass"},
        {"timestamp": [[0, 1]]},
    ],
)
def test_what_is_not_in_the_document_is_noticed(change: dict[str, object]) -> None:
    good = {"mode": "2pass-online", "text": "Hello", "wav_name": "one", "is_final": False}
    watched = Recording("funasr")
    watched.add("send", good)
    assert (watched.seen, watched.strange) == ({"funasrResult"}, [])
    watched.add("send", good | change)
    assert len(watched.strange) == 1
    assert json.dumps(next(iter(change))) in watched.strange[0]
