"""Tables on a terminal."""

from __future__ import annotations


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell; the last one as it comes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
