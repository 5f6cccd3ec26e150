"""What is asked over HTTP, right and wrong, and answers without what differs from one to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

KEY, WRONG, ADMIN = "soak-right-key-5d1c", "soak-wrong-key-77ab", "soak-admin-key-90e2"
FILE_NAME = "soak-file-name.wav"
_VOLATILE = {"task_id", "request_id", "id", "created", "item_id", "event_id", "processing_time", "timestamp"}
_NOISE = bytes(range(7, 250)) * 20
"""Nothing that a decoder knows."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request. `file` is the form's field for the recording ("": it is the body), `broken` whether noise
    takes its place, `status` what must come back, `weight` how often it is asked."""

    name: str
    path: str
    file: str = "file"
    form: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    key: str = KEY
    broken: bool = False
    status: int = 200
    weight: int = 10

    @property
    def headers(self) -> dict[str, str]:
        """Its key."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def content(self, wav: bytes) -> dict[str, Any]:
        """The request's body, as httpx takes it."""
        sound = _NOISE if self.broken else wav
        if not self.file:
            return {"content": sound}
        return {"files": {self.file: (FILE_NAME, sound)}, "data": dict(self.form)}


_OPENAI, _ALIBABA, _ODD, _WHISPER = "/v1/audio/transcriptions", "/stream/v1/asr", "/v1/asr", "/asr"
_LANGUAGE = {"language": "en"}

ASKS = (
    Ask("openai json", _OPENAI, form=_LANGUAGE | {"response_format": "json"}),
    Ask("openai text", _OPENAI, form=_LANGUAGE | {"response_format": "text"}),
    Ask("openai srt", _OPENAI, form={"response_format": "srt"}),
    Ask(
        "openai verbose",
        _OPENAI,
        form=_LANGUAGE | {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
    ),
    Ask("openai sse", _OPENAI, form=_LANGUAGE | {"response_format": "json", "stream": "true"}),
    Ask("openai speakers", _OPENAI, form=_LANGUAGE | {"response_format": "diarized_json"}, weight=3),
    Ask("alibaba", f"{_ALIBABA}?format=wav", file=""),
    Ask("oddasr", _ODD, file="audio", form={"output_format": "txt"}),
    Ask("whisper-asr", f"{_WHISPER}?output=json&language=en", file="audio_file"),
    Ask("openai, wrong key", _OPENAI, key=WRONG, status=401, weight=2),
    Ask("openai, noise", _OPENAI, broken=True, status=400, weight=2),
    Ask("openai, unknown model", _OPENAI, form={"model": "nobody-s-model"}, status=404, weight=2),
    Ask("openai, wrong field", _OPENAI, form={"response_format": "papyrus"}, status=400, weight=2),
    Ask("alibaba, wrong key", f"{_ALIBABA}?format=wav", file="", key=WRONG, status=401, weight=2),
    Ask("alibaba, noise", f"{_ALIBABA}?format=wav", file="", broken=True, status=400, weight=2),
    Ask("oddasr, noise", _ODD, file="audio", broken=True, status=400, weight=2),
    Ask("whisper-asr, noise", f"{_WHISPER}?output=json", file="audio_file", broken=True, status=422, weight=2),
)


def plain(body: str) -> str:
    """An answer without ids and clocks: what must be the same each time."""
    try:
        return json.dumps(_still(json.loads(body)), ensure_ascii=False, sort_keys=True)
    except ValueError:
        pass
    if body.startswith("data:"):
        events = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
        return "\n".join(plain(event) if event.startswith("{") else event for event in events)
    return body


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _still(one) for name, one in value.items() if name not in _VOLATILE}
    if isinstance(value, list):
        return [_still(one) for one in value]
    if isinstance(value, str):  # request ids stand in messages, too
        return re.sub(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(id)", value)
    return value
