"""How fast everact is, beside the limits of the machine and other libraries: `python -m benchmarks --help`.

A *program* is a module of measured functions; a *case* is one call of such a function in a process of its own; a
*question* is the cases whose figures are compared with each other. Nothing here is part of the package.
"""
