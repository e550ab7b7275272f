"""Fixtures of runs."""

from runs import made, own

__all__ = ["made", "own"]
