"""`python -m smaf.launch N COMMAND …`: a stage in N processes of this machine, one a GPU.

They end as one command does. It starts them as `torchrun --nproc_per_node N -m smaf COMMAND …`
would. But each leaves its last line in a file (:func:`smaf.core.command.run_command`); the lines
are told once, with one exit status.

`python -m smaf.launch "--nnodes 2 --nproc_per_node 8 …" COMMAND …` has PyTorch's launcher start
them (:mod:`smaf.torchrun`), on many machines: the same command on each.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STAGES = (
    "saliency",
    "train_eps",
    "gen_fusion",
    "refine_fusion",
    "train_fusion",
    "gen_pm",
    "train_seg",
    "test_seg",
    "evaluate",
)  # the others have one process
# seconds for the others to end by themselves once a process has failed; then they are asked to
_PATIENCE = 5.0
_LAST_WORDS = 60.0  # seconds from there on until they are killed: time to write a checkpoint


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
        environment = {**_shared(count, folder), **_alone(count)}
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


def _shared(count: int, folder: Path) -> dict[str, str]:
    """The environment of `count` processes of this machine, who leave their last lines in `folder`.

    They end with this process (:func:`smaf.core.terminal.end_with_launcher`).
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    # PyTorch's own log tells, in the others, of a connection that a process with an error of its
    # own closed
    return {
        "OMP_NUM_THREADS": str(max(1, cores // count)),
        "TORCH_CPP_LOG_LEVEL": "FATAL",
        **os.environ,
        "SMAF_ERRORS": str(folder),
        "SMAF_LAUNCHER": str(os.getpid()),
    }


def _alone(count: int) -> dict[str, str]:
    """What `torchrun` says to `count` processes of one machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }


def _outcome(statuses: Mapping[int, int], folder: Path) -> tuple[int, list[str]]:
    """Return exit status and last lines of a run, of rank → exit status of those that failed.

    What the user can mend comes before what nobody foresaw, that before what follows from
    another's end, and that before a stop.
    """
    from smaf.core.terminal import LOST  # not at import: packages may be missing, which one tells

    ends = {rank: 1 if own < 0 else own for rank, own in statuses.items()}
    status = next((s for s in (2, 1, LOST, 130) if s in ends.values()), 1 if ends else 0)
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


def _stopped() -> tuple[int, list[str]]:
    from smaf.core.terminal import STOPPED

    return 130, [STOPPED]


def launch(count: int, command: Sequence[str]) -> int:
    """Run `command` in `count` processes that know each other; return the exit status.

    It shows the last lines of those that failed.
    """
    ranks = _Ranks()
    with tempfile.TemporaryDirectory(prefix="smaf-launch-") as folder:
        try:
            ranks.run(command, count, Path(folder))
            failed = ranks.statuses()
            if ranks.stopped and failed:
                return _tell(*_stopped())  # what the others miss in one that stopped is no error
            return _tell(*_outcome(failed, Path(folder)))
        except OSError as error:
            return _tell(
                2,
                [
                    f"error: process {len(ranks.processes)} of {count} cannot be started "
                    f"({error.strerror}): set NPROC to the number of GPUs"
                ],
            )


def launch_by_torchrun(options: str, words: Sequence[str]) -> int:
    """Run `smaf` with `words` as torchrun's `options` say; return the exit status.

    It shows the last lines of this machine's processes that failed.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # read while PyTorch starts
    from smaf import torchrun
    from smaf.core.errors import InputError
    from smaf.core.terminal import LOST, sigterm

    with tempfile.TemporaryDirectory(prefix="smaf-launch-") as folder:
        try:
            args = torchrun.read_options(options, words)
            os.environ.update(_shared(args.processes, Path(folder)))
            if not args.max_restarts:
                torchrun.end_where_stuck(Path(folder), args.processes)
            with sigterm():
                return _tell(*_outcome(torchrun.start(args), Path(folder)))
        except InputError as error:
            return _tell(2, [f"error: {error}"])
        except KeyboardInterrupt:
            return _tell(*_stopped())
        except ConnectionError as error:
            why = " ".join(str(error).split())[:300]
            return _tell(
                LOST,
                [
                    f"error: the machines did not meet, or lost each other ({why}): look at "
                    "TORCHRUN's --rdzv_endpoint and run the same command again on each, it goes on "
                    "where it stopped"
                ],
            )


def _tell(status: int, lines: Sequence[str]) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return status


def main(argv: Sequence[str]) -> int:
    """Run `N COMMAND …` or `OPTIONS COMMAND …`; return the exit status, that of the command."""
    how, stage, *options = *argv, *("", "")[len(argv) :]
    command = [sys.executable, "-m", "smaf", stage, *options]
    many = how.lstrip().startswith("-") and not how.lstrip(" -").isdigit()
    if not many and not (how.isascii() and how.isdigit() and int(how) > 0):
        return _tell(2, [f"error: NPROC is {how!r}: expected the number of processes, one a GPU"])
    if stage not in STAGES:
        return _tell(
            2,
            [f"error: {stage!r} has one process: leave NPROC and TORCHRUN to {', '.join(STAGES)}"],
        )
    simple = {"-h", "--help"} & set(options) or not importlib.util.find_spec("torch")
    if simple or (not many and int(how) == 1):
        os.execv(sys.executable, command)
    return launch_by_torchrun(how, command[3:]) if many else launch(int(how), command)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
