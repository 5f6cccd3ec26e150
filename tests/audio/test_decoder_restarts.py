"""Which ends of decoders are told as restarts: those that nobody wanted."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from pipeline.told import Told

from app.audio.decoding import DecoderPool
from app.domain.errors import EngineFailure

from .making import tone, wav
from .test_decoder_pool import until


def test_deaths_are_told_and_the_end_of_what_nobody_waits_for_is_not(tmp_path: Path) -> None:
    sound, told = tmp_path / "sound.wav", Told()
    wav(sound, tone(1.0))
    (tmp_path / "temp").mkdir()

    async def main() -> None:
        pool = DecoderPool(workers=1, temp_dir=tmp_path / "temp", max_seconds=60, timeout=20, meter=told)
        async with pool:
            (first,) = pool.pids
            os.kill(first, signal.SIGKILL)  # while it is idle
            await until(lambda: not Path(f"/proc/{first}").exists() or _zombie(first))
            try:
                (await pool.decode(sound)).close()
            except EngineFailure:  # its death was not known yet
                (await pool.decode(sound)).close()
            assert told.restarts == ["decoder"]

            (second,) = pool.pids
            os.kill(second, signal.SIGSTOP)
            given_up = asyncio.create_task(pool.decode(sound))
            await asyncio.sleep(0.05)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await until(lambda: second not in pool.pids and len(pool.pids) == 1)
            (await pool.decode(sound)).close()
        assert told.restarts == ["decoder"]
        assert [stage for stage, _ in told.stages] == ["decode", "decode"]
        assert all(seconds > 0 for _, seconds in told.stages)

    asyncio.run(main())


def test_one_that_takes_too_long_is_told(tmp_path: Path) -> None:
    sound, told = tmp_path / "sound.wav", Told()
    wav(sound, tone(1.0))

    async def main() -> None:
        async with DecoderPool(workers=1, temp_dir=tmp_path, max_seconds=60, timeout=0.5, meter=told) as pool:
            os.kill(pool.pids[0], signal.SIGSTOP)
            with pytest.raises(EngineFailure, match="took too long"):
                await pool.decode(sound)
        assert told.restarts == ["decoder"]
        assert told.stages == []

    asyncio.run(main())


def _zombie(pid: int) -> bool:
    return " Z " in Path(f"/proc/{pid}/stat").read_text()
