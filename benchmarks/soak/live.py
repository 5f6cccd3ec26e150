"""Live streams in every protocol, and clients that vanish from them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from benchmarks.soak.asks import KEY, WRONG
from benchmarks.soak.outcomes import CLOSING, CUT_OFF, GONE, LATE, REFUSED, Outcome
from tools.dialects import DIALECTS
from tools.dialects.hearing import Heard, StreamFailedError, Wishes
from tools.dialects.session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

WRONG_KEY = "live, wrong key"
_PACES = (None, 8.0, 4.0)
_WORDS = {"unreachable": REFUSED, "closed": CUT_OFF, "late": LATE, 1012: CLOSING, "1012": CLOSING}
_LOADING = "still loading"
_LINGER = 0.3
_MOMENTS = ("before the start", "in silence", "in speech", "in a frame", "after the stop")


def session(url: str, protocol: str, key: str = KEY) -> Session:
    """A client of a protocol, with a key where it has a way to say one."""
    dialect = DIALECTS[protocol]
    return dialect(url, Wishes(token=key) if "token" in dialect.can_say else None)


def tag(heard: Heard) -> str:
    """Every sentence with its times."""
    return "\n".join(f"{one.index} {one.start} {one.end} {one.text}" for one in heard.sentences)


async def play(url: str, protocol: str, sound: Sixteen, chance: random.Random) -> Heard:
    """Play it faster than it was said. Raises StreamFailedError."""
    async with session(url, protocol) as client:
        await client.play(sound, chance.choice(_PACES))
        return await client.stop()


async def heard_or_not(
    url: str, protocol: str, sound: Sixteen, *, expected: str, others: set[str], chance: random.Random
) -> Outcome:
    """What a stream met; `others` are what is said of other clips."""
    name, began = f"live {protocol}", time.monotonic()
    try:
        said = tag(await play(url, protocol, sound, chance))
    except (StreamFailedError, OSError) as error:
        return _failed(name, began, error)
    right = said == expected
    detail = "" if right else f"{said!r} in place of {expected!r}"
    return Outcome(name, began, time.monotonic(), "ok", right, said in others, live=True, detail=detail)


def _failed(name: str, began: float, error: StreamFailedError | OSError) -> Outcome:
    status = error.status if isinstance(error, StreamFailedError) else "unreachable"
    loading = _LOADING in str(error)  # under each protocol's own code
    word = "503" if loading else _WORDS.get(status, str(status))
    return Outcome(name, began, time.monotonic(), word, live=True, detail=str(error))


async def refused(url: str, protocol: str) -> Outcome:
    """A stream with a wrong key, which must be told so."""
    began = time.monotonic()
    try:
        async with session(url, protocol, WRONG) as client:
            await client.stop()
    except (StreamFailedError, OSError) as error:
        outcome = _failed(WRONG_KEY, began, error)
        right = outcome.status not in {REFUSED, CUT_OFF, LATE, CLOSING, "503"}
        return Outcome(WRONG_KEY, began, outcome.ended, outcome.status, right, live=True, detail=f"{protocol}: {error}")
    return Outcome(WRONG_KEY, began, time.monotonic(), "let in", live=True, detail=protocol)


async def vanish(url: str, protocol: str, sound: Sixteen, chance: random.Random) -> Outcome:
    """A client that goes without a word."""
    name, began, moment = "vanishing from a stream", time.monotonic(), chance.choice(_MOMENTS)
    client = session(url, protocol)
    try:
        if moment == "before the start":
            await client.knock()
        else:
            async with client:
                if moment != "in silence":
                    await client.play(sound[: chance.randrange(1600, len(sound))])
                if moment == "after the stop":
                    await client.leave()
                await asyncio.sleep(chance.uniform(0, _LINGER))
                client.vanish(
                    reset=chance.random() < 0.5, within=client.half_a_message if moment == "in a frame" else b""
                )
    except (StreamFailedError, OSError) as error:
        return _failed(name, began, error)
    return Outcome(name, began, time.monotonic(), GONE, right=True, live=True)
