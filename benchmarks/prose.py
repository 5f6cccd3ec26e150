"""Real text for measuring what is done to it: what the rules of hotword correction were found with, and what they were
not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pydoc_data.topics
import re
from dataclasses import dataclass
from pathlib import Path

import opencc

from benchmarks import corpus

_HAN_SENTENCE = re.compile(r"[\u4e00-\u9fff，、]{8,}")
_ENGLISH_SENTENCE = re.compile(r"[A-Z][A-Za-z ,']{30,}[.:;]")
_MESSAGES = "dist/dist/pyright-internal.js"
"""Where pyright's wheel has its messages in Chinese."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Sentences that no rule was found with, what they are counted in, and where they are from."""

    language: str
    sentences: tuple[str, ...]
    unit: str
    source: str


def known_chinese() -> list[str]:
    """On every machine that has this project: its README, two packages' descriptions, known recordings."""
    texts = [_prose(Path("README_zh.md").read_text(encoding="utf-8"))]
    texts += [str(importlib.metadata.metadata(name).json["description"]) for name in ("pypinyin", "opencc")]
    manifest = corpus.SHARED_AUDIO / "manifest.tsv"
    if manifest.is_file():
        texts.append(manifest.read_text(encoding="utf-8"))
    return [sentence.strip("，、") for text in texts for sentence in _HAN_SENTENCE.findall(text)]


def known_english() -> list[str]:
    """This project's own pages."""
    pages = [Path("README.md"), *sorted(Path("docs").glob("*.md")), *sorted(Path("docs/decisions").glob("*.md"))]
    pages = [page for page in pages if page.name != "hotwords.md"]
    prose = " ".join(_prose(page.read_text(encoding="utf-8")) for page in pages)
    return [sentence for sentence in _ENGLISH_SENTENCE.findall(prose) if sentence.isascii()]


def unseen_chinese() -> Unseen:
    """Simplified Chinese that comes with packages: what pypinyin's code says of itself, and, where it is installed
    (requirements-dev.txt), pyright's messages."""
    folders = {name: _folder(name) for name in ("pypinyin", "pyright")}
    files = sorted(folders["pypinyin"].rglob("*.py")) if folders["pypinyin"] else []
    files = [file for file in files if not file.name.endswith("_dict.py")]
    sources = ["pypinyin's comments"]
    if folders["pyright"] and (folders["pyright"] / _MESSAGES).is_file():
        files.append(folders["pyright"] / _MESSAGES)
        sources.append("pyright's messages")
    simplify = opencc.OpenCC("t2s").convert
    found = (one.strip("，、") for file in files for one in _HAN_SENTENCE.findall(file.read_text(encoding="utf-8")))
    known = set(known_chinese())
    sentences = tuple(dict.fromkeys(one for one in found if simplify(one) == one and one not in known))
    return Unseen("Chinese", sentences, "characters", " and ".join(sources))


def unseen_english() -> Unseen:
    """Python's own reference, which comes with it."""
    text = " ".join(re.sub(r"\n(?=\S)", " ", topic) for topic in pydoc_data.topics.topics.values())
    sentences = tuple(dict.fromkeys(_ENGLISH_SENTENCE.findall(text)))
    return Unseen("English", sentences, "words", "Python's reference")


def _folder(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def _prose(markdown: str) -> str:
    """Without code, links' targets and tables."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", markdown, flags=re.DOTALL)
    return " ".join(line for line in text.splitlines() if not line.startswith("|"))
