"""The engine runs the method: loops over photographs and steps, resume, many processes.

It is the only room that wires the other rooms together.
"""
