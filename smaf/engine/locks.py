"""One run at a time in an output folder.

PyTorch is not imported: `smaf predict` does without its start-up.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from smaf.core.errors import InputError, printable
from smaf.core.files import drop_leftovers, output_folder, read_text, write_text

log = logging.getLogger("smaf")
LOCK = ".smaf.lock"
_HOLDER = ".smaf.holder"  # who has the lock, in words


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it for the block.

    A second run in it is refused, with the name of the first one. The system frees the lock of a
    process that was killed. What such a process left half-written is removed. Where a file system
    has no locks a warning says so.
    """
    output_folder(folder)
    lock, holder = FileLock(str(folder / LOCK)), folder / _HOLDER
    try:
        lock.acquire(timeout=1)
    except Timeout:
        who = read_text(holder, "lock", "").strip() if holder.is_file() else "another process"
        raise InputError(
            f"{folder} is in use by {who}: wait for it, end it, or choose another folder with --out"
        ) from None
    except (OSError, NotImplementedError) as error:
        log.warning(
            "warning: %s is on a file system without locks (%s): run nothing else in this folder "
            "meanwhile",
            folder,
            error,
        )
    try:
        drop_leftovers(folder)
        since, command = (
            time.strftime("%Y-%m-%d %H:%M:%S"),
            shlex.join([Path(sys.argv[0]).name, *sys.argv[1:3]]),
        )
        write_text(
            holder,
            f"process {os.getpid()} on {socket.gethostname()} since {since} "
            f"({printable(command[:80])} …)\n",
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        if lock.is_locked:
            if (
                os.name == "posix"
            ):  # while it is held: who waits for it sees that the file is gone, and starts over
                (folder / LOCK).unlink(missing_ok=True)
            lock.release()
