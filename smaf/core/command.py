"""What every entry script shares: how a command ends, in one line, and with which exit status."""

from __future__ import annotations

import argparse
import errno
import os
import re
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from smaf.core.errors import InputError
from smaf.core.files import write_bytes
from smaf.core.recipes import with_recipes
from smaf.core.terminal import LOST, STOPPED, messages, ready_to_stop, sigterm, streams

_DISK = {
    errno.ENOSPC: "the disk is full: make room and run the same command again, it goes on where it "
    "stopped",
    errno.EDQUOT: "the disk quota is used up: make room and run the same command again",
    errno.EACCES: "permission denied: mend the permissions or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
}
# Seconds in which a process that another one's end has broken waits: where that one is on this
# machine, with an error of its own, PyTorch's launcher would end it before it has told
_LAST_WORDS = 5.0
_GONE = (
    "error: the connection to another process is gone: that one's own error, or its machine, says "
    "why; run the same command again, it goes on where it stopped"
)
_MEMORY = (
    "fewer --num_workers need less, and the same command goes on where it stopped; so do smaller "
    "photographs (--long_side, --max_view_pixels) or a smaller --batch_size, with --overwrite"
)


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows every default, also of options without a help text."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        action.help = action.help or " "
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Reads `--recipe NAME` and `@FILE` as options, see :mod:`smaf.core.recipes`."""

    command = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = with_recipes(sys.argv[1:] if args is None else args, self.command)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        tell(f"error: {message} (see {self.prog} --help)")
        self.exit(2)


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """Return a command's parser; its `--help` shows every default, and it reads recipes."""
    parser = _Parser(
        prog=f"smaf {command}",
        description=description,
        formatter_class=_Formatter,
        allow_abbrev=False,
        epilog="@FILE reads options from a file, --recipe NAME those that the package ships; "
        "later options win.",
    )
    parser.command = command
    return parser


def _one_line(error: BaseException) -> str:
    """The message of `error`; of an error that a worker process passed on, its last line."""
    text = str(error).strip()
    if text.startswith("Caught "):
        lines = [line for line in text.splitlines() if not line.startswith("[while ")]
        text = re.sub(r"^[\w.]+: ", "", lines[-1])
    return " ".join(text.split())


def run_command(
    main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None
) -> int:
    """Run an entry script's `main` and return its exit status.

    0; 2 for what the user can mend, in one line; 1 for an error that nobody foresaw, whose
    traceback goes to a file that the line names; 75 where another process of the run is gone; 130
    after Ctrl-C or SIGTERM.
    """
    ready_to_stop()
    with streams(), sigterm(), messages():
        status, line = _status(main, argv)
        if line:
            tell(line)
        if status == LOST and "TORCHELASTIC_RUN_ID" in os.environ:
            with suppress(KeyboardInterrupt):
                time.sleep(_LAST_WORDS)
    return status


def tell(line: str) -> None:
    """Print the line that ends a run, or write it to a file for the launcher.

    Each of many processes writes a file of its own.
    """
    folder = os.environ.get("SMAF_ERRORS")
    if folder and os.path.isdir(folder):
        path = Path(folder, f"{os.environ.get('RANK', '0')}.txt")
        write_bytes(path, line.encode("utf-8", errors="backslashreplace"))
    else:
        print(line, file=sys.stderr)


def _status(
    main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None
) -> tuple[int, str]:
    """Exit status and last line of the command."""
    try:
        main(argv)
    except InputError as error:
        return 2, f"error: {_one_line(error)}"
    except KeyboardInterrupt:
        return 130, STOPPED
    except Exception as error:
        return _unforeseen(error)
    return 0, ""


def _unforeseen(error: Exception) -> tuple[int, str]:
    """Exit status and line of an error that no check told before."""
    doing = f" while {error.during}" if hasattr(error, "during") else ""
    if not doing and (noted := re.search(r"^\[while (.*)\]$", str(error), flags=re.MULTILINE)):
        doing = f" while {noted[1]}"
    if isinstance(error, OSError) and error.errno in _DISK:
        return 2, f"error: {error.filename or 'output'}: {_DISK[error.errno]}"
    if is_memory_error(error):
        return 2, f"error: the memory is full{doing}: {_MEMORY}"
    if is_lost_connection(error):
        return LOST, _GONE
    told = (
        f"error: {type(error).__name__}{doing}: {_one_line(error)[:300]} (not foreseen; the "
        "traceback is "
    )
    text = f"{shlex.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"
    try:
        descriptor, name = tempfile.mkstemp(prefix="smaf-error-", suffix=".log", text=True)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:  # no room for it
        return 1, f"{text}\n{told}above)"
    return 1, f"{told}in {name})"


def is_memory_error(error: BaseException) -> bool:
    """Return whether `error` says that the memory is full.

    The errors of Python, NumPy, PyTorch and ONNX Runtime are known.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = r"(can't|cannot|failed to) allocate|bad_alloc|out of memory|bad allocation"
    runtime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return runtime and bool(re.search(said, str(error), re.IGNORECASE))


def is_lost_connection(error: BaseException) -> bool:
    """Return whether `error` says that another of many processes is gone (gloo's, NCCL's)."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return False
    said = r"gloo/transport|connection (closed|reset) by|broken pipe|remote process exited"
    return type(error).__name__ in {"DistNetworkError", "DistStoreError"} or bool(
        isinstance(error, RuntimeError) and re.search(said, str(error), re.IGNORECASE)
    )
