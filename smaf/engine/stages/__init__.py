"""The stages, a file each, named after its command: a plan, and the function that runs it."""
