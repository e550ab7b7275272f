"""`python -m smaf COMMAND …` is the console command `smaf COMMAND …`."""

from smaf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
