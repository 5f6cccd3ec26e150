"""The three parts of `make bench`: short clips, long files, words. Baseline and server take turns inside each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.baseline import BATCH, Baseline
from benchmarks.measures import Clip, Run, joined, percentile, queued
from benchmarks.references import PSEUDO, scored
from benchmarks.report import Ratio, Table, percent
from benchmarks.server import Server

CLIP_TARGET, LONG_TARGET = 1.3, 0.9
_ALONE = 16
"""Clips sent by a single client: enough for its median."""
_SPEED_COLUMNS = ("audio", "x real time", "p50", "p95")


@dataclass(slots=True)
class Section:
    """What a part found: a table, ratios, and the runs for the JSON file."""

    table: Table
    ratios: list[Ratio] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)


def warm_up(server: Server, baseline: Baseline, clips: Sequence[Clip], clients: int) -> None:
    """Have every code path that is measured run once, so that no first call is."""
    for words in (False, True):
        server.run(clips[:clients], clients=clients, words=words, label="warm-up: server")
        baseline.run(clips[:2], words=words, label="warm-up: baseline")
    baseline.run(clips[:1], mode="batched", label="warm-up: baseline, batched")


def clips_section(server: Server, baseline: Baseline, clips: Sequence[Clip], rounds: int, clients: int) -> Section:
    """Short clips: many clients at once against one call after another."""
    rows: list[tuple[str, ...]] = []
    ratios: list[Ratio] = []
    runs: dict[str, list[Run]] = {}
    for words, what in ((False, "text"), (True, "text and word times")):
        theirs, ours = _in_turns(
            rounds,
            lambda words=words: baseline.run(clips, words=words, label=f"clips, words={words}: baseline"),
            lambda words=words: server.run(clips, clients=clients, words=words, label=f"clips, words={words}: server"),
        )
        base, served = joined(theirs), joined(ours)
        rows.append((f"{what}: faster-whisper, one call after another", *_speed_cells(base)))
        waits = [wait for run in theirs for wait in queued(run.latencies, clients)]
        rows.append((f"{what}: the same, {clients} clients queueing for it (computed)", *_speed_cells(base, waits)))
        rows.append((f"{what}: server, {clients} clients", *_speed_cells(served)))
        ratios.append(_ratio(f"clips, {what}", theirs, ours, CLIP_TARGET))
        runs |= {f"baseline, {what}": theirs, f"server, {what}": ours}
    alone = server.run(clips[:_ALONE], clients=1, label="clips: server, one client")
    rows.append(("text: server, one client", *_speed_cells(alone)))
    table = Table(
        f"Short clips: {len(clips)} requests of {min(clip.seconds for clip in clips):.0f}-"
        f"{max(clip.seconds for clip in clips):.0f} s over HTTP, {rounds} round(s)",
        ("", *_SPEED_COLUMNS),
        tuple(rows),
        ("p50, p95: seconds from a request to its answer. Word times: verbose_json, granularity word.",),
    )
    return Section(table, ratios, {**runs, "server, one client": [alone]})


def long_section(
    server: Server, baseline: Baseline, files: Sequence[Clip], references: Mapping[str, str], clients: int
) -> Section:
    """Long files, all at once, against the baseline's batched mode file by file; with the words each got wrong."""
    batched = baseline.run(files, mode="batched", label="long files: baseline, batched")
    served = server.run(files, clients=clients, label="long files: server")
    first = files[:1]
    sequential = baseline.run(first, label="long files: baseline, sequential, 1 file")

    def row(label: str, run: Run, heard: Sequence[Clip]) -> tuple[str, ...]:
        one, everything = scored(first, run.texts, references), scored(heard, run.texts, references)
        whole = (percent(everything.rate), percent(everything.lost_rate)) if len(heard) == len(files) else ("-", "-")
        return (label, *_speed_cells(run), *whole, percent(one.rate), percent(one.lost_rate))

    table = Table(
        f"Long files: {len(files)} of {files[0].seconds / 60:.1f} min over HTTP",
        ("", *_SPEED_COLUMNS, "WER", "lost", "WER file 1", "lost file 1"),
        (
            row(f"faster-whisper batched ({BATCH}), file after file", batched, files),
            row(f"server, {clients} clients", served, files),
            row("faster-whisper sequential, file 1 only", sequential, first),
        ),
        (
            "WER against the joined references of the clips each file is made of; lost: words of the reference "
            "without any counterpart (the part of the WER that speed could be bought with).",
        ),
    )
    runs = {"baseline, batched": [batched], "server": [served], "baseline, sequential": [sequential]}
    return Section(table, [_ratio("long files", [batched], [served], LONG_TARGET)], runs)


def accuracy_section(
    server: Server,
    baseline: Baseline,
    clips: tuple[Sequence[Clip], Sequence[Clip]],
    references: Mapping[str, str],
    *,
    clients: int,
    known: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Section:
    """Words: `clips` are those with a written reference and the rest, `known` the server's and the baseline's texts of
    clips that were heard before.
    """
    written, rest = clips
    everything = [*written, *rest]
    ours, theirs = dict(known[0]), dict(known[1])
    if unheard := [clip for clip in everything if clip.name not in ours]:
        ours |= server.run(unheard, clients=clients, label="words: server").texts
    if unheard := [clip for clip in everything if clip.name not in theirs]:
        theirs |= baseline.run(unheard, label="words: baseline, sequential").texts
    batched = baseline.run(everything, mode="batched", label="words: baseline, batched")
    systems = (ours, theirs, batched.texts)
    rows = [_accuracy_row(clip.name, [clip], systems, references) for clip in written]
    for language, what in (("en", "all English, WER"), ("zh", "all Chinese, CER")):
        if some := [clip for clip in written if clip.language == language]:
            rows.append(_accuracy_row(f"{what}, {len(some)} clips", some, systems, references))
    pseudo = [clip for clip in rest if not clip.reference]
    if rest:
        what = "LibriSpeech, difference from pseudo-reference" if pseudo else "cuts of the phone call, WER"
        rows.append(_accuracy_row(f"{what}, {len(rest)} clips", rest, systems, references))
    notes = ("Chinese counts characters, after simplification, without punctuation.", *((PSEUDO,) if pseudo else ()))
    columns = ("", "length", "server", "faster-whisper sequential", "faster-whisper batched")
    table = Table("Words: errors a word (Chinese: a character), same weights", columns, tuple(rows), notes)
    texts = [Run(1.0, 0.0, (), dict(heard)) for heard in (ours, theirs)]
    return Section(table, [], {"server": texts[:1], "baseline, sequential": texts[1:], "baseline, batched": [batched]})


def _accuracy_row(
    label: str, clips: Sequence[Clip], systems: Sequence[Mapping[str, str]], references: Mapping[str, str]
) -> tuple[str, ...]:
    counts = [scored(clips, texts, references) for texts in systems]
    return (label, str(counts[0].length), *(percent(count.rate) for count in counts))


def _in_turns(rounds: int, theirs: Callable[[], Run], ours: Callable[[], Run]) -> tuple[list[Run], list[Run]]:
    """Rounds of both, never at the same time, each round beginning with the other one: a slow minute hits both."""
    results: tuple[list[Run], list[Run]] = ([], [])
    for number in range(rounds):
        order = ((0, theirs), (1, ours)) if number % 2 == 0 else ((1, ours), (0, theirs))
        for index, run in order:
            results[index].append(run())
    return results


def _ratio(name: str, theirs: Sequence[Run], ours: Sequence[Run], target: float) -> Ratio:
    rounds = tuple(own.speed / base.speed for base, own in zip(theirs, ours, strict=True))
    return Ratio(name, joined(ours).speed / joined(theirs).speed, target, rounds)


def _speed_cells(run: Run, latencies: Sequence[float] | None = None) -> tuple[str, ...]:
    waits = run.latencies if latencies is None else latencies
    p50, p95 = percentile(waits, 0.5), percentile(waits, 0.95)
    return f"{run.audio:.0f} s", f"{run.speed:.1f}", f"{p50:.2f} s", f"{p95:.2f} s"
