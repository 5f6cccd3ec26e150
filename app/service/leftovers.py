"""What a killed server leaves in TEMP_DIR, or where jobs' recordings arrive: uploads and sound that nobody will read
again."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import tempfile
import time
from pathlib import Path

_OURS = re.compile(r"upload-[a-z0-9_]{8}|sound-[a-z0-9_]{8}\.s16")
"""What app.protocols.forms and app.audio.decoding call their files."""
_logger = logging.getLogger(__name__)


def prepare(folder: Path | None, oldest: float) -> int:
    """Make `folder` (None: the system's temporary one), and remove leftovers from it; returns how many.

    Only this user's files that nobody holds and that were not written to for `oldest` seconds go: longer than any
    request may last, so that no other server that shares the folder can be using them.

    Raises:
        OSError: the folder cannot be made or read.
    """
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    removed = 0
    with os.scandir(folder or tempfile.gettempdir()) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and _abandoned(entry, oldest):
                Path(entry.path).unlink(missing_ok=True)
                removed += 1
    if removed:
        _logger.info("removed %d files that a killed server had left", removed)
    return removed


def _abandoned(entry: os.DirEntry[str], oldest: float) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return stat.S_ISREG(found.st_mode) and ours and time.time() - found.st_mtime > oldest and not _is_held(entry.path)


def _is_held(path: str) -> bool:
    """Whether somebody has it, as app.audio.storing locks it; False, too, where the disk has no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(descriptor)
    return False
