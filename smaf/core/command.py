"""What every entry script shares: one line and exit status 2 for what the user can mend."""

from __future__ import annotations

import argparse
import errno
import logging
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

from smaf.core.errors import InputError

log = logging.getLogger("smaf")

_DISK = {errno.ENOSPC: "the disk is full: make room and run the same command again, it goes on where it stopped",
         errno.EDQUOT: "the disk quota is used up: make room and run the same command again",
         errno.EACCES: "permission denied: mend the permissions or choose another folder",
         errno.EROFS: "the file system is read-only: choose another folder"}


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows every default, also of options without a help text."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        action.help = action.help or " "
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Reads `@FILE` as options, one or more a line; what follows a # is a comment."""

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        try:
            return shlex.split(arg_line, comments=True)
        except ValueError as error:
            self.error(f"recipe line {arg_line!r} cannot be read ({error}): close the quotes")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser whose `--help` shows every default, and that reads recipe files as `@FILE`."""
    return _Parser(prog=f"smaf {prog}", description=description, formatter_class=_Formatter, allow_abbrev=False,
                   fromfile_prefix_chars="@", epilog="@FILE reads options from a recipe file; later options win.")


def _one_line(error: Exception) -> str:
    """The message of `error`; of an error that a worker process passed on, its last line."""
    text = str(error).strip()
    if text.startswith("Caught "):
        text = re.sub(r"^[\w.]+: ", "", text.splitlines()[-1])
    return " ".join(text.split())


def run_command(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run an entry script's `main`; return its exit status: 0, 2 for bad input, 130 when interrupted."""
    with _messages():
        return _status(main, argv)


class _BesideBars(logging.Handler):
    """Writes each message on a line of its own, also while a progress bar is on the last one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def _messages() -> Iterator[None]:
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


def _status(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    try:
        main(argv)
    except InputError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _DISK:
            raise
        print(f"error: {error.filename or 'output'}: {_DISK[error.errno]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: run the same command again, it goes on where it stopped", file=sys.stderr)
        return 130
    return 0
