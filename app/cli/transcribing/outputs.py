"""Where texts go: to standard output in the order of the recordings, or into a folder, a file for each."""

from __future__ import annotations

import errno
import json
import secrets
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Protocol

from app.cli.transcribing.layouts import Layout
from app.cli.transcribing.sources import Source
from app.domain.errors import EngineFailure, InvalidParameter

Texts = dict[Layout, str]
"""A recording's text by layout."""
_OF_THE_NAME = frozenset(
    {errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EINVAL, errno.EILSEQ}
)
"""Reasons why one file cannot be written, and others can."""
_OBEYED = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Signs that turn text around (Unicode's bidirectional classes)."""
_SHOWN = 3
"""How many of the files that are there already are named."""


class Outputs(Protocol):
    """Takes in each recording's texts once, in any order. Numbers count from 0."""

    def give(self, number: int, texts: Texts | None) -> None:
        """The texts of a recording; None: there are none. May block.

        Raises:
            InvalidParameter: they cannot be kept under its name; others' can.
            EngineFailure: nothing can be kept.
            BrokenPipeError: nobody takes them any more.
        """
        ...

    def finish(self) -> None:
        """No more will come."""
        ...


class StandardOutput:
    """Texts in the order of the recordings: what is finished earlier waits. Several are told apart: by a heading, in
    JSON by a field, and where lists name them in lines of `name text`, as Kaldi's tools have it."""

    def __init__(self, sources: Sequence[Source], layout: Layout, write: Callable[[str], None]) -> None:
        """Raises InvalidParameter: two lists have the same name for a recording."""
        self._sources = sources
        self._layout: Layout = layout
        self._write = write
        self._named = all(source.listed for source in sources) and layout == "txt"
        self._several = len(sources) > 1
        self._waiting: dict[int, str] = {}
        self._next = 0
        self._begun = False
        self._check_twins()

    def give(self, number: int, texts: Texts | None) -> None:
        """Write it, if all before it is written."""
        self._waiting[number] = "" if texts is None else self._headed(self._sources[number].name, texts[self._layout])
        while self._next in self._waiting:
            self._say(self._waiting.pop(self._next))
            self._next += 1

    def finish(self) -> None:
        """Write what waits for recordings that will not come."""
        for number in sorted(self._waiting):
            self._say(self._waiting[number])
        self._waiting.clear()

    def _check_twins(self) -> None:
        names = Counter(source.name for source in self._sources if source.listed)
        if twins := [name for name, count in names.items() if count > 1]:
            raise InvalidParameter(f"Two lists have a recording called {printable(twins[0])}.")

    def _headed(self, name: str, text: str) -> str:
        shown = printable(name)
        if self._named:
            return f"{shown} {' '.join(text.split())}".rstrip() + "\n"
        if self._several and self._layout == "json":
            body = {"recording": _as_text(name)} | json.loads(text)
            return json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n"
        return f"==> {shown} <==\n{text}" if self._several else text

    def _say(self, text: str) -> None:
        if text:
            apart = self._begun and self._several and not self._named and self._layout != "json"
            self._begun = True
            self._write(f"\n{text}" if apart and not text.startswith("\n") else text)


class Folder:
    """A file for each recording and layout: the recording's name with the layout as its suffix."""

    def __init__(self, folder: Path, sources: Sequence[Source], layouts: Sequence[Layout], *, force: bool) -> None:
        """Look at everything first; nothing is written yet. `force`: files that are there are replaced.

        Raises:
            InvalidParameter: two recordings have one name, or one that is no file's, or files are there already.
        """
        self._folder = folder
        self._force = force
        self._stems = [_stem(source) for source in sources]
        self._check_twins(sources)
        if _exists(folder) and not folder.is_dir():
            raise InvalidParameter(f"--output {folder}: it is a file, and a folder is expected.")
        there = [] if force else [path for path in self._paths(layouts) if _exists(path)]
        if there:
            named = ", ".join(map(str, there[:_SHOWN])) + (", ..." if len(there) > _SHOWN else "")
            raise InvalidParameter(
                f"{len(there)} of the files to write are there already: {named}. --force replaces them."
            )

    def make(self) -> None:
        """Make the folder, and see whether files can be written into it.

        Raises:
            InvalidParameter: they cannot.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            trial = _part(self._folder)
            trial.touch(exist_ok=False)
            trial.unlink()
        except OSError as error:
            raise InvalidParameter(f"--output {self._folder}: {error.strerror or error}.") from error

    def give(self, number: int, texts: Texts | None) -> None:
        """Write its files."""
        for layout, text in (texts or {}).items():
            self._write(self._path(number, layout), text)

    def finish(self) -> None:
        """All is written already."""

    def _check_twins(self, sources: Sequence[Source]) -> None:
        names: dict[str, str] = {}
        for stem, source in zip(self._stems, sources, strict=True):
            key = stem.casefold()  # some file systems know no case
            if key in names:
                told = f"{names[key]} and {source.name} would both be written to {self._folder / stem}.*"
                raise InvalidParameter(told)
            names[key] = source.name

    def _paths(self, layouts: Sequence[Layout]) -> list[Path]:
        return [self._path(number, layout) for number in range(len(self._stems)) for layout in layouts]

    def _path(self, number: int, layout: Layout) -> Path:
        return self._folder / f"{self._stems[number]}.{layout}"

    def _write(self, path: Path, text: str) -> None:
        """The whole file or none of it, whenever the program ends."""
        part = _part(path.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    file.write(text.encode("utf-8", "replace"))
                if not self._force and path.exists():  # it was not when this began
                    raise FileExistsError(errno.EEXIST, "it is there already")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            told = f"{path} cannot be written: {error.strerror or error}."
            raise (InvalidParameter if error.errno in _OF_THE_NAME else EngineFailure)(told) from error


def printable(text: str) -> str:
    """Without what a terminal would obey, or that would end a line."""
    return "".join("?" if _is_obeyed(letter) else letter for letter in text)


def _is_obeyed(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in _OBEYED


def _as_text(name: str) -> str:
    """A file's name, of which bytes that are no UTF-8 are replaced."""
    return "".join("\ufffd" if unicodedata.category(letter) == "Cs" else letter for letter in name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long, for example: writing will tell
        return False


def _part(folder: Path) -> Path:
    """A name for a file that is not whole yet."""
    return folder / f".{secrets.token_hex(8)}.part"


def _stem(source: Source) -> str:
    """Where its texts go, below the folder.

    Raises:
        InvalidParameter: nowhere below it.
    """
    parts = PurePath(source.stem).parts
    single = len(parts) == 1 and "\\" not in source.stem
    if (
        not parts
        or "\0" in source.stem
        or ".." in parts
        or PurePath(source.stem).is_absolute()
        or (source.listed and not single)
    ):
        raise InvalidParameter(f"{source.name} cannot be the name of a file; a list's names are those of its texts.")
    return source.stem
