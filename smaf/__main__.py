"""`python -m smaf COMMAND …` is the console command `smaf COMMAND …`."""

from smaf.cli import main

raise SystemExit(main())
