"""Clients of the live protocols, as tests use them: tools.dialects has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.dialects import said
from tools.dialects.aliyun import LiveClient, Message, listen
from tools.dialects.aliyun import Messages as Heard
from tools.dialects.hearing import Frame
from tools.dialects.hearing import StreamFailedError as TaskFailedError
from tools.dialects.session import FRAME, PATIENCE, RATE

if TYPE_CHECKING:
    from tools.dialects.session import Sixteen

__all__ = [
    "FRAME",
    "PATIENCE",
    "RATE",
    "Frame",
    "Heard",
    "LiveClient",
    "Message",
    "TaskFailedError",
    "funasr",
    "listen",
]


async def funasr(url: str, sound: Sixteen, pace: float | None) -> str:
    """FunASR's two-pass protocol: its finished sentences."""
    return (await said("funasr", url, sound, pace)).text
