"""Word and character errors, with spelling that does not matter taken out first."""

from __future__ import annotations

import re
import unicodedata

import jiwer
import opencc

from benchmarks.measures import Errors

_SPELLINGS_EN = {"10": "ten", "ok": "okay", "mister": "mr", "missus": "mrs"}
_SPELLINGS_ZH = {"百分之50": "百分之五十", "50%": "百分之五十"}
"""Spellings of the references' words that are as good as the reference's own. Nothing else is forgiven."""
_simplifier = opencc.OpenCC("t2s")


def errors(reference: str, heard: str, language: str) -> Errors:
    """Edits between what was said and what was heard: characters in Chinese, words elsewhere."""
    said, got = normalised(reference, language), normalised(heard, language)
    result = jiwer.process_characters(said, got) if language == "zh" else jiwer.process_words(said, got)
    return Errors(
        edits=result.substitutions + result.deletions + result.insertions,
        lost=result.deletions,
        length=result.hits + result.substitutions + result.deletions,
    )


def normalised(text: str, language: str) -> str:
    """Chinese: simplified, letters and digits only. Else: lower case, words of letters, digits and apostrophes."""
    text = unicodedata.normalize("NFKC", text).lower()
    if language == "zh":
        bare = "".join(sign for sign in _simplifier.convert(text) if sign.isalnum() or sign == "%")
        for spelling, accepted in _SPELLINGS_ZH.items():
            bare = bare.replace(spelling, accepted)
        return bare
    words = re.sub(r"[^\w' ]", " ", text.replace("’", "'").replace("_", " ")).split()
    return " ".join(_SPELLINGS_EN.get(bare, bare) for word in words if (bare := word.strip("'")))
