"""Speed and memory of this project beside the published procedures, measured in turn.

Each measurement is a process of its own: published, ours, published, ours … with the same
photographs, sizes and weights. Wall and CPU time are medians within a process, then over the
rounds; ratios are medians of the pairs' ratios; peak memory is the whole process's, libraries
included. Results that must agree are compared. The CRF rows need pydensecrf, and are left out
without it.

    python benchmarks/speed.py --out speed.json --markdown speed.md
    python benchmarks/speed.py --rows crf,evaluate --rounds 5
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np
from materials import SIZE, make_set
from speed_rows import ROWS, Row
from speed_work import SIDES, Ground

from smaf.core.command import run_command
from smaf.core.errors import InputError
from smaf.core.files import write_json, write_text

Entry = dict[str, Any]
_GIB = 2**30


def chosen(words: Sequence[str]) -> list[Row]:
    """The rows that are named, or whose name begins with a word that is named.

    >>> [row.name for row in chosen(["crf-softmax", "evaluate"])]
    ['crf-softmax-2', 'crf-softmax-21', 'evaluate']
    """
    words = [word for part in words for word in part.split(",") if word]
    for word in words:
        if not any(_names(word, name) for name in ROWS):
            raise InputError(f"--rows {word}: expected some of {', '.join(ROWS)}")
    return [row for row in ROWS.values() if any(_names(word, row.name) for word in words)]


def _names(word: str, name: str) -> bool:
    return name == word or name.startswith(f"{word}-")


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """As many processes that keep a core busy each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(row: Row, side: str, ground: Ground) -> Entry:
    """One side of a row in this process; its result goes to a file beside the data set."""
    work = row.work(side, ground)
    wall, cpu, result = [], [], {}
    with busy_neighbours(row.neighbours):
        (work.warm or work.run)()
        for _ in range(1 if ground.quick else row.repeats):
            started, used = time.perf_counter(), time.process_time()
            result = work.run()
            cpu.append((time.process_time() - used) / work.units)
            wall.append((time.perf_counter() - started) / work.units)
    np.savez(_result_path(ground.root, row, side), **result)  # type: ignore[arg-type]
    return {"wall": median(wall), "cpu": median(cpu), "peak": machine.peak_memory()}


def _result_path(root: Path, row: Row, side: str) -> Path:
    return root / f"result_{row.name}_{side}.npz"


def difference(root: Path, row: Row) -> float:
    """How far the sides' results are apart: see `tolerance` of a row; infinite for other shapes."""
    first, second = (dict(np.load(_result_path(root, row, side))) for side in SIDES)
    if first.keys() != second.keys() or any(first[k].shape != second[k].shape for k in first):
        return float("inf")
    largest = 0.0
    for key, a in first.items():
        b = second[key]
        if a.dtype.kind in "iu":
            apart = float((a != b).mean())
        elif (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        else:
            apart = float(np.nan_to_num(np.abs(a.astype(np.float64) - b)).max())
        largest = max(largest, apart)
    return largest


@contextmanager
def _on_two_cores(wanted: bool) -> Iterator[None]:
    """What is started in the block has two cores, where the system can tell it so."""
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_process(row: Row, side: str, args: argparse.Namespace, root: Path) -> Entry:
    """Measure one side of a row in a new process."""
    threads = args.threads if row.threads is None else row.threads
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    words = ["--row", row.name, "--side", side, "--set", str(root), *["--quick"] * args.quick]
    with _on_two_cores(row.neighbours > 0):
        done = subprocess.run(
            [sys.executable, __file__, *words, "--threads", str(threads)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise InputError(f"row {row.name}, {side}: {done.stderr.strip()[-500:]}")
    entry: Entry = json.loads(done.stdout.splitlines()[-1])
    return entry


def measure_row(row: Row, args: argparse.Namespace, root: Path) -> Entry:
    """A row of the results: both sides in turn, as many rounds as asked for."""
    threads = args.threads if row.threads is None else row.threads
    entry: Entry = {"row": row.name, "title": row.title, "threads": threads or "default"}
    if row.needs and importlib.util.find_spec(row.needs) is None:
        return {**entry, "note": f"left out: {row.needs} is not installed"}
    count = min(args.rounds, row.rounds or args.rounds)
    rounds = []
    for number in range(count):
        rounds.append({side: in_process(row, side, args, root) for side in SIDES})
        shown = ", ".join(f"{side} {seconds(e['wall'])}" for side, e in rounds[-1].items())
        print(f"{row.name} {number + 1}/{count}: {shown}", file=sys.stderr, flush=True)
    for side in SIDES:
        entry[side] = {
            key: median(one[side][key] for one in rounds) for key in ("wall", "cpu", "peak")
        }
    for key in ("wall", "cpu", "peak"):
        entry[f"{key}_ratio"] = median(one["published"][key] / one["ours"][key] for one in rounds)
    apart = difference(root, row)
    return {**entry, "difference": apart, "same": apart <= row.tolerance, "rounds": rounds}


def seconds(value: float) -> str:
    """A time with its unit.

    >>> seconds(0.0123), seconds(12.345)
    ('12.3 ms', '12.35 s')
    """
    return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"


def table(rows: Sequence[Entry]) -> str:
    """The results as Markdown."""
    titles = ("", "threads", "published", "ours", "ratio", "CPU time", "peak memory", "apart")
    lines = []
    for row in rows:
        first = [f"{row['title']} (`{row['row']}`)", str(row["threads"])]
        if "note" in row:
            lines.append([*first, row["note"], *[""] * 5])
            continue
        memory = " → ".join(f"{row[side]['peak'] / _GIB:.2f}" for side in SIDES)
        cells = [
            *(seconds(row[side]["wall"]) for side in SIDES),
            f"{row['wall_ratio']:.2f}",
            f"{row['cpu_ratio']:.2f}",
            f"{memory} GiB",
            f"{row['difference']:.1e}{'' if row['same'] else ' (too far)'}",
        ]
        lines.append([*first, *cells])
    return machine.markdown(titles, lines)


def compare(args: argparse.Namespace) -> None:
    """Measure the rows asked for and write the results."""
    rows, facts, started = chosen(args.rows), machine.facts(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smaf-speed-") as folder:
        root = Path(folder)
        photographs = make_set(
            root,
            count=3 if args.quick else 40,
            size=(96, 72) if args.quick else SIZE,
            photographs=args.photographs,
        )
        entries = [measure_row(row, args, root) for row in rows]
    minutes = (time.monotonic() - started) / 60
    said = f"Photographs: {photographs}. Measured in {minutes:.1f} minutes, {args.rounds} rounds."
    text = f"{machine.head(facts, said)}\n{table(entries)}\n"
    if args.out:
        write_json(args.out, {**facts, "photographs": photographs, "rows": entries})
    if args.markdown:
        write_text(args.markdown, text)
    print(text)
    apart = [entry["row"] for entry in entries if not entry.get("same", True)]
    if apart:
        raise InputError(f"the two sides differ by more than they may in {', '.join(apart)}")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help="names, or how they begin")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of measurements a row")
    parser.add_argument("--threads", type=int, default=1, help="of rows that name no number")
    parser.add_argument("--photographs", type=Path, help="folder of .jpg files; default: rendered")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a test of this script")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--markdown", type=Path, help="Markdown file")
    one = parser.add_argument_group("one measurement, which prints a line of JSON")
    one.add_argument("--row", choices=list(ROWS))
    one.add_argument("--side", choices=SIDES, default=SIDES[1])
    one.add_argument("--set", type=Path, help="the data set that the measurements share")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the rows, or measure one side of one."""
    args = build_parser().parse_args(argv)
    if args.row is None:
        compare(args)
        return
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="smaf-speed-") as folder:
        if args.set is None:
            make_set(Path(folder), count=3, size=(96, 72) if args.quick else SIZE)
        ground = Ground(args.set or Path(folder), args.quick)
        print(json.dumps(measure(ROWS[args.row], args.side, ground)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
