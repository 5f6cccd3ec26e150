"""OpenAI's Realtime protocol where the server tells when turns end, and settings that change meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from live_service import final
from openai_server import ABLE, KEY, PLAIN, wait_until
from realtime_server import SECOND, RealtimeServer, deltas, kinds, serving_realtime, utterance

from app.audio.declared import DeclaredSound
from app.domain.events import Cleared, Committed, Partial, SpeechStarted, SpeechStopped
from app.domain.options import LiveOptions
from app.domain.speakers import Speaker, SpeakerOptions
from app.domain.transcript import TokenLogprob
from app.service.auth import KeyRing

END = 1_000_000_000


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeServer]:
    with serving_realtime(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: RealtimeServer) -> Iterator[RealtimeServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


def test_a_turn_is_an_item_from_its_first_sound_to_its_text(server: RealtimeServer) -> None:
    server.service.script = utterance(1, len(SECOND), "Hello there.", "Hello", "Hello there")
    with server.talk() as talk:
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert kinds(told) == [
        *("speech_started", "delta", "delta", "speech_stopped", "committed"),
        *("conversation.item.added", "conversation.item.done", "delta", "completed"),
    ]
    items = {message["item"]["id"] if "item" in message else message["item_id"] for message in told}
    assert len(items) == 1, "clients put together by its id what belongs together"
    assert len({message["event_id"] for message in talk.received}) == len(talk.received)
    started, stopped = told[0], told[3]
    assert started["audio_start_ms"] == 700, "the padding of 300 ms counts"
    assert stopped["audio_end_ms"] == 2000
    assert told[4]["previous_item_id"] is None
    assert told[5]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert deltas(told) == told[-1]["transcript"] == "Hello there."
    assert told[-1]["usage"] == {"type": "duration", "seconds": 1.0}
    assert told[-1]["languages"] == [{"code": "en"}]
    assert "logprobs" not in told[-1]


def test_items_follow_each_other(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 1, "One.") + utterance(2, 1, "") + utterance(3, 1, "Three.")
    with server.talk() as talk:
        talk.hear()
        told = [talk.until("conversation.item.input_audio_transcription.completed") for _ in range(3)]

    ends = [messages[-1] for messages in told]
    assert [end["transcript"] for end in ends] == ["One.", "", "Three."], "noise is an item, too, and has an end"
    commits = [one for messages in told for one in messages if one["type"] == "input_audio_buffer.committed"]
    ids = [end["item_id"] for end in ends]
    assert [one["item_id"] for one in commits] == ids
    assert [one["previous_item_id"] for one in commits] == [None, *ids[:2]]


def test_deltas_only_append_and_the_transcript_is_what_counts(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 1, "And so, my friends.", "and saw", "and saw my")
    with server.talk() as talk:
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert deltas(told) == "and saw my friends."
    assert told[-1]["transcript"] == "And so, my friends."


def test_the_beta_has_its_own_shapes(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 1, "Hello.")
    with server.talk(headers={"openai-beta": "realtime=v1"}) as talk:
        talk.say(
            "transcription_session.update",
            session={
                "input_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1", "language": "en", "prompt": "A talk."},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
                "input_audio_noise_reduction": {"type": "near_field"},
                "modalities": ["text"],
            },
        )
        updated = talk.next()
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert talk.received[0]["type"] == "transcription_session.created"
    assert updated["type"] == "transcription_session.updated"
    assert updated["session"] | {"id": ""} == {
        "id": "",
        "object": "realtime.transcription_session",
        "expires_at": None,
        "include": None,
        "input_audio_format": "g711_ulaw",
        "input_audio_noise_reduction": {"type": "near_field"},
        "input_audio_transcription": {"model": "whisper-1", "language": "en", "prompt": "A talk."},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 700,
        },
    }
    assert "conversation.item.created" in kinds(told)
    assert "conversation.item.added" not in kinds(told)
    (heard,) = server.service.listened
    assert heard.declared == DeclaredSound("mulaw", 8000)
    assert heard.options.language == "en"
    assert heard.options.prompt == "A talk."
    assert heard.live == LiveOptions(silence_seconds=0.7, longest_seconds=60.0, near_field=True)


def test_who_begins_with_the_betas_message_speaks_the_beta(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 1, "Hello.")
    with server.talk() as talk:
        talk.say("transcription_session.update", session={"input_audio_transcription": {"model": "whisper-1"}})
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert talk.received[0]["type"] == "session.created"
    assert "conversation.item.created" in kinds(told)


def test_what_was_said_before_a_change_is_heard_as_it_was_to_be(server: RealtimeServer) -> None:
    service = server.service
    service.script = utterance(1, END, "One.", start=0.0)
    with server.talk() as talk:
        talk.hear()
        talk.say("session.update", session={"audio": {"input": {"transcription": {"language": "de"}}}})
        told = talk.until("session.updated")
        service.script = utterance(1, 1, "Zwei.", start=0.0)
        talk.hear()
        more = talk.until("conversation.item.input_audio_transcription.completed")

    first, second = service.listened
    assert (first.options.language, second.options.language) == (None, "de")
    assert (first.data, second.data) == (SECOND, SECOND)
    assert first.finished
    assert told[-2]["transcript"] == "One.", "its text comes before the change is confirmed"
    assert more[-1]["transcript"] == "Zwei."
    assert more[0]["audio_start_ms"] == 1500, "times go on: the first stream had 1.5 s as its server counts"
    committed = [one for one in more if one["type"] == "input_audio_buffer.committed"]
    assert committed[0]["previous_item_id"] == told[-2]["item_id"]


def test_a_change_that_changes_nothing_goes_on_with_the_same_stream(server: RealtimeServer) -> None:
    with server.talk() as talk:
        talk.hear()
        talk.update(turn_detection={"type": "server_vad", "threshold": 0.5})
        talk.hear()
        assert talk.answers_nothing()

    (heard,) = server.service.listened
    assert heard.data == SECOND * 2


def test_a_commit_ends_the_turn_that_goes_on(server: RealtimeServer) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.2)),
        ("commit", SpeechStopped(1, 0.9, 1.0)),
        ("commit", Committed(1, True, 1.0)),
        ("commit", final(1, 0.2, 0.9, "Hello.")),
    ]
    with server.talk() as talk:
        talk.hear()
        talk.say("input_audio_buffer.commit")
        told = talk.until("conversation.item.input_audio_transcription.completed")
        assert talk.answers_nothing()

    assert "error" not in kinds(told)
    assert told[-1]["transcript"] == "Hello."


def test_a_commit_with_no_turn_to_end_is_told_so_by_its_id_before_the_clear_is(server: RealtimeServer) -> None:
    """openai-agents ends every stream like this, and takes any other error for a failure."""
    server.service.script = [
        *utterance(1, 1, "Hello."),
        ("commit", Committed(1, False, 1.0)),
        ("clear", Cleared(None, 1)),
    ]
    with server.talk() as talk:
        talk.hear()
        talk.say("input_audio_buffer.commit", event_id="the-last")
        talk.say("input_audio_buffer.clear")
        told = talk.until("input_audio_buffer.cleared")

    error = told[-2]["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "the-last")
    assert kinds(told).count("completed") == 1


def test_of_a_turn_that_is_cleared_nothing_more_comes(server: RealtimeServer) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.2)),
        (1, Partial(1, 0.2, 0.9, "Hello", "Hello")),
        ("clear", Cleared(1, 1.0)),
        *utterance(2, len(SECOND) * 2, "Again."),
    ]
    with server.talk() as talk:
        talk.hear()
        talk.say("input_audio_buffer.clear")
        before = talk.until("input_audio_buffer.cleared")
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert kinds(before) == ["speech_started", "delta", "cleared"]
    assert told[-1]["transcript"] == "Again."
    assert told[0]["item_id"] != before[0]["item_id"]


@pytest.mark.parametrize(
    "asked", [{"model": "gpt-4o-transcribe-diarize"}, {"enable_speaker_diarization": True}], ids=["model", "field"]
)
def test_who_speaks_is_told_in_segments(
    server: RealtimeServer, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]
) -> None:
    monkeypatch.setattr(server.service, "resolve", lambda _: ABLE)
    spoken = final(1, 1.0, 2.0, "Hello.")
    segment = replace(spoken.segments[0], speaker=Speaker(1))
    server.service.script = [
        (1, SpeechStarted(1, 1.0)),
        (1, SpeechStopped(1, 2.0, 2.5)),
        (1, replace(spoken, segments=(segment,))),
    ]
    with server.talk() as talk:
        talk.update(transcription=asked)
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    one = told[-2]
    assert kinds([one]) == ["segment"]
    assert (one["speaker"], one["text"], one["start"], one["end"]) == ("B", "Hello.", 1.0, 2.0)
    assert one["item_id"] == told[-1]["item_id"]
    assert server.service.listened[0].options.speakers == SpeakerOptions()


def test_logprobs_come_with_the_transcript_if_they_are_asked_for(server: RealtimeServer) -> None:
    spoken = final(1, 1.0, 2.0, "Hi.")
    segment = replace(spoken.segments[0], logprobs=(TokenLogprob("Hi", b"Hi", -0.5),))
    server.service.script = [
        (1, SpeechStarted(1, 1.0)),
        (1, SpeechStopped(1, 2.0, 2.5)),
        (1, replace(spoken, segments=(segment,))),
    ]
    with server.talk() as talk:
        talk.say("session.update", session={"include": ["item.input_audio_transcription.logprobs"]})
        session = talk.next()["session"]
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert session["include"] == ["item.input_audio_transcription.logprobs"]
    assert server.service.listened[0].options.logprobs
    assert told[-1]["logprobs"] == [{"token": "Hi", "bytes": [72, 105], "logprob": -0.5}]


def test_the_session_is_shown_as_it_is(server: RealtimeServer) -> None:
    with server.talk(query=f"?model={PLAIN.id}") as talk:
        talk.say(
            "session.update",
            session={
                "type": "transcription",
                "include": ["item.input_audio_transcription.logprobs"],
                "audio": {"input": {"transcription": {"prompt": "A talk."}}},
            },
        )
        session = talk.next()["session"]

    assert talk.received[0]["session"]["audio"]["input"]["transcription"]["model"] == PLAIN.id
    assert session["include"] is None, "the model has no probabilities to give"
    assert session["audio"]["input"]["transcription"]["prompt"] is None, "nor does it take a prompt"
    assert session["id"] == talk.received[0]["id"], "where vLLM's clients look for it"


def test_streams_are_in_the_name_of_the_key(server: RealtimeServer) -> None:
    with server.talk(key=None, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"]) as talk:
        talk.hear()
        assert talk.answers_nothing()

    assert talk.connection.subprotocol == "realtime"
    owner = KeyRing([KEY]).owner([(b"authorization", f"Bearer {KEY}".encode())])
    assert server.service.listened[0].caller.key == owner
