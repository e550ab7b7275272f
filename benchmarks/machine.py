"""What a benchmark ran on: the head of its results. Loads neither PyTorch nor NumPy."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "numba", "pydensecrf2")
_HERE = Path(__file__).resolve().parent


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load_average() -> float | None:
    """Processes that ran or waited in the last minute, None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of this code, with `+` where files differ from it."""
    words = ("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    try:
        done = subprocess.run(
            ["git", "-C", str(_HERE), *words], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def facts() -> dict[str, object]:
    """Processor, cores, load, versions, commit and date."""
    return {
        "processor": cpu_model(),
        "cores": cores(),
        "load": load_average(),
        "versions": versions(),
        "commit": git_commit(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def head(facts: dict[str, object], *more: str) -> str:
    """The facts as a paragraph of Markdown, with further sentences."""
    names = facts["versions"]
    assert isinstance(names, dict)
    lines = [
        f"{facts['processor']}, {facts['cores']} cores, load {facts['load']} at the start; "
        f"{facts['date']}; commit {facts['commit'] or 'unknown'}.",
        ", ".join(f"{name} {number}" for name, number in names.items()) + ".",
        *more,
    ]
    return "\n".join(lines) + "\n"


def peak_memory() -> int:
    """Bytes of memory that this process had at most."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux's ru_maxrss counts what the parent had before this one began
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
