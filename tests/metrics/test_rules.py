"""Dashboard, alerts and recording rules: they name what there is, all of it, and do what they say."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from everact.cli_metrics import assets
from everact.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
UNIT_TESTS = Path(__file__).parent / "rules" / "alerts_test.yml"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
ALERTS = re.findall(r"- alert: (\w+)", assets()["alerts.yml"])


def named_in(text: str) -> set[str]:
    """Every metric that a text names; the parts of a histogram count as the whole."""
    names = set(re.findall(r"(?<!:)\beveract_\w+", text))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_what_dashboard_and_rules_name_is_in_the_catalogue_and_the_other_way_round() -> None:
    catalogue = {metric.name for metric in CATALOGUE}
    assert named_in("\n".join(assets().values())) == catalogue


def test_the_rules_alone_name_nothing_that_does_not_exist() -> None:
    rules = assets()["alerts.yml"] + assets()["recording.yml"]
    assert named_in(rules) <= {metric.name for metric in CATALOGUE}


def script(name: str) -> ModuleType:
    location = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


def test_the_dashboard_is_what_its_script_makes() -> None:
    assert assets()["dashboard.json"] == script("make_dashboard").text()


def test_the_tables_in_the_docs_are_what_their_script_makes() -> None:
    page, tables = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), script("metrics_table")
    assert tables.table() in page
    assert tables.alert_table() in page
    assert tables.alert_table().count("\n") == len(ALERTS) + 2


def test_the_dashboard_has_a_panel_for_each_metric_and_asks_for_the_source() -> None:
    dashboard = json.loads(assets()["dashboard.json"])
    assert [panel["description"] for panel in dashboard["panels"]] == [metric.name for metric in CATALOGUE]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
    assert dashboard["uid"] == "everact-overview"


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert: str) -> None:
    (rule,) = [part for part in assets()["alerts.yml"].split("      - alert: ") if part.startswith(f"{alert}\n")]
    for needed in (
        "for: ",
        "severity: ",
        "summary: ",
        "description: ",
        f"runbook_url: docs/metrics.md#{alert.lower()}",
    ):
        assert needed in rule


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_described_in_the_docs(alert: str) -> None:
    assert f"### {alert}" in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_history_that_raises_it_and_one_that_does_not(alert: str) -> None:
    text = UNIT_TESTS.read_text(encoding="utf-8")
    assert f"- name: {alert} fires\n" in text
    assert f"- name: {alert} stays quiet\n" in text


def promtool(*arguments: str, folder: Path) -> str:
    run = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in assets().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_rules(folder: Path) -> None:
    said = promtool("check", "rules", "alerts.yml", "recording.yml", folder=folder)
    assert f"SUCCESS: {len(ALERTS)} rules found" in said


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then(folder: Path) -> None:
    shutil.copy(UNIT_TESTS, folder)
    assert "SUCCESS" in promtool("test", "rules", UNIT_TESTS.name, folder=folder)


@needs_promtool
def test_an_alert_that_does_not_fire_would_be_found(folder: Path) -> None:
    shutil.copy(UNIT_TESTS, folder)
    alerts = folder / "alerts.yml"
    alerts.write_text(alerts.read_text(encoding="utf-8").replace("> 300", "> 3000"), encoding="utf-8")
    run = subprocess.run(
        ["promtool", "test", "rules", UNIT_TESTS.name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "EveractBacklogOld" in run.stdout + run.stderr
