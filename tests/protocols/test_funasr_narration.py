"""Live speech as FunASR tells it: text that clients append, and sentences."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import characters, segment

from app.domain.events import Closed, Final, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Word
from app.protocols.deltas import missing
from app.protocols.funasr.narration import Narration
from app.protocols.funasr.wire import Message
from app.protocols.labels import numbered


def partial(index: int, stable: str, rest: str = "") -> Partial:
    return Partial(index, 0.0, 1.0, stable + rest, stable)


def final(index: int, text: str) -> Final:
    return Final(index, 0.0, 1.0, 1.5, text, (segment(text, 0.0, 1.0, characters(text, 0.0, 0.2)),) if text else ())


def narrate(mode: Literal["online", "2pass"], *events: StreamEvent | Literal["end"]) -> list[Message]:
    narration = Narration(mode, "demo", numbered("en"))
    told: list[Message] = []
    for event in events:
        told += narration.end() if event == "end" else narration.tell(event)
    return told


def texts(messages: list[Message], mode: str) -> list[str]:
    return [message["text"] for message in messages if message["mode"] == mode]


ONE = (
    SpeechStarted(1, 0.0),
    partial(1, "今天", "天器"),
    partial(1, "今天天气", "很好"),
    SpeechStopped(1, 1.0, 1.5),
    final(1, "今天天气很好。"),
)


def test_two_passes_tell_what_is_certain_bit_by_bit_and_then_the_sentence() -> None:
    messages = narrate("2pass", *ONE)

    assert texts(messages, "2pass-online") == ["今天", "天气"]
    assert texts(messages, "2pass-offline") == ["今天天气很好。"]
    assert not any(message["is_final"] for message in messages)


def test_only_the_sentence_has_times() -> None:
    messages = narrate("2pass", *ONE)

    assert ["timestamp" in message for message in messages] == [False, False, True]
    assert [sentence["punc"] for sentence in messages[-1]["stamp_sents"]] == ["。"]


def test_one_pass_tells_the_rest_of_the_sentence_at_its_end() -> None:
    messages = narrate("online", *ONE)

    assert texts(messages, "online") == ["今天", "天气", "很好。"]


def test_a_partial_that_is_not_certain_tells_nothing() -> None:
    assert narrate("online", SpeechStarted(1, 0.0), partial(1, "", "今天")) == []


def test_a_space_waits_for_its_word() -> None:
    messages = narrate("online", partial(1, "hello "), partial(1, "hello world"), final(1, "hello world."))

    assert texts(messages, "online") == ["hello ", "world", "."]


def test_utterances_are_told_apart_by_the_space_their_language_wants() -> None:
    english = (partial(1, "Hello"), final(1, "Hello there."), partial(2, "How"), final(2, "How are you?"))
    chinese = (partial(1, "你好"), final(1, "你好。"), partial(2, "再见"), final(2, "再见。"))

    assert "".join(texts(narrate("online", *english), "online")) == "Hello there. How are you?"
    assert "".join(texts(narrate("2pass", *english), "2pass-offline")) == "Hello there. How are you?"
    assert texts(narrate("2pass", *english), "2pass-online") == ["Hello", " How"]
    assert "".join(texts(narrate("online", *chinese), "online")) == "你好。再见。"


def test_noise_is_not_told() -> None:
    assert narrate("2pass", SpeechStarted(1, 0.0), final(1, "")) == []
    assert narrate("online", SpeechStarted(1, 0.0), final(1, "")) == []


def test_text_that_turns_out_to_be_noise_is_taken_back_where_it_can_be() -> None:
    events = (partial(1, "嗯"), final(1, ""))

    assert texts(narrate("2pass", *events), "2pass-offline") == [""], "clients drop what an empty sentence stands for"
    assert texts(narrate("online", *events), "online") == ["嗯"]


def test_before_the_client_has_ended_sentences_are_told_at_once() -> None:
    assert len(narrate("2pass", final(1, "一。"), final(2, "二。"))) == 2


def test_the_last_sentence_after_the_end_is_the_final_message() -> None:
    messages = narrate("2pass", final(1, "一。"), "end", final(2, "二。"), final(3, "三。"), Closed(3.0))

    assert [(message["text"], message["is_final"]) for message in messages] == [
        ("一。", False),
        ("二。", False),
        ("三。", True),
    ]


def test_without_a_sentence_after_the_end_the_final_message_is_empty() -> None:
    messages = narrate("2pass", final(1, "一。"), "end", Closed(3.0))

    assert [(message["text"], message["is_final"]) for message in messages] == [("一。", False), ("", True)]
    assert messages[-1]["mode"] == "2pass-offline"


def test_a_sentence_that_is_held_back_is_told_when_more_is_said() -> None:
    narration = Narration("2pass", "demo", numbered("en"))
    narration.end()

    assert narration.tell(final(1, "一。")) == []
    assert [message["text"] for message in narration.tell(SpeechStarted(2, 1.0))] == ["一。"]


def test_a_stream_that_closes_by_itself_has_its_final_message_after_the_clients_end() -> None:
    messages = narrate("online", final(1, "一。"), Closed(3.0))
    assert not messages[-1]["is_final"]

    messages = narrate("online", final(1, "一。"), Closed(3.0), "end")
    assert [message["is_final"] for message in messages] == [False, True]


@pytest.mark.parametrize(
    ("said", "whole", "rest"),
    [
        ("", "Hello.", "Hello."),
        ("Hello", "Hello.", "."),
        ("Hello", "Hello", ""),
        ("hello word", "Hello, world. How are you?", ". How are you?"),
        ("hello word how", "Hello, world. How are you?", " are you?"),
        ("hello world.", "Hello world, how are you?", " how are you?"),
        ("hello world, ", "Hello world how are you?", "how are you?"),
        ("今天天器", "今天天气很好。", "很好。"),
        ("今天的天气", "今天天气很好。", "很好。"),
        ("今天天气很", "天气很好。", "好。"),
        ("一二三四", "一二三", ""),
        ("一共有二十三", "一共有23个人。", "个人。"),
        ("增长百分之五十", "增长50%以上。", "以上。"),
        ("下午三点", "下午3点开会。", "开会。"),
        ("it costs twenty five", "It costs 25 dollars.", " dollars."),
        ("about three point five", "About 3.5 metres.", " metres."),
        ("abc", "", ""),
    ],
)
def test_what_is_missing_continues_what_was_said(said: str, whole: str, rest: str) -> None:
    assert missing(said, whole) == rest


@given(st.text("ab 今天，.", max_size=30), st.text("ab 今天，.", max_size=30))
def test_what_is_missing_is_how_the_sentence_ends(said: str, whole: str) -> None:
    rest = missing(said, whole)

    assert whole.endswith(rest)
    assert missing(whole, whole + said) == said


def test_an_utterance_as_long_as_there_may_be_is_compared_in_no_time() -> None:
    said = "甲乙丙丁戊己庚辛壬癸" * 30

    assert missing("错" + said, "对" + said[3:] + "完。") == "完。"


# --- speakers ---------------------------------------------------------------------------------------------------------


def spoken(index: int, *said: tuple[str, Speaker | None]) -> Final:
    """An utterance in which each says something for a second."""
    segments = tuple(
        Segment(float(second), second + 1.0, text, (Word(text, float(second), second + 1.0, speaker=speaker),), speaker)
        for second, (text, speaker) in enumerate(said)
    )
    text = " ".join(text for text, _ in said)
    return Final(index, 0.0, float(len(said)), len(said) + 0.8, text, segments, "en")


ANNA, BOB = Speaker(0, "Anna"), Speaker(1)


def test_a_sentence_tells_who_says_it() -> None:
    message = narrate("2pass", spoken(1, ("Well.", ANNA), ("I see.", ANNA)))[-1]

    assert (message["text"], message["spk"], message["spk_name"]) == ("Well. I see.", 0, "Anna")
    assert [(one["spk"], one["spk_name"]) for one in message["stamp_sents"]] == [(0, "Anna"), (0, "Anna")]


def test_an_utterance_of_two_people_is_told_in_two_sentences() -> None:
    messages = narrate(
        "2pass", partial(1, "well i see do"), spoken(1, ("Well.", ANNA), ("Do you?", BOB)), spoken(2, ("Yes.", ANNA))
    )

    sentences = [message for message in messages if message["mode"] == "2pass-offline"]
    assert [(one["text"], one["spk_name"]) for one in sentences] == [
        ("Well.", "Anna"),
        (" Do you?", "Speaker2"),
        (" Yes.", "Anna"),
    ]
    assert [one["stamp_sents"][0]["start"] for one in sentences[:2]] == [0, 1000]


def test_only_the_last_of_several_sentences_is_final() -> None:
    messages = narrate("2pass", "end", spoken(1, ("Well.", ANNA), ("Do you?", BOB)), Closed(3.0))

    assert [(message["text"], message["is_final"]) for message in messages] == [("Well.", False), (" Do you?", True)]


def test_where_nothing_can_be_taken_back_the_end_tells_who_said_most() -> None:
    messages = narrate("online", partial(1, "Well."), spoken(1, ("Well.", ANNA), ("Do you?", BOB), ("So?", BOB)))

    assert [(one["text"], one.get("spk_name")) for one in messages] == [("Well.", None), (" Do you? So?", "Speaker2")]


def test_nobody_is_told_where_nobody_was_asked_for() -> None:
    for message in narrate("2pass", *ONE):
        assert not [key for key in message if key.startswith("spk")]
        assert not [key for one in message.get("stamp_sents", ()) for key in one if key.startswith("spk")]
