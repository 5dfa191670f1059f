"""Counts and measures of what happens, for Prometheus."""
