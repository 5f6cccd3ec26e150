"""jieba with a model's dictionary in it, filled sooner than jieba does and with the same cuts.

jieba's own cache, in a folder that everybody can write to, is neither read nor written.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from app.domain.errors import EngineFailure
from app.engines.ct_punc.word_counts import WordCounts
from app.engines.folders import read_text


class Jieba(Protocol):
    """What is used of jieba's Tokenizer: `FREQ` is how often words occur, `total` the sum. Thread-safe."""

    FREQ: dict[str, int]
    total: int

    def cut(self, sentence: str, *, HMM: bool) -> Iterator[str]:  # noqa: N803 - theirs
        """The words of a text."""
        ...


def read_dictionary(path: Path) -> Jieba:
    """A tokenizer that knows jieba's words and those in `path`, one a line: "word", "word count", and maybe a tag.

    Blocking: seconds for hundreds of thousands of words.

    Raises:
        EngineFailure: jieba is not installed, or the file cannot be read or has a count that is too large.
    """
    text = read_text(path)
    try:
        module: Any = importlib.import_module("jieba")
    except ImportError:
        raise EngineFailure(f"{path.name} needs the package jieba, which is not installed.") from None
    words = WordCounts(read_text(Path(module.__file__).with_name(module.DEFAULT_DICT_NAME)))
    try:
        words.add(text)
    except OverflowError as error:
        raise EngineFailure(f"{path.name}: {error}.") from None
    tokenizer = module.Tokenizer()
    tokenizer.FREQ, tokenizer.total = words.counts, words.total
    tokenizer.initialized = True
    return tokenizer
