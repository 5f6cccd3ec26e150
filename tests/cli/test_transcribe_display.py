"""What `start.py transcribe` shows of its progress."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from app.cli.transcribing.display import Bar, Display, Lines, clock, display


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def play(shown: Display, numbers: Iterable[int] = range(2)) -> None:
    """Two recordings of a minute; the second turns out to be half as long, and a third fails."""
    shown.begin(3)
    for number in numbers:
        shown.expect(number, 60.0)
    shown.heard(0, "a.wav", 15.0)
    shown.heard(1, "b.wav", 30.0)
    shown.finished(1, "b.wav", 30.0)
    shown.failed(2, "c\x1b.wav", "It is broken.")
    shown.finished(0, "a.wav", 60.0)
    shown.warned("a.wav", ("audio_truncated",))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0:00.0"), (5.06, "0:05.1"), (59.96, "1:00.0"), (3599.9, "59:59.9"), (7384.4, "2:03:04")],
)
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_what_is_shown_fits_where_it_is_shown() -> None:
    assert type(display(io.StringIO(), quiet=False)) is Lines
    assert type(display(Terminal(), quiet=False)) is Bar
    assert type(display(Terminal(), quiet=True)) is Display


def test_elsewhere_than_on_a_terminal_it_is_a_line_for_each() -> None:
    errors = io.StringIO()
    shown = Lines(errors)
    play(shown)
    shown.close()
    first, broken, second, warning, figures = errors.getvalue().splitlines()
    assert first.startswith("1/3 b.wav: 0:30.0, ")
    assert broken == "failed: c?.wav: It is broken."
    assert second.startswith("3/3 a.wav: 1:00.0, ")
    assert warning == "warning: a.wav: audio_truncated"
    assert figures.startswith("2 of 3 recordings, 1:30.0 of sound in 0:0")
    assert figures.endswith(" times real time; 1 failed")


def test_quiet_says_what_fails_and_nothing_else() -> None:
    errors = io.StringIO()
    shown = Display(errors)
    play(shown)
    shown.close()
    assert errors.getvalue() == "failed: c?.wav: It is broken.\n"
    assert (shown.tally.done, shown.tally.failed, shown.tally.sound) == (2, 1, 90.0)


@pytest.mark.parametrize("known", [(), (0,), (0, 1, 2)])
def test_a_bar_is_full_in_the_end_whatever_was_known_before(known: tuple[int, ...]) -> None:
    errors = Terminal()
    shown = Bar(errors)
    play(shown, known)
    assert "100%|" in errors.getvalue() + str(shown._bar)
    assert "3/3, 1:30.0 of 1:30.0" in str(shown._bar)
    shown.close()
    assert errors.getvalue().splitlines()[-1].lstrip("\r ").startswith("2 of 3 recordings, 1:30.0 of sound")


def test_lengths_known_before_it_begins_count_too() -> None:
    shown = Bar(Terminal())
    shown.expect(0, 90.0)
    shown.begin(1)
    shown.heard(0, "a.wav", 45.0)
    assert "0/1, 0:45.0 of 1:30.0" in str(shown._bar)
    shown.close()


def test_texts_go_above_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Bar(Terminal())
    shown.begin(1)
    shown.write("Hello.\n")
    shown.close()
    assert capsys.readouterr().out == "Hello.\n"
