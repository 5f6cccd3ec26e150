"""Chinese text cut into words as the large model learnt them: by jieba, with the dictionary of its folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from app.domain.errors import EngineFailure
from app.engines.ct_punc.files import read_text
from app.engines.ct_punc.word_counts import WordCounts, entries


class ChineseWords:
    """jieba with a dictionary of one's own. Thread-safe.

    jieba keeps what it has read in a file of the temporary folder that anybody may have written; that is neither read
    nor written here.

    Raises:
        EngineFailure: jieba is not installed, or the dictionary is not one.
    """

    def __init__(self, dictionary: Path) -> None:
        try:
            jieba: Any = importlib.import_module("jieba")
        except ImportError as error:
            raise EngineFailure(f"{dictionary.name} needs the package jieba, which is not installed.") from error
        words = WordCounts(read_text(Path(jieba.__file__).with_name(jieba.DEFAULT_DICT_NAME)))
        words.add(entries(read_text(dictionary)))
        self._tokenizer: Any = jieba.Tokenizer()
        self._tokenizer.FREQ, self._tokenizer.total = words.counts, words.total
        self._tokenizer.initialized = True

    def cut(self, text: str) -> list[str]:
        """The words, which joined are the text."""
        return list(self._tokenizer.cut(text, HMM=False))
