"""How late texts were: reckoned from what was heard and when sound was sent."""

from __future__ import annotations

import pytest

from tools.dialects.hearing import Frame, Heard, Said
from tools.figures import Delays, lines, percentile, summary


def played(seconds: float, *events: Said, stopped: float = 0.0, finished: float = 0.0) -> Heard:
    """Frames of 0.1 s, each sent when it ends, 0.01 s late."""
    count = round(seconds * 10)
    frames = [Frame(number / 10, number / 10, number / 10 + 0.01) for number in range(1, count + 1)]
    return Heard(list(events), frames, stopped, finished)


def test_a_first_text_is_late_by_what_passed_since_its_sentence_began() -> None:
    heard = played(
        3.0,
        Said("started", 1, 0.7, start=0.5),
        Said("partial", 1, 0.9, ""),
        Said("partial", 1, 1.21, "Hello"),
        Said("partial", 1, 1.5, "Hello you"),
    )
    assert heard.first_delays() == [pytest.approx(1.21 - 0.51)]


def test_where_a_sentence_began_is_what_its_final_text_says() -> None:
    heard = played(3.0, Said("partial", 1, 1.21, "Hello", 0.9), Said("final", 1, 2.0, "Hello.", 0.5, 1.5))
    assert heard.first_delays() == [pytest.approx(1.21 - 0.51)]


def test_a_final_text_is_late_by_what_passed_since_the_end_was_certain() -> None:
    heard = played(3.0, Said("final", 1, 2.51, "Hello.", 0.5, 1.5, 2.3), Said("final", 2, 3.11, "You.", 2.4, 2.9))
    assert heard.final_delays() == [pytest.approx(0.2), pytest.approx(0.2)]


def test_sentences_without_times_have_no_delays() -> None:
    heard = played(3.0, Said("partial", 1, 1.0, "Hello"), Said("final", 1, 2.0, "Hello."))
    assert heard.first_delays() == heard.final_delays() == []


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == expected


def test_a_summary_counts_and_leaves_out_what_was_not_measured() -> None:
    one = played(2.0, Said("final", 1, 2.0, "Hello.", 0.5, 1.5), Said("final", 2, 2.0, ""), stopped=2.0, finished=2.4)

    paced = summary([one, one], 1, 4.0, paced=True)
    rushed = summary([one], 0, 0.5, paced=False)

    assert (paced.heard, paced.failed, paced.sentences, paced.seconds) == (2, 1, 2, 4.0)
    assert paced.last == Delays(2, pytest.approx(0.4), pytest.approx(0.4), pytest.approx(0.4))
    assert paced.first is None
    assert rushed.final is rushed.slip is None
    said = lines(paced)
    assert said[0].startswith("2 streams heard, 1 failed; 2 sentences in 4.0 s of sound, in 4.0 s, 1.0 times")
    assert not any("first text" in line for line in said)
    assert any(line.startswith("last text after the stream's end") and "0.40 s" in line for line in said)
