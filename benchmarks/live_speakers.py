"""Who speaks, told utterance by utterance as a live stream does: `python -m benchmarks.live_speakers`.

Conversations of two to four people and a phone call: of the sentences over 2 s (over 1 s, where turns are short), how
many carry the number of who really speaks; how many numbers were given out; and the same for other thresholds than the
server's.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from app.domain.engines import SAMPLE_RATE, Sound, SpeechSpan
from app.domain.speakers import SpeakerOptions, SpeakerTurn
from app.domain.transcript import Segment, Word
from app.modelstore.catalog import PHONE_CALL
from app.modelstore.store import ModelStore
from app.pipeline.diarization import online
from app.pipeline.diarization.diarizer import Diarization
from app.pipeline.diarization.hearing import HeardChunk, chunks, hear, stretches
from app.pipeline.diarization.words import WhoSpeaks
from app.settings import Settings
from benchmarks import audio, corpus, machine, report
from benchmarks.conversations import MAKER, Conversation, Teller, crowded, existing, made, opened
from benchmarks.diarization import Turn
from benchmarks.progress import bar

_PEOPLE = (2, 3, 4, 2, 3, 4, 2, 3, 4, 2)
_SILENCE = 0.8
"""Seconds that end an utterance."""
_LEAST, _SHORT = 2.0, 1.0
"""Seconds of a sentence that counts; of one that counts where turns are short."""
_THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
_BOUND = 0.9
_WORD = 0.25
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Told:
    """Sentences over 2 s, those with the right number, numbers given out, and people there are."""

    sentences: int = 0
    right: int = 0
    numbers: int = 0
    people: int = 0

    def __add__(self, other: Told) -> Told:
        return Told(
            self.sentences + other.sentences,
            self.right + other.right,
            self.numbers + other.numbers,
            self.people + other.people,
        )


Heard = dict[str, list[tuple[Conversation, list[list[HeardChunk]]]]]
"""Conversations by group, each with what was heard in its utterances."""


def utterances(sound: Sound, spans: Sequence[SpeechSpan], teller: Teller) -> list[list[HeardChunk]]:
    """What a live stream would hear of them: the speech between silences, one after another."""
    runs: list[list[SpeechSpan]] = []
    for span in spans:
        if runs and span.start - runs[-1][-1].end < _SILENCE:
            runs[-1].append(span)
        else:
            runs.append([span])
    models = teller.models
    return [
        [hear(sound, chunk, models.segmenter, models.encoder) for chunk in chunks(run, models.segmenter.chunk_seconds)]
        for run in runs
    ]


def told(one: Conversation, heard: Sequence[Sequence[HeardChunk]]) -> Told:
    """How the conversation's sentences are told."""
    voices = online.OnlineVoices(SpeakerOptions(), threshold=1.0, encoder="any")
    parts = [part for utterance in heard for part in voices.tell(utterance, [_murmur(utterance)]) if part.speaker]
    turns = tuple(SpeakerTurn(part.start, part.end, part.speaker) for part in parts if part.speaker is not None)
    who = WhoSpeaks(Diarization(turns=turns))
    pairs: Counter[tuple[str, int]] = Counter()
    for turn in one.turns:
        least = _SHORT if one.name.startswith("brief") else _LEAST
        if turn.end - turn.start >= least and turn.start < one.seconds:
            speaker = who.between(turn.start, turn.end)
            pairs[turn.speaker, -1 if speaker is None else speaker.number] += 1
    numbers = {turn.speaker.number for turn in turns}
    return Told(pairs.total(), matched(pairs), len(numbers), one.people)


def _murmur(utterance: Sequence[HeardChunk]) -> Segment:
    """Words without meaning wherever somebody speaks in an utterance."""
    words: list[Word] = []
    for chunk in utterance:
        for first, last in stretches(chunk.active.any(axis=1)):
            start, end = chunk.time(first), chunk.time(last)
            count = max(1, round((end - start) / _WORD))
            edges = [start + (end - start) * place / count for place in range(count + 1)]
            words += [Word("so", a, b) for a, b in itertools.pairwise(edges)]
    return Segment(words[0].start, words[-1].end, "so", tuple(words))


def matched(pairs: Counter[tuple[str, int]]) -> int:
    """How many have the right number, if each person has one and nobody else has the same."""
    people, numbers = sorted({person for person, _ in pairs}), sorted({number for _, number in pairs})
    numbers += range(-2, -2 - len(people), -1)  # somebody may have none
    return max(
        sum(pairs[pair] for pair in zip(people, chosen, strict=True))
        for chosen in itertools.permutations(numbers, len(people))
    )


def main() -> int:
    """Print the tables; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute of each conversation")
    parser.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    given = parser.parse_args()
    if not MAKER.is_file():
        sys.exit("this needs the shared recordings of several clips a speaker (../shared/audio/speakers)")
    minutes = 1.0 if given.quick else 3.0
    with tempfile.TemporaryDirectory() as temporary, Teller() as teller:
        heard = _heard(_groups(Path(temporary), minutes), teller, Path(temporary))
    results = {threshold: _all_told(heard, threshold) for threshold in (online.SAME, *_THRESHOLDS)}
    command = "python -m benchmarks.live_speakers" + (" --quick" if given.quick else "")
    result = report.Report(command, (machine.read().describe(), f"utterances end after {_SILENCE:g} s of silence"))
    result.tables += [_table(results[online.SAME]), _curve(results)]
    print(result.render(markdown=given.markdown))
    result.save("live_speakers")
    return 0 if all(group.right >= _BOUND * group.sentences for group in results[online.SAME].values()) else 1


def _groups(folder: Path, minutes: float) -> dict[str, list[Conversation]]:
    clips = sorted((corpus.SHARED_AUDIO / "speakers").glob("*.flac"))
    phone = ModelStore(Settings()).ensure(PHONE_CALL.id)
    return {
        "in turn": [made(folder, number, people, minutes=minutes) for number, people in enumerate(_PEOPLE, 1)],
        "20 % early": [
            made(folder, number, people, minutes=minutes, overlap=0.2) for number, people in enumerate(_PEOPLE[:5], 1)
        ],
        "crowded": [
            crowded(folder, clips, number, people, minutes=minutes) for number, people in enumerate(_PEOPLE[:5], 1)
        ],
        "short turns": [brief(folder, clips, number, people, minutes) for number, people in enumerate(_PEOPLE[:5], 1)],
        "phone call": [existing(phone / "sample.wav")],
    }


def brief(folder: Path, clips: Sequence[Path], number: int, people: int, minutes: float) -> Conversation:
    """A conversation of turns of 1 to 3 s, cut from the middle of clips, with pauses of 0.3 to 1.2 s."""
    chance = random.Random(number)
    by_speaker: dict[str, list[Path]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.stem.split("_", 1)[1].split("-")[0], []).append(clip)
    chosen = chance.sample(sorted(by_speaker), people)
    sound = [np.zeros(SAMPLE_RATE // 2, np.int16)]
    turns: list[Turn] = []
    end, last = 0.5, ""
    while end < minutes * 60:
        last = chance.choice([name for name in chosen if name != last])
        samples = audio.read(chance.choice(by_speaker[last]))[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2]
        count = min(len(samples), round(chance.uniform(1.0, 3.0) * SAMPLE_RATE))
        first = chance.randrange(len(samples) - count + 1)
        turns.append(Turn(end, end + count / SAMPLE_RATE, last))
        pause = np.zeros(round(chance.uniform(0.3, 1.2) * SAMPLE_RATE), np.int16)
        sound += [samples[first : first + count], pause]
        end = turns[-1].end + len(pause) / SAMPLE_RATE
    path = folder / f"brief-{number}-{people}.wav"
    return Conversation(path.stem, path, tuple(turns), audio.write(path, np.concatenate(sound)))


def _heard(groups: dict[str, list[Conversation]], teller: Teller, folder: Path) -> Heard:
    heard: Heard = {}
    with bar("conversations", sum(map(len, groups.values()))) as progress:
        for name, group in groups.items():
            for one in group:
                with opened(one.path, folder) as recording:
                    heard.setdefault(name, []).append((one, utterances(recording, teller.spans(recording), teller)))
                progress.update(1)
    return heard


def _all_told(heard: Heard, threshold: float) -> dict[str, Told]:
    """Each group with this threshold instead of the server's."""
    with mock.patch.object(online, "SAME", threshold):
        return {name: sum((told(one, said) for one, said in group), Told()) for name, group in heard.items()}


def _table(results: dict[str, Told]) -> report.Table:
    rows = [
        (name, f"{one.sentences}", report.percent(one.right / max(one.sentences, 1)), f"{one.numbers}", f"{one.people}")
        for name, one in results.items()
    ]
    columns = ("", "sentences", "right speaker", "numbers given", "people")
    notes = (
        f"sentences over {_LEAST:g} s ({_SHORT:g} s where turns are short); numbers and people: of all conversations",
    )
    return report.Table("Who says what, told as it is said", columns, tuple(rows), notes)


def _curve(results: dict[float, dict[str, Told]]) -> report.Table:
    names = list(next(iter(results.values())))
    rows = [
        (f"{threshold:.2f}", *(f"{one.right}/{one.sentences}, {one.numbers}/{one.people}" for one in told_.values()))
        for threshold, told_ in sorted(results.items())
    ]
    notes = ("right/sentences, numbers/people",)
    return report.Table("The similarity from which a voice is a known one", ("", *names), tuple(rows), notes)


if __name__ == "__main__":
    sys.exit(main())
