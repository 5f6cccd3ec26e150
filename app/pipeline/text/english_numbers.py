"""Which English numbers are written in digits, and how.

Small ones stay words (one of them, just a second), and so do units (30 seconds) and abbreviations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.pipeline.text.grammars import Grammar, Stretch

Change = tuple[int, int, str]
"""From where to where in the text, and what is written there."""

_SMALL = "zero|one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_SMALL_ORDINALS = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"
_ORDINALS = (
    "tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|"
    "thirtieth|fortieth|fiftieth|sixtieth|seventieth|eightieth|ninetieth|hundredth|thousandth|millionth"
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_NUMERAL = f"(?:{_SMALL}|{_TEENS}|{_TENS}|hundred|thousand|million|billion|{_SMALL_ORDINALS}|{_ORDINALS}|oh)"
_BETWEEN = r"(?:[ -](?:and|point|past|to|of|dollars?|dollars? and|the|cents?))?[ -]"
_WINDOW = re.compile(
    rf"(?:\b(?:{_MONTHS}|half past|quarter past|quarter to|point) )?\b{_NUMERAL}\b(?:{_BETWEEN}{_NUMERAL}\b)*"
    r"(?: (?:percent|dollars?|euros?|cents?|a m|p m|am|pm)\b)*"
)
_LONELY = re.compile(rf"{_SMALL}|{_SMALL_ORDINALS}|oh|ten|eleven|twelve|hundred|thousand|million|billion")
_SERIAL = re.compile(rf"(?:{_SMALL}|oh|o)(?: (?:{_SMALL}|oh|o))+")
_HYPHEN = re.compile(rf"(?<=ty)-(?={_SMALL}|{_SMALL_ORDINALS})")
_LARGE = re.compile("hundred|thousand|million|billion")
_YEARS = range(1300, 2100)


def changes(text: str, grammar: Grammar) -> Iterator[Change]:
    """What is to be written in digits, in order."""
    lowered = _HYPHEN.sub(" ", "".join(one.lower() if one.isascii() else one for one in text))
    for window in _WINDOW.finditer(lowered):
        if not _LONELY.fullmatch(window[0]):
            for stretch in grammar.stretches(lowered, window.start(), window.end()):
                yield from _changed(lowered, stretch, grammar)


def _changed(text: str, stretch: Stretch, grammar: Grammar) -> list[Change]:
    begin, end = stretch.fields[0].begin, stretch.fields[-1].end
    said = text[begin:end]
    if stretch.kind == "date":
        return [
            change for field in stretch.fields if (change := _date(text, field.name, field.begin, field.end, grammar))
        ]
    if stretch.kind == "measure":
        return _measure(text, stretch, grammar)
    left = stretch.kind in {"whitelist", "electronic", "word"} or _LONELY.fullmatch(said) or "clock" in said
    if left or (stretch.kind == "telephone" and not _SERIAL.fullmatch(said)):
        return []
    if stretch.kind == "money" and stretch.fields[0].name == "decimal":
        return _cardinal(text, begin, text.rindex(" ", begin, end), grammar)  # 50 cents
    written = re.sub(r"^0(?=\d:)", "", grammar.written(stretch.tagged))
    return [(begin, end, written)] if written else []


def _date(text: str, name: str, begin: int, end: int, grammar: Grammar) -> Change | None:
    """The month stays a word; "may five people" is no date."""
    said = text[begin:end]
    if name == "year":
        written = grammar.written(f'date {{ year: "{said}" preserve_order: "true" }}')
        is_year = written.isdigit() and (int(written) in _YEARS or _LARGE.search(said))
        return (begin, end, written) if is_year else None
    if name != "day" or re.fullmatch(_SMALL, said):
        return None
    day = re.fullmatch(r"(?:the )?(.+?)(?: of)?", said)
    if day is None:
        return None
    ordinal = grammar.written(f'ordinal {{ integer: "{day[1]}" }}')
    written = ordinal or grammar.written(f'cardinal {{ integer: "{day[1]}" }}')
    return (begin + day.start(1), begin + day.end(1), written) if written else None


def _measure(text: str, stretch: Stretch, grammar: Grammar) -> list[Change]:
    value, end = stretch.fields[0], stretch.fields[-1].end
    if text[value.end : end].strip() == "percent":
        written = grammar.written(stretch.tagged).replace(" ", "")
        return [(value.begin, end, written)] if written else []
    return _cardinal(text, value.begin, value.end, grammar)


def _cardinal(text: str, begin: int, end: int, grammar: Grammar) -> list[Change]:
    said = text[begin:end]
    written = "" if _LONELY.fullmatch(said) else grammar.written(f'cardinal {{ integer: "{said}" }}')
    return [(begin, end, written)] if written else []
