"""The documents: complete, linked, and every link in them leads somewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")


def documents() -> list[Path]:
    """Every page that is written for readers."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "models" / "README.md"])


def prose(path: Path) -> str:
    """Its text without fenced blocks, where nothing is a link or a heading."""
    return _FENCE.sub("", path.read_text("utf-8"))


def links(path: Path) -> Iterator[str]:
    """Targets of links within this repository."""
    for target in _LINK.findall(_CODE.sub("code", prose(path))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        kept = (letter for letter in text if letter in " -_" or unicodedata.category(letter)[0] in "LNM")
        slug = "".join(kept).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("readme", ["README.md", "README_zh.md"])
def test_every_document_is_reached_from_the_readme(readme: str) -> None:
    """By a link there, or in a page that is linked there."""
    first = {(ROOT / target.partition("#")[0]).resolve() for target in links(ROOT / readme)}
    second = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in first
        if page.suffix == ".md" and page != ROOT / readme
        for target in links(page)
    }
    missing = {page for page in (ROOT / "docs").glob("*.md") if page not in first | second}
    assert not missing


@pytest.mark.parametrize("readme", ["README.md", "README_zh.md"])
def test_the_list_of_documents_is_complete(readme: str) -> None:
    """A line for each page in docs/, and none for what is not there."""
    titles = {"README.md": "## Documents\n", "README_zh.md": "## 文档\n"}
    text = (ROOT / readme).read_text("utf-8")
    section = text.partition(titles[readme])[2].partition("\n## ")[0]
    listed = re.findall(r"^- \[[^\]]+\]\(docs/([^)]+\.md)\)", section, re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## A phone's microphone needs HTTPS", "a-phones-microphone-needs-https"),
        ("### `near_field`, and more", "near_field-and-more"),
        ("## Words by unique_id", "words-by-unique_id"),
        ("## 文档（全部）", "文档全部"),
    ],
)
def test_headings_have_githubs_names(tmp_path: Path, heading: str, anchor: str) -> None:
    (tmp_path / "page.md").write_text(f"{heading}\n\n```\n# no heading\n```\n\n{heading}\n", "utf-8")
    assert anchors(tmp_path / "page.md") == {anchor, f"{anchor}-1"}
