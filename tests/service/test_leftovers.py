"""What a killed server left goes; what anybody may still need stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.service.leftovers import prepare


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


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "temp"
    assert prepare(folder, 100) == 0
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        prepare(tmp_path / "file", 100)
