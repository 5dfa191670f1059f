"""First figures: `python -m benchmarks`. Every case runs in a fresh process, and repetitions are interleaved."""
