"""What is shipped to watch the server with: the page about metrics, the alerts, the dashboard name series that there
are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.service.metrics.exposition import Everything
from app.service.metrics.jobs import JobsStanding, Queue
from app.service.metrics.meter import PrometheusMeter
from app.service.metrics.states import Standing

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docker/grafana/dashboards/speech.json"
ALERTS = ROOT / "docker/prometheus/alerts.yml"
ALERTS_TEST = Path(__file__).with_name("alerts_test.yml")
PAGE = ROOT / "docs/metrics.md"
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",), "gauge": ("",)}
NAME = re.compile(r"\b(?:asr|process)_[a-z_]+")


def families() -> dict[str, tuple[str, ...]]:
    """Each family as it is documented, and its samples' names."""
    nowhere = Path("/nowhere")
    jobs = JobsStanding(0, Queue(0, 0.0, 0), 0, 0)
    standing = Standing("m", True, 0, 0, 0, 0.0, 0.0, (), nowhere, nowhere, None, (), jobs)
    found: dict[str, tuple[str, ...]] = {}
    for metric in Everything(PrometheusMeter(), standing).collect():
        samples = tuple(metric.name + ending for ending in ENDINGS[metric.type])
        found[metric.name if metric.type == "histogram" else samples[0]] = samples
    return found


def sample_names() -> set[str]:
    return {name for names in families().values() for name in names}


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text("utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alerts() -> set[str]:
    """The names of all."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def promtool(*arguments: str) -> str:
    """What it says, having found nothing wrong."""
    if shutil.which("promtool") is None:
        told = "promtool (Debian's package prometheus) is not on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_names_every_series_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name for name, _ in rows} == set(families())
    kinds = {name: "histogram" if len(samples) > 1 else "" for name, samples in families().items()}
    assert {name for name, kind in rows if kind == "histogram"} == {name for name, kind in kinds.items() if kind}


def test_the_page_s_questions_and_alerts_are_there() -> None:
    text = PAGE.read_text("utf-8")
    questions = re.findall(r"```promql\n(.+?)```", text, re.DOTALL)
    assert len(questions) >= 5
    for question in questions:
        assert set(NAME.findall(question)) <= sample_names()
    assert set(re.findall(r"^\| `(SpeechServer\w+)` \|", text, re.MULTILINE)) == alerts()


def test_alerts_are_accepted_and_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(ALERTS))
    assert "SUCCESS" in promtool("test", "rules", str(ALERTS_TEST))


def test_every_alert_is_made_to_fire() -> None:
    tried = yaml.safe_load(ALERTS_TEST.read_text("utf-8"))["tests"]
    samples = [
        sample["labels"]
        for test in tried
        for asked in test["promql_expr_test"]
        if asked["expr"] == 'count by (alertname, instance) (ALERTS{alertstate="firing"})'
        for sample in asked["exp_samples"]
    ]
    fired = {name for labels in samples for name in re.findall(r'alertname="(\w+)"', labels)}
    assert fired == alerts()


def test_alerts_name_series_that_there_are() -> None:
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            assert set(NAME.findall(rule["expr"])) <= sample_names(), rule["alert"]
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]
            assert rule["labels"]["severity"] in {"critical", "warning"}


def test_prometheus_accepts_its_configuration() -> None:
    assert "SUCCESS" in promtool("check", "config", str(ROOT / "docker/prometheus/prometheus.yml"))


def test_every_panel_has_a_title_a_unit_an_explanation_and_series_that_there_are() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            named = set(NAME.findall(target["expr"]))
            assert named, target
            assert named <= sample_names(), panel["title"]


def test_the_dashboard_shows_every_series_but_those_that_repeat_others() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in NAME.findall(target["expr"])}
    besides = {"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_start_time_seconds"}
    assert {name for name, samples in families().items() if not shown & set(samples)} == besides


def test_panels_do_not_lie_on_each_other_and_have_ids_of_their_own() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_promtool_reads_every_question_of_the_dashboard_and_the_page(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += re.findall(r"```promql\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for variable, value in {"$__rate_interval": "5m", "$instance": ".*"}.items():
        asked = [question.replace(variable, value) for question in asked]
    assert not [question for question in asked if "$" in question]
    rules = [{"record": f"question:{number}", "expr": question} for number, question in enumerate(asked)]
    file = tmp_path / "questions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": rules}]}), "utf-8")
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(file))


def test_grafana_s_provisioning_fits_its_dashboard() -> None:
    folder = ROOT / "docker/grafana/provisioning"
    sources = yaml.safe_load((folder / "datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    providers = yaml.safe_load((folder / "dashboards/speech.yml").read_text("utf-8"))["providers"]
    assert [source["type"] for source in sources] == ["prometheus"]
    assert [provider["type"] for provider in providers] == ["file"]
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    assert NAME.findall(variables["instance"]["query"]["query"]) == ["asr_ready"]
