"""Live streams at the server's end: all that was heard is told in their protocol, then they are closed with 1012."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from real.scoring import read_wav
from real.wires import Wires

from tools.dialects import DIALECTS
from tools.dialects.hearing import Heard, StreamFailedError
from tools.dialects.session import Session

from .conftest import Starting

SHUTDOWN_SECONDS = 20.0
TALK = slice(9, 12)
"""Seconds of the call in which somebody talks."""
PATIENCE_SECONDS = 60.0
WITHOUT_A_LAST_MESSAGE = {"openai", "funasr"}
"""Or one that their client here only knows by having asked for it."""


@dataclass(frozen=True)
class Ended:
    """What became of a stream whose client went on talking while the server ended."""

    heard: Heard
    failure: StreamFailedError | None
    before: int
    """Sentences that were final when the server was told to end."""


@pytest.fixture(scope="module")
def wires(starting: Starting) -> Wires:
    return starting(SHUTDOWN_SECONDS=str(SHUTDOWN_SECONDS))


@pytest.fixture(scope="module")
def ended(wires: Wires, phone_call: Path) -> Mapping[str, Ended]:
    """Every protocol's stream, all at once, through one SIGTERM."""
    return asyncio.run(_through_the_end(wires, phone_call))


async def _through_the_end(wires: Wires, phone_call: Path) -> dict[str, Ended]:
    sound = read_wav(phone_call / "sample.wav")
    talking, told = asyncio.Barrier(len(DIALECTS) + 1), asyncio.Event()

    async def talk(session: Session) -> Ended:
        async with session:
            await session.play(sound[TALK.start * session.rate : TALK.stop * session.rate])
            await talking.wait()
            await told.wait()
            before = len(session.heard.sentences)
            failure = await _talk_on(session, sound[TALK.stop * session.rate :])
            return Ended(session.heard, failure, before)

    sessions = [dialect(wires.url(name)) for name, dialect in DIALECTS.items()]
    tasks = [asyncio.create_task(talk(session)) for session in sessions]
    await talking.wait()
    wires.server.process.send_signal(signal.SIGTERM)
    told.set()
    return dict(zip(DIALECTS, await asyncio.gather(*tasks), strict=True))


async def _talk_on(session: Session, sound: object) -> StreamFailedError | None:
    talking = asyncio.create_task(session.play(sound, 1.0))  # type: ignore[arg-type]
    try:
        return await session.until_over(PATIENCE_SECONDS)
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


@pytest.mark.parametrize("protocol", DIALECTS)
def test_a_live_stream_tells_what_was_heard_and_is_closed_with_1012(ended: Mapping[str, Ended], protocol: str) -> None:
    outcome = ended[protocol]

    assert len(outcome.heard.sentences) > outcome.before
    assert outcome.heard.sentences[-1].text
    assert outcome.heard.finished < math.inf or protocol in WITHOUT_A_LAST_MESSAGE
    if protocol == "wyoming":  # has no codes: the transcript, and the end
        assert outcome.failure is None
    else:
        assert outcome.failure is not None
        assert outcome.failure.status == 1012


def test_the_server_ends_well_before_it_gives_streams_up(wires: Wires, ended: Mapping[str, Ended]) -> None:
    assert ended
    assert wires.server.process.wait(60) == -signal.SIGTERM
    assert "given up" not in wires.server.log.read_text()
    assert "Traceback" not in wires.server.log.read_text()
    assert list(wires.server.temp.iterdir()) == []
