"""Known voices: how often they are recognised, and strangers taken for them: `python -m benchmarks.voices`.

First the curve that VOICE_THRESHOLD is chosen from: similarities of voices enrolled with one to three clips to other
clips, of the same and of other people. Then conversations of five people of whom three are enrolled, on clips that
are not in the conversation: which of the turns over 2 s carry the right name.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.domain.errors import SpeechError
from app.domain.speakers import KnownVoice, SpeakerOptions, Voiceprint
from app.pipeline.diarization.matching import similarity
from app.pipeline.diarization.words import WhoSpeaks
from app.settings import Settings
from benchmarks import corpus, machine, report
from benchmarks.conversations import MAKER, Conversation, Teller, made, opened
from benchmarks.progress import bar

_STRANGERS = ("en_jfk.flac", "en_steve_jobs_10s.wav", "zh_16k_mono.wav", "zh_aishell_long.wav", "zh_male_9s.wav")
_DRAWS = 60
"""Random choices of the enrolled clips."""
_ENROLLED, _CONVERSATIONS, _CLIPS = 3, 10, 3
_TURN_SECONDS = 2.0
_THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(8))
_NAMED_BOUND, _STRANGERS_BOUND = 0.95, 0.05


@dataclass(slots=True)
class Named:
    """Turns of enrolled people and of strangers, and what came of them."""

    turns: int = 0
    right: int = 0
    wrong: int = 0
    strangers: int = 0
    taken: int = 0


def main() -> int:
    """Print the tables; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three conversations of two minutes")
    parser.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    given = parser.parse_args()
    clips = sorted((corpus.SHARED_AUDIO / "speakers").glob("*.flac"))
    if not clips or not MAKER.is_file():
        sys.exit("this needs the shared recordings of several clips a speaker (../shared/audio/speakers)")
    with tempfile.TemporaryDirectory() as temporary, Teller() as teller:
        folder = Path(temporary)
        strangers = [corpus.SHARED_AUDIO / name for name in _STRANGERS]
        prints = voiceprints(teller, [*clips, *strangers], folder)
        count, minutes = (3, 2.0) if given.quick else (_CONVERSATIONS, 5.0)
        named = conversations(teller, prints, clips, folder, count=count, minutes=minutes)
    command = "python -m benchmarks.voices" + (" --quick" if given.quick else "")
    result = report.Report(command, (machine.read().describe(), f"{len(clips)} clips of five people, other people's"))
    result.tables += [curve(prints), table(named)]
    print(result.render(markdown=given.markdown))
    result.save("voices")
    right, taken = named.right / named.turns, named.taken / max(named.strangers, 1)
    return 0 if right >= _NAMED_BOUND and taken <= _STRANGERS_BOUND else 1


def voiceprints(teller: Teller, paths: Sequence[Path], folder: Path) -> dict[Path, Voiceprint]:
    """One for each file that holds a voice."""
    made_of: dict[Path, Voiceprint] = {}
    with bar("voiceprints", len(paths)) as progress:
        for path in paths:
            with opened(path, folder) as recording:
                work = teller.diarizer().voiceprint(recording, teller.spans(recording), param="file")
                try:
                    made_of[path] = asyncio.run(work)
                except SpeechError as error:
                    print(f"{path.name}: {error.message}", file=sys.stderr)
            progress.update(1)
    return made_of


def curve(prints: dict[Path, Voiceprint]) -> report.Table:
    """How many of the same person's clips lie below each threshold, and how many of other people's above it."""
    chance = random.Random(0)
    rows: list[tuple[str, ...]] = []
    for clips in (1, 2, 3):
        same, other = _similarities(prints, clips, chance)
        for threshold in _THRESHOLDS:
            missed, taken = float((same < threshold).mean()), float((other >= threshold).mean())
            rows.append((f"{clips} clip{'s' * (clips > 1)}", f"{threshold:.2f}", _finely(missed), _finely(taken)))
    notes = (f"clips of {_TURN_SECONDS:g} s of speech and more; {_DRAWS} random choices of the enrolled clips",)
    columns = ("enrolled with", "threshold", "not recognised", "taken for another")
    return report.Table("Clips against enrolled voices", columns, tuple(rows), notes)


def _similarities(prints: dict[Path, Voiceprint], clips: int, chance: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Of the same person, and of others."""
    people = {person_of(path) for path in prints if "-" in path.stem}
    same: list[float] = []
    other: list[float] = []
    for _ in range(_DRAWS):
        for person in people:
            theirs = [path for path in prints if person_of(path) == person]
            enrolled = chance.sample(theirs, clips)
            voice = KnownVoice(person, tuple(prints[path] for path in enrolled))
            for path, heard in prints.items():
                if path not in enrolled and heard.seconds >= _TURN_SECONDS:
                    (same if path in theirs else other).append(similarity(voice, heard))
    return np.array(same), np.array(other)


def conversations(
    teller: Teller, prints: dict[Path, Voiceprint], clips: Sequence[Path], folder: Path, *, count: int, minutes: float
) -> Named:
    """Turns of `count` conversations, each of five people of whom three are enrolled."""
    named = Named()
    with bar("conversations", count) as progress:
        for number in range(count):
            chance = random.Random(number)
            enrolled = {
                person: chance.sample([clip for clip in clips if person_of(clip) == person and clip in prints], _CLIPS)
                for person in {person_of(clip) for clip in clips}
            }
            rest = folder / f"clips-{number}"
            rest.mkdir()
            for clip in set(clips) - {clip for some in enrolled.values() for clip in some}:
                (rest / clip.name).symlink_to(clip.resolve())
            known = chance.sample(sorted(enrolled), _ENROLLED)
            voices = [KnownVoice(person, tuple(prints[clip] for clip in enrolled[person])) for person in known]
            conversation = made(folder, number, 5, minutes=minutes, clips=rest)
            _count(named, teller, voices, conversation, folder)
            progress.update(1)
    return named


def _count(
    named: Named, teller: Teller, voices: Sequence[KnownVoice], conversation: Conversation, folder: Path
) -> None:
    """Tell one conversation and count its turns."""
    options = SpeakerOptions(voices=tuple(voices))
    threshold = Settings().voice_threshold
    with opened(conversation.path, folder) as recording:
        spans = teller.spans(recording)
        who = WhoSpeaks(asyncio.run(teller.diarizer(threshold).diarize(recording, spans, options)))
    known = {voice.name for voice in voices}
    for turn in conversation.turns:
        if turn.end - turn.start <= _TURN_SECONDS:
            continue
        speaker = who.between(turn.start, turn.end)
        name = speaker.name if speaker else None
        if turn.speaker in known:
            named.turns += 1
            named.right += name == turn.speaker
            named.wrong += name not in {None, turn.speaker}
        else:
            named.strangers += 1
            named.taken += name is not None


def table(named: Named) -> report.Table:
    """What came of the turns."""
    rows = (
        ("turns of enrolled people", f"{named.turns}", ""),
        ("named right", f"{named.right}", report.percent(named.right / named.turns)),
        ("named wrong", f"{named.wrong}", report.percent(named.wrong / named.turns)),
        ("turns of strangers", f"{named.strangers}", ""),
        ("taken for somebody enrolled", f"{named.taken}", report.percent(named.taken / max(named.strangers, 1))),
    )
    note = f"turns over {_TURN_SECONDS:g} s; three of five people enrolled with {_CLIPS} clips each; VOICE_THRESHOLD "
    return report.Table("Conversations", ("", "turns", "share"), rows, (f"{note}{Settings().voice_threshold:g}",))


def person_of(path: Path) -> str:
    """The speaker of a clip named PREFIX_SPEAKER-rest; the file's own name for others."""
    return path.stem.split("_", 1)[1].split("-")[0] if "-" in path.stem else path.stem


def _finely(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    sys.exit(main())
