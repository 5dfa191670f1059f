"""What holds for every test."""

from hypothesis import settings

# How long an example takes says how busy the machine is; timings are reported by benchmarks and asserted nowhere.
settings.register_profile("everact", deadline=None)
settings.load_profile("everact")
