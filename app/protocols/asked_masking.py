"""The sensitive words that a request wants masked: those it brings along, and a stored list's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import get_args

from app.domain.errors import InvalidParameter
from app.domain.masking import Masking, MaskingStyle
from app.pipeline.text.terms import check_number, read_terms, split_terms
from app.service.service import SpeechService
from app.settings import Settings

_LIST_ID = re.compile(r"vocab_\w+")
STYLES: tuple[MaskingStyle, ...] = get_args(MaskingStyle)


async def asked_masking(
    terms: Sequence[str], style: MaskingStyle, settings: Settings, *, param: str
) -> tuple[Masking, ...]:
    """What is to be masked of `terms`, each by itself, which stand in the field `param`. None of them is no masking.

    Raises:
        InvalidParameter: a term makes no sense, or there are more than MAX_HOTWORDS.
    """
    # In a thread, here and below: ten thousand terms take a while to read.
    read = await asyncio.to_thread(read_terms, terms, param=param, most=settings.max_hotwords) if terms else ()
    return (Masking(tuple(dict.fromkeys(read)), style),) if read else ()


async def said_masking(
    said: Sequence[str],
    style: str | None,
    service: SpeechService,
    owner: str,
    *,
    param: str,
    lists: Sequence[str] = (),
) -> tuple[Masking, ...]:
    """The same where one field may also name stored lists: `said` are strings of terms (a JSON array, or commas or line
    ends between them), any of which may be a list's id instead. `lists` are ids that stand elsewhere.

    `style` is one of STYLES; None or "": stars.

    Raises:
        InvalidParameter: a term or the style makes no sense, or there are more than MAX_HOTWORDS terms together.
        UnknownVocabulary: `owner` has no such list.
        VocabulariesUnavailable: the database cannot be used.
    """
    most = service.settings.max_hotwords
    chosen = masking_style(style, param=f"{param}_style")
    split = partial(_split, said, param=param, most=most)
    plain, ids = await asyncio.to_thread(split) if said else ([], [])
    together: dict[str, None] = {}
    for masking in await asked_masking(plain, chosen, service.settings, param=param):
        together |= dict.fromkeys(masking.terms)
    for list_id in dict.fromkeys((*ids, *lists)):
        together |= dict.fromkeys(await service.vocabularies.words_of(owner, list_id, param=param))
        if len(together) > most:
            raise InvalidParameter(f"There are more than {most} sensitive words together.", param=param)
    return (Masking(tuple(together), chosen),) if together else ()


def _split(said: Sequence[str], *, param: str, most: int) -> tuple[list[str], list[str]]:
    """The terms in the strings `said`, and the ids among them."""
    plain: list[str] = []
    ids: dict[str, None] = {}
    for text in said:
        for term in split_terms(text, param=param, most=most):
            if _LIST_ID.fullmatch(name := term.strip()):
                ids[name] = None
            else:
                plain.append(term)
        check_number(len(plain) + len(ids), param=param, most=most)
    return plain, list(ids)


def check_together(maskings: Sequence[Masking], settings: Settings, *, param: str) -> None:
    """That there are not too many words where several fields have some.

    Raises:
        InvalidParameter: there are.
    """
    most = settings.max_hotwords
    if sum(len(masking.terms) for masking in maskings) > most:
        raise InvalidParameter(f"There are more than {most} sensitive words together.", param=param)


def masking_style(said: str | None, *, param: str) -> MaskingStyle:
    """How terms are to be masked, as the field `param` says it.

    Raises:
        InvalidParameter: it is none of STYLES.
    """
    for style in STYLES:
        if style == (said or "stars").strip().lower():
            return style
    raise InvalidParameter(f"{param} must be one of: {', '.join(STYLES)}.", param=param)
