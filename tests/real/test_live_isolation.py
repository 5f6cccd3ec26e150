"""Nobody's live words reach somebody else: what a clip says alone is its tag, and among sixteen, in all protocols, it
says the same."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.dialects import DIALECTS
from tools.dialects.aliyun import LiveClient
from tools.dialects.hearing import Heard

from .scoring import read_wav
from .wires import Wires

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

RATE = 16_000
SESSIONS, ROUNDS = 16, int(os.environ.get("ISOLATION_ROUNDS", "5"))
Tag = tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Tagged:
    """A clip, the protocol that it is played in, and every sentence that it says in it."""

    protocol: str
    sound: Sixteen
    tag: Tag

    @property
    def words(self) -> set[object]:
        return {text for _, text, *_ in self.tag}


def cuts(sound: Sixteen, count: int, seed: int) -> list[Sixteen]:
    """Stretches of a recording, no two alike."""
    rng = random.Random(seed)
    sizes = [round(rng.uniform(1.5, 4.0) * RATE) for _ in range(count)]
    starts = [rng.randrange(0, len(sound) - size) for size in sizes]
    return [sound[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def tag_of(heard: Heard) -> Tag:
    """Every sentence with its times."""
    return tuple((one.index, one.text, one.start, one.end, one.time) for one in heard.sentences)


async def session(wires: Wires, protocol: str, sound: Sixteen) -> Heard:
    """Play it as fast as the server takes it; where messages say whose they are, all are for this session."""
    async with DIALECTS[protocol](wires.url(protocol)) as client:
        await client.play(sound)
        heard = await client.stop()
    if isinstance(client, LiveClient):
        assert {message.header["task_id"] for message in client.heard.messages} == {client.task_id}
    return heard


async def tagged(wires: Wires, clips: list[Sixteen], wanted: int) -> list[Tagged]:
    """Clips whose answers, given alone, differ from each other; protocols in turn."""
    known: dict[str, Tagged] = {}
    protocols = cycle(DIALECTS)
    protocol = next(protocols)
    for clip in clips:
        heard = await session(wires, protocol, clip)
        if len(heard.text) > 20 and heard.text not in known:
            known[heard.text] = Tagged(protocol, clip, tag_of(heard))
            protocol = next(protocols)
        if len(known) == wanted:
            return list(known.values())
    raise AssertionError(f"only {len(known)} clips say something of their own")


@pytest.mark.timeout(300)
def test_sixteen_at_once_again_and_again_in_every_protocol(small_wires: Wires, phone_call: Path) -> None:
    async def all_rounds() -> None:
        all_of_them = await tagged(small_wires, cuts(read_wav(phone_call / "sample.wav"), 100, 3), SESSIONS)
        words = {word for one in all_of_them for word in one.words}
        for _ in range(ROUNDS):
            heard = await asyncio.gather(*(session(small_wires, one.protocol, one.sound) for one in all_of_them))
            for each, one in zip(heard, all_of_them, strict=True):
                strange = words - one.words
                assert not strange & set(each.texts), f"{one.protocol}: somebody got somebody else's words"
                assert not strange & {guess.text for guess in each.guesses}
                assert tag_of(each) == one.tag, one.protocol

    asyncio.run(all_rounds())
