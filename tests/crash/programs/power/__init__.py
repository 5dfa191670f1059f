"""Power cuts, replayed: `python -m power --images 10000` (with this folder on the path; `make power-cut`).

`workload` is a real system at work. `recorder.c`, preloaded into its process by `recording`, logs every write and
sync of the database, and every promise that everact made (`ledger`), in one order. `disk` replays the log up to a
cut, keeps what was synced and part of the rest, and yields the files that a machine might find after the cut.
`verdict` opens them and looks for each promise. `figures` counts the verdicts, `__main__` is the command line.
"""
