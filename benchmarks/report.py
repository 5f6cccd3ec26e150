"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Ratio:
    """The server's speed over the baseline's; `rounds` are the single rounds' ratios: how noisy it was."""

    name: str
    value: float
    target: float
    rounds: tuple[float, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.value >= self.target

    def describe(self) -> str:
        """In one line."""
        spread = f", rounds {min(self.rounds):.2f}-{max(self.rounds):.2f}" if len(self.rounds) > 1 else ""
        verdict = "met" if self.met else "MISSED"
        return f"{self.name}: server / baseline = {self.value:.2f} (target {self.target:.2f}: {verdict}{spread})"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of ready-made cells; the first `text_columns` are set left, figures right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    text_columns: int = 1

    def text(self) -> str:
        """For a terminal."""
        cells = [self.columns, *self.rows]
        widths = [max(_width(row[index]) for row in cells) for index in range(len(self.columns))]
        lines = [
            "  ".join(
                _set(cell, width, left=index < self.text_columns) for index, (cell, width) in _columns(row, widths)
            )
            for row in cells
        ]
        lines.insert(1, "-" * _width(lines[0]))
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """For a document."""
        rule = ["---" if index < self.text_columns else "---:" for index in range(len(self.columns))]
        rows = [self.columns, rule, *self.rows]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([f"### {self.title}", "", *lines, "", *(f"{note}  " for note in self.notes)]).rstrip()


@dataclass(slots=True)
class Report:
    """Everything one command found out. `data` holds what the JSON file has beyond the tables."""

    command: str
    setting: tuple[str, ...]
    tables: list[Table] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    taken: datetime = field(default_factory=lambda: datetime.now(UTC))

    def render(self, *, markdown: bool) -> str:
        """The whole report."""
        ratios = [f"- {ratio.describe()}" for ratio in self.ratios]
        head = f"Made by `{self.command}` on {self.taken:%Y-%m-%d}."
        tables = [table.markdown() if markdown else table.text() for table in self.tables]
        return "\n\n".join([head, "\n".join(f"- {line}" for line in self.setting), *tables, "\n".join(ratios)]).rstrip()

    def save(self, name: str) -> Path:
        """Write the JSON and the Markdown into results/; returns the JSON's path."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}-{self.taken:%Y%m%dT%H%M%SZ}.json"
        body = {
            "command": self.command,
            "taken": self.taken.isoformat(timespec="seconds"),
            "setting": self.setting,
            "ratios": [
                {"name": ratio.name, "value": ratio.value, "target": ratio.target, "rounds": ratio.rounds}
                for ratio in self.ratios
            ],
            "tables": [
                {"title": table.title, "columns": table.columns, "rows": table.rows, "notes": table.notes}
                for table in self.tables
            ],
            **self.data,
        }
        path.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.render(markdown=True) + "\n", encoding="utf-8")
        return path


def percent(rate: float) -> str:
    """A rate as a cell."""
    return f"{100 * rate:.1f} %"


def _columns(row: Sequence[str], widths: Sequence[int]) -> list[tuple[int, tuple[str, int]]]:
    return list(enumerate(zip(row, widths, strict=True)))


def _set(cell: str, width: int, *, left: bool) -> str:
    space = " " * (width - _width(cell))
    return cell + space if left else space + cell


def _width(text: str) -> int:
    """Columns on a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
