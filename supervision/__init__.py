"""The unhappy path: what is decided when an attempt, a cell or its thread fails.

Supervisors are never on the happy path and never run user code. What they decide is computed by pure functions.
"""
