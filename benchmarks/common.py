"""What every command here begins with: its arguments, the models, the corpus."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.settings import Settings, available_cores
from benchmarks import corpus, machine
from benchmarks.progress import note
from benchmarks.report import Report
from benchmarks.server import MODEL, ROOT

VAD, PHONE_CALL = "fsmn-vad", "sample-phone-call"


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything a measurement needs. `folders` are the models' by id."""

    folders: dict[str, Path]
    threads: int
    neighbours: machine.Neighbours
    corpus: corpus.Corpus
    report: Report

    @property
    def weights(self) -> Path:
        """The folder both sides load."""
        return self.folders[MODEL]


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """The arguments all commands share."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    made.add_argument("--quick", action="store_true", help="fewer and shorter: shows that all works, figures are rough")
    made.add_argument("--markdown", action="store_true", help="print tables to paste into a document")
    made.add_argument(
        "--audio", type=Path, default=corpus.SHARED_AUDIO, help="folder of recordings (default: %(default)s)"
    )
    return made


@contextmanager
def prepared(module: str, arguments: argparse.Namespace, scale: corpus.Scale, *setting: str) -> Generator[Bench]:
    """Fetch what is missing, make the corpus in a temporary folder, and note where and how figures are taken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: leave no server behind
    os.chdir(ROOT)  # where settings, models and the shared recordings are looked for
    folders = ModelStore(Settings()).ensure_all([MODEL, VAD, PHONE_CALL], console_progress())
    with tempfile.TemporaryDirectory() as folder:
        note("preparing the recordings ...")
        recordings = corpus.load(arguments.audio, folders[PHONE_CALL], Path(folder), scale)
        command = f"python -m benchmarks.{module}" + (" --quick" if arguments.quick else "")
        lines = (machine.read().describe(), f"{MODEL} int8, beam 5, language given", recordings.source, *setting)
        yield Bench(folders, available_cores(), machine.Neighbours(), recordings, Report(command, lines))


def finish(bench: Bench, name: str, *, markdown: bool) -> None:
    """Print the report on stdout and save it."""
    bench.report.setting += (bench.neighbours.describe(),)
    path = bench.report.save(name)
    print(bench.report.render(markdown=markdown))
    note(f"\nsaved: {path.relative_to(ROOT)} (and .md)")
