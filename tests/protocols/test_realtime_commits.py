"""OpenAI's Realtime protocol where the client tells when turns end (turn_detection null)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import final
from openai_server import wait_until
from realtime_server import SECOND, RealtimeServer, Talk, committed, deltas, kinds, serving_realtime
from websockets.exceptions import ConnectionClosed

from app.domain.events import Cleared, Committed, Partial, SpeechStarted, SpeechStopped
from app.protocols.openai.realtime import session

COMPLETED = "conversation.item.input_audio_transcription.completed"


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeServer]:
    with serving_realtime(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: RealtimeServer) -> Iterator[RealtimeServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


@pytest.fixture
def talk(server: RealtimeServer) -> Iterator[Talk]:
    with server.talk() as talk:
        assert talk.update(turn_detection=None)["turn_detection"] is None
        yield talk


def test_a_commit_makes_an_item_of_all_that_was_said(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = committed(1, 1.0, "Hello there.", "Hello")
    talk.hear()
    talk.say("input_audio_buffer.commit")
    told = talk.until(COMPLETED)

    assert kinds(told) == [
        *("delta", "committed", "conversation.item.added", "conversation.item.done", "delta", "completed")
    ], "there is no speech_started where the client knows better"
    assert len({message["item_id"] for message in told if "item_id" in message}) == 1
    assert deltas(told) == told[-1]["transcript"] == "Hello there."
    assert told[-1]["usage"]["seconds"] == 1.0
    assert server.service.listened[0].live.silence_seconds is None


def test_an_item_may_be_several_utterances_some_of_which_are_still_recognised(
    server: RealtimeServer, talk: Talk
) -> None:
    """Speech that goes on for minutes is cut by the server."""
    server.service.script = [
        (1, SpeechStarted(1, 0.0)),
        (1, Partial(1, 0.0, 0.5, "One", "One")),
        (1, SpeechStopped(1, 0.5, 0.5)),
        (1, SpeechStarted(2, 0.5)),
        ("commit", SpeechStopped(2, 1.0, 1.0)),
        ("commit", Committed(2, True, 1.0)),
        ("commit", final(1, 0.0, 0.5, "One two.")),
        ("commit", final(2, 0.5, 1.0, "Three.")),
    ]
    talk.hear()
    talk.say("input_audio_buffer.commit")
    told = talk.until(COMPLETED)

    assert told[-1]["transcript"] == deltas(told) == "One two. Three."
    assert kinds(told).count("completed") == 1
    assert kinds(told).count("committed") == 1


def test_every_commit_is_an_item_and_silence_is_an_empty_one(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = [*committed(1, 1.0, "One."), ("commit", Committed(1, False, 2.0))]
    talk.hear()
    talk.say("input_audio_buffer.commit")
    first = talk.until(COMPLETED)
    talk.hear()
    talk.say("input_audio_buffer.commit")
    second = talk.until(COMPLETED)

    assert (first[-1]["transcript"], second[-1]["transcript"]) == ("One.", "")
    assert second[0]["previous_item_id"] == first[-1]["item_id"] != second[-1]["item_id"]
    assert second[-1]["usage"]["seconds"] == 1.0


def test_two_commits_at_once_are_two_items_with_their_own_texts(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.0)),
        ("commit", SpeechStopped(1, 1.0, 1.0)),
        ("commit", Committed(1, True, 1.0)),
        (len(SECOND) * 2, SpeechStarted(2, 1.0)),
        ("commit", SpeechStopped(2, 2.0, 2.0)),
        ("commit", Committed(2, True, 2.0)),
        ("commit", final(1, 0.0, 1.0, "One.")),
        ("commit", final(2, 1.0, 2.0, "Two.")),
    ]
    for _ in range(2):
        talk.hear()
        talk.say("input_audio_buffer.commit")
    told = talk.until(COMPLETED) + talk.until(COMPLETED)

    ends = [one for one in told if one["type"] == COMPLETED]
    assert [one["transcript"] for one in ends] == ["One.", "Two."]
    commits = [one["item_id"] for one in told if one["type"] == "input_audio_buffer.committed"]
    assert [one["item_id"] for one in ends] == commits


@pytest.mark.parametrize("sound", [b"", SECOND[:4798]], ids=["none", "less than 100 ms"])
def test_a_commit_of_hardly_any_sound_is_told_by_its_id(talk: Talk, sound: bytes) -> None:
    talk.hear(sound)
    talk.say("input_audio_buffer.commit", event_id="mine")
    error = talk.failure()

    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert talk.answers_nothing()


def test_sound_that_was_too_little_to_commit_is_not_lost(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = committed(1, 0.1, "Hm.")
    talk.hear(SECOND[:4000])
    talk.say("input_audio_buffer.commit")
    talk.failure()
    talk.hear(SECOND[:1000])
    talk.say("input_audio_buffer.commit")

    assert talk.until(COMPLETED)[-1]["transcript"] == "Hm."
    assert server.service.listened[0].data == SECOND[:5000]


def test_small_messages_add_up_to_a_commit(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = committed(1, 0.1, "Hm.")
    for first in range(0, 4800, 96):
        talk.hear(SECOND[first : first + 96])
    talk.say("input_audio_buffer.commit")

    assert talk.until(COMPLETED)[-1]["transcript"] == "Hm."


def test_a_clear_forgets_all_that_was_not_committed(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.0)),
        (1, SpeechStopped(1, 0.5, 0.5)),
        (1, SpeechStarted(2, 0.5)),
        (1, Partial(2, 0.5, 0.9, "gone", "gone")),
        ("clear", Cleared(2, 1.0)),
        ("clear", final(1, 0.0, 0.5, "Gone, too.")),
        (len(SECOND) * 2, SpeechStarted(3, 1.0)),
        ("commit", SpeechStopped(3, 2.0, 2.0)),
        ("commit", Committed(3, True, 2.0)),
        ("commit", final(3, 1.0, 2.0, "Here.")),
    ]
    talk.hear()
    talk.say("input_audio_buffer.clear")
    gone = talk.until("input_audio_buffer.cleared")
    talk.hear()
    talk.say("input_audio_buffer.commit")
    told = talk.until(COMPLETED)

    assert told[-1]["transcript"] == deltas(told) == "Here."
    assert told[-1]["item_id"] != gone[0]["item_id"]
    assert told[-1]["usage"]["seconds"] == 1.0


def test_a_clear_of_nothing_is_confirmed(server: RealtimeServer, talk: Talk) -> None:
    talk.say("input_audio_buffer.clear")

    assert talk.next()["type"] == "input_audio_buffer.cleared"
    assert server.service.listened == []


def test_an_item_goes_on_through_a_change_of_language(server: RealtimeServer, talk: Talk) -> None:
    service = server.service
    service.script = [
        (1, SpeechStarted(1, 0.0)),
        ("finish", SpeechStopped(1, 1.0, 1.0)),
        ("finish", final(1, 0.0, 1.0, "One.")),
    ]
    talk.hear()
    talk.update(transcription={"language": "de"})
    service.script = committed(1, 1.0, "Zwei.")
    talk.hear()
    talk.say("input_audio_buffer.commit")
    told = talk.until(COMPLETED)

    assert told[-1]["transcript"] == "One. Zwei."
    assert kinds(talk.received).count("completed") == 1


def test_what_was_not_committed_is_when_the_server_begins_to_tell_turns(server: RealtimeServer, talk: Talk) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.0)),
        ("finish", SpeechStopped(1, 1.0, 1.0)),
        ("finish", final(1, 0.0, 1.0, "One.")),
    ]
    talk.hear()
    talk.say("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    told = talk.until("session.updated")

    assert kinds(told)[-2] == "completed"
    assert told[-2]["transcript"] == "One."


def test_who_pauses_before_the_commit_frees_the_place_and_loses_nothing(
    server: RealtimeServer, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.2)
    server.service.script = [
        (1, SpeechStarted(1, 0.0)),
        ("finish", SpeechStopped(1, 1.0, 1.0)),
        ("finish", final(1, 0.0, 1.0, "One.")),
    ]
    talk.hear()
    assert wait_until(lambda: server.service.listened and server.service.listened[0].left), "its place was kept"
    talk.say("input_audio_buffer.commit")

    assert talk.until(COMPLETED)[-1]["transcript"] == "One."


@pytest.mark.parametrize("sound", [SECOND, SECOND[:2400]])
def test_what_waits_for_a_commit_when_the_server_ends_is_committed_if_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bytes
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.2)
    with serving_realtime(tmp_path) as server, server.talk() as talk:
        talk.update(turn_detection=None)
        server.service.script = [
            (1, SpeechStarted(1, 0.0)),
            ("finish", SpeechStopped(1, 1.0, 1.0)),
            ("finish", final(1, 0.0, 1.0, "One.")),
        ]
        talk.hear(sound)
        assert wait_until(lambda: server.service.listened and server.service.listened[0].left), "its place was kept"
        server.ends.finish()

        if sound == SECOND:
            assert talk.until(COMPLETED)[-1]["transcript"] == "One."
        with pytest.raises(ConnectionClosed) as closed:
            talk.until(COMPLETED)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012


@pytest.mark.parametrize("ending", ["input_audio_buffer.commit", "input_audio_buffer.clear", "session.update"])
def test_where_nothing_waits_any_more_the_connection_ends_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.2)
    with serving_realtime(tmp_path) as server, server.talk() as talk:
        talk.update(turn_detection=None)
        talk.hear()
        assert wait_until(lambda: server.service.listened and server.service.listened[0].left), "its place was kept"
        talk.say(ending, session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
        talk.until({"session.update": "session.updated"}.get(ending, f"{ending}ted".replace("clearted", "cleared")))
        server.ends.close()

        with pytest.raises(ConnectionClosed) as closed:
            talk.until("nothing")
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012


def test_models_of_openais_that_end_no_turns_leave_that_to_the_client(
    server: RealtimeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = server.service.resolve("able")
    monkeypatch.setattr(server.service, "resolve", lambda _: able)
    with server.talk() as talk:
        assert talk.update(transcription={"model": "gpt-realtime-whisper"})["turn_detection"] is None
        assert talk.update(transcription={"model": "gpt-4o-transcribe"})["turn_detection"]["type"] == "server_vad"
        talk.update(turn_detection={"type": "semantic_vad", "eagerness": "low"})
        shown = talk.update(transcription={"model": "gpt-live-transcribe"})["turn_detection"]
        assert shown == {"type": "semantic_vad", "eagerness": "low"}, "who says something of turns gets it"
