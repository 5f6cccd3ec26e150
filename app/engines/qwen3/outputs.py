"""What a Qwen3-ASR says, token by token: the language, then the text, of which only what will stand is shown.

An answer is "language English<asr_text>the text", "language None<asr_text>" where no speech is heard, or the text alone
where the prompt said the language.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field

from app.engines.qwen3.languages import begins_a_name
from app.engines.qwen3.loops import LoopGuard
from app.engines.qwen3.vocabulary import ASR_TEXT, Vocabulary

_TAG = ASR_TEXT.encode()
_LANGUAGE = "language"
_LONGEST_HEAD = 64
"""Characters. The longest name there is has 28."""
_HEAD = re.compile(rf"\s*(?:{_LANGUAGE}(?:\s+(?P<name>[^<>]*))?)?\s*", re.IGNORECASE)
_NO_LANGUAGE = "none"


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token of the text: its id, its UTF-8 bytes (perhaps a part of a character), its natural-log probability.

    `start` and `end` are the characters of the text that have bytes of it; equal for a token that is blank.
    """

    id: int
    utf8: bytes
    logprob: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `language` is the model's name for it, None where it said none or heard no speech.

    `text` has single spaces, none at its ends. `tokens` are the text's own, without head, end and what was cut.
    """

    text: str
    language: str | None
    tokens: tuple[TextToken, ...]
    warnings: tuple[str, ...] = ()


class Output:
    """Takes one answer's tokens as they arrive. `text` only ever grows, and begins the final text.

    `forced` is the language the prompt ended in, `prefix` the text the prompt went on with: the answer's text goes on
    from it, and begins with it.
    """

    def __init__(self, vocabulary: Vocabulary, *, forced: str | None = None, prefix: str = "") -> None:
        self.language = forced
        self.finished = False
        self._vocabulary = vocabulary
        self._forced = forced is not None
        self._head: _Head | None = _Head()
        self._guard = LoopGuard()
        self._tokens: list[_Token] = []
        self._read = 0
        self._writing = _Writing(prefix)

    @property
    def text(self) -> str:
        """The text so far, whole characters only."""
        return "".join(self._writing.characters)

    @property
    def looping(self) -> bool:
        """Whether the model repeats itself without end: the rest is not worth waiting for, and not looked at."""
        return self._guard.looping

    def add(self, token: int, logprob: float) -> None:
        """The next token and its natural-log probability. What comes after the end is not looked at."""
        if self.finished or self.looping:
            return
        if token in self._vocabulary.ends:
            self.finished = True
            return
        utf8 = _TAG if self._head and token == self._vocabulary.asr_text else self._vocabulary.token_bytes(token)
        if not utf8:
            return
        if self._head is None:
            self._speak(_Token(token, utf8, logprob))
        elif self._head.add(_Token(token, utf8, logprob)):
            self._behead(self._head)

    def finish(self) -> Answer:
        """The whole answer, once no more tokens come."""
        if self._head is not None:
            self._head.close(forced=self._forced)
            self._behead(self._head)
        self.finished = True
        kept = self._tokens[: self._guard.kept + self._rest_of_sentence()]
        self._hear(len(kept))
        if not self.looping:  # what a cut leaves of a character goes with the rest of the loop
            self._writing.close()
        return Answer(
            text=self.text,
            language=self.language,
            tokens=self._writing.placed(kept),
            warnings=("repetition_cut",) if self.looping else (),
        )

    def _rest_of_sentence(self) -> int:
        """Tokens up to the next mark after a cut, if one is in what repeats: loops seldom begin where sentences do."""
        kept = self._guard.kept
        for more in range(self._guard.unit):
            if _ends_in_a_mark(self._tokens[kept + more - 1].utf8):
                return more
        return 0

    def _behead(self, head: _Head) -> None:
        self._head = None
        if head.name is not None:
            self.language = None if head.name.lower() == _NO_LANGUAGE else head.name or self.language
        for token in head.text:
            self._speak(token)

    def _speak(self, token: _Token) -> None:
        if self.looping:
            return
        self._tokens.append(token)
        self._guard.add(token.id)
        self._hear(self._guard.shown)

    def _hear(self, count: int) -> None:
        for token in self._tokens[self._read : count]:
            self._writing.add(token.utf8)
        self._read = max(self._read, count)


@dataclass(frozen=True, slots=True)
class _Token:
    id: int
    utf8: bytes
    logprob: float


@dataclass(slots=True)
class _Head:
    """The beginning of an answer, until it is known which part of it is text: `text`, and the language's `name`."""

    name: str | None = None
    text: list[_Token] = field(default_factory=list["_Token"])

    def add(self, token: _Token) -> bool:
        """Whether it is known with this token."""
        self.text.append(token)
        said = b"".join(token.utf8 for token in self.text)
        before, tag, after = said.partition(_TAG)
        if not tag:
            return not _may_begin_a_head(said)
        found = _HEAD.fullmatch(before.decode(errors="replace"))
        if found is None:  # text, which a tag has no place in
            self.text = _without_tag(self.text)
            return True
        self.name = (found["name"] or "").strip()
        self.text = [_Token(token.id, after, token.logprob)] if after else []
        return True

    def close(self, *, forced: bool) -> None:
        """Nothing follows: a head that was never completed is no text; where the language was forced it is."""
        said = b"".join(token.utf8 for token in self.text).partition(b"<")[0].decode(errors="replace")
        found = _HEAD.fullmatch(said)
        name = (found["name"] or "").strip() if found is not None else ""
        if not forced and found is not None and said.strip() and begins_a_name(name):
            self.name = name or None
            self.text = []


def _ends_in_a_mark(utf8: bytes) -> bool:
    said = utf8.decode(errors="ignore").strip()
    return bool(said) and unicodedata.category(said[-1])[0] == "P"


def _may_begin_a_head(said: bytes) -> bool:
    """Whether more tokens could make these bytes a head, up to and with its tag."""
    for cut in range(min(len(_TAG) - 1, len(said)), 0, -1):
        if _TAG.startswith(said[-cut:]):
            said = said[:-cut]
            break
    text = said.decode(errors="replace")
    begun = text.lstrip().lower()
    return len(text) <= _LONGEST_HEAD and (_LANGUAGE.startswith(begun) or _HEAD.fullmatch(text) is not None)


def _without_tag(tokens: list[_Token]) -> list[_Token]:
    """Tokens but those that the tag is made of; the tag may be spelled, and begin and end inside tokens."""
    start = b"".join(token.utf8 for token in tokens).index(_TAG)
    end = start + len(_TAG)
    left: list[_Token] = []
    place = 0
    for token in tokens:
        size = len(token.utf8)
        first, last = max(start - place, 0), max(end - place, 0)
        rest = token.utf8[:first] + token.utf8[max(first, last) :]
        if rest:
            left.append(_Token(token.id, rest, token.logprob))
        place += size
    return left


class _Writing:
    """Bytes to the text's characters, with one space for whatever is blank; and back to where each token stands."""

    def __init__(self, prefix: str) -> None:
        self.characters: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._places: list[int] = []  # of each character, the byte it begins with; the text's own begin with 0
        self._ends: list[int] = []
        self._taken = 0
        self._begun = 0  # the byte that the character being read begins with
        self._blank: int | None = None
        for character in prefix:
            self._write(character, -1, -1)

    def add(self, utf8: bytes) -> None:
        """More bytes, one at a time so that each character's own are known."""
        for value in utf8:
            decoded = self._decoder.decode(bytes([value]))
            self._taken += 1
            unread = len(self._decoder.getstate()[0])
            for number, character in enumerate(decoded):
                # A second one is a byte that cannot go on the character before it, which was replaced.
                last = number == len(decoded) - 1
                until = self._taken - unread if last else self._taken - unread - 1
                self._write(character, self._begun, until)
                self._begun = until

    def close(self) -> None:
        """No bytes follow: those of a broken character become U+FFFD."""
        for character in self._decoder.decode(b"", final=True):
            self._write(character, self._begun, self._taken)

    def placed(self, tokens: list[_Token]) -> tuple[TextToken, ...]:
        """The tokens whose bytes were added, in order, with the characters they are of; none where there is no text."""
        if not self._places or self._places[-1] < 0:
            return ()
        placed: list[TextToken] = []
        at = 0
        for token in tokens:
            until = at + len(token.utf8)
            start = bisect_right(self._ends, at)  # the first character that ends after the token begins
            end = max(start, bisect_right(self._places, until - 1))
            placed.append(TextToken(token.id, token.utf8, token.logprob, start, end))
            at = until
        return tuple(placed)

    def _write(self, character: str, begin: int, end: int) -> None:
        if character.isspace():
            self._blank = begin if self._blank is None else self._blank
            return
        if self._blank is not None and self.characters:
            self._put(" ", self._blank, self._blank)
        self._blank = None
        self._put(character, begin, end)

    def _put(self, character: str, begin: int, end: int) -> None:
        self.characters.append(character)
        self._places.append(begin)
        self._ends.append(end)
