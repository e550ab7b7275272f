"""`python -m smaf.launch N COMMAND …`: a stage in N processes of this machine, one a GPU.

They end as one command does. It starts them as `torchrun --nproc_per_node N -m smaf COMMAND …`
would. But each leaves its last line in a file (:func:`smaf.core.command.run_command`); the lines
are told once, with one exit status.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

STAGES = (
    "train_eps",
    "gen_fusion",
    "train_fusion",
    "gen_pm",
    "train_seg",
)  # the others have one process
# seconds for the others to end by themselves once a process has failed; then they are asked to
_PATIENCE = 5.0
_LAST_WORDS = 60.0  # seconds from there on until they are killed: time to write a checkpoint
_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


class _Ranks:
    """The processes of one run, by rank.

    Signals that this process gets are passed on, once to each.
    """

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.stopped = False  # by the user
        self.ended: set[int] = set()  # those that were ended because another one failed
        self._signals: list[int] = []

    def run(self, command: Sequence[str], count: int, folder: Path) -> None:
        """Start `count` processes and wait for their end.

        Where one fails, the others are ended, too.
        """
        environment = _environment(count, folder)
        with self._listening():
            try:
                for rank in range(count):
                    # In a session of its own a process hears a terminal's Ctrl-C once, from here
                    self.processes.append(
                        subprocess.Popen(
                            command,
                            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                            stdin=subprocess.DEVNULL,
                            start_new_session=True,
                            preexec_fn=_end_with_parent(),
                        )
                    )
                self._wait()
            finally:
                self._send(signal.SIGKILL)

    def statuses(self) -> dict[int, int]:
        """Return rank → exit status of the processes that failed by themselves.

        It is minus a signal's number where that killed the process.
        """
        return {
            rank: process.returncode
            for rank, process in enumerate(self.processes)
            if process.returncode and rank not in self.ended
        }

    @contextmanager
    def _listening(self) -> Iterator[None]:
        numbers = [
            n
            for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(n) != signal.SIG_IGN
        ]
        before = {
            number: signal.signal(number, lambda n, _: self._signals.append(n))
            for number in numbers
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wait(self) -> None:
        failed: float | None = None
        while None in [process.poll() for process in self.processes]:
            time.sleep(0.05)
            while self._signals:
                self.stopped = True
                number = self._signals.pop()
                self._send(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
            if failed is None and any(process.returncode for process in self.processes):
                failed = time.monotonic()
            waited = 0.0 if failed is None else time.monotonic() - failed
            if waited > _PATIENCE + _LAST_WORDS:
                self._send(signal.SIGKILL)
            elif waited > _PATIENCE and not self.stopped and not self.ended:
                self.ended = {
                    rank for rank, process in enumerate(self.processes) if process.poll() is None
                }
                self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)


def _environment(count: int, folder: Path) -> dict[str, str]:
    """What `torchrun` says to its processes, and where they leave their last lines."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # PyTorch's own log tells, in the others, of a connection that a process with an error of its
    # own closed
    return {
        "OMP_NUM_THREADS": str(max(1, cores // count)),
        "TORCH_CPP_LOG_LEVEL": "FATAL",
        **os.environ,
        "SMAF_ERRORS": str(folder),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }


def _end_with_parent() -> Callable[[], object] | None:
    """Return what a new process calls first, so that it ends when this one is killed.

    It asks Linux for SIGTERM when its parent is gone; None elsewhere.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _outcome(ranks: _Ranks, folder: Path) -> tuple[int, list[str]]:
    """Return exit status and last lines of a run.

    What the user can mend comes before what nobody foresaw, and that before a stop.
    """
    from smaf.core.terminal import (
        STOPPED,
    )  # not at import: packages may be missing, which one process tells

    statuses = ranks.statuses()
    if ranks.stopped and statuses:
        return 130, [STOPPED]  # what the others miss in one that has stopped is no error
    status = next((s for s in (2, 1, 130) if s in statuses.values()), 1 if statuses else 0)
    lines = []
    for rank, own in statuses.items():
        told = folder / f"{rank}.txt"
        if own < 0 and status == 1:
            lines.append(
                f"error: process {rank} was killed by {signal.Signals(-own).name}: the system does "
                "that where memory is short; run the same command again, it goes on where it "
                "stopped"
            )
        elif own == status and told.is_file():
            lines.append(told.read_text(encoding="utf-8"))
    return status, list(dict.fromkeys(lines))


def launch(count: int, command: Sequence[str]) -> int:
    """Run `command` in `count` processes that know each other; return the exit status.

    It shows the last lines of those that failed.
    """
    ranks = _Ranks()
    with tempfile.TemporaryDirectory(prefix="smaf-launch-") as folder:
        try:
            ranks.run(command, count, Path(folder))
            status, lines = _outcome(ranks, Path(folder))
        except OSError as error:
            status, lines = (
                2,
                [
                    f"error: process {len(ranks.processes)} of {count} cannot be started "
                    f"({error.strerror}): set NPROC to the number of GPUs"
                ],
            )
    for line in lines:
        print(line, file=sys.stderr)
    return status


def main(argv: Sequence[str]) -> int:
    """Run `N COMMAND …`; return the exit status, that of the command."""
    count, stage, *options = *argv, *("", "")[len(argv) :]
    command = [sys.executable, "-m", "smaf", stage, *options]
    if not (count.isascii() and count.isdigit() and int(count) > 0):
        print(
            f"error: NPROC is {count!r}: expected the number of processes, one a GPU",
            file=sys.stderr,
        )
        return 2
    if stage not in STAGES:
        print(
            f"error: {stage!r} has one process: leave NPROC to {', '.join(STAGES)}", file=sys.stderr
        )
        return 2
    if int(count) == 1 or {"-h", "--help"} & set(options) or not importlib.util.find_spec("torch"):
        os.execv(sys.executable, command)
    return launch(int(count), command)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
