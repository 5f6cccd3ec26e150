"""What was said in each clip: as somebody wrote it down, or else as the same model hears it at its most careful."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import accuracy
from benchmarks.baseline import Baseline
from benchmarks.measures import Clip, Errors, total_errors
from benchmarks.report import RESULTS

PSEUDO = (
    "LibriSpeech clips come without words here: their reference is a pseudo-reference, the float32 transcript of "
    "faster-whisper, one clip at a time. Their figures are differences from that, not errors."
)
_REMEMBERED = RESULTS / "pseudo-references.json"
"""Pseudo-references by everything that could change them: they take minutes, and three commands want them."""


def gather(clips: Sequence[Clip], weights: Path, threads: int) -> dict[str, str]:
    """References by clip name. What nobody wrote down is transcribed in float32, one clip at a time: minutes."""
    known = {clip.name: clip.reference for clip in clips}
    unknown = {clip.name: clip for clip in clips if not clip.reference}
    if not unknown:
        return known
    origin = _origin(weights)
    keys = {name: f"{origin}:{_sha256(clip.path)}" for name, clip in unknown.items()}
    remembered: dict[str, str] = json.loads(_REMEMBERED.read_text("utf-8")) if _REMEMBERED.exists() else {}
    if unheard := [clip for name, clip in unknown.items() if keys[name] not in remembered]:
        with Baseline(weights, compute_type="float32", threads=threads) as careful:
            heard = careful.run(unheard, label="pseudo-references (float32)").texts
        remembered |= {keys[name]: text for name, text in heard.items()}
        RESULTS.mkdir(exist_ok=True)
        _REMEMBERED.write_text(json.dumps(remembered, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return known | {name: remembered[key] for name, key in keys.items()}


def reference_of(clip: Clip, references: Mapping[str, str]) -> str:
    """What was said in `clip`: of a joined file, what was said in its parts."""
    return " ".join(references[name] for name in clip.parts) if clip.parts else references[clip.name]


def scored(clips: Sequence[Clip], texts: Mapping[str, str], references: Mapping[str, str]) -> Errors:
    """The errors of `texts` (by clip name) over all the clips together."""
    return total_errors(
        accuracy.errors(reference_of(clip, references), texts[clip.name], clip.language) for clip in clips
    )


def _origin(weights: Path) -> str:
    versions = [importlib.metadata.version(name) for name in ("faster-whisper", "ctranslate2")]
    return ":".join([*versions, _sha256(weights / "model.bin")[:16]])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
