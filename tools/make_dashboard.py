"""Write the Grafana dashboard, `metrics/assets/dashboard.json`, from the catalogue: a panel for each metric.

Run from anywhere: `python tools/make_dashboard.py`. A test says when the file is not what this makes.
"""

import json
from pathlib import Path
from typing import Any

from everact.metrics.catalogue import CATALOGUE, Metric

TARGET = Path(__file__).resolve().parents[1] / "metrics" / "assets" / "dashboard.json"
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTED = '{system=~"$system"}'
UNITS = {"seconds": "s"}
WIDTH, HEIGHT = 8, 7


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    panels = [panel(number, metric) for number, metric in enumerate(CATALOGUE)]
    return {
        "uid": "everact-overview",
        "title": "everact",
        "tags": ["everact"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [data_source(), system()]},
        "panels": panels,
    }


def data_source() -> dict[str, Any]:
    """Which Prometheus to ask."""
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def system() -> dict[str, Any]:
    """Which systems to show."""
    return {
        "name": "system",
        "label": "System",
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": "label_values(everact_build_info, system)",
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


def panel(number: int, metric: Metric) -> dict[str, Any]:
    """One panel, three in a row."""
    unit = next((unit for word, unit in UNITS.items() if metric.name.endswith(word)), "short")
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": metric.help.rstrip("."),
        "description": metric.name,
        "datasource": DATA_SOURCE,
        "gridPos": {"x": WIDTH * (number % 3), "y": HEIGHT * (number // 3), "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": "ops" if metric.kind == "counter" else unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": DATA_SOURCE}
            for place, (query, legend) in enumerate(queries(metric))
        ],
    }


def queries(metric: Metric) -> list[tuple[str, str]]:
    """What to ask for, and how to call it."""
    shown = [label for label in metric.labels if label not in {"queue", "system"}]
    by = ", ".join(["system", *shown])
    legend = " ".join(f"{{{{{label}}}}}" for label in ["system", *shown])
    if metric.kind == "counter":
        return [(f"sum by ({by}) (rate({metric.name}{SELECTED}[$__rate_interval]))", legend)]
    if metric.kind == "gauge":
        return [(f"max by ({by}) ({metric.name}{SELECTED})", legend)]
    rate = f"sum by ({by}, le) (rate({metric.name}_bucket{SELECTED}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {rate})", f"{legend} p{int(q * 100)}") for q in (0.5, 0.99)]


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"{TARGET.name}: {len(CATALOGUE)} panels")
