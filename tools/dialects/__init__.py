"""Clients of every live protocol that the server speaks, with one interface."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from tools.dialects.aliyun import LiveClient
from tools.dialects.funasr import FunasrSession
from tools.dialects.hearing import Heard, Wishes
from tools.dialects.oddasr import OddasrSession
from tools.dialects.openai import OpenaiSession
from tools.dialects.qwen import QwenSession
from tools.dialects.session import PATIENCE, RATE, Session, Tell
from tools.dialects.vllm import VllmSession
from tools.dialects.wyoming import WyomingSession

if TYPE_CHECKING:
    from tools.dialects.session import Sixteen

DIALECTS: Mapping[str, type[Session]] = MappingProxyType(
    {
        "aliyun": LiveClient,
        "funasr": FunasrSession,
        "qwen": QwenSession,
        "openai": OpenaiSession,
        "vllm": VllmSession,
        "oddasr": OddasrSession,
        "wyoming": WyomingSession,
    }
)


async def said(
    protocol: str,
    url: str,
    samples: Sixteen,
    pace: float | None = None,
    wishes: Wishes | None = None,
    *,
    rate: int = RATE,
    patience: float = PATIENCE,
    tell: Tell | None = None,
) -> Heard:
    """Play sound as a stream in a protocol (a name in DIALECTS), `pace` times as fast as it was recorded or as fast as
    it is taken, and hear all that is said of it.

    Raises:
        UnspeakableError: the protocol has no way to say a wish.
        StreamFailedError: the server is not there, refused, or gave up.
    """
    async with DIALECTS[protocol](url, wishes, rate=rate, tell=tell) as session:
        await session.play(samples, pace)
        return await session.stop(patience)
