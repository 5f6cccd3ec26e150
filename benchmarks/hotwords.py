"""Hotword correction: terms it restores, and terms it puts where none was said: `python -m benchmarks.hotwords`.

Terms are put into real sentences, misspelt as recognisers do (homophones, another tone, sounds that accents confuse,
a syllable that is merely alike) and corrected. Then text in which none of the terms stands is corrected towards lists
of 10 to 5,000 terms: everything that changes there is harm, and counts most in text that no rule was found with. Last,
what building and correcting takes. Needs no model.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import platform
import random
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import wordfreq
from pypinyin.constants import PHRASES_DICT
from rapidfuzz.distance import Levenshtein

from app.domain.hotwords import Hotword
from app.domain.transcript import Word, join_words
from app.pipeline.hotwords.correction import Corrector
from app.pipeline.hotwords.finding import Finder
from app.pipeline.hotwords.units import units_of
from app.settings import available_cores
from benchmarks import prose, report
from benchmarks.misspelling import CHINESE, ENGLISH, Speller, misspelt_english

_SEED = 20
_SURE: tuple[tuple[str, float | None], ...] = (("no confidence", None), ("0.3", 0.3), ("0.95", 0.95))
_SIZES = 10, 100, 1000, 5000
_UNSEEN_SIZES = 1000, 5000
_LENGTHS = (2, 2), (3, 3), (4, 4), (5, 9)
_LIST = 1000
"""Terms in the list while restoring is measured."""
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建文玲志斌浩宇欣怡子涵梓轩雨泽俊佳慧晨阳诗琪睿博思远嘉懿"
_WORD = re.compile(r"(\s*)([\u4e00-\u9fff][^\w\s]*|[^\s\u4e00-\u9fff]+)")
_WORD_MARKS = re.compile(r"[^\w\s]+$")
_BUILD_BOUND, _CORRECT_BOUND, _HARM_BOUND = 0.5, 0.05, 5.0

Errors = dict[str, list[tuple[str, str]]]


def main() -> int:
    """Print the tables; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the terms")
    parser.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    given = parser.parse_args()
    each = 20 if given.quick else 100
    chinese, english = prose.known_chinese(), prose.known_english()
    harm, worst = _harm(chinese, english)
    costs, build, correct = _costs(chinese, english)
    command = "python -m benchmarks.hotwords" + (" --quick" if given.quick else "")
    result = report.Report(command, (_setting(),))
    unseen = _unseen(lists=1 if given.quick else 3)
    result.tables += [_restored_chinese(chinese, each), _restored_english(english, each), harm, unseen, costs]
    print(result.render(markdown=given.markdown))
    if not given.quick:
        result.save("hotwords")
    return 0 if build <= _BUILD_BOUND and correct <= _CORRECT_BOUND and worst <= _HARM_BOUND else 1


def _setting() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pypinyin", "wordfreq", "rapidfuzz"))
    return f"{available_cores()} cores, Python {platform.python_version()}, {versions}"


# --- text -------------------------------------------------------------------------------------------------------------


def _words(text: str, confidence: float | None, doubtful: range = range(0)) -> list[Word]:
    """Recognised words: a character or a word each, with its marks. Those that begin in `doubtful` have `confidence`,
    the others 0.95 where any is given."""
    found: list[Word] = []
    for number, match in enumerate(_WORD.finditer(text)):
        sure = confidence if confidence is None or match.start(2) in doubtful or not doubtful else 0.95
        found.append(Word(match[2], number * 0.2, number * 0.2 + 0.2, sure, bool(match[1])))
    return found


# --- Chinese ----------------------------------------------------------------------------------------------------------


def _phrases(least: int, most: int) -> list[str]:
    return sorted(phrase for phrase in PHRASES_DICT if least <= len(phrase) <= most and phrase.isalpha())


def _restored_chinese(sentences: Sequence[str], each: int) -> report.Table:
    chance = random.Random(_SEED)
    speller = Speller()
    rows: list[tuple[str, ...]] = []
    for least, most in _LENGTHS:
        pool = _phrases(least, most)
        terms = chance.sample(pool, min(_LIST, len(pool)))
        terms += chance.sample(_phrases(2, 9), max(0, _LIST - len(terms)))
        asked = terms[: each * 2]
        corrector = Corrector([Hotword(term) for term in dict.fromkeys(terms)])
        for kind in CHINESE:
            trials = [(term, wrong) for term in asked if (wrong := speller.misspelt(term, kind, chance))][:each]
            cells = [_restored(corrector, trials, sentences, sure, chance) for _, sure in _SURE]
            length = str(least) if least == most else f"{least} to {most}"
            rows.append((length, kind, str(len(trials)), *cells))
    return report.Table(
        "Misspelt Chinese terms restored (and other terms put in their place)",
        ("characters", "error", "trials", *(f"confidence {name}" if name[0] == "0" else name for name, _ in _SURE)),
        tuple(rows),
        (
            f"Lists of {_LIST:,} phrases out of pypinyin's table; confidence is that of the misspelt characters, those "
            "around them have 0.95.",
            "All of one to all characters are changed, to ones that are written often; a misspelling may be a common "
            "word itself, which is to be left alone unless it was hardly recognised.",
        ),
        text_columns=2,
    )


def _restored(
    corrector: Corrector,
    trials: Iterable[tuple[str, str]],
    sentences: Sequence[str],
    confidence: float | None,
    chance: random.Random,
    *,
    space: str = "",
) -> str:
    right = other = total = 0
    for term, wrong in trials:
        before, after = _halves(chance.choice(sentences), chance, space)
        words = _words(before + wrong + after, confidence, range(len(before), len(before) + len(wrong)))
        corrected = corrector.correct(words)
        right += join_words(corrected.words) == (before + term + after).strip()
        other += any(name != term for name in corrected.terms)
        total += 1
    return f"{report.percent(right / max(total, 1))} ({other})"


def _halves(sentence: str, chance: random.Random, space: str) -> tuple[str, str]:
    """A sentence parted where a term could stand: between words, or behind a comma."""
    if space:
        parts = sentence.split(" ")
        place = chance.randint(1, len(parts) - 1)
        return " ".join(parts[:place]) + space, space + " ".join(parts[place:])
    clauses = re.split(r"(?<=[，、])", sentence)
    place = chance.randint(0, len(clauses))
    return "".join(clauses[:place]), "".join(clauses[place:])


# --- English ----------------------------------------------------------------------------------------------------------


def _rare_english() -> list[str]:
    """Words and names that English lists have, though not among the common ones: what people send as hotwords."""
    common = wordfreq.get_frequency_dict("en", "small")
    every = wordfreq.iter_wordlist("en", "large")
    rare = (word for word in every if word not in common and word.isascii() and word.isalpha() and len(word) >= 6)
    return list(itertools.islice(rare, 20_000))


def _restored_english(sentences: Sequence[str], each: int) -> report.Table:
    chance = random.Random(_SEED)
    pool = _rare_english()
    terms = chance.sample(pool, _LIST)
    corrector = Corrector([Hotword(term.capitalize()) for term in terms])
    rows: list[tuple[str, ...]] = []
    for kind in ENGLISH:
        trials = [
            (term.capitalize(), wrong) for term in terms[: each * 4] if (wrong := misspelt_english(term, kind, chance))
        ]
        cells = [_restored(corrector, trials[:each], sentences, sure, chance, space=" ") for _, sure in _SURE]
        rows.append((kind, str(len(trials[:each])), *cells))
    return report.Table(
        "Misspelt English terms restored (and other terms put in their place)",
        ("error", "trials", *(f"confidence {name}" if name[0] == "0" else name for name, _ in _SURE)),
        tuple(rows),
        (f"{_LIST:,} words and names of six letters or more that are not among the 29,000 commonest.",),
    )


# --- harm -------------------------------------------------------------------------------------------------------------


def _harm(chinese: Sequence[str], english: Sequence[str]) -> tuple[report.Table, float]:
    """Terms put into text that has none; and the worst figure of real text without confidence."""
    chance = random.Random(_SEED)
    short = _phrases(2, 4)
    chains = ["".join(chance.sample(short, 5)) for _ in range(200)]
    everyday = ["".join(words) for words in _everyday(chance, 200)]
    pools = {"phrases": _phrases(2, 9), "names of three characters": _names()}
    texts = {"real text": chinese, "phrases in a row": chains, "common words in a row": everyday}
    rows: list[tuple[str, ...]] = []
    worst = 0.0
    for (text, sentences), (kind, pool), (name, sure) in itertools.product(texts.items(), pools.items(), _SURE):
        figures = [_alarms(sentences, pool, size, sure, chance) for size in _SIZES]
        rows.append((f"Chinese, {text}", kind, name, *(f"{figure:.2f}" for figure in figures)))
        if sentences is chinese and sure is None:
            worst = max(worst, *figures)
    rare = _rare_english()
    for name, sure in _SURE:
        figures = [_alarms(english, rare, size, sure, chance) for size in _SIZES]
        rows.append(("English, real text", "rare words", name, *(f"{figure:.2f}" for figure in figures)))
        worst = max(worst, *figures) if sure is None else worst
    lengths = ", ".join(f"{name} {sum(map(len, each)):,}" for name, each in {**texts, "English": english}.items())
    table = report.Table(
        "Terms put where none was said, per 10,000 characters, by length of the list",
        ("text", "terms", "confidence", *(f"{size:,}" for size in _SIZES)),
        tuple(rows),
        (
            f"Characters: {lengths}. At 0.3 every word was hardly recognised: far worse than any recording should be.",
            "Rows of words are not language: words that never meet stand side by side.",
        ),
        text_columns=3,
    )
    return table, worst


def _unseen(lists: int) -> report.Table:
    """Words changed of text that was not looked at while the rules were found, by lists of terms it does not have."""
    chance = random.Random(_SEED)
    chinese, english = prose.unseen_chinese(), prose.unseen_english()
    phrases, names = _phrases(2, 9), _names()
    pools = {
        "phrases": (chinese, phrases),
        "names of three characters": (chinese, names),
        "both": (chinese, [*chance.sample(phrases, 20_000), *chance.sample(names, 20_000)]),
        "rare words": (english, _rare_english()),
    }
    rows: list[tuple[str, ...]] = []
    often: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (kind, (text, pool)), (name, sure) in itertools.product(pools.items(), _SURE):
        words = _words("。 ".join(text.sentences), sure)
        cells: list[str] = []
        for size in _UNSEEN_SIZES:
            changes = [one for _ in range(lists) for one in _changed(words, text.sentences, pool, size, chance)]
            often[text.language].update(changes)
            cells.append(f"{1000 * len(changes) / (lists * len(words)):.2f}")
        rows.append((text.language, kind, name, *cells))
    return report.Table(
        "Held out: words wrongly changed per 1,000, by length of the list",
        ("text", "terms", "confidence", *(f"{size:,}" for size in _UNSEEN_SIZES)),
        tuple(rows),
        (
            *(f"{text.language}: {_count(text):,} {text.unit} of {text.source}." for text in (chinese, english)),
            f"{lists} lists a figure, drawn at random; terms that stand in the text are left out.",
            *(f"Most often in {name}: {_most(changes)}." for name, changes in often.items()),
        ),
        text_columns=3,
    )


def _count(text: prose.Unseen) -> int:
    return len(_words("。 ".join(text.sentences), None))


def _most(changes: Counter[str]) -> str:
    return ", ".join(f"{change} ({count})" for change, count in changes.most_common(6))


def _changed(
    words: Sequence[Word], sentences: Sequence[str], pool: Sequence[str], size: int, chance: random.Random
) -> list[str]:
    """The words that are another word now, or none, or new."""
    terms = _absent(chance.sample(pool, min(len(pool), size * 2)), sentences)[:size]
    corrected = Corrector([Hotword(term) for term in terms]).correct(words).words
    before, after = ([_WORD_MARKS.sub("", word.text) for word in some] for some in (words, corrected))
    changes: list[str] = []
    for edit in Levenshtein.editops(before, after):
        old = "nothing" if edit.tag == "insert" else before[edit.src_pos]
        new = "nothing" if edit.tag == "delete" else after[edit.dest_pos]
        changes.append(f"{old} to {new}")
    return changes


def _names() -> list[str]:
    return sorted({a + "".join(b) for a in _SURNAMES for b in itertools.product(_GIVEN, repeat=2)})


def _everyday(chance: random.Random, count: int) -> Iterator[list[str]]:
    """Common words drawn as often as they are written."""
    common = {
        w: f for w, f in wordfreq.get_frequency_dict("zh", "small").items() if re.fullmatch(r"[\u4e00-\u9fff]+", w)
    }
    words, weights = list(common), list(common.values())
    for _ in range(count):
        yield chance.choices(words, weights, k=10)


def _alarms(
    sentences: Sequence[str], pool: Sequence[str], size: int, confidence: float | None, chance: random.Random
) -> float:
    """The same figure of several lists, where they are short, so that few terms do not decide it."""
    lists = 5 if size <= 100 else 3
    words = _words("。 ".join(sentences), confidence)
    alarms = characters = 0
    for _ in range(lists):
        terms = _absent(chance.sample(pool, min(len(pool), size * 2)), sentences)[:size]
        corrector = Corrector([Hotword(term) for term in terms])
        alarms += sum(corrector.correct(words).terms.values())
        characters += sum(map(len, sentences))
    return 10_000 * alarms / characters


def _absent(terms: Sequence[str], sentences: Sequence[str]) -> list[str]:
    finder = Finder([units_of(term) for term in terms])
    present = {term for sentence in sentences for _, _, term in finder.find(sentence)}
    return [term for number, term in enumerate(terms) if number not in present]


# --- time -------------------------------------------------------------------------------------------------------------


def _costs(chinese: Sequence[str], english: Sequence[str]) -> tuple[report.Table, float, float]:
    """Median times, and the longest of building and of correcting."""
    chance = random.Random(_SEED)
    rows: list[tuple[str, ...]] = []
    longest = [0.0, 0.0]
    for name, pool, sentences, glue in (
        ("Chinese", _phrases(2, 9), chinese, "，"),
        ("English", _rare_english(), english, " "),
    ):
        words = _words(glue.join(sentences), None)[:1000]
        for size in _SIZES:
            terms = [Hotword(term) for term in chance.sample(pool, size)]
            build = _median(lambda terms=terms: Corrector(terms), 3)
            corrector = Corrector(terms)
            correct = _median(lambda corrector=corrector, words=words: corrector.correct(words), 5)
            longest = [max(longest[0], build), max(longest[1], correct)]
            rows.append((name, f"{size:,}", f"{1000 * build:.0f} ms", f"{1000 * correct:.1f} ms"))
    columns = ("text", "terms", "building", "correcting 1,000 words")
    note = f"Bounds: {_BUILD_BOUND * 1000:.0f} ms and {_CORRECT_BOUND * 1000:.0f} ms. One thread; medians."
    return report.Table("Time", columns, tuple(rows), (note,)), longest[0], longest[1]


def _median(work: Callable[[], object], times: int) -> float:
    taken: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    raise SystemExit(main())
