"""Qwen's live protocol on a real server: what is told of speech, and what is heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from live_service import final
from openai_server import PLAIN, wait_until
from qwen_live_server import SECOND, QwenServer, current, kinds, serving_qwen, utterance

from app.audio.declared import DeclaredSound
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Word

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60)


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QwenServer]:
    with serving_qwen(tmp_path_factory.mktemp("qwen")) as running:
        yield running


@pytest.fixture
def server(_server: QwenServer) -> Iterator[QwenServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_session_is_told_as_funasr_api_tells_it(server: QwenServer) -> None:
    server.service.script = utterance(1, 32_000, "你好。", "你", "你好") + utterance(
        4, 64_000, "再见。", "再", silence=0.3
    )
    with server.talk("?task_id=abc") as talk:
        started = talk.start()
        talk.say(SECOND)
        first = talk.until("segment_start")
        last = talk.stop()
        assert talk.ends() == 1000

    assert (started["type"], started["task_id"]) == ("started", "abc")
    assert first[0] == {
        "type": "result",
        "task_id": "abc",
        "results": [
            {
                "text": "你",
                "current_segment_text": "你",
                "language": "",
                "chunk_id": 1,
                "is_partial": True,
                "segment_index": 0,
                "start": 1.0,
            }
        ],
        "segment_index": 0,
        "confirmed_segments_count": 0,
    }
    assert first[-2:] == [
        {
            "type": "segment_end",
            "task_id": "abc",
            "segment_index": 0,
            "reason": "silence",
            "result": {"text": "你好。", "segment_text": "你好。", "language": "Chinese", "start": 1.0, "end": 2.0},
            "confirmed_texts": ["你好。"],
        },
        {"type": "segment_start", "task_id": "abc", "segment_index": 1},
    ]
    assert current(first) == [(0, 1, "你"), (0, 2, "你好")]
    assert kinds(last) == ["result", "final"]
    assert last[0]["results"][0]["text"] == "你好。\n再"
    assert last[0]["results"][0]["language"] == "Chinese"
    assert (last[0]["segment_index"], last[0]["confirmed_segments_count"]) == (1, 1)
    assert last[-1] == {
        "type": "final",
        "task_id": "abc",
        "result": {
            "text": "再见。",
            "full_text": "你好。\n再见。",
            "language": "Chinese",
            "total_chunks": 2,
            "total_segments": 2,
            "segments": [
                {"index": 0, "text": "你好。", "language": "Chinese", "reason": "silence", "start": 1.0, "end": 2.0},
                {"index": 1, "text": "再见。", "language": "Chinese", "reason": "final", "start": 4.0, "end": 5.0},
            ],
            "start": 4.0,
            "end": 5.0,
        },
    }


def test_no_text_stands_twice_in_a_segment_end(server: QwenServer) -> None:
    server.service.script = utterance(1, 1, "One.") + utterance(4, 2, "Two.")
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        ends = [message for message in talk.until("segment_end") + talk.until("segment_end") + talk.stop()
                if message["type"] == "segment_end"]  # fmt: skip

    assert [end["result"]["text"] for end in ends] == ["One.", "One.\nTwo."]
    assert [end["result"]["segment_text"] for end in ends] == ["One.", "Two."]
    assert [end["confirmed_texts"] for end in ends] == [["One."], ["One.", "Two."]]
    assert talk.received[-1]["result"]["full_text"] == "One.\nTwo."
    assert talk.received[-1]["result"]["text"] == ""


@pytest.mark.parametrize("text", ["是", "No", "嗯。"])
def test_a_short_answer_is_a_segment(server: QwenServer, text: str) -> None:
    server.service.script = utterance(1, 32_000, text) + utterance(4, 64_000, text, silence=0.2)
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        assert kinds(talk.until("segment_start")) == ["segment_end", "segment_start"]
        result = talk.stop()[-1]["result"]

    assert result["full_text"] == f"{text}\n{text}"
    assert result["total_segments"] == 2


def test_what_turns_out_to_be_no_speech_is_taken_back_and_is_no_segment(server: QwenServer) -> None:
    server.service.script = utterance(1, 1, "", "Hm") + utterance(4, 1, "") + utterance(7, 1, "Hello.", "Hello")
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        messages = talk.until("segment_end")
        talk.stop()

    assert current(messages) == [(0, 1, "Hm"), (0, 2, ""), (0, 1, "Hello")]
    assert messages[-1]["segment_index"] == 0
    assert messages[-1]["confirmed_texts"] == ["Hello."]


def test_speech_that_was_cut_says_so(server: QwenServer) -> None:
    """Before the stop at once, after it when it is known that more follows."""
    server.service.script = (
        utterance(1, 1, "One", silence=0.1)
        + [("finish", event) for _, event in utterance(2, 0, "two", silence=0.1)]
        + [("finish", event) for _, event in utterance(3, 0, "three.", silence=0.1)]
    )
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        assert talk.until("segment_end")[-1]["reason"] == "max_duration"
        last = talk.stop()

    assert kinds(last) == ["segment_start", "segment_end", "segment_start", "final"]
    assert [one["reason"] for one in last[-1]["result"]["segments"]] == ["max_duration", "max_duration", "final"]
    assert last[-1]["result"]["full_text"] == "One\ntwo\nthree."


def test_a_silence_that_was_long_enough_ends_a_segment_after_the_stop_too(server: QwenServer) -> None:
    server.service.script = [("finish", event) for _, event in utterance(1, 0, "One.", silence=0.8)]
    with server.talk() as talk:
        talk.start(max_sentence_silence=800)
        talk.say(SECOND)
        last = talk.stop()

    assert kinds(last) == ["segment_end", "segment_start", "final"]
    assert last[-1]["result"] == {
        "text": "",
        "full_text": "One.",
        "language": "English",
        "total_chunks": 0,
        "total_segments": 1,
        "segments": [
            {"index": 0, "text": "One.", "language": "English", "reason": "silence", "start": 1.0, "end": 2.0}
        ],
    }


def test_silence_alone_is_an_empty_final(server: QwenServer) -> None:
    with server.talk() as talk:
        talk.start(language="zh")
        result = talk.stop()[-1]["result"]
        assert talk.ends() == 1000

    assert result["total_segments"] == result["total_chunks"] == 0
    assert (result["text"], result["full_text"], result["segments"]) == ("", "", [])
    assert result["language"] == "Chinese"


def test_results_come_as_far_apart_as_was_asked_for(server: QwenServer) -> None:
    texts = ["a", "a b", "a b c", "a b c d", "a b c d e"]
    server.service.script = utterance(1, 1, "A b c d e f.", *texts)
    with server.talk() as talk:
        talk.start(chunk_size_sec=2.0)
        talk.say(SECOND)
        messages = talk.until("segment_end")
        talk.stop()

    assert current(messages) == [(0, 1, "a"), (0, 2, "a b c"), (0, 3, "a b c d e")]


def test_the_same_text_is_not_told_twice(server: QwenServer) -> None:
    server.service.script = utterance(1, 1, "A b.", "a", "a", "a b")
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        assert current(talk.until("segment_end")) == [(0, 1, "a"), (0, 2, "a b")]
        talk.stop()


def test_words_have_their_times_where_they_are_asked_for(server: QwenServer) -> None:
    words = (Word("Hello,", 1.0, 1.4001), Word("world.", 1.5, 1.9))
    server.service.script = utterance(1, 1, "Hello, world.", words=words) + utterance(
        4, 1_000_000, "Hello, world.", words=words, silence=0.1
    )
    timed = [{"text": "Hello", "start": 1.0, "end": 1.4}, {"text": "world", "start": 1.5, "end": 1.9}]
    for asked in (True, False):
        with server.talk() as talk:
            talk.start(word_timestamps=asked)
            talk.say(SECOND)
            end, last = talk.until("segment_end")[-1], talk.stop()[-1]
        assert [message["result"].get("words") for message in (end, last)] == [timed if asked else None] * 2


def test_speakers_have_their_names(server: QwenServer) -> None:
    anna, nobody = Speaker(0, "Anna"), Speaker(1)
    said = final(1, 1.0, 4.0, "Well. That is all I know.")
    segments = (
        Segment(1.0, 1.5, "Well.", (Word("Well.", 1.0, 1.5, speaker=nobody),), nobody),
        Segment(1.5, 4.0, "That is all I know.", (), anna),
    )
    server.service.script = [(1, replace(said, segments=segments, time=6.0))]
    with server.talk() as talk:
        talk.start(enable_speaker_diarization=True, word_timestamps=True)
        talk.say(SECOND)
        result = talk.until("segment_end")[-1]["result"]
        [summary] = talk.stop()[-1]["result"]["segments"]

    assert server.listened.options.speakers is not None
    assert result["speaker"] == summary["speaker"] == "Anna", "who says most of it"
    assert result["speaker_id"] == summary["speaker_id"] == 0
    assert result["turns"] == [
        {"text": "Well.", "start": 1.0, "end": 1.5, "speaker": "Speaker2", "speaker_id": 1},
        {"text": "That is all I know.", "start": 1.5, "end": 4.0, "speaker": "Anna", "speaker_id": 0},
    ]
    assert result["words"] == [{"text": "Well", "start": 1.0, "end": 1.5, "speaker": "Speaker2"}]


def test_what_a_reader_should_know_is_told(server: QwenServer) -> None:
    said = replace(final(1, 1.0, 2.0, "So so."), time=4.0, warnings=("repetition_cut",))
    server.service.script = [(1, said)]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        assert talk.until("segment_end")[-1]["result"]["warnings"] == ["repetition_cut"]
        talk.stop()


# --- what is heard ----------------------------------------------------------------------------------------------------


def test_every_byte_is_heard_in_order(server: QwenServer) -> None:
    sound = bytes(range(256)) * 300
    with server.talk() as talk:
        talk.start(sample_rate=8000)
        talk.say(b"", sound[:1], sound[1:7], sound[7:50_000], sound[50_000:])
        talk.stop()

    assert server.listened.data == sound
    assert server.listened.declared == DeclaredSound("s16le", 8000)
    assert server.listened.finished


@pytest.mark.parametrize("said", ["pcm", "wav", "WAV"])
def test_headers_are_the_decoders_affair(server: QwenServer, said: str) -> None:
    with server.talk() as talk:
        talk.start(format=said)
        talk.say(WAV, WAV)
        talk.stop()

    assert server.listened.data == WAV + WAV
    assert server.listened.declared == DeclaredSound("s16le", 16_000)


def test_the_model_that_was_asked_for_answers(server: QwenServer) -> None:
    with server.talk() as talk:
        assert talk.start(model=PLAIN.id)["params"]["model"] == PLAIN.id
        talk.stop()
    assert server.listened.model == PLAIN.id


def test_names_that_mean_nothing_are_told(server: QwenServer) -> None:
    with server.talk() as talk:
        assert talk.start(lang="zh")["ignored"] == ["lang"]
        talk.stop()


def test_a_client_that_sends_faster_than_is_heard_loses_nothing(server: QwenServer) -> None:
    server.service.slow = 0.005
    with server.talk() as talk:
        talk.say({"type": "start"}, *[bytes(3200)] * 300)
        talk.stop()
    assert len(server.listened.data) == 300 * 3200
