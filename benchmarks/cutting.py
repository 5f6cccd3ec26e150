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
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
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
from benchmarks.progress import bar
from benchmarks.report import Report, Table, percent
from benchmarks.server import MODEL, ROOT
from tests.models import speech

Floats = NDArray[np.float32]
Tokens = tuple[str, ...]
Texts = dict[str, list[Tokens]]
"""What was heard in each recording, by the way it was cut."""

PARAFORMER = Path("../shared/models/paraformer-tiny-onnx")
_ONE_PIECE = 29.8
"""Seconds: Whisper's window, less the room it wants at the end."""
_FRAME = 160
"""Samples over which loudness is taken."""
_SHIFT = 0.03
"""Seconds that the same sound begins later. It changes no word anybody said, so what it changes is chance."""
_LEAD, _NOISE = 0.3, 3e-4
"""The quiet room: seconds of it before and after, and its noise's standard deviation."""
_WHISPER_PAUSES, _WHISPER_SECONDS = (0.2, 1.0), (20.0, 29.0)
_PARAFORMER_PAUSES, _PARAFORMER_SECONDS = (0.2, 1.5), (60.0, 120.0)
_AIM = 1.0
"""Percent of the tokens that cutting may cost."""
_SHORT = 6.0
"""Seconds: room for the longest clip (4.4 s) and its padding; the small Paraformer was trained on clips as long."""
_DRAWS = 2000
_UNCUT, _ALONE = "uncut: 60-120 s at once", "each clip alone"


@dataclass(frozen=True)
class _Recording:
    """`said` is empty if nobody wrote it down; `clips` are where those of a joined recording stand."""

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

    def joints(self, longest: float, max_silence: float, later: float = 0.0) -> list[Cut]:
        """The server's pieces if the detector heard just the clips, `later` seconds less at each beginning;
        `max_silence` 0: each clip by itself."""
        pieces = cut(self.sound, self.clips, longest, max_silence) if self.clips else self.whole()
        return [replace(each, start=each.start + later) for each in pieces]

    def regrouped(self, longest: float, max_silence: float) -> list[Cut]:
        """The server's pieces with their ends moved into the true pauses: the same clips in each."""
        edges = [piece.start for piece in self.detected(longest, max_silence)][1:]
        groups = groupby(self.clips, key=lambda clip: bisect(edges, (clip.start + clip.end) / 2))
        parts = [list(group) for _, group in groups]
        return cut(self.sound, [SpeechSpan(part[0].start, part[-1].end) for part in parts], 60.0, 0.0)

    def wounds(self, pieces: Sequence[Cut]) -> NDArray[np.float64]:
        """How many ends of pieces are in sound, how many seconds of sound are in no piece, and how many there are.
        Sound is ten times as loud as the room."""
        frames = self.sound.piece(0.0, self.sound.duration)
        frames = frames[: len(frames) // _FRAME * _FRAME].reshape(-1, _FRAME)
        loud = np.sqrt((frames**2).mean(axis=1)) > 10 * _NOISE
        ends = (np.array([(each.start, each.end) for each in pieces]) * SAMPLE_RATE / _FRAME).round().astype(int)
        outside = loud.copy()
        for start, end in ends:
            outside[start:end] = False
        seconds = _FRAME / SAMPLE_RATE
        return np.array([loud[ends.clip(0, len(loud) - 1)].sum(), outside.sum() * seconds, loud.sum() * seconds])


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
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctranslate2", "onnxruntime"))
    setting = f"{available_cores()} cores, Python {platform.python_version()}, {versions}; {MODEL} int8, beam 5"
    found = Report("python -m benchmarks.cutting" + (" --quick" if given.quick else ""), (setting,))
    with tempfile.TemporaryDirectory() as folder:
        recordings = corpus.load(given.audio, folders[PHONE_CALL], Path(folder), corpus.Scale(long_files=0))
        joiner = _Joiner(Path(folder), FsmnVad(folders[VAD]))
        real = _as_recorded(recordings, given.audio, joiner)
        _whisper(folders[MODEL], [*real, *_joined(recordings, joiner, 3 if given.quick else 9)], found)
        _paraformer(joiner, found, count=3 if given.quick else 12)
    found.setting += (neighbours.describe(),)
    found.save("cutting")
    print(found.render(markdown=given.markdown))
    return 0


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


def _chosen(clips: Sequence[Clip], target: float, chance: random.Random) -> Iterator[Clip]:
    """Clips in a random order, again and again, while they fit into `target` seconds with the longest pauses."""
    left = target
    for _ in range(3):
        for clip in chance.sample(clips, len(clips)):
            if (taken := clip.seconds + _WHISPER_PAUSES[1]) <= left:
                left -= taken
                yield clip


def _as_recorded(recordings: corpus.Corpus, shared: Path, joiner: _Joiner) -> list[_Recording]:
    """The phone call, and meetings of 30 s where this machine has them."""
    meetings = [Clip(path.stem, path, 30.0, "en") for path in sorted((shared / "meetings").glob("*.wav"))]
    return [joiner.existing(clip) for clip in [recordings.referenced[-1], *meetings]]


def _joined(recordings: corpus.Corpus, joiner: _Joiner, count: int) -> list[_Recording]:
    """Recordings joined from spoken clips, and for each three of them one English and one Chinese of known words."""
    known = recordings.referenced[:-1]
    kinds = [("clips", recordings.spoken, count)]
    for language in ("en", "zh"):
        clips = tuple(clip for clip in known if clip.language == language)
        kinds.append((f"known {language}", clips, count // 3 if clips else 0))
    made: list[_Recording] = []
    for kind, clips, times in kinds:
        for number in range(times):
            chance = random.Random(number)
            target = chance.uniform(*_WHISPER_SECONDS) - 2 * _LEAD
            chosen = list(_chosen(clips, target, chance))
            sounds = [Waveform(clip.path).piece(0.0, clip.seconds) for clip in chosen]
            parts = [(one, _written(clip.reference, clip.language)) for one, clip in zip(sounds, chosen, strict=True)]
            made.append(joiner.joined(f"{kind} {number + 1}", chosen[0].language, parts, _WHISPER_PAUSES, number))
    return made


def _paraformer_recordings(joiner: _Joiner, count: int) -> list[_Recording]:
    made: list[_Recording] = []
    for number in range(count):
        chance = random.Random(number)
        spoken = speech.utterances(60, 1000 + number)
        target = chance.uniform(*_PARAFORMER_SECONDS) - 2 * _LEAD
        ends = np.cumsum([one.seconds + sum(_PARAFORMER_PAUSES) / 2 for one in spoken])
        chosen = [(one.samples, one.tokens) for one, end in zip(spoken, ends, strict=True) if end <= target]
        made.append(joiner.joined(f"said {number + 1}", "zh", chosen, _PARAFORMER_PAUSES, number))
    return made


def _heard(
    recognizer: Recognizer, recordings: Sequence[_Recording], way: _Way, split: Callable[[str, str], Tokens]
) -> list[Tokens]:
    """Each recording's tokens."""
    requests: list[PieceRequest] = []
    owners: list[int] = []
    for number, recording in enumerate(recordings):
        options = RecognitionOptions(language=recording.language, timed=False)
        for each in way.cuts(recording):
            requests.append(PieceRequest(Piece(each.start, recording.sound.piece(each.start, each.end)), options))
            owners.append(number)
    texts: list[list[str]] = [[] for _ in recordings]
    with (
        patch.object(whisper, "_SHORT_WINDOW", way.short),  # there is no setting for it: see benchmarks.window
        ThreadPoolExecutor(recognizer.parallel_calls) as pool,
        bar(f"{recognizer.id}: {way.label}"[:44], len(requests)) as progress,
    ):
        answers = pool.map(recognizer.recognize, [[request] for request in requests])
        for owner, answer in zip(owners, answers, strict=True):
            texts[owner].append(answer[0].text)
            progress.update()
    return [split(join_texts(parts), one.language) for parts, one in zip(texts, recordings, strict=True)]


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


def _whisper(folder: Path, recordings: Sequence[_Recording], found: Report) -> None:
    model = whisper.WhisperRecognizer(MODEL, folder, threads=available_cores())
    longest, pause = model.capabilities.preferred_seconds, model.capabilities.max_silence
    ways = (
        _Way("uncut", lambda one: one.whole()),
        _Way("uncut, 0.03 s later", lambda one: one.whole(_SHIFT)),
        _Way("server", lambda one: one.detected(longest, pause)),
        _Way("its pieces in 30 s windows", lambda one: one.detected(longest, pause), short=0.0),
        _Way("ASR_WHISPER_WINDOW=30", lambda one: one.detected(_ONE_PIECE, pause)),
        _Way(_ALONE, lambda one: one.joints(_ONE_PIECE, 0.0)),
        _Way(f"{_ALONE}, 0.03 s later", lambda one: one.joints(_ONE_PIECE, 0.0, _SHIFT)),
    )
    heard = {way.label: _heard(model, recordings, way, _written) for way in ways}
    model.close()
    found.tables += [_whisper_differences(recordings, heard), _whisper_errors(recordings, heard)]
    found.data["whisper"] = _texts(recordings, heard)


def _whisper_differences(recordings: Sequence[_Recording], heard: Texts) -> Table:
    """Rows: each recording, then sums."""
    groups = {one.name: [number] for number, one in enumerate(recordings)}
    groups["all as recorded"] = [number for number, one in enumerate(recordings) if not one.clips]
    groups["all joined"] = [number for number, one in enumerate(recordings) if one.clips]
    groups["all"] = list(range(len(recordings)))
    ways = list(heard)[1:5]
    rows: list[tuple[str, ...]] = []
    for name, members in groups.items():
        found = {label: _all(_these(heard["uncut"], members), _these(heard[label], members)) for label in ways}
        server = found["server"]
        more = sum(len(heard["server"][one]) for one in members) - server.length
        cells = (*(percent(each.rate) for each in found.values()), percent(server.lost_rate), f"{more:+d}")
        rows.append((name, str(server.length), *cells))
    columns = ("recording", "tokens uncut", *ways, "server: missing", "server: tokens more")
    notes = (
        "Edits per token of the uncut text (English: words, Chinese: characters); uncut: one piece of up to 29.8 s.",
        f"Uncut, {_SHIFT} s later: the same sound without its first {_SHIFT} s, in one piece: what chance changes.",
    )
    return Table("Whisper: cut against uncut", columns, tuple(rows), notes)


def _whisper_errors(recordings: Sequence[_Recording], heard: Texts) -> Table:
    """Against what was said, where it is known, and against the clips recognised one by one."""
    joined = [number for number, one in enumerate(recordings) if one.clips]
    known = [number for number in joined if recordings[number].said]
    call = [number for number, one in enumerate(recordings) if one.said and not one.clips]
    said = [one.said for one in recordings]
    rows: list[tuple[str, ...]] = []
    words, tokens = (sum(map(len, texts)) for texts in (_these(said, known), _these(heard[_ALONE], joined)))
    for label, texts in heard.items():
        errors = _all(_these(said, known), _these(texts, known))
        differs = _all(_these(heard[_ALONE], joined), _these(texts, joined))
        spoken = "" if _ALONE in label else percent(_all(_these(said, call), _these(texts, call)).rate)
        rates = (errors.rate, errors.lost_rate, differs.rate, differs.lost_rate)
        rows.append((label, spoken, *map(percent, rates)))
    notes = (
        f"Words known: {len(known)} joined recordings, {words} words or characters.",
        f"Against each clip alone: {len(joined)} joined recordings, {tokens} tokens as the same model hears them "
        "clip by clip.",
    )
    columns = ("", "phone call, errors", "words known, errors", "lost", "against each clip alone", "missing")
    return Table("Whisper: against what was said", columns, tuple(rows), notes)


def _paraformer(joiner: _Joiner, found: Report, count: int) -> None:
    missing = None if PARAFORMER.is_dir() else f"there is no {PARAFORMER.name} beside the repository"
    missing = missing or (None if find_spec("espeakng_loader") else "espeakng-loader is not installed")
    if missing:
        found.setting += (f"Paraformer not measured: {missing}",)
        return
    recordings = _paraformer_recordings(joiner, count)
    model = ParaformerRecognizer(PARAFORMER.name, PARAFORMER, threads=available_cores())
    most, longest = model.capabilities.max_seconds, model.capabilities.preferred_seconds
    pause = model.capabilities.max_silence
    rules = f"up to {longest:g} s, split at {pause:g} s"
    ways = (
        _Way(_UNCUT, lambda one: one.whole()),
        _Way("uncut, 0.03 s later", lambda one: one.whole(_SHIFT)),
        _Way(f"at joints, up to {most:g} s", lambda one: one.joints(most, 10.0)),
        _Way(f"at joints, up to {longest:g} s", lambda one: one.joints(longest, 10.0)),
        _Way(f"at joints, {rules}", lambda one: one.joints(longest, pause)),
        _Way("server's groups, cut at joints", lambda one: one.regrouped(longest, pause)),
        _Way(f"server: detected, {rules}", lambda one: one.detected(longest, pause)),
        _Way(f"groups up to {_SHORT:g} s, cut at joints", lambda one: one.regrouped(_SHORT, pause)),
        _Way(f"detected, up to {_SHORT:g} s", lambda one: one.detected(_SHORT, pause)),
        _Way(_ALONE, lambda one: one.joints(longest, 0.0)),
        _Way(f"{_ALONE}, 0.03 s later", lambda one: one.joints(longest, 0.0, _SHIFT)),
    )
    heard = {way.label: _heard(model, recordings, way, _mixed) for way in ways}
    model.close()
    pairs = [(ways[one].label, ways[other].label) for one, other in ((0, 6), (4, 6), (5, 6), (7, 8), (9, 10))]
    found.tables += [_paraformer_table(recordings, heard, ways), _costs(recordings, heard, pairs)]
    found.data["paraformer"] = _texts(recordings, heard) | {"said": [" ".join(one.said) for one in recordings]}


def _paraformer_table(recordings: Sequence[_Recording], heard: Texts, ways: Sequence[_Way]) -> Table:
    said = [one.said for one in recordings]
    rows: list[tuple[str, ...]] = []
    sound = 0.0
    for way in ways:
        texts, cuts = heard[way.label], [way.cuts(one) for one in recordings]
        truth = _all(said, texts)
        rates = (truth.rate, truth.lost_rate, *(_all(heard[name], texts).rate for name in (_UNCUT, _ALONE)))
        wounds = np.sum([one.wounds(pieces) for one, pieces in zip(recordings, cuts, strict=True)], axis=0)
        hurt, outside, sound = map(float, wounds)
        rows.append((way.label, str(sum(map(len, cuts))), f"{hurt:.0f}", f"{outside:.2f} s", *map(percent, rates)))
    columns = (
        "",
        "pieces",
        "ends in sound",
        "left out",
        "errors",
        "lost",
        "differs from uncut",
        "from each clip alone",
    )
    seconds = sum(one.sound.duration for one in recordings)
    notes = (
        f"{len(recordings)} recordings, {seconds:.0f} s, {sum(map(len, said))} tokens. Errors: against what was said.",
        "At joints: cut by the server's rules, but in the true pauses between clips only; detected: its detector's.",
        f"Left out: of {sound:.0f} s of sound, which is what is ten times as loud as the room.",
    )
    return Table("Paraformer (small)", columns, tuple(rows), notes)


def _costs(recordings: Sequence[_Recording], heard: Texts, pairs: Sequence[tuple[str, str]]) -> Table:
    """Errors that the second way of each pair has more than the first."""
    said = [one.said for one in recordings]
    length = np.array([len(one) for one in said])
    draws = np.random.default_rng(0).integers(len(said), size=(_DRAWS, len(said)))
    rows: list[tuple[str, ...]] = []
    for first, second in pairs:
        edits = [[_differences(*pair).edits for pair in zip(said, heard[way], strict=True)] for way in (first, second)]
        more = np.diff(edits, axis=0)[0]
        low, high = np.percentile(more[draws].sum(axis=1) / length[draws].sum(axis=1), (2.5, 97.5))
        differ = percent(_all(heard[first], heard[second]).rate)
        mean = more.sum() / length.sum()
        rows.append((first, second, f"{100 * mean:+.1f}", f"{100 * low:+.1f} .. {100 * high:+.1f}", differ))
    notes = (
        f"Points of errors against what was said; the aim is {_AIM:+.1f} at most. 95 %: recordings drawn anew.",
        "The last pair differs by chance only: what a difference of texts is worth.",
    )
    columns = ("from", "to", "errors more", "95 %", "texts differ")
    return Table("Paraformer (small): what cutting costs", columns, tuple(rows), notes, text_columns=2)


def _these(texts: Sequence[Tokens], members: Sequence[int]) -> list[Tokens]:
    return [texts[number] for number in members]


def _texts(recordings: Sequence[_Recording], heard: Texts) -> dict[str, list[str]]:
    return {"recordings": [one.name for one in recordings]} | {
        label: [" ".join(tokens) for tokens in texts] for label, texts in heard.items()
    }


if __name__ == "__main__":
    sys.exit(main())
