"""Standard input as a recording: stored with a limit, and gone when it was recognised."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli.transcribing import opening
from app.cli.transcribing.sources import find
from app.domain.errors import EmptyAudio, UndecodableAudio, UploadTooLarge
from app.settings import Settings

MOST = 100_000


def read(sent: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a decoder would find, of what was sent."""
    reader, writer = os.pipe()
    monkeypatch.setattr(opening, "_STDIN", reader)
    settings = Settings(_env_file=None, temp_dir=folder, max_audio_size=f"{MOST}B")
    service: Any = SimpleNamespace(settings=settings)
    ticket: Any = None

    async def main() -> bytes:
        sending = asyncio.create_task(asyncio.to_thread(send))
        try:
            async with opening.opened(find(["-"])[0], service, ticket) as path:
                assert path.stat().st_mode & 0o077 == 0, "nobody else can read it"
                return path.read_bytes()
        finally:
            os.close(reader)
            await sending

    def send() -> None:
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(sent)
        except BrokenPipeError:
            pass

    return asyncio.run(main())


def test_all_of_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = os.urandom(MOST)
    assert read(sent, tmp_path, monkeypatch) == sent
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sent", "told"), [(bytes(MOST + 1), UploadTooLarge), (b"", EmptyAudio)])
def test_too_much_and_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, told: type[Exception]
) -> None:
    with pytest.raises(told):
        read(sent, tmp_path, monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_went_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "here.wav").write_bytes(b"sound")
    (source,) = find([str(tmp_path / "here.wav")])
    (tmp_path / "here.wav").unlink()
    unused: Any = None

    async def main() -> None:
        async with opening.opened(source, unused, unused):
            pass

    with pytest.raises(UndecodableAudio, match="There is no such file"):
        asyncio.run(main())
