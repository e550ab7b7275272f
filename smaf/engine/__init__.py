"""What runs: loops over images and steps, resume, many processes. The only room that wires the
others together."""
