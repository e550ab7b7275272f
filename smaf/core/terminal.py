"""A process's output streams, log and signals, each put back after a command."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from tqdm import tqdm

log = logging.getLogger("smaf")
_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
LOST = 75  # exit status where another process is gone (EX_TEMPFAIL: worth another try)
STOPPED = "stopped: run the same command again, it goes on where it stopped"


class _Stream:
    """Standard output or error that survives a reader who leaves (`| head -1`).

    It survives characters that its encoding lacks, too.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (
            BrokenPipeError
        ):  # nobody reads any more: the work goes on, and so does Python's flush at the exit
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextmanager
def streams() -> Iterator[None]:
    """Give the block standard streams that survive a reader who leaves.

    They survive characters that their encoding lacks, too.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, _Stream(sys.stdout)), cast(TextIO, _Stream(sys.stderr))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def sigterm() -> Iterator[None]:
    """Let SIGTERM take the way of Ctrl-C within the block.

    It ends a run when a machine shuts down or a scheduler's time is over.
    """
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # another thread: whoever runs it handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_at_once() -> None:
    """Let Ctrl-C end the process with its line, not with a traceback.

    While modules load there is nothing to finish. :func:`ready_to_stop` ends this.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, _stop)


def _stop(*_: object) -> None:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(130)


def end_with_launcher() -> None:
    """Ask Linux for SIGTERM when the process that launched this one is gone, however it went."""
    launcher = os.environ.get("SMAF_LAUNCHER", "")
    if sys.platform != "linux" or not launcher.isdigit():
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(launcher) and os.environ.get("RANK"):  # it went before
        os._exit(130)


def ready_to_stop() -> None:
    """Take back :func:`stop_at_once`, where it is in force."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == _stop:
            signal.signal(number, handler)


class _BesideBars(logging.Handler):
    """Writes each message on a line of its own, also while a progress bar is on the last one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def messages() -> Iterator[None]:
    """Show the package's log on standard error for the block, and leave the logger as it was."""
    before = log.level, log.propagate
    handler = _BesideBars()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
