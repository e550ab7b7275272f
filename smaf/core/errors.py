"""The errors that a user can mend: each is one line that names the file and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath


class InputError(ValueError):
    """A file or an option is not as it must be.

    Commands print it as one line and exit with status 2.
    """


class MissingInputError(FileNotFoundError, InputError):
    """A file that a command needs is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


def printable(name: PurePath | str) -> str:
    """A name for a line of text: control characters and bytes that are no UTF-8 are escaped.

    Example:
        >>> printable("two\\nlines.jpg")
        'two\\\\nlines.jpg'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'cat'?)` where one of `known` is near `name`, else an empty text.

    Case does not count.

    Example:
        >>> did_you_mean("Catt", ["cat", "dog"])
        " (did you mean 'cat'?)"
    """
    lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f" (did you mean {lower[near[0]]!r}?)" if near else ""


@contextmanager
def during(what: str) -> Iterator[None]:
    """Note on an error that leaves the block what was being done: "fusing photograph x.jpg".

    The innermost note stays. It is told where nobody foresaw the error
    (:func:`smaf.core.command.run_command`), and comes along from worker processes.
    """
    try:
        yield
    except Exception as error:
        if not hasattr(error, "during"):
            error.during = what  # type: ignore[attr-defined]
            if hasattr(
                error, "add_note"
            ):  # Python 3.11: PyTorch's loader passes on an error's text alone
                error.add_note(f"[while {what}]")
        raise
