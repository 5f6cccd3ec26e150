"""A Dockerfile as a list of instructions."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One of a stage's instructions; `stage` counts from 0, and what stands before the first FROM is in stage -1."""

    stage: int
    name: str
    words: tuple[str, ...]

    @property
    def flags(self) -> dict[str, str]:
        """--name=value."""
        found = [word[2:].partition("=") for word in self.words if word.startswith("--")]
        return {name: value for name, _, value in found}

    @property
    def operands(self) -> tuple[str, ...]:
        """What is no flag."""
        return tuple(word for word in self.words if not word.startswith("--"))


def read(path: Path) -> list[Instruction]:
    """Its instructions in order."""
    text = "\n".join(line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#"))
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        words = rest.split() if name in {"RUN", "HEALTHCHECK", "ENTRYPOINT"} else shlex.split(rest)
        found.append(Instruction(stage, name, tuple(words)))
    return found


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """What becomes the image."""
    last = max(one.stage for one in instructions)
    return [one for one in instructions if one.stage == last]


def environment(instructions: list[Instruction]) -> dict[str, str]:
    """What ENV sets in the image."""
    pairs = [word.partition("=") for one in last_stage(instructions) if one.name == "ENV" for word in one.words]
    return {name: value for name, _, value in pairs}
