"""What is seen of streams: on a terminal, in a pipe, by a machine."""

from __future__ import annotations

import io
import json
import re

import pytest

from tools.dialects.hearing import Frame, Heard, Said
from tools.display import JsonLines, Lines, Live, Shown, clock, columns, fitted, sentence, tail
from tools.figures import summary


def screen_of(written: str) -> list[str]:
    """What a terminal that obeys `written` shows."""
    rows: list[str] = [""]
    for part in re.findall(r"\x1b\[(\d*)([A-Za-z])|(\n)|([^\x1b\n]+)", written):
        count, order, newline, text = part
        if order == "A":
            rows = [*rows[: len(rows) - 1 - int(count)], ""]  # nothing is ever moved to but to be erased
        elif newline:
            rows.append("")
        elif text:
            rows[-1] += text
    return rows


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.delenv("NO_COLOR", raising=False)


def stream(number: int = 1, name: str = "a.wav") -> Shown:
    return Shown(number, name, 10.0, Heard(frames=[Frame(2.5, 0.0, 100.0)]))


def partial(text: str) -> Said:
    return Said("partial", 1, 101.0, text, 0.5)


def final(text: str, speaker: str | None = None) -> Said:
    return Said("final", 1, 102.5, text, 0.5, 61.5, 62.0, speaker)


def test_a_terminal_shows_one_row_a_stream_that_is_rewritten() -> None:
    out = io.StringIO()
    display, one, two = Live(out, named=True), stream(), stream(2, "二.wav")
    display.begun(one)
    display.begun(two)
    for text in ("Hel", "Hello", "Hello you"):
        display.told(one, partial(text))
        display.tick()

    rows = screen_of(out.getvalue())
    assert len(rows) == 3
    assert rows[0].startswith("a.wav")
    assert rows[0].endswith("2.5/10.0 s  Hello you")
    assert "███░░░░░░░░░" in rows[0]
    assert columns(rows[0].split("█")[0]) == columns(rows[1].split("█")[0])


def test_a_final_sentence_stays_above_the_rows() -> None:
    out = io.StringIO()
    display, one = Live(out, named=True), stream()
    display.begun(one)
    display.told(one, partial("Hello"))
    display.tick()
    display.told(one, final("Hello.", "Speaker 1"))

    rows = screen_of(out.getvalue())
    assert rows[0] == "a.wav  0:00.5-1:01.5  [Speaker 1]  Hello."
    assert rows[1].endswith("10.0 s  ")


def test_in_the_end_only_what_was_said_is_left() -> None:
    out = io.StringIO()
    display, one = Live(out, named=False), stream()
    display.begun(one)
    display.tick()
    display.told(one, final("Hello."))
    display.failed("b.wav", "unreadable", "no sound")
    display.finished(one)
    display.tick()
    display.close(summary([], 1, 1.0, paced=True))

    assert screen_of(out.getvalue()) == ["0:00.5-1:01.5  Hello.", "b.wav: failed (unreadable): no sound", ""]


def test_more_streams_than_rows_are_counted() -> None:
    out = io.StringIO()
    display = Live(out, named=True)
    for number in range(1, 21):
        display.begun(stream(number))
    display.tick()

    rows = screen_of(out.getvalue())
    assert len(rows) == 10
    assert rows[8] == "... and 12 more"


@pytest.mark.parametrize("width", range(1, 40))
def test_no_text_is_wider_than_there_is_room(width: int) -> None:
    text = "现在 we are 在说话 said"
    assert columns(tail(text, width)) <= width
    assert columns(fitted(text, width)) == width


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert "\x1b" not in sentence("a\x1b[2J.wav", final("\x1b]0;title\x07Hello\r\n."))


def test_a_pipe_gets_a_line_for_each_sentence_and_guesses_only_if_wanted() -> None:
    plain, chatty, errors = io.StringIO(), io.StringIO(), io.StringIO()
    for out, guesses in ((plain, False), (chatty, True)):
        display = Lines(out, errors, named=True, guesses=guesses)
        for event in (Said("started", 1, 101.0, start=0.5), partial("Hel"), final("Hello."), final("")):
            display.told(stream(), event)

    assert plain.getvalue() == "a.wav  0:00.5-1:01.5  Hello.\n"
    assert chatty.getvalue() == "a.wav  ...  Hel\na.wav  0:00.5-1:01.5  Hello.\n"


def test_a_machine_gets_an_object_for_each_event() -> None:
    out = io.StringIO()
    display, one = JsonLines(out), stream(3)
    display.begun(one)
    display.told(one, final("你好"))
    display.failed("b.wav", 401, "no")
    display.close(summary([], 1, 1.0, paced=True))

    begun, said, failed, figures = (json.loads(line) for line in out.getvalue().splitlines())
    assert begun == {"event": "begun", "stream": 3, "file": "a.wav", "seconds": 10.0}
    assert said | {"text": "你好", "at": 2.5, "start": 0.5, "end": 61.5, "time": 62.0} == said
    assert (failed["event"], failed["status"]) == ("failed", 401)
    assert (figures["event"], figures["failed"]) == ("summary", 1)


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "0:00.0"), (59.97, "1:00.0"), (3725.25, "62:05.2")])
def test_times_are_minutes_and_seconds(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
