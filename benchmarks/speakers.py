"""Who speaks when, against known conversations, and what that costs: `python -m benchmarks.speakers`.

Ten conversations of five minutes, the same with early turns, crowded ones, meetings and a phone call: how many
speakers were found, and the diarization error rate with and without giving overlapped speech to both. Then the time it
takes beside the audio's duration, and the memory for an hour of speech.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.domain.speakers import SpeakerOptions
from app.modelstore.catalog import PHONE_CALL
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import corpus, machine, memory, report
from benchmarks.conversations import MAKER, Conversation, Teller, crowded, existing, made, opened, turns_of
from benchmarks.diarization import Score, score
from benchmarks.progress import bar

_PEOPLE = (2, 3, 4, 2, 3, 4, 2, 3, 4, 2)
_MEETINGS = ("ami_trn03", "ami_trn04", "ami_trn05")
_ANNOTATED = 30.0
"""Seconds of each meeting that somebody annotated."""
_SAMPLE_SECONDS = 0.2
_COST_BOUND, _MEMORY_BOUND = 0.010, 200.0


@dataclass(frozen=True, slots=True)
class Told:
    """How one conversation was told: with overlapped speech given to both, and without."""

    conversation: Conversation
    found: int
    both: Score
    one: Score
    strict: tuple[Score, Score]
    """The same without a collar."""
    work: float
    """Seconds it took, speech detection not included."""


def main() -> int:
    """Print the tables; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes each, and ten minutes for the memory")
    parser.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    given = parser.parse_args()
    minutes, hour = (2.0, 600.0) if given.quick else (5.0, 3600.0)
    phone = ModelStore(Settings()).ensure(PHONE_CALL.id)
    with tempfile.TemporaryDirectory() as temporary, Teller() as teller:
        folder = Path(temporary)
        groups = _groups(folder, phone, minutes)
        _told(teller, groups["phone call"][0], folder)  # what is allocated once is no growth
        above = _memory(teller, folder, hour)  # first, while nothing else has been freed that it could use
        told = _all_told(teller, groups, folder)
        cost = _cost(told)
    command = "python -m benchmarks.speakers" + (" --quick" if given.quick else "")
    result = report.Report(command, (machine.read().describe(), f"{teller.threads} threads, nothing else running"))
    result.tables += [_table(told), _summary(told), _costs(cost, above, hour)]
    print(result.render(markdown=given.markdown))
    result.save("speakers")
    return 0 if cost <= _COST_BOUND and above <= _MEMORY_BOUND else 1


def _groups(folder: Path, phone: Path, minutes: float) -> dict[str, list[Conversation]]:
    groups: dict[str, list[Conversation]] = {}
    clips = sorted((corpus.SHARED_AUDIO / "speakers").glob("*.flac"))
    if MAKER.is_file() and clips:
        numbered = list(enumerate(_PEOPLE, start=1))
        groups["in turn"] = [made(folder, n, people, minutes=minutes) for n, people in numbered]
        groups["20 % early"] = [made(folder, n, people, minutes=minutes, overlap=0.2) for n, people in numbered]
        groups["crowded"] = [crowded(folder, clips, n, people, minutes=minutes) for n, people in numbered[:5]]
        meetings = corpus.SHARED_AUDIO / "meetings"
        groups["AMI meetings"] = [existing(meetings / f"{name}.wav", _ANNOTATED) for name in _MEETINGS]
    groups["phone call"] = [existing(phone / "sample.wav")]
    return groups


def _all_told(teller: Teller, groups: dict[str, list[Conversation]], folder: Path) -> dict[str, list[Told]]:
    told: dict[str, list[Told]] = {}
    with bar("conversations", sum(len(group) for group in groups.values())) as progress:
        for name, group in groups.items():
            told[name] = []
            for one in group:
                told[name].append(_told(teller, one, folder))
                progress.update(1)
    return told


def _told(teller: Teller, one: Conversation, folder: Path) -> Told:
    with opened(one.path, folder) as recording:
        spans = teller.spans(recording)
        began = time.monotonic()
        both = teller.tell(recording, spans)
        work = time.monotonic() - began
        single = teller.tell(recording, spans, SpeakerOptions(overlap=False))
    scores = [score(one.turns, turns_of(found), one.seconds) for found in (both, single)]
    strict = [score(one.turns, turns_of(found), one.seconds, collar=0.0) for found in (both, single)]
    return Told(one, len(both.speakers), scores[0], scores[1], (strict[0], strict[1]), work)


def _cost(told: dict[str, list[Told]]) -> float:
    """Seconds of work a second of audio, over the conversations of minutes."""
    long = [one for group in told.values() for one in group if one.conversation.seconds > 60] or told["phone call"]
    return sum(one.work for one in long) / sum(one.conversation.seconds for one in long)


def _memory(teller: Teller, folder: Path, seconds: float) -> float:
    """The most own memory while so much speech is told, in MiB above what loaded models take."""
    path = memory.write(folder / "long.flac", memory.spoken(folder), seconds, pause=0.5)
    with opened(path, folder) as recording, ThreadPoolExecutor(1) as thread:
        spans = teller.spans(recording)
        gc.collect()
        before = most = memory.sample(os.getpid()).own
        work = thread.submit(teller.tell, recording, spans)
        while not work.done():
            most = max(most, memory.sample(os.getpid()).own)
            time.sleep(_SAMPLE_SECONDS)
        work.result()
        return most - before


def _table(told: dict[str, list[Told]]) -> report.Table:
    rows = [
        (
            one.conversation.name,
            f"{one.conversation.people}",
            f"{one.found}",
            report.percent(one.both.der),
            report.percent(one.both.part(one.both.missed)),
            report.percent(one.both.part(one.both.false_alarm)),
            report.percent(one.both.part(one.both.confusion)),
        )
        for group in told.values()
        for one in group
    ]
    columns = ("", "people", "found", "DER", "missed", "false alarm", "confusion")
    return report.Table("Conversations, collar 0.25 s", columns, tuple(rows))


def _summary(told: dict[str, list[Told]]) -> report.Table:
    rows: list[tuple[str, ...]] = []
    for name, group in told.items():
        both, one = _sum(x.both for x in group), _sum(x.one for x in group)
        strict, strict_one = _sum(x.strict[0] for x in group), _sum(x.strict[1] for x in group)
        right = sum(x.found == x.conversation.people for x in group)
        shares = (both.der, both.part(both.confusion), one.der, strict.der, strict_one.der)
        rows.append((name, f"{right}/{len(group)}", *(report.percent(share) for share in shares)))
    columns = (
        "",
        "count right",
        "DER",
        "confusion",
        "DER, one at a time",
        "DER, no collar",
        "no collar, one at a time",
    )
    notes = ("one at a time: before overlapped speech is given to both",)
    return report.Table("All together", columns, tuple(rows), notes)


def _sum(scores: Iterable[Score]) -> Score:
    return sum(scores, Score())


def _costs(cost: float, above: float, seconds: float) -> report.Table:
    rows = (
        ("time, of the audio's duration", f"{cost:.4f}", f"{_COST_BOUND:.3f}"),
        (f"memory for {seconds / 60:.0f} min, MiB above loaded models", f"{above:.0f}", f"{_MEMORY_BOUND:.0f}"),
    )
    return report.Table("What it costs", ("", "measured", "bound"), rows)


if __name__ == "__main__":
    sys.exit(main())
