"""Which recordings are to be transcribed: files, folders of them, Kaldi lists, and standard input."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from app.audio.suffixes import BARE_SUFFIXES, SUFFIXES
from app.domain.errors import InvalidParameter

STDIN = "-"
LIST_SUFFIX = ".scp"
_SCHEMES = ("http://", "https://")

Kind = Literal["file", "address", "stdin"]


@dataclass(frozen=True, slots=True)
class Source:
    """A recording to be transcribed.

    `name` is what it is called in what is shown, `place` a path or an address ("-" for standard input), `stem` where
    its texts go below the folder for them, without a suffix. `listed`: a list gave it its name.
    """

    name: str
    kind: Kind
    place: str
    stem: str
    listed: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether it is taken for samples without a header: 16 bit, one channel, 16 kHz."""
        return self.kind == "file" and PurePath(self.place).suffix.lower() in BARE_SUFFIXES


def find(arguments: Sequence[str]) -> list[Source]:
    """The recordings that a command line names, in its order.

    Raises:
        InvalidParameter: there is nothing at a place, a folder has no recordings, or a list cannot be read.
    """
    sources = [source for said in arguments for source in _at(said)]
    if sum(source.kind == "stdin" for source in sources) > 1:
        raise InvalidParameter("Standard input (-) can be read once only.")
    return sources


def _at(said: str) -> Iterator[Source]:
    if not said:
        raise InvalidParameter("A recording's name is empty.")
    if said == STDIN:
        yield Source("stdin", "stdin", STDIN, "stdin")
    elif said.lower().startswith(_SCHEMES):
        yield _address(said)
    else:
        yield from _here(Path(said), said)


def _here(path: Path, said: str) -> Iterator[Source]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InvalidParameter(f"{said}: there is no such file.") from None
    except OSError as error:
        raise InvalidParameter(f"{said}: {error.strerror}.") from error
    if stat.S_ISDIR(mode):
        yield from _inside(path)
    elif path.suffix.lower() == LIST_SUFFIX:
        yield from _listed(path)
    elif not stat.S_ISREG(mode):
        raise InvalidParameter(f"{said}: it is no regular file; - takes a recording from standard input.")
    else:
        yield Source(said, "file", str(path.absolute()), path.stem)


def _inside(folder: Path) -> Iterator[Source]:
    """A folder's recordings by name, those of folders in it, too. Hidden ones are other programs' own."""
    found = sorted((path.relative_to(folder), path) for path in _recordings(folder))
    if not found:
        raise InvalidParameter(f"{folder}: there are no recordings in this folder.")
    for name, path in found:
        yield Source(str(name), "file", str(path.absolute()), str(name.with_suffix("")))


def _recordings(folder: Path) -> Iterator[Path]:
    """What is called like a recording in `folder` and below it, in folders that links lead to, too: each folder once,
    so that no loop of links is without an end. That a link leads nowhere is for recognition to tell."""
    seen: set[tuple[int, int]] = set()
    own, linked = [folder], deque[Path]()
    while own or linked:
        here = own.pop() if own else linked.popleft()  # a folder that is here goes by the name it has here
        try:
            status = here.stat()
            entries = [] if (status.st_dev, status.st_ino) in seen else sorted(here.iterdir())
        except OSError as error:
            raise InvalidParameter(f"{here} cannot be read: {error.strerror}.") from error
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                (linked if entry.is_symlink() else own).append(entry)
            elif entry.suffix.lower() in SUFFIXES:
                yield entry


def _listed(path: Path) -> Iterator[Source]:
    """The recordings of a Kaldi list: a name and a path in each line. Nothing in it is executed."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InvalidParameter(f"{path} cannot be read: {why}.") from error
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            source = _entry(path, number, line)
            if source.name in seen:
                raise _bad_line(path, number, f"{source.name} is in line {seen[source.name]} already")
            seen[source.name] = number
            yield source
    if not seen:
        raise InvalidParameter(f"{path}: there are no recordings in this list.")


def _entry(path: Path, number: int, line: str) -> Source:
    name, place = (*line.split(maxsplit=1), "")[:2]
    place = place.strip()
    if not place:
        raise _bad_line(path, number, "a name and the path of a recording are expected")
    if place.startswith("|") or place.endswith("|"):
        raise _bad_line(path, number, "it is a command, and commands of a list are not run")
    if place.lower().startswith(_SCHEMES):
        return Source(name, "address", place, name, listed=True)
    return Source(name, "file", str(path.parent.absolute() / place), name, listed=True)


def _bad_line(path: Path, number: int, problem: str) -> InvalidParameter:
    return InvalidParameter(f"{path}, line {number}: {problem}.")


def _address(said: str) -> Source:
    """Raises InvalidParameter: it is none."""
    try:
        parts = urlsplit(said)
    except ValueError:  # without a cause: it would repeat the address
        raise InvalidParameter("A recording's address cannot be read: its host is none.") from None
    # What is shown of it has neither a password nor the query, which may be a secret, too.
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return Source(shown, "address", said, PurePosixPath(parts.path).stem or "recording")
