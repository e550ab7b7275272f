"""Data sets on disk, their lists and labels, and the transforms of training."""
