"""Wyoming's protocol on a real server: what clients ask for and are told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from live_service import ScriptedStream, final
from openai_server import wait_until
from wyoming_server import SECOND, SPEECH, Talk, Told, WyomingServer, serving_wyoming

from app.audio.declared import DeclaredSound
from app.domain.events import Partial, SpeechStarted
from app.domain.hotwords import Hotword
from app.protocols.wyoming.events import Event
from app.protocols.wyoming.transcription import Transcription
from app.service.admission import Caller

PING = {"text": "are you there"}


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WyomingServer]:
    with serving_wyoming(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: WyomingServer) -> WyomingServer:
    _server.service.forget()
    return _server


@pytest.fixture
def talk(server: WyomingServer) -> Iterator[Talk]:
    with server.talk() as talk:
        yield talk


def heard(*texts: str, language: str | None = None) -> list[Told]:
    """What a client is told of these stretches of text."""
    said = {"language": language} if language else {}
    chunks = [Told("transcript-chunk", {"text": text}) for text in texts]
    transcript = Told("transcript", {"text": "".join(texts), **said})
    return [Told("transcript-start", said), *chunks, transcript, Told("transcript-stop")]


def there(talk: Talk) -> bool:
    """Whether the next thing the server says is the answer to a ping."""
    talk.say("ping", PING)
    return talk.next() == Told("pong", PING)


def test_a_server_says_what_it_has(talk: Talk) -> None:
    talk.say("describe")

    event = talk.next()
    assert event is not None and event.type == "info"
    (program,) = event.data["asr"]
    assert program["supports_transcript_streaming"] is True
    assert program["installed"] is True
    assert [(model["name"], model["languages"], model["installed"]) for model in program["models"]] == [
        ("able", ["de", "en", "yue", "zh"], True),
        ("group/plain", ["zh"], True),
    ]
    for artifact in (program, *program["models"]):
        assert {"name", "url"} == set(artifact["attribution"])
        assert {"description", "version"} <= set(artifact)


def test_text_is_told_an_utterance_at_a_time_and_all_of_it_is_the_transcript(server: WyomingServer, talk: Talk) -> None:
    server.service.script = [
        (32_000, SpeechStarted(1, 0.0)),
        (32_000, Partial(1, 0.0, 0.5, "Hell", "Hell")),
        (32_000, final(1, 0.0, 1.0, "Hello.")),
        ("finish", final(2, 1.0, 2.0, "What is it?")),
        ("finish", final(3, 2.0, 2.5, "")),
    ]
    talk.say("transcribe", {})
    talk.say("audio-start", SPEECH)
    talk.say("audio-chunk", SPEECH, SECOND)

    before = talk.until("transcript-chunk")
    talk.say("audio-chunk", SPEECH, SECOND)
    talk.say("audio-stop")

    assert [*before, *talk.transcript()] == heard("Hello.", " What is it?", language="en")
    assert server.listened.data == SECOND * 2
    assert server.listened.live.partials is False, "guesses that nobody is told"
    assert server.listened.live.silence_seconds is not None
    caller = server.listened.caller
    assert caller == Caller(address="127.0.0.1", request_id=caller.request_id, path="wyoming")


def test_the_language_is_the_one_that_most_is_in(server: WyomingServer, talk: Talk) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "OK.")), ("finish", final(2, 1.0, 2.0, "你好，再见。"))]
    talk.speak(SECOND)

    assert talk.transcript()[-2] == Told("transcript", {"text": "OK. 你好，再见。", "language": "zh"})


def test_a_client_says_how_it_wants_to_be_heard(server: WyomingServer, talk: Talk) -> None:
    ask = {
        "name": "able",
        "language": "zh-CN",
        "transcript_names": ["Küche", "iPhone 15"],
        "transcript_terms": ["iPhone 15", "a, b", ""],
        "context": {"turn": 1},
        "vad_sensitivity": "relaxed",
    }
    talk.speak(SECOND, ask=ask)

    assert talk.transcript() == heard(language="zh")
    options = server.listened.options
    assert server.listened.model == "able"
    assert options.language == "zh"
    assert options.hotwords == (Hotword("Küche"), Hotword("iPhone 15"), Hotword("a, b"))


def test_a_connection_has_several_transcriptions_each_with_wishes_of_its_own(server: WyomingServer, talk: Talk) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "你好。"))]
    talk.speak(SECOND, ask={"name": "group/plain", "language": "zh"})
    first = talk.transcript()
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    talk.speak(SECOND)

    assert first == heard("你好。", language="zh")
    assert talk.transcript() == heard("Hello.", language="en")
    assert [(listened.model, listened.options.language) for listened in server.service.listened] == [
        ("group/plain", "zh"),
        ("able", None),
    ]


def test_what_a_client_says_ahead_waits_for_its_turn(server: WyomingServer, talk: Talk) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    talk.speak(SECOND)
    talk.say("ping", PING)
    talk.speak(SECOND, SECOND)

    assert talk.transcript() == heard("Hello.", language="en")
    assert talk.next() == Told("pong", PING)
    assert talk.transcript() == heard("Hello.", language="en")
    assert [len(listened.data) for listened in server.service.listened] == [32_000, 64_000]


def test_a_ping_is_answered_while_sound_arrives(server: WyomingServer, talk: Talk) -> None:
    talk.say("audio-start", SPEECH)
    talk.say("audio-chunk", SPEECH, SECOND)

    assert there(talk)
    talk.say("audio-stop")
    assert talk.transcript() == heard()


def test_data_may_stand_in_the_line_as_older_clients_have_it(server: WyomingServer, talk: Talk) -> None:
    talk.say("transcribe", None, data={"language": "de"})
    talk.say("audio-chunk", {"rate": 8_000}, SECOND, data=SPEECH)
    talk.say("audio-stop")

    assert talk.transcript() == heard(language="de")
    assert server.listened.declared == DeclaredSound("s16le", 8_000, 1), "the data after the line count more"


@pytest.mark.parametrize("ask", [None, {"language": "auto"}, {"language": ""}, {"language": None, "name": None}])
def test_a_client_need_not_say_anything(server: WyomingServer, talk: Talk, ask: dict[str, object] | None) -> None:
    talk.speak(SECOND, ask=ask)

    assert talk.transcript() == heard()
    assert server.listened.options.language is None


def test_a_client_may_leave_out_what_every_chunk_says(server: WyomingServer, talk: Talk) -> None:
    talk.say("audio-chunk", {**SPEECH, "rate": 8_000, "timestamp": 17}, SECOND)
    talk.say("audio-chunk", {}, SECOND)
    talk.say("audio-stop")

    assert talk.transcript() == heard()
    assert server.listened.declared == DeclaredSound("s16le", 8_000, 1)
    assert server.listened.data == SECOND * 2


@pytest.mark.parametrize("width", [2, 3, 4])
def test_sound_of_any_width_cut_anywhere_is_heard(server: WyomingServer, talk: Talk, width: int) -> None:
    samples = [bytes([place, 255 - place]) for place in range(200)]
    sound = b"".join(bytes(width - 2) + sample for sample in samples)
    form = {"rate": 44_100, "width": width, "channels": 2}
    talk.speak(sound[:7], sound[7:8], b"", sound[8:501], sound[501:], form=form)

    talk.transcript()
    assert server.listened.data == b"".join(samples)
    assert server.listened.declared == DeclaredSound("s16le", 44_100, 2)


def test_who_says_nothing_is_told_so_without_a_stream(server: WyomingServer, talk: Talk) -> None:
    talk.speak(ask={"language": "zh"})
    assert talk.transcript() == heard(language="zh")
    talk.speak()
    assert talk.transcript() == heard()
    assert server.service.listened == []


def test_an_end_without_a_beginning_is_no_transcript_that_another_could_be_taken_for(talk: Talk) -> None:
    talk.say("audio-stop")
    talk.say("audio-stop")

    assert there(talk)


def test_what_the_server_does_not_know_is_passed_over(talk: Talk) -> None:
    talk.say("run-satellite", {"a": 1}, b"payload")
    talk.say("select-program", {"name": "speech-server"})
    talk.say("transcript", {"text": "mine"})

    assert there(talk)


class Reader:
    """A client that takes in what it is sent, or does not."""

    def __init__(self) -> None:
        self.clogged = False
        self.told: list[Event] = []

    async def send(self, *events: Event) -> None:
        self.told += events


def test_who_does_not_read_is_told_together_with_what_comes_next(server: WyomingServer) -> None:
    """Home Assistant reads nothing before it has said all: what it is told must not pile up, nor hold it up."""
    server.service.script = [
        (at * 32_000, final(at, at, at + 1, text)) for at, text in enumerate(("One.", "Two.", "Three."), 1)
    ]

    async def speak() -> list[Event]:
        client = Reader()
        transcription = Transcription(server.service, Caller(), client)
        for clogged, expected in ((False, 2), (True, 2), (True, 2)):
            client.clogged = clogged
            await transcription.feed(SPEECH, SECOND)
            await asyncio.sleep(0.05)
            assert len(client.told) == expected
        await transcription.finish()
        await transcription.aclose()
        return client.told

    told = [Told(event.type, dict(event.data)) for event in asyncio.run(speak())]
    assert told == heard("One.", " Two. Three.", language="en")


def test_a_client_that_leaves_is_forgotten_wherever_it_stands(server: WyomingServer) -> None:
    with server.talk() as talk:
        talk.say("transcribe", {})
    with server.talk() as talk:
        talk.say("audio-chunk", SPEECH, SECOND)
        assert there(talk)
    with server.talk() as talk:
        talk.say("audio-chunk", SPEECH, SECOND, payload_length=64_000)
    with server.talk() as talk:
        talk.speak(SECOND)
    heard = server.service.listened
    assert wait_until(lambda: len(heard) == 2 and all(one.left for one in heard) and not server.connections)


def test_a_client_that_breaks_off_is_waited_for_no_longer(
    server: WyomingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a connection that is reset is over: one whose client has just said all it will say looks like this one,
    closed in the ordinary way."""
    asked: list[ScriptedStream] = []

    async def never(stream: ScriptedStream) -> None:
        asked.append(stream)
        await asyncio.Event().wait()

    monkeypatch.setattr(ScriptedStream, "finish", never)
    with server.talk() as talk:
        talk.speak(SECOND)
        assert wait_until(lambda: bool(asked))
        talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: server.listened.left)
