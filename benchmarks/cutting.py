"""`python -m benchmarks.cutting`: what cutting a recording into pieces costs, in words, for Whisper and for Paraformer.

The same recognisers hear the same sound uncut and cut as the server does. Where clips were joined, the places where
nobody speaks are known, so that cutting can be told from what a recogniser makes of a minute at once.
"""

from __future__ import annotations

import os
import platform
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from unittest.mock import patch

import numpy as np
from rapidfuzz.distance import Levenshtein

from app.domain.engines import SAMPLE_RATE, Piece, PieceRequest, Recognizer, SpeechSpan
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.transcript import join_texts
from app.engines.fsmn_vad import FsmnVad
from app.engines.paraformer.recognizer import ParaformerRecognizer
from app.engines.whisper import recognizer as whisper
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.pipeline.segmentation import Cut, cut
from app.settings import Settings, available_cores
from benchmarks import accuracy, audio, corpus, machine
from benchmarks.common import PHONE_CALL, VAD, parser
from benchmarks.engine import Waveform
from benchmarks.measures import Clip, Errors, total_errors
from benchmarks.progress import bar, note
from benchmarks.report import Report, Table, percent
from benchmarks.server import MODEL, ROOT
from tests.models import speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PARAFORMER = Path("../shared/models/paraformer-tiny-onnx")
"""Relative to the repository root."""
_ONE_PIECE = 29.8
"""Seconds: Whisper's window, less the room it wants at the end."""
_SHIFT = 0.03
"""Seconds that the same sound begins later. It changes no word anybody said, so what it changes is chance."""
_NOISE = 3e-4
_LEAD = 0.3
_WHISPER_PAUSES, _WHISPER_SECONDS = (0.2, 1.0), (20.0, 29.0)
_PARAFORMER_PAUSES, _PARAFORMER_SECONDS = (0.2, 1.5), (60.0, 120.0)
_AIM = 0.01

Tokens = tuple[str, ...]
Texts = dict[str, list[Tokens]]
"""What was heard in each recording, by the way it was cut."""
_Clip = TypeVar("_Clip")


@dataclass(frozen=True)
class _Recording:
    """`said` is empty if nobody wrote it down; `clips` are the true stretches of a joined recording."""

    name: str
    sound: Waveform
    language: str
    detector: FsmnVad
    said: Tokens = ()
    clips: tuple[SpeechSpan, ...] = ()

    @cached_property
    def spans(self) -> list[SpeechSpan]:
        """Where the server's detector hears speech."""
        return self.detector.detect(self.sound, SpeechDetection())

    def whole(self, begin: float = 0.0) -> list[Cut]:
        """One piece, from `begin` seconds."""
        return [Cut(begin, self.sound.duration, ())]

    def detected(self, longest: float, max_silence: float) -> list[Cut]:
        """The server's pieces."""
        return cut(self.sound, self.spans, longest, max_silence)

    def joints(self, longest: float, max_silence: float) -> list[Cut]:
        """The server's pieces if the detector heard just the clips; `max_silence` 0: each clip by itself."""
        return cut(self.sound, self.clips, longest, max_silence)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to cut; `short` is Whisper's shorter window in seconds (0: it always encodes 30 s)."""

    label: str
    cuts: Callable[[_Recording], list[Cut]]
    short: float = 15.0


def main() -> int:
    """Measure both."""
    given = parser("cutting", "What cutting a recording into pieces costs, in words.").parse_args()
    os.chdir(ROOT)
    folders = ModelStore(Settings()).ensure_all([MODEL, VAD, PHONE_CALL], console_progress())
    neighbours = machine.Neighbours()
    found = Report("python -m benchmarks.cutting" + (" --quick" if given.quick else ""), (_setting(),))
    detector = FsmnVad(folders[VAD])
    with tempfile.TemporaryDirectory() as folder:
        recordings = corpus.load(given.audio, folders[PHONE_CALL], Path(folder), corpus.Scale(long_files=0))
        joiner = _Joiner(Path(folder), detector)
        _whisper(folders[MODEL], recordings, given.audio, joiner, found, joined=4 if given.quick else 16)
        _paraformer(joiner, found, count=3 if given.quick else 16)
    found.setting += (neighbours.describe(),)
    found.save("cutting")
    print(found.render(markdown=given.markdown))
    return 0


# --- recordings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Joiner:
    """Makes recordings in `folder`."""

    folder: Path
    detector: FsmnVad

    def existing(self, clip: Clip) -> _Recording:
        """The first seconds of a recording, as many as Whisper takes in one piece."""
        path = self.folder / f"{clip.name}-trimmed.wav"
        audio.write(path, audio.read(clip.path)[: round(_ONE_PIECE * SAMPLE_RATE)])
        said = _written(clip.reference, clip.language) if clip.reference else ()
        return _Recording(clip.name, Waveform(path), clip.language, self.detector, said)

    def joined(
        self, name: str, language: str, clips: Sequence[tuple[Floats, Tokens]], pauses: tuple[float, float], seed: int
    ) -> _Recording:
        """Clips and their words one after another in a quiet room."""
        chance = random.Random(seed)
        stretches = [np.zeros(round(_LEAD * SAMPLE_RATE), np.float32)]
        spans: list[SpeechSpan] = []
        at = len(stretches[0])
        for samples, _ in clips:
            spans.append(SpeechSpan(at / SAMPLE_RATE, (at + len(samples)) / SAMPLE_RATE))
            stretches += [samples, np.zeros(round(chance.uniform(*pauses) * SAMPLE_RATE), np.float32)]
            at += len(samples) + len(stretches[-1])
        sound = np.concatenate([*stretches[:-1], stretches[0]])
        sound += np.random.default_rng(seed).standard_normal(len(sound), dtype=np.float32) * np.float32(_NOISE)
        path = self.folder / f"{name}.wav"
        audio.write(path, (np.clip(sound, -1, 1) * 32767).astype(np.int16))
        said = tuple(token for _, tokens in clips for token in tokens)
        return _Recording(name, Waveform(path), language, self.detector, said, tuple(spans))


def _chosen(
    clips: Sequence[_Clip], seconds: Callable[[_Clip], float], target: float, chance: random.Random
) -> Iterator[_Clip]:
    """Clips in a random order, again and again, while they fit into `target` seconds with the longest pauses."""
    left = target
    for _ in range(3):
        for clip in chance.sample(clips, len(clips)):
            if seconds(clip) <= left:
                left -= seconds(clip)
                yield clip


def _whisper_recordings(
    recordings: corpus.Corpus, shared: Path, joiner: _Joiner, joined: int
) -> tuple[list[_Recording], list[_Recording]]:
    """Recordings of about 30 s as they are, and some joined from clips: as many English ones of unknown words, and half
    as many of known words."""
    meetings = [Clip(path.stem, path, 30.0, "en") for path in sorted((shared / "meetings").glob("*.wav"))]
    real = [joiner.existing(clip) for clip in [recordings.referenced[-1], *meetings]]
    kinds = {"clips": recordings.spoken}
    for language in ("en", "zh"):
        kinds[f"known {language}"] = tuple(
            clip for clip in recordings.referenced[:-1] if clip.language == language and clip.reference
        )
    made: list[_Recording] = []
    for kind, clips in kinds.items():
        for number in range(joined if kind == "clips" else joined // 4 if clips else 0):
            chance = random.Random(number)
            target = chance.uniform(*_WHISPER_SECONDS) - 2 * _LEAD
            chosen = list(_chosen(clips, lambda clip: clip.seconds + _WHISPER_PAUSES[1], target, chance))
            words = [(_samples(clip), _written(clip.reference, clip.language)) for clip in chosen]
            name = f"{kind} {number + 1}"
            made.append(joiner.joined(name, chosen[0].language, words, _WHISPER_PAUSES, number))
    return real, made


def _paraformer_recordings(joiner: _Joiner, count: int) -> list[_Recording]:
    made: list[_Recording] = []
    for number in range(count):
        chance = random.Random(number)
        spoken = speech.utterances(60, 1000 + number)
        target = chance.uniform(*_PARAFORMER_SECONDS) - 2 * _LEAD
        mean = sum(_PARAFORMER_PAUSES) / 2
        chosen: list[tuple[Floats, Tokens]] = []
        for one in spoken:
            target -= one.seconds + mean
            if target < 0:
                break
            chosen.append((one.samples, one.tokens))
        made.append(joiner.joined(f"said {number + 1}", "zh", chosen, _PARAFORMER_PAUSES, number))
    return made


def _samples(clip: Clip) -> Floats:
    return audio.read(clip.path).astype(np.float32) / 32768


# --- recognising ------------------------------------------------------------------------------------------------------


def _heard(
    recognizer: Recognizer,
    recordings: Sequence[_Recording],
    way: _Way,
    language: bool,
    split: Callable[[str, str], Tokens],
) -> tuple[list[Tokens], int]:
    """Each recording's tokens, and how many pieces there were; `language`: whether it is given."""
    requests: list[PieceRequest] = []
    owners: list[int] = []
    for number, recording in enumerate(recordings):
        options = RecognitionOptions(language=recording.language if language else None, timed=False)
        for each in way.cuts(recording):
            requests.append(PieceRequest(Piece(each.start, recording.sound.piece(each.start, each.end)), options))
            owners.append(number)
    texts: list[list[str]] = [[] for _ in recordings]
    with (
        patch.object(whisper, "_SHORT_WINDOW", way.short),  # there is no setting for it: see benchmarks.window
        ThreadPoolExecutor(recognizer.parallel_calls) as pool,
        bar(f"{recognizer.id}: {way.label}"[:44], len(requests)) as progress,
    ):
        for owner, answer in zip(owners, pool.map(lambda one: recognizer.recognize([one])[0], requests), strict=True):
            texts[owner].append(answer.text)
            progress.update()
    joined = [split(join_texts(parts), one.language) for parts, one in zip(texts, recordings, strict=True)]
    return joined, len(requests)


def _written(text: str, language: str) -> Tokens:
    """Whisper's text as words, Chinese as characters; marks, case and spellings that do not matter are taken out."""
    plain = accuracy.normalised(text, language)
    return tuple(plain) if language == "zh" else tuple(plain.split())


def _mixed(text: str, _language: str) -> Tokens:
    """Paraformer's text: Chinese characters, and words of other letters."""
    return tuple(re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower()))


def _differences(reference: Tokens, heard: Tokens) -> Errors:
    edits = Levenshtein.editops(reference, heard)
    return Errors(len(edits), sum(edit.tag == "delete" for edit in edits), len(reference))


def _all(references: Sequence[Tokens], heard: Sequence[Tokens]) -> Errors:
    return total_errors(_differences(one, other) for one, other in zip(references, heard, strict=True))


# --- Whisper ----------------------------------------------------------------------------------------------------------


def _whisper(
    folder: Path, recordings: corpus.Corpus, shared: Path, joiner: _Joiner, found: Report, joined: int
) -> None:
    model = whisper.WhisperRecognizer(MODEL, folder, threads=available_cores())
    can = model.capabilities
    real, made = _whisper_recordings(recordings, shared, joiner, joined)
    pause = can.max_silence
    ways = (
        _Way("uncut", lambda one: one.whole()),
        _Way("uncut, 0.03 s later", lambda one: one.whole(_SHIFT)),
        _Way("server", lambda one: one.detected(can.preferred_seconds, pause)),
        _Way("its pieces in 30 s windows", lambda one: one.detected(can.preferred_seconds, pause), short=0.0),
        _Way("ASR_WHISPER_WINDOW=30", lambda one: one.detected(_ONE_PIECE, pause)),
    )
    everything = [*real, *made]
    heard = {way.label: _heard(model, everything, way, True, _written)[0] for way in ways}
    alone, _ = _heard(model, made, _Way("each clip alone", lambda one: one.joints(_ONE_PIECE, 0.0)), True, _written)
    model.close()
    found.tables.append(_whisper_differences(everything, len(real), heard))
    found.tables.append(_whisper_errors(everything, len(real), heard, alone))
    found.data["whisper"] = _texts(everything, heard) | {"each clip alone": [" ".join(one) for one in alone]}


def _whisper_differences(recordings: Sequence[_Recording], real: int, heard: Texts) -> Table:
    """Rows: each recording, then sums."""
    uncut = heard["uncut"]
    groups = {one.name: [number] for number, one in enumerate(recordings)}
    groups |= {
        "all as recorded": list(range(real)),
        "all joined": list(range(real, len(recordings))),
        "all": list(range(len(recordings))),
    }
    rows: list[tuple[str, ...]] = []
    for name, members in groups.items():
        cells = [
            percent(_all(_these(uncut, members), _these(texts, members)).rate)
            for label, texts in heard.items()
            if label != "uncut"
        ]
        lost = _all(_these(uncut, members), _these(heard["server"], members))
        new = sum(len(heard["server"][one]) - len(uncut[one]) for one in members)
        rows.append((name, str(lost.length), *cells, percent(lost.lost_rate), f"{new:+d}"))
    columns = ("recording", "tokens uncut", *list(heard)[1:], "server: missing", "server: tokens more")
    notes = (
        "Edits per token of the uncut text (English: words, Chinese: characters); uncut: one piece of up to 29.8 s.",
        f"Uncut, {_SHIFT} s later: the same sound without its first {_SHIFT} s, in one piece: what chance changes.",
    )
    return Table("Whisper: cut against uncut", columns, tuple(rows), notes)


def _whisper_errors(recordings: Sequence[_Recording], real: int, heard: Texts, alone: Sequence[Tokens]) -> Table:
    """Against what was said, where it is known, and against the clips recognised one by one."""
    known = [number for number, one in enumerate(recordings) if one.said]
    joined = list(range(real, len(recordings)))
    said = [recordings[number].said for number in known]
    rows: list[tuple[str, ...]] = []
    for label, texts in heard.items():
        truth, clips = _all(said, _these(texts, known)), _all(alone, _these(texts, joined))
        rows.append((label, *(percent(rate) for rate in (truth.rate, truth.lost_rate, clips.rate, clips.lost_rate))))
    mine = [number for number in known if number >= real]
    best = _all([recordings[number].said for number in mine], [alone[number - real] for number in mine])
    notes = (
        f"Known: {len(known)} recordings, {sum(map(len, said))} words or characters; each clip alone has "
        f"{percent(best.rate)} errors in the {len(mine)} joined ones. Clips alone: {len(joined)} joined recordings, "
        f"{sum(map(len, alone))} tokens as the same model hears them clip by clip.",
    )
    columns = ("", "errors, words known", "lost", "against each clip alone", "missing")
    return Table("Whisper: against what was said", columns, tuple(rows), notes)


# --- Paraformer -------------------------------------------------------------------------------------------------------


def _paraformer(joiner: _Joiner, found: Report, count: int) -> None:
    missing = None if PARAFORMER.is_dir() else f"there is no {PARAFORMER.name} beside the repository"
    missing = missing or (None if find_spec("espeakng_loader") else "espeakng-loader is not installed")
    if missing:
        note(f"Paraformer is not measured: {missing}")
        found.setting += (f"Paraformer not measured: {missing}",)
        return
    note("speaking ...")
    recordings = _paraformer_recordings(joiner, count)
    model = ParaformerRecognizer(PARAFORMER.name, PARAFORMER, threads=available_cores())
    can = model.capabilities
    longest, pause = can.preferred_seconds, can.max_silence
    ways = (
        _Way("uncut: 60-120 s at once", lambda one: one.whole()),
        _Way("uncut, 0.03 s later", lambda one: one.whole(_SHIFT)),
        _Way("true pauses, pieces up to 60 s", lambda one: one.joints(can.max_seconds, 10.0)),
        _Way(f"true pauses, up to {longest:g} s", lambda one: one.joints(longest, 10.0)),
        _Way(f"true pauses, up to {longest:g} s, split at {pause:g} s", lambda one: one.joints(longest, pause)),
        _Way("each clip alone", lambda one: one.joints(longest, 0.0)),
        _Way("each clip alone, 0.03 s later", lambda one: _later(one.joints(longest, 0.0))),
        _Way(f"server: detected, up to {longest:g} s, split at {pause:g} s", lambda one: one.detected(longest, pause)),
        _Way(f"detected, up to {longest:g} s", lambda one: one.detected(longest, 10.0)),
    )
    results = {way.label: _heard(model, recordings, way, False, _mixed) for way in ways}
    model.close()
    heard = {label: texts for label, (texts, _) in results.items()}
    pieces = {label: number for label, (_, number) in results.items()}
    found.tables.append(_paraformer_table(recordings, heard, pieces, list(heard)[4]))
    found.data["paraformer"] = _texts(recordings, heard) | {"said": [" ".join(one.said) for one in recordings]}


def _later(cuts: Sequence[Cut]) -> list[Cut]:
    return [Cut(each.start + _SHIFT, each.end, each.spans) for each in cuts]


def _paraformer_table(
    recordings: Sequence[_Recording], heard: Texts, pieces: Mapping[str, int], same_rules: str
) -> Table:
    said = [one.said for one in recordings]
    references = ("uncut: 60-120 s at once", "each clip alone", same_rules)
    rows: list[tuple[str, ...]] = []
    for label, texts in heard.items():
        truth = _all(said, texts)
        differences = [_all(heard[name], texts).rate for name in references]
        rows.append(
            (
                label,
                str(pieces[label]),
                percent(truth.rate),
                percent(truth.lost_rate),
                *(percent(rate) for rate in differences),
            )
        )
    columns = ("", "pieces", "errors", "lost", "differs from uncut", "from each clip alone", "from the same at joints")
    seconds = sum(one.sound.duration for one in recordings)
    notes = (
        f"{len(recordings)} recordings, {seconds:.0f} s, {sum(map(len, said))} tokens.",
        f"The same at joints: {same_rules}; the server differs from it by its detector only.",
    )
    return Table("Paraformer (small): cut against uncut", columns, tuple(rows), notes)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _these(texts: Sequence[Tokens], members: Sequence[int]) -> list[Tokens]:
    return [texts[number] for number in members]


def _texts(recordings: Sequence[_Recording], heard: Texts) -> dict[str, list[str]]:
    return {"recordings": [one.name for one in recordings]} | {
        label: [" ".join(tokens) for tokens in texts] for label, texts in heard.items()
    }


def _setting() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctranslate2", "onnxruntime", "numpy", "rapidfuzz"))
    return f"{available_cores()} cores, Python {platform.python_version()}, {versions}; {MODEL} int8, beam 5"


if __name__ == "__main__":
    sys.exit(main())
