"""What the image's Python packages say of their licences: one file, from their own metadata."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

_HEAD = """\
Python packages in this image, with what each says of its licence and where its texts lie in the image. What the base
image brings is described under /usr/share/doc; what that means for whoever passes the image on, in licences.md beside
this file.
"""
_LONGEST = 100
"""Some packages put the whole text where its name is expected."""


def stated(package: Distribution) -> str:
    """The licence in a few words: the expression, the old field, or the classifiers, whichever there is."""
    about = package.metadata
    for field in ("License-Expression", "License"):
        said = str(about[field]).strip() if field in about else ""
        if said and "\n" not in said and len(said) <= _LONGEST:
            return said
    classifiers = [str(line) for line in about.get_all("Classifier") or []]
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    return ", ".join(names) or "not stated in its metadata: see its texts"


def texts(package: Distribution) -> list[str]:
    """Where the texts are: the files that its list of files has under such a name."""
    words = ("licen", "copying", "notice", "authors")
    named = [file for file in package.files or () if any(word in file.name.lower() for word in words)]
    found = [Path(str(package.locate_file(file))) for file in named]
    return sorted(str(path.resolve()) for path in found if path.is_file() and path.suffix not in {".py", ".pyc"})


def overview() -> str:
    """All packages by name."""
    packages = sorted(distributions(), key=lambda package: str(package.metadata["Name"]).lower())
    blocks = [
        "\n".join([f"{one.metadata['Name']} {one.version}: {stated(one)}", *(f"    {text}" for text in texts(one))])
        for one in packages
    ]
    return "\n".join([_HEAD, *blocks]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(overview(), "utf-8")
