"""Masks of photographs that belong to no data set: networks and their runtimes, the run over many
photographs, and the face for Python."""
