"""A recording over FunASR's WebSocket whose sound the disk does not take: counted as what could not be let in."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from protocols.test_raw_body import FullDisk
from service.house import furnished

from app.audio import storing
from app.domain.errors import StorageFull
from app.domain.meters import Meter
from app.protocols.funasr.opening import Opening
from app.protocols.funasr.utterances import Kept
from app.service.admission import Caller
from app.service.running import Register
from app.service.service import SpeechService


class Refusals(Meter):
    """Notes who was not let in."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def refused(self, path: str, code: str) -> None:
        self.told.append((path, code))


async def tell(_: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("when", ["open", "write", "flush"])
def test_a_full_disk_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    usual = storing.NamedTemporaryFile
    house = furnished(tmp_path, monkeypatch)

    def full(**how: str) -> FullDisk:
        if when == "open":
            raise OSError(errno.ENOSPC, "no space")
        return FullDisk(usual(**how), when)

    async def scenario(service: SpeechService) -> None:
        meter, caller = Refusals(), Caller(path="/")
        service.running = Register(meter)
        monkeypatch.setattr(storing, "NamedTemporaryFile", full)
        if when == "open":
            with pytest.raises(StorageFull):
                Kept(Opening(mode="offline"), service, caller, tell)
        else:
            kept = Kept(Opening(mode="offline"), service, caller, tell)
            try:
                with pytest.raises(StorageFull):
                    await kept.feed(b"sound")
                    await kept.finish()
            finally:
                await kept.aclose()
        assert meter.told == [("/", "storage_full")]

    house.run(scenario)
