"""Subtitles: read by eye they must be short enough, and read by a parser they must not break."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word
from app.protocols.labels import numbered
from app.protocols.rendering import MAX_CUE_SECONDS, Cue, cues, plain_text, srt, vtt

PROSE = (
    "When the ship came back to the harbour, nobody had expected it any more; the town had gone on with its business, "
    "as towns do. Only the old keeper, who had counted the days on his wall, walked down to the pier and waited there "
    "until the ropes were thrown. He said nothing at all."
)
CHINESE = (
    "当那艘船回到港口的时候，没有人还在等它；城里的人照常做着自己的生意。"
    "只有那位老看守人，每天在墙上数着日子，走到码头边，一直等到缆绳抛了上来。"
)


def transcript(*segments: Segment) -> Transcript:
    return Transcript(" ".join(segment.text for segment in segments), "en", 10.0, "able", segments)


def spoken(text: str, step: float = 0.35, start: float = 0.0) -> Segment:
    words = tuple(
        Word(word, start + index * step, start + (index + 0.9) * step) for index, word in enumerate(text.split())
    )
    return Segment(start, words[-1].end, text, words)


def spoken_chinese(text: str, step: float = 0.2) -> Segment:
    pieces = re.findall(r"\w\W*", text)
    words = tuple(
        Word(piece, index * step, (index + 1) * step, space_before=False) for index, piece in enumerate(pieces)
    )
    return Segment(0.0, words[-1].end, text, words)


def said(drawn: list[Cue], joint: str) -> str:
    return joint.join(line for cue in drawn for line in cue.lines)


@pytest.mark.parametrize("step", [0.1, 0.35, 1.2, 8.0])
def test_latin_cues_are_readable(step: float) -> None:
    drawn = cues([spoken(PROSE, step)])
    assert said(drawn, " ") == PROSE
    for cue in drawn:
        assert len(cue.lines) <= 2
        assert all(len(line) <= 42 for line in cue.lines)
        assert cue.end - cue.start <= MAX_CUE_SECONDS * 1000 or step > 7
    for one, next_one in itertools.pairwise(drawn):
        assert one.start < one.end <= next_one.start


def test_chinese_cues_are_readable() -> None:
    drawn = cues([spoken_chinese(CHINESE)])
    assert said(drawn, "") == CHINESE
    assert all(len(line) <= 18 for cue in drawn for line in cue.lines)
    assert all(len(cue.lines) <= 2 for cue in drawn)
    assert all(cue.lines[-1][-1] in "，；。" for cue in drawn)


def test_cues_end_after_sentences() -> None:
    drawn = cues(
        [spoken("The first sentence is over here. And then a second one follows which is rather longer than that.")]
    )
    assert drawn[0].lines == ("The first sentence is over here.",)


def test_a_long_silence_ends_a_cue() -> None:
    words = (Word("one", 0.0, 0.4), Word("two", 3.0, 3.4))
    assert [cue.lines for cue in cues([Segment(0.0, 3.4, "one two", words)])] == [("one",), ("two",)]


def test_rewritten_text_is_shown_as_rewritten() -> None:
    words = (Word("twenty", 0.0, 0.4), Word("six", 0.5, 0.9))
    assert cues([Segment(0.0, 1.0, "26", words)]) == [Cue(0, 1000, ("26",))]


def test_a_segment_without_words_is_one_cue() -> None:
    assert cues([Segment(1.0, 20.0, PROSE)]) == [Cue(1000, 20000, (PROSE,))]
    (two_lines,) = cues([Segment(0.0, 5.0, "当那艘船回到港口的时候，没有人还在等它；城里的人。")])
    assert two_lines.lines == ("当那艘船回到港口的时候，", "没有人还在等它；城里的人。")


def test_an_unbroken_word_stays_whole() -> None:
    word = "x" * 120
    assert cues([Segment(0.0, 1.0, word, (Word(word, 0.0, 1.0),))]) == [Cue(0, 1000, (word,))]


def test_speakers_are_named_in_every_cue() -> None:
    segment = spoken(PROSE)
    drawn = cues([replace(segment, speaker=Speaker(0))])
    assert len(drawn) > 2
    assert all(cue.lines[0].startswith("[Speaker1] ") for cue in drawn)
    assert all(len(line) <= 42 for cue in drawn for line in cue.lines)
    assert said(drawn, " ").replace("[Speaker1] ", "") == PROSE


def test_speakers_are_named_in_chinese() -> None:
    drawn = cues([replace(spoken_chinese(CHINESE), speaker=Speaker(1))], numbered("zh"))
    assert all(cue.lines[0].startswith("[说话人2] ") for cue in drawn)
    assert said(drawn, "").replace("[说话人2] ", "") == CHINESE
    assert all(len(cue.lines) <= 2 for cue in drawn)


def test_the_text_of_a_transcript_names_nobody() -> None:
    assert plain_text(transcript(Segment(0.0, 1.0, "a", speaker=Speaker(0, "Anna")))) == "a\n"


def test_cues_of_people_who_speak_at_once_are_in_order_and_never_mixed() -> None:
    ship, town = (spoken(PROSE, 0.5), Speaker(0)), (spoken(PROSE.upper(), 0.4, start=0.2), Speaker(1, "Anna"))
    drawn = cues([replace(segment, speaker=speaker) for segment, speaker in (ship, town)])
    assert [cue.start for cue in drawn] == sorted(cue.start for cue in drawn)
    assert any(one.end > next_one.start for one, next_one in itertools.pairwise(drawn))
    texts = [" ".join(cue.lines) for cue in drawn]
    for label, prose in (("[Speaker1] ", PROSE), ("[Anna] ", PROSE.upper())):
        assert " ".join(text.removeprefix(label) for text in texts if text.startswith(label)) == prose
    numbers = re.findall(r"^\d+$", srt(transcript(replace(ship[0], speaker=ship[1]))), re.MULTILINE)
    assert numbers == [str(number + 1) for number in range(len(numbers))]


def test_a_speaker_does_not_shorten_the_cue_of_another() -> None:
    first = Segment(0.0, 3.0, "one two", (Word("one", 0.0, 1.0), Word("two", 1.1, 3.0)), Speaker(0))
    second = Segment(1.0, 2.0, "yes", (Word("yes", 1.0, 2.0),), Speaker(1))
    assert cues([first, second]) == [Cue(0, 3000, ("[Speaker1] one two",)), Cue(1000, 2000, ("[Speaker2] yes",))]


@pytest.mark.parametrize(
    ("name", "in_srt", "in_vtt"),
    [
        ("Ann\r\n\r\n2\n00:00 --> 00:09\nSmith", "Ann 2 00:00 -> 00:09 Smith", "Ann 2 00:00 --&gt; 00:09 Smith"),
        ("----->", "->", "-----&gt;"),
        ("<b>Ann</b> & Bob", "<b>Ann</b> & Bob", "&lt;b&gt;Ann&lt;/b&gt; &amp; Bob"),
        ("a\u2028b\x85c\x00d", "a b c d", "a b c d"),
        ("[x] ", "[x]", "[x]"),
        ("李" * 64, "李" * 64, "李" * 64),
        ("W" * 64, "W" * 64, "W" * 64),
    ],
)
def test_odd_names_cannot_break_the_format(name: str, in_srt: str, in_vtt: str) -> None:
    whole = transcript(replace(spoken(PROSE), speaker=Speaker(0, name)))
    for drawn, shown in ((srt(whole), in_srt), (vtt(whole).removeprefix("WEBVTT\n\n"), in_vtt)):
        blocks = drawn.removesuffix("\n\n").split("\n\n")
        assert drawn.count("-->") == len(blocks)
        for block in blocks:
            lines = [line for line in block.split("\n") if "-->" not in line and not line.isdigit()]
            assert 1 <= len(lines) <= 2
            assert lines[0].startswith(f"[{shown}] ")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", drawn)


@pytest.mark.parametrize("name", ["W" * 64, "李" * 64])
def test_a_name_longer_than_a_line_loses_no_words(name: str) -> None:
    for segment, joint in ((spoken(PROSE), " "), (spoken_chinese(CHINESE), ""), (Segment(0.0, 5.0, PROSE), " ")):
        drawn = cues([replace(segment, speaker=Speaker(0, name))])
        assert said(drawn, joint).replace(f"[{name}] ", "") == segment.text
        assert all(cue.lines[0].startswith(f"[{name}] ") for cue in drawn)


@pytest.mark.parametrize(
    ("start", "end", "printed"),
    [
        (0.0, 2.3, "00:00:00,000 --> 00:00:02,300"),
        (1.0005, 4.35, "00:00:01,000 --> 00:00:04,350"),
        (59.9996, 60.0, "00:01:00,000 --> 00:01:00,001"),
        (359_999.5, 360_000.25, "99:59:59,500 --> 100:00:00,250"),
        (5.0, 4.0, "00:00:05,000 --> 00:00:05,001"),
        (-0.2, 1.0, "00:00:00,000 --> 00:00:01,000"),
    ],
)
def test_times(start: float, end: float, printed: str) -> None:
    assert srt(transcript(Segment(start, end, "x"))) == f"1\n{printed}\nx\n\n"


@pytest.mark.parametrize(
    "text", ["a --> b", "a ---> b", "a\n\nb", "a\r\n\r\n2\r\n00:00 --> c", "a\x00\u2028\x0b\x85b", "<i>&amp;</i>"]
)
def test_text_cannot_break_the_format(text: str) -> None:
    for drawn in (srt(transcript(Segment(0.0, 1.0, text))), vtt(transcript(Segment(0.0, 1.0, text)))):
        assert drawn.count("-->") == 1
        body = drawn.removeprefix("WEBVTT\n\n")
        assert body.endswith("\n\n")
        assert "\n\n" not in body.removesuffix("\n\n")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", drawn)


def test_vtt_escapes() -> None:
    assert "&lt;i&gt;R&amp;D&lt;/i&gt;" in vtt(transcript(Segment(0.0, 1.0, "<i>R&D</i>")))


def test_nothing_said() -> None:
    empty = transcript()
    assert (plain_text(empty), srt(empty), vtt(empty)) == ("", "", "WEBVTT\n\n")
    assert cues([Segment(0.0, 1.0, " \n")]) == []


def test_plain_text_ends_with_one_newline() -> None:
    assert plain_text(transcript(Segment(0.0, 1.0, "a\n\n"))) == "a\n"
