"""Faults at every write and sync, by system-call injection: `python -m injection` (`make injection`).

`strace` makes the n-th call of one thread fail, or kills the process there. `child` forks a process that waits to be
traced. A scenario (`six_tasks`, `old_schema`) says what the child does, how the next start goes on, and what is wrong
afterwards. `enumeration` plays a scenario once for each point, `__main__` is the command line.
"""
