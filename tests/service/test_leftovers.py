"""What a killed server left goes; what anybody may still need stays."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from app.audio.storing import leave_room, make_room
from app.service.jobs.files import incoming
from app.service.leftovers import prepare
from app.service.service import SpeechService
from app.settings import Settings


def test_old_uploads_and_sound_go_and_nothing_else(tmp_path: Path) -> None:
    old = ["upload-abcd_123", "sound-00xyz_ab.s16"]
    kept = ["upload-abcd_1234", "uploads", "sound-abc.s16", "notes.txt"]
    young = ["upload-qqqqqqqq", "sound-qqqqqqqq.s16"]
    for name in old + kept + young:
        (tmp_path / name).write_bytes(b"somebody's words")
    for name in old + kept:
        os.utime(tmp_path / name, (time.time() - 200, time.time() - 200))
    (tmp_path / "upload-a_folder").mkdir()
    (tmp_path / "upload-1_a_link").symlink_to(tmp_path / "notes.txt")
    assert prepare(tmp_path, 100) == 2
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, *young, "upload-a_folder", "upload-1_a_link"}


def test_what_somebody_has_stays_however_old(tmp_path: Path) -> None:
    held = make_room(tmp_path)
    left = tmp_path / "upload-abcd_123"
    left.touch()
    for path in (Path(held.name), left):
        os.utime(path, (time.time() - 200, time.time() - 200))
    assert prepare(tmp_path, 100) == 1
    assert [str(path) for path in tmp_path.iterdir()] == [held.name]
    leave_room(held)


def test_what_was_on_its_way_to_be_a_job_goes_while_another_server_runs(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, temp_dir=tmp_path / "temp", data_dir=tmp_path / "data")
    left = incoming(settings.jobs_folder) / "upload-abcd_123"
    young = left.with_name("upload-abcd_124")
    left.touch()
    young.touch()
    old = settings.request_timeout_seconds + settings.decode_timeout_seconds + 3700
    os.utime(left, (time.time() - old, time.time() - old))

    async def sweep() -> None:
        service = SpeechService(settings)
        service.jobs.start()
        await asyncio.to_thread(until_gone, left)
        await service.close()

    asyncio.run(sweep())
    assert young.exists()


def until_gone(path: Path) -> None:
    deadline = time.monotonic() + 60
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "temp"
    assert prepare(folder, 100) == 0
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        prepare(tmp_path / "file", 100)
