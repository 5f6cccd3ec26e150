"""An operator ends a live stream of the real server: in every protocol its client is told so, in that one's words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tools.dialects import DIALECTS
from tools.dialects.hearing import StreamFailedError

from .scoring import read_wav
from .wires import Wires, start_wires

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ADMIN = {"authorization": "Bearer the-admin-key"}
PATIENCE = 60.0


@pytest.fixture(scope="module")
def wires(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    folder = tmp_path_factory.mktemp("server")
    made = start_wires(models_dir, folder, ADMIN_KEYS="the-admin-key", SPEAKER_DIARIZATION="asked", ASR_BEAM_SIZE="1")
    try:
        made.server.wait_until_ready()
        yield made
        assert made.server.active() == 0
        assert "Traceback" not in made.server.log.read_text()
    finally:
        made.server.process.kill()
        made.server.process.wait()


async def running(client: httpx.AsyncClient, *, heard: float = -1.0) -> list[dict[str, Any]]:
    """What runs, once it is one stream of which so many seconds were heard; or nothing does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await client.get("/v1/admin")).json()["running"]
            if (not found and heard < 0) or (len(found) == 1 and (found[0]["audio_seconds"] or 0) > heard >= 0):
                return found
            await asyncio.sleep(0.05)


async def ended(wires: Wires, protocol: str, sound: NDArray[np.int16]) -> tuple[dict[str, Any], StreamFailedError]:
    """What the operator saw of a stream, and what its client was told when it was ended."""
    async with httpx.AsyncClient(base_url=wires.server.base, headers=ADMIN, timeout=PATIENCE) as client:
        session = DIALECTS[protocol](wires.url(protocol))
        with pytest.raises(StreamFailedError) as told:
            async with session:
                await session.play(sound)
                [entry] = await running(client, heard=1.0)
                assert (await client.delete(f"/v1/admin/running/{entry['id']}")).json()["ended"] == 1
                async with asyncio.timeout(PATIENCE):
                    while True:  # some clients notice when they say more
                        await session.play(sound[:1600])
                        await asyncio.sleep(0.05)
        await running(client)
    return entry, told.value


@pytest.mark.parametrize("protocol", list(DIALECTS))
def test_a_stream_is_ended_in_its_protocol_s_words(wires: Wires, phone_call: Path, protocol: str) -> None:
    sound = read_wav(phone_call / "sample.wav")[: 4 * 16_000]
    entry, told = asyncio.run(ended(wires, protocol, sound))
    assert (entry["kind"], entry["stage"], entry["model"], entry["key"]) == ("stream", "listen", "whisper-base", "-")
    assert "operator" in str(told).lower(), told
