"""Hotword correction: terms it restores, and terms it puts where none was said: `python -m benchmarks.hotwords`.

Terms are put into real sentences, misspelt as recognisers do (homophones, another tone, sounds that accents confuse,
a syllable that is merely alike) and corrected. Then text in which none of the terms stands is corrected towards lists
of 10 to 5,000 terms: everything that changes there is harm. Last, what building and correcting takes. Needs no model.
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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import wordfreq
from pypinyin.constants import PHRASES_DICT, PINYIN_DICT

from app.domain.hotwords import Hotword
from app.domain.transcript import Word, join_words
from app.pipeline.hotwords.correction import Corrector
from app.pipeline.hotwords.finding import Finder
from app.pipeline.hotwords.sounds import Sounds, Syllable
from app.pipeline.hotwords.units import units_of
from app.settings import available_cores
from benchmarks import corpus, report

_SEED = 20
_SURE: tuple[tuple[str, float | None], ...] = (("no confidence", None), ("0.3", 0.3), ("0.95", 0.95))
_SIZES = 10, 100, 1000, 5000
_LENGTHS = (2, 2), (3, 3), (4, 4), (5, 9)
_LIST = 1000
"""Terms in the list while restoring is measured."""
_COMMON_CHARACTER = 1e-5
"""A recogniser writes characters that are written often."""
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建文玲志斌浩宇欣怡子涵梓轩雨泽俊佳慧晨阳诗琪睿博思远嘉懿"
_WORD = re.compile(r"(\s*)([\u4e00-\u9fff][^\w\s]*|[^\s\u4e00-\u9fff]+)")
_HAN_SENTENCE = re.compile(r"[\u4e00-\u9fff，、]{8,}")
_BUILD_BOUND, _CORRECT_BOUND, _HARM_BOUND = 0.5, 0.05, 5.0

Errors = dict[str, list[tuple[str, str]]]


def main() -> int:
    """Print the tables; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the terms")
    parser.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    given = parser.parse_args()
    each = 20 if given.quick else 100
    chinese, english = _chinese_sentences(), _english_sentences()
    harm, worst = _harm(chinese, english)
    costs, build, correct = _costs(chinese, english)
    command = "python -m benchmarks.hotwords" + (" --quick" if given.quick else "")
    result = report.Report(command, (_setting(),))
    result.tables += [_restored_chinese(chinese, each), _restored_english(english, each), harm, costs]
    print(result.render(markdown=given.markdown))
    if not given.quick:
        result.save("hotwords")
    return 0 if build <= _BUILD_BOUND and correct <= _CORRECT_BOUND and worst <= _HARM_BOUND else 1


def _setting() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pypinyin", "wordfreq", "rapidfuzz"))
    return f"{available_cores()} cores, Python {platform.python_version()}, {versions}"


# --- text -------------------------------------------------------------------------------------------------------------


def _chinese_sentences() -> list[str]:
    """Real Chinese on every machine that has this project: its README, two packages' descriptions, known recordings."""
    texts = [_prose(Path("README_zh.md").read_text(encoding="utf-8"))]
    texts += [str(importlib.metadata.metadata(name).json["description"]) for name in ("pypinyin", "opencc")]
    manifest = corpus.SHARED_AUDIO / "manifest.tsv"
    if manifest.is_file():
        texts.append(manifest.read_text(encoding="utf-8"))
    return [sentence.strip("，、") for text in texts for sentence in _HAN_SENTENCE.findall(text)]


def _english_sentences() -> list[str]:
    pages = [Path("README.md"), *sorted(Path("docs").glob("*.md")), *sorted(Path("docs/decisions").glob("*.md"))]
    pages = [page for page in pages if page.name != "hotwords.md"]
    prose = " ".join(_prose(page.read_text(encoding="utf-8")) for page in pages)
    return [sentence for sentence in re.findall(r"[A-Z][A-Za-z ,']{30,}[.:;]", prose) if sentence.isascii()]


def _prose(markdown: str) -> str:
    """Without code, links' targets and tables."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", markdown, flags=re.DOTALL)
    return " ".join(line for line in text.splitlines() if not line.startswith("|"))


def _words(text: str, confidence: float | None, doubtful: range = range(0)) -> list[Word]:
    """Recognised words: a character or a word each, with its marks. Those that begin in `doubtful` have `confidence`,
    the others 0.95 where any is given."""
    found: list[Word] = []
    for number, match in enumerate(_WORD.finditer(text)):
        sure = confidence if confidence is None or match.start(2) in doubtful or not doubtful else 0.95
        found.append(Word(match[2], number * 0.2, number * 0.2 + 0.2, sure, bool(match[1])))
    return found


# --- Chinese misspelt -------------------------------------------------------------------------------------------------


class _Speller:
    """Writes syllables with other characters. Everything comes from pypinyin's table of readings."""

    def __init__(self) -> None:
        self._sounds = Sounds()
        frequencies = wordfreq.get_frequency_dict("zh", "small")
        self._exact: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
        self._toneless: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._fuzzy: defaultdict[str, list[str]] = defaultdict(list)
        self._near: defaultdict[str, list[str]] = defaultdict(list)
        for code in PINYIN_DICT:
            character = chr(code)
            if frequencies.get(character, 0.0) < _COMMON_CHARACTER:
                continue
            syllable = self.read(character)[0]
            self._exact[syllable[:3]].append(character)
            self._toneless[syllable[:2]].append(character)
            self._fuzzy[syllable.key].append(character)
            self._near[syllable.initial].append(character)

    def read(self, text: str) -> list[Syllable]:
        return self._sounds.readings(text)[0]

    def misspelt(self, term: str, kind: str, chance: random.Random) -> str | None:
        """The term with some characters written otherwise; None where there is no such way."""
        syllables = self.read(term)
        signs = list(term)
        places = chance.sample(range(len(signs)), len(signs))
        if kind in ("homophones", "other tones"):
            changed = 0
            for place in places[: chance.randint(1, len(signs))]:
                changed += self._swap(signs, place, syllables[place], kind, chance)
            return "".join(signs) if changed else None
        if not any(self._swap(signs, place, syllables[place], kind, chance) for place in places):
            return None
        for place in range(len(signs)):
            if signs[place] == term[place] and chance.random() < 0.5:
                self._swap(signs, place, syllables[place], "homophones", chance)
        return "".join(signs)

    def _swap(self, signs: list[str], place: int, syllable: Syllable, kind: str, chance: random.Random) -> bool:
        initial, final, tone, key = syllable
        pool = {
            "homophones": lambda: self._exact[initial, final, tone],
            "other tones": lambda: [c for c in self._toneless[initial, final] if self.read(c)[0].tone != tone],
            "confused sounds": lambda: [c for c in self._fuzzy[key] if self.read(c)[0][:2] != (initial, final)],
            "one other syllable": lambda: [c for c in self._near[initial] if self.read(c)[0].key != key],
        }[kind]()
        pool = [character for character in pool if character != signs[place]]
        if pool:
            signs[place] = chance.choice(pool)
        return bool(pool)


_KINDS = "homophones", "other tones", "confused sounds", "one other syllable"


def _phrases(least: int, most: int) -> list[str]:
    return sorted(phrase for phrase in PHRASES_DICT if least <= len(phrase) <= most and phrase.isalpha())


def _restored_chinese(sentences: Sequence[str], each: int) -> report.Table:
    chance = random.Random(_SEED)
    speller = _Speller()
    rows: list[tuple[str, ...]] = []
    for least, most in _LENGTHS:
        pool = _phrases(least, most)
        terms = chance.sample(pool, min(_LIST, len(pool)))
        terms += chance.sample(_phrases(2, 9), max(0, _LIST - len(terms)))
        asked = terms[: each * 2]
        corrector = Corrector([Hotword(term) for term in dict.fromkeys(terms)])
        for kind in _KINDS:
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

_SPELLINGS = {
    "another spelling": (
        ("ph", "f"),
        ("c", "k"),
        ("k", "c"),
        ("ie", "y"),
        ("y", "i"),
        ("z", "s"),
        ("ll", "l"),
        ("l", "ll"),
    ),
    "another vowel": (("a", "e"), ("e", "i"), ("i", "e"), ("o", "u"), ("u", "o"), ("ea", "ee")),
    "another consonant": (("b", "p"), ("d", "t"), ("t", "d"), ("g", "k"), ("m", "n"), ("n", "m"), ("v", "f")),
}


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
    for kind in ("two words", *_SPELLINGS):
        trials = [
            (term.capitalize(), wrong) for term in terms[: each * 4] if (wrong := _misspelt_english(term, kind, chance))
        ]
        cells = [_restored(corrector, trials[:each], sentences, sure, chance, space=" ") for _, sure in _SURE]
        rows.append((kind, str(len(trials[:each])), *cells))
    return report.Table(
        "Misspelt English terms restored (and other terms put in their place)",
        ("error", "trials", *(f"confidence {name}" if name[0] == "0" else name for name, _ in _SURE)),
        tuple(rows),
        (f"{_LIST:,} words and names of six letters or more that are not among the 29,000 commonest.",),
    )


def _misspelt_english(term: str, kind: str, chance: random.Random) -> str | None:
    if kind == "two words":
        place = chance.randint(2, len(term) - 2)
        return f"{term[:place]} {term[place:]}"
    ways = [(a, b) for a, b in _SPELLINGS[kind] if a in term[1:]]
    if not ways:
        return None
    a, b = chance.choice(ways)
    place = chance.choice([m.start() for m in re.finditer(re.escape(a), term) if m.start() > 0])
    return term[:place] + b + term[place + len(a) :]


# --- harm -------------------------------------------------------------------------------------------------------------


def _harm(chinese: Sequence[str], english: Sequence[str]) -> tuple[report.Table, float]:
    """Terms put into text that has none; and the worst figure of real text without confidence."""
    chance = random.Random(_SEED)
    short = _phrases(2, 4)
    chains = ["".join(chance.sample(short, 5)) for _ in range(200)]
    everyday = ["".join(words) for words in _everyday(chance, 200)]
    names = sorted({a + "".join(b) for a in _SURNAMES for b in itertools.product(_GIVEN, repeat=2)})
    pools = {"phrases": _phrases(2, 9), "names of three characters": names}
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
