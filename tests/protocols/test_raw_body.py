"""A recording that is all of a request's body, on a disk that does not take it."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import IO

import pytest
from starlette.requests import Request

from app.audio import storing
from app.domain.errors import EngineFailure
from app.protocols.raw_body import stored_body
from app.settings import Settings


class FullDisk:
    """A file that takes nothing from `when` on, and says so whenever it is asked to."""

    def __init__(self, file: IO[bytes], when: str) -> None:
        self.name = file.name
        self._file = file
        self._when = when
        self._full = False

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, chunk: bytes) -> int:
        self._check("write")
        return len(chunk)

    def flush(self) -> None:
        self._check("flush")

    def close(self) -> None:
        self._file.close()
        self._check("close")

    def _check(self, step: str) -> None:
        self._full = self._full or step == self._when
        if self._full:
            raise OSError(errno.ENOSPC, "no space")


def stored(tmp_path: Path) -> str:
    """The name of the file that a body is stored in, which must be gone afterwards."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"sound", "more_body": False}

    async def main() -> str:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        async with stored_body(request, Settings(_env_file=None, temp_dir=tmp_path), param="body") as path:
            return path.name

    try:
        return asyncio.run(main())
    finally:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["write", "flush"])
def test_a_full_disk_is_the_server_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    usual = storing.NamedTemporaryFile
    monkeypatch.setattr(storing, "NamedTemporaryFile", lambda **how: FullDisk(usual(**how), when))
    with pytest.raises(EngineFailure, match="could not be stored"):
        stored(tmp_path)


def test_what_is_stored_and_done_with_may_fail_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = storing.NamedTemporaryFile
    monkeypatch.setattr(storing, "NamedTemporaryFile", lambda **how: FullDisk(usual(**how), "close"))
    assert stored(tmp_path).startswith("upload-")
