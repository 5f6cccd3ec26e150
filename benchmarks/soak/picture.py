"""A run as a picture: what /metrics said each second, and when which fault was made.

.venv-bench/bin/python -m benchmarks.soak.picture benchmarks/results/soak docs/pictures/metrics.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.soak.looking import STAGES, read

_WINDOW = 5
"""Seconds over which rates are taken."""
_COLOURS = {"decoder killed": "tab:red", "decoder hung": "tab:purple", "disk full": "tab:orange", "restart": "black"}
Row = dict[str, float]


def draw(folder: Path, path: Path) -> None:
    """Draw the run in `folder` into `path`."""
    mpl.use("Agg")
    rows = list(read(folder / "samples.csv"))
    run = json.loads((folder / "run.json").read_text("utf-8"))
    figure, axes = pyplot.subplots(6, 1, sharex=True, figsize=(11, 14), layout="constrained")
    _panel(axes[0], "requests a second", rows, {name: _rate(f"http_{name}") for name in ("2xx", "4xx", "5xx")})
    kinds = {"recordings": _rate("audio_file"), "live": _rate("audio_live")}
    _panel(axes[1], "seconds of sound a second", rows, kinds)
    _panel(axes[2], "pieces waiting", rows, {"pieces": _level("waiting"), "oldest, s": _level("oldest")})
    _panel(axes[3], "mean seconds in a stage", rows, {name: _mean(name) for name in STAGES})
    axes[3].set_yscale("log")
    _panel(axes[4], "in progress", rows, {"recordings": _level("requests"), "streams": _level("streams")})
    _panel(axes[5], "anonymous memory of all its processes, MiB", rows, {"memory": _held("memory")})
    axes[5].set_ylim(bottom=0)
    for axis in axes:
        _mark(axis, run["faults"])
    axes[5].set_xlabel("seconds since the load began")
    figure.suptitle(_title(run))
    handles = [pyplot.Line2D([], [], color=colour, label=kind) for kind, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _title(run: dict[str, Any]) -> str:
    machine = run["machine"].split(";")[0]
    return f"{run['done']} requests and streams in {run['seconds']:.0f} s of {run['command']}\n{machine}"


Value = Callable[[list[Row], int], float]


def _level(name: str) -> Value:
    return lambda rows, index: rows[index][name] if rows[index]["seen"] else float("nan")


def _held(name: str) -> Value:
    return lambda rows, index: rows[index][name] or float("nan")


def _rate(name: str) -> Value:
    def rate(rows: list[Row], index: int) -> float:
        now, before = rows[index], rows[max(0, index - _WINDOW)]
        told = now["seen"] and before["seen"] and now["at"] > before["at"] and now[name] >= before[name]
        return (now[name] - before[name]) / (now["at"] - before["at"]) if told else float("nan")

    return rate


def _mean(stage: str) -> Value:
    def mean(rows: list[Row], index: int) -> float:
        now, before = rows[index], rows[max(0, index - _WINDOW)]
        count = now[f"{stage}_count"] - before[f"{stage}_count"]
        return (now[f"{stage}_sum"] - before[f"{stage}_sum"]) / count if count > 0 else float("nan")

    return mean


def _panel(axis: Any, title: str, rows: list[Row], lines: dict[str, Value]) -> None:
    times = [row["at"] for row in rows]
    for name, value in lines.items():
        axis.plot(times, [value(rows, index) for index in range(len(rows))], label=name, linewidth=1.3)
    axis.set_title(title, loc="left", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper right", fontsize=8, ncols=len(lines), framealpha=0.9)


def _mark(axis: Any, faults: list[dict[str, Any]]) -> None:
    for fault in faults:
        colour = _COLOURS[fault["kind"]]
        axis.axvline(fault["began"], color=colour, linewidth=1, linestyle="--")
        axis.axvspan(fault["began"], fault["ended"], color=colour, alpha=0.12)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
