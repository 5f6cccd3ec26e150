"""What a soak found out, as tables and as a file."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.progress import note
from benchmarks.report import Table
from benchmarks.soak import plan, verdict
from benchmarks.soak.asks import ADMIN, FILE_NAME, KEY, WRONG
from benchmarks.soak.looking import Holdings, Watch
from benchmarks.soak.outcomes import Judge, totals

_EXPLAINED = (": engine_failure: ", ": storage_full: ")
_TOLD = 80
_ROW = 3
"""Words in a row that show that somebody's words are in the log."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything about one run. `found` is what was wrong with the server's ends and its files, `without` the faults
    that could not be made here, `words` what was said, `jobs` how many were accepted, `lost` what is wrong with those
    that have not ended as they must, `before` and `after` what the server held at rest."""

    given: argparse.Namespace
    judge: Judge
    found: list[str]
    without: list[str]
    took: float
    done: int
    before: Holdings
    after: Holdings
    words: set[str]
    jobs: int
    lost: list[str]
    watch: Watch
    folder: Path

    @property
    def command(self) -> str:
        """What repeats it."""
        return " ".join(["python -m benchmarks.soak", *sys.argv[1:]])


def save(run: Run) -> None:
    """Write all of it beside the samples."""
    seconds = run.watch.seconds
    body = {
        "command": run.command,
        "machine": machine.read().describe(),
        "seconds": run.took,
        "done": run.done,
        "faults": [
            {"kind": fault.kind, "began": seconds(fault.began), "ended": seconds(fault.ended)}
            for fault in run.judge.faults
        ],
        "counts": [[*key, count] for key, count in sorted(run.judge.counts.items())],
        "unexpected": [
            asdict(one) | {"began": seconds(one.began), "ended": seconds(one.ended)} for one in run.judge.unexpected
        ],
        "checks": [check.row for check in checks(run)],
    }
    (run.folder / "run.json").write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def checks(run: Run) -> list[verdict.Check]:
    """The verdict."""
    judge = run.judge
    restarts = [run.watch.seconds(fault.ended) for fault in judge.faults if fault.kind == "restart"]
    log = (run.folder / "server.log").read_text(encoding="utf-8", errors="replace")
    came = {fault.kind for fault in judge.faults}
    missing = sorted({one.kind for one in plan.faults(run.given.requests)} - came)
    made = [
        verdict.none_of("unexpected answers", [f"{one.name}: {one.status}" for one in judge.unexpected]),
        verdict.none_of("of them, somebody else's words", [one.name for one in judge.unexpected if one.stranger]),
        verdict.none_of("ends and files of the server", run.found),
        verdict.none_of(f"of {run.jobs} accepted jobs, lost or different", run.lost),
        verdict.none_of("keys, names and words in its log", secrets(log, run.words)),
        verdict.none_of("tracebacks that no fault explains", tracebacks(log)),
        verdict.no_more("processes", run.before.processes, run.after.processes),
        verdict.no_more(
            "open descriptors", run.before.descriptors, run.after.descriptors, run.after.beyond(run.before)
        ),
        verdict.growth(run.watch.samples, max(restarts, default=0.0)),
    ]
    return made + [verdict.Check(f"fault: {kind}", "did not come", "once", None) for kind in missing]


def tracebacks(log: str) -> list[str]:
    """What lines with tracebacks say first, without those of faults: a decoder that died, a disk that is full."""
    found: list[str] = []
    for line in log.splitlines():
        if "Traceback" in line and not any(code in line for code in _EXPLAINED):
            found.append(json.loads(line)["message"][:_TOLD] if line.startswith("{") else line[:_TOLD])
    return found


def secrets(log: str, said: set[str]) -> list[str]:
    """What stands in the log and must not: keys, a file's name, words in a row that were said. Not told is which."""
    named = {"a key": (KEY, WRONG, ADMIN), "a file's name": (FILE_NAME,)}
    found = [name for name, values in named.items() for value in values if value in log]
    for text in said:
        words = re.findall(r"\S+", text)
        rows = {" ".join(words[first : first + _ROW]) for first in range(len(words) - _ROW + 1)}
        found += ["words that were said" for row in rows if len(row) > 5 * _ROW and row in log]
    return found


def tell(run: Run) -> int:
    """Print it; 1 when a check is missed."""
    faults = Counter(fault.kind for fault in run.judge.faults)
    rows = [
        (why, str(faults.get(why, "")), str(count)) for why, count in totals(run.judge.counts.items()).most_common()
    ]
    rows += [(kind, str(count), "0") for kind, count in faults.items() if kind not in {row[0] for row in rows}]
    head = f"{run.done} of {run.given.requests} requests and streams in {run.took:.0f} s"
    found = checks(run)
    print(Table(head, ("why it was as it should be", "faults", "outcomes"), tuple(rows)).text(), end="\n\n")
    notes = tuple(f"not covered here: {kind}" for kind in run.without)
    columns = ("check", "measured", "bound", "")
    print(Table("Verdict", columns, tuple(check.row for check in found), notes, text_columns=4).text())
    note(f"all of it: {run.folder}")
    return 1 if any(check.met is False for check in found) else 0
