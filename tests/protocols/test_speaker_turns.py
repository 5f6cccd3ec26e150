"""A sentence for each speaker: where another begins to speak, and only there."""

from __future__ import annotations

import pytest

from app.domain.errors import InvalidParameter
from app.domain.events import Closed, Final
from app.domain.speakers import Speaker
from app.domain.transcript import Segment
from app.protocols.funasr.narration import Narration
from app.protocols.funasr.wire import voiced
from app.protocols.labels import numbered
from app.protocols.live_speakers import _enabled, _voices
from app.protocols.speaker_turns import by_speaker

ONE, ANN, TWO = Speaker(0), Speaker(0, "Ann"), Speaker(1)


def said(*speakers: Speaker | None) -> Final:
    segments = tuple(
        Segment(float(place), place + 1.0, f"{place}.", speaker=speaker) for place, speaker in enumerate(speakers)
    )
    return Final(1, 0.0, float(len(speakers)), len(speakers) + 0.8, " ".join(one.text for one in segments), segments)


def test_a_sentence_is_parted_where_another_speaks() -> None:
    parts = by_speaker(said(ONE, ONE, TWO, ONE))
    assert [(part.text, speaker) for part, speaker in parts] == [("0. 1.", ONE), ("2.", TWO), ("3.", ONE)]
    assert [part.time for part, _ in parts] == [2.0, 3.0, 4.8]


def test_who_is_given_a_name_meanwhile_is_the_same() -> None:
    assert by_speaker(said(ONE, ANN)) == [(said(ONE, ANN), ANN)]
    message = voiced(
        {"mode": "online", "text": "", "wav_name": "", "is_final": False}, said(ONE, TWO, ANN).segments, numbered("en")
    )
    assert (message["spk"], message["spk_name"]) == (0, "Ann")


def test_where_nobody_asked_there_is_one_sentence_and_no_speaker() -> None:
    assert by_speaker(said(None, None)) == [(said(None, None), None)]


def test_a_speaker_is_told_where_nothing_else_is_left_to_tell() -> None:
    narration = Narration("online", "demo", numbered("en"))
    narration._said = "0."
    told = [*narration.tell(said(TWO)), *narration.end(), *narration.tell(Closed(2.0))]
    assert [(message["text"], message.get("spk_name")) for message in told] == [("", "Speaker2"), ("", None)]


@pytest.mark.parametrize(
    ("given", "voices"),
    [(None, None), ("", None), (" ", None), (",", None), ([], None), ("all", ()), ("Ann, Bob", ("Ann", "Bob"))],
)
def test_voices_that_are_looked_for(given: object, voices: tuple[str, ...] | None) -> None:
    assert _voices(given) == voices


@pytest.mark.parametrize(
    ("given", "yes"), [(None, None), ("", None), (True, True), ("true", True), (1, True), (0, False), ("False", False)]
)
def test_whether_speakers_are_asked_for(given: object, yes: bool | None) -> None:
    assert _enabled(given) is yes


def test_what_is_neither_yes_nor_no_is_an_error() -> None:
    with pytest.raises(InvalidParameter):
        _enabled("perhaps")
