"""What a download shows on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from app.modelstore.progress import BarProgress, LineProgress, SilentProgress, console_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("app.modelstore.progress.time.monotonic", lambda: now[0])
    lines: list[str] = []
    progress = LineProgress(lines.append)
    progress.start("toy/model.bin", 2_000_000, 500_000)
    progress.advance(1)
    now[0] = 6
    progress.advance(499_999)
    progress.finish()
    progress.start("wheel", None)
    now[0] = 12
    progress.advance(3_000)
    progress.note("done")
    assert lines == [
        "fetching toy/model.bin (2 MB, resuming)",
        "  toy/model.bin: 1 MB of 2 MB (50 %)",
        "fetching wheel",
        "  wheel: 3 kB",
        "done",
    ]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = console_progress()
    assert isinstance(progress, BarProgress)
    progress.start("toy/model.bin", 1000)
    progress.advance(1000)
    progress.finish()
    progress.note("ready")
    assert "toy/model.bin: 100%" in terminal.getvalue()
    assert terminal.getvalue().endswith("ready\n")


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_lines_elsewhere_even_with_standard_error_closed(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    progress = console_progress()
    assert isinstance(progress, LineProgress)
    progress.note("ready")


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SilentProgress()
    progress.start("a", 1)
    progress.advance(1)
    progress.finish()
    progress.note("b")
    assert capsys.readouterr() == ("", "")
