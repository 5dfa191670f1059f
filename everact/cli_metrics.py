"""The files for Prometheus and Grafana that ship with everact."""

from __future__ import annotations

from importlib import resources


def assets() -> dict[str, str]:
    """Name and text of each: `dashboard.json`, `alerts.yml`, `recording.yml`."""
    folder = resources.files("everact.metrics").joinpath("assets")
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
