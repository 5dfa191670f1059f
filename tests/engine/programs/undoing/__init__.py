"""Workflows drawn at random, played in a seeded runtime, and looked at: see `test_workflow_properties.py`."""
