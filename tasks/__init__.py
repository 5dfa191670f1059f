"""The vocabulary of everact: what a task, a handler, a record and a retry are.

Nothing in this package starts a thread, waits, reads a clock or touches a file. Everything that depends
on time or chance is a function of a passed-in value, which is what makes it testable.
"""
