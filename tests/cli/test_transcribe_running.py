"""Recordings through a scripted service: how many at once, and what becomes of the rest when one fails."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from app.cli.transcribing.display import Display
from app.cli.transcribing.outputs import Folder, Outputs, StandardOutput
from app.cli.transcribing.running import Order, Run
from app.cli.transcribing.sources import Source, find
from app.domain.engines import Capabilities
from app.domain.errors import UndecodableAudio
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript
from app.service.admission import Admission, Caller, Ticket
from app.service.residents import ServedModel
from app.service.service import SpeechService

PATIENCE = 20.0
MODEL = ServedModel("able", 0, Capabilities(frozenset({"en"}), frozenset({"transcribe"}), 30.0, 30.0), "")


@dataclass
class Scripted:
    """A service that says each recording's name; `waits` hold some back, `faults` befall others."""

    waits: dict[str, asyncio.Event] = field(default_factory=dict)
    faults: dict[str, BaseException] = field(default_factory=dict)
    busy: int = 0
    busiest: int = 0
    begun: list[str] = field(default_factory=list)
    admission: Admission = field(default_factory=lambda: Admission(max_requests=99, max_wait=99.0, timeout=99.0))

    def admit(self, caller: Caller) -> Ticket:
        return self.admission.enter(caller)

    async def stream(
        self, path: Path, _model: str, _options: RecognitionOptions, _ticket: Ticket, _declared: object
    ) -> AsyncGenerator[Segment | Transcript, None]:
        name = path.stem
        self.begun.append(name)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await (self.waits[name].wait() if name in self.waits else asyncio.sleep(0))
            if name in self.faults:
                raise self.faults[name]
            yield Segment(0.0, 1.0, f"{name} is said")
            yield Transcript(f"{name} is said", "en", 1.0, "able")
        finally:
            self.busy -= 1


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Six recordings of a list, a to f."""
    for name in "abcdef":
        (tmp_path / f"{name}.wav").write_bytes(b"sound")
    (tmp_path / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in "abcdef"))
    return find([str(tmp_path / "wav.scp")])


class Session:
    """A run, what it wrote, and what it showed."""

    def __init__(
        self,
        sources: list[Source],
        service: Scripted,
        *,
        concurrency: int = 2,
        keep_going: bool = True,
        write: Callable[[str], None] | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        self.said: list[str] = []
        self.errors = io.StringIO()
        self.display = Display(self.errors)
        order = Order(("txt",), RecognitionOptions(), None, concurrency, keep_going)
        into = outputs or StandardOutput(sources, "txt", write or self.said.append)
        known: Any = cast("SpeechService", service)
        self.run = Run(sources, order, known, MODEL, outputs=into, display=self.display)

    def transcribe(self) -> None:
        """To the end."""
        asyncio.run(asyncio.wait_for(self.run.transcribe(), PATIENCE))


def test_no_more_at_once_than_may_be_and_all_in_order(sources: list[Source]) -> None:
    service = Scripted()
    session = Session(sources, service, concurrency=3)
    session.transcribe()
    assert "".join(session.said) == "".join(f"{name} {name} is said\n" for name in "abcdef")
    assert service.busiest == 3
    assert session.display.tally.sound == 6.0
    assert service.admission.active == 0


def test_one_that_fails_is_told_and_the_others_go_on(sources: list[Source]) -> None:
    service = Scripted(faults={"b": UndecodableAudio("No sound."), "d": RuntimeError("a fault of ours")})
    Path(sources[4].place).unlink()
    session = Session(sources, service)
    session.transcribe()
    assert "".join(session.said) == "a a is said\nc c is said\nf f is said\n"
    told = session.errors.getvalue()
    assert "failed: b: No sound.\n" in told
    assert "failed: d: The recognition failed" in told
    assert "failed: e: There is no such file.\n" in told
    assert (session.display.tally.done, session.display.tally.failed) == (3, 3)


def test_unless_it_is_to_stop_there(sources: list[Source]) -> None:
    never = asyncio.Event()
    service = Scripted(waits={"a": never}, faults={"c": UndecodableAudio("No sound.")})
    session = Session(sources, service, keep_going=False)
    session.transcribe()
    assert "".join(session.said) == "b b is said\n", "what was finished behind it is kept"
    assert service.begun == ["a", "b", "c"]
    assert (service.busy, service.admission.active) == (0, 0)


def test_what_is_finished_is_written_when_it_is_interrupted(sources: list[Source]) -> None:
    never = asyncio.Event()
    service = Scripted(waits={"a": never, "d": never})
    session = Session(sources, service)

    async def interrupted() -> None:
        running = asyncio.create_task(session.run.transcribe())
        async with asyncio.timeout(PATIENCE):
            while service.begun[-1:] != ["d"]:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(interrupted())
    assert "".join(session.said) == "b b is said\nc c is said\n"
    assert (service.busy, service.admission.active) == (0, 0)


def test_a_text_that_has_no_place_is_its_recordings_failure(sources: list[Source], tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", sources, ("txt",), force=False)
    folder.make()
    (tmp_path / "out" / "b.txt").write_text("somebody else's")
    session = Session(sources, Scripted(), outputs=folder)
    session.transcribe()
    assert {path.stem: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        **{name: f"{name} is said\n" for name in "acdef"},
        "b": "somebody else's",
    }
    assert "failed: b: " in session.errors.getvalue()
    assert (session.display.tally.done, session.display.tally.failed) == (5, 1)


def test_when_nobody_reads_any_more_it_ends(sources: list[Source]) -> None:
    def write(_text: str) -> None:
        raise BrokenPipeError

    service = Scripted(waits={"b": asyncio.Event()})
    with pytest.raises(BrokenPipeError):
        Session(sources, service, write=write).transcribe()
    assert (service.busy, service.admission.active) == (0, 0)
    assert len(service.begun) <= 3
