"""What the decoder pool and its workers say to each other: one JSON object a line, jobs in, replies out.

Paths travel, sound does not: a worker writes it to the file the job names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.audio.declared import DeclaredSound
from app.domain.errors import (
    AudioTooLong,
    AudioTooShort,
    EmptyAudio,
    EngineFailure,
    NoAudioStream,
    SpeechError,
    StorageFull,
    UndecodableAudio,
)

READY = "ready"
AUDIO_TRUNCATED = "audio_truncated"
"""Warning: the file ends, or breaks, before the length it promises; what could be decoded was kept."""
CHANNELS_ALIKE = "channels_alike"
"""Warning: channels were to be kept apart, and all of them are the same sound."""

_BYTES_PER_SECOND = 48_000 * 2 * 4
_LEAST_BYTE_CAP = 256 * 1024 * 1024
_LEAVES = (EmptyAudio, UndecodableAudio, NoAudioStream, AudioTooShort, AudioTooLong, EngineFailure, StorageFull)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one decode may cost: seconds of sound, and bytes of it as decoded, before mixing and resampling.

    The seconds alone do not bound the work: an hour of 384 kHz in sixteen channels is 88 GB to read through.
    """

    max_seconds: float
    max_bytes: int

    @classmethod
    def for_seconds(cls, max_seconds: float) -> Limits:
        """Limits for recordings up to `max_seconds`: bytes for as long in 48 kHz stereo, never below 256 MiB."""
        return cls(max_seconds, max(_LEAST_BYTE_CAP, int(max_seconds * _BYTES_PER_SECOND)))


@dataclass(frozen=True, slots=True)
class Job:
    """Decode `path` into the existing file `out`, using at most `cpu_seconds` of processor time.

    `declared` is what the bytes are if they have no container. With `split` the channels are kept apart. Of a recording
    longer than `leading` seconds (None: any), hardly more than those are decoded.
    """

    path: Path
    out: Path
    limits: Limits
    cpu_seconds: float
    declared: DeclaredSound | None = None
    split: bool = False
    leading: float | None = None

    def to_line(self) -> bytes:
        """The job as a line."""
        # Workers share the working directory, but nothing should hang on that.
        return _line({**asdict(self), "path": str(self.path.absolute()), "out": str(self.out.absolute())})

    @classmethod
    def from_line(cls, line: bytes) -> Job:
        """The job a line holds."""
        fields = json.loads(line)
        declared = DeclaredSound(**fields["declared"]) if fields["declared"] else None
        paths = Path(fields["path"]), Path(fields["out"])
        return cls(
            *paths, Limits(**fields["limits"]), fields["cpu_seconds"], declared, fields["split"], fields["leading"]
        )


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """What came of a decode: samples written for each channel (int16 16 kHz), seconds the container claims, warnings.

    The file holds `channels` interleaved: one, unless they were to be kept apart. Times in the sound multiplied by
    `time_scale` are times on the container's clock.
    """

    samples: int
    container_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    time_scale: float = 1.0
    channels: int = 1


def report_line(report: DecodeReport) -> bytes:
    """A worker's answer to a job that went well."""
    return _line({"report": asdict(report)})


def error_line(error: SpeechError) -> bytes:
    """A worker's answer to a job that did not."""
    return _line({"error": type(error).__name__, "message": error.message})


def ready_line() -> bytes:
    """A worker's first line: everything is imported, jobs may come."""
    return _line(READY)


def read_reply(line: bytes) -> DecodeReport:
    """The report in a worker's answer.

    Raises:
        SpeechError: the leaf the worker named.
        ValueError: the line is no answer at all.
    """
    reply: Any = json.loads(line)
    if not isinstance(reply, dict):
        raise ValueError("not a reply")
    if "report" in reply:
        report: dict[str, Any] = reply["report"]
        return DecodeReport(
            report["samples"],
            report["container_seconds"],
            tuple(report["warnings"]),
            report["time_scale"],
            report["channels"],
        )
    leaf = next((leaf for leaf in _LEAVES if leaf.__name__ == reply.get("error")), EngineFailure)
    raise leaf(str(reply.get("message", "")))


def _line(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
