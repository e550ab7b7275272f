"""`python -m smaf COMMAND …` is the console command `smaf COMMAND …`."""

import sys

try:
    from smaf.cli import main

    status = main()
except ModuleNotFoundError as error:  # of a Python that the wrappers found, or were given
    if (error.name or "smaf").partition(".")[0] == "smaf":
        raise
    print(
        f"error: {sys.executable} lacks the package {error.name}: bash script/demo.sh makes .venv "
        "with all that is needed; or name a Python that has it",
        file=sys.stderr,
    )
    status = 2
raise SystemExit(status)
