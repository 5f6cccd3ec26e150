"""Tokens of transcripts in which words were masked: which of them may still be told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from app.domain.transcript import Segment, TokenLogprob, join_words


def tokens_kept(segments: Sequence[Segment], alike: Sequence[Sequence[bool]]) -> list[list[bool]]:
    """For each word of each segment, whether its tokens can stay; `alike` says which words stayed as they were.

    A recogniser gives a token of several characters to the first word that it has a part in. So what stands before a
    masked word, or at the end of a segment (nobody may know yet what follows), keeps its tokens only if they say no
    more than can be read up to there. Where it is not known what they say, they go before a masked word.
    """
    kept: list[list[bool]] = []
    masked_next = False
    for segment, same in zip(reversed(segments), reversed(alike), strict=True):
        texts = _texts(segment)
        kept.append([_keeps(segment, same, place, texts, masked_next) for place in range(len(segment.words))])
        masked_next = _begins_masked(segment, same, masked_next)
    return kept[::-1]


def tokens_left(segment: Segment, kept: Sequence[bool]) -> tuple[tuple[int, ...], tuple[TokenLogprob, ...]]:
    """A segment's tokens, of the words that keep them; none where it is not known which word they are of."""
    places = _places(segment)
    spans = [range(*ends) for ends, keeps in zip(pairwise(places), kept, strict=True) if keeps]
    of_words = len(segment.tokens) == places[-1]
    tokens = tuple(segment.tokens[place] for some in spans for place in some) if of_words else ()
    of_words = len(segment.logprobs) == places[-1]
    logprobs = tuple(segment.logprobs[place] for some in spans for place in some) if of_words else ()
    return tokens, logprobs


def _keeps(segment: Segment, same: Sequence[bool], place: int, texts: Sequence[bytes], masked_next: bool) -> bool:
    words = segment.words
    if not same[place]:
        return False
    following = next((n for n in range(place + 1, len(words)) if words[n].tokens or not same[n]), len(words))
    if not words[place].tokens or (following < len(words) and same[following]):
        return True
    if not texts:
        return following == len(words) and not masked_next
    return texts[place].strip() in join_words(words[place:following]).encode()


def _begins_masked(segment: Segment, same: Sequence[bool], masked_next: bool) -> bool:
    """Whether a token from before the segment may have a part in a masked word."""
    for word, alike in zip(segment.words, same, strict=True):
        if word.tokens or not alike:
            return not alike
    return masked_next


def _texts(segment: Segment) -> list[bytes]:
    """What each word's tokens say; nothing where that is not known."""
    places = _places(segment)
    if len(segment.logprobs) != places[-1]:
        return []
    return [b"".join(token.utf8 for token in segment.logprobs[first:after]) for first, after in pairwise(places)]


def _places(segment: Segment) -> list[int]:
    """Where the tokens of each word begin among the segment's, and where the last end."""
    places = [0]
    for word in segment.words:
        places.append(places[-1] + len(word.tokens))
    return places
