"""The errors that a user can mend: each is one line that names the file and the fix."""


class InputError(ValueError):
    """A file or an option is not as it must be. Commands print it as one line and exit with status 2."""


class MissingInputError(FileNotFoundError, InputError):
    """A file that a command needs is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message
