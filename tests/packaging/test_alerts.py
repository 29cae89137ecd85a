"""The alert rules and the dashboard: checked by promtool, and every metric that they name is one that a service has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from registry.infra.settings import Settings
from tests.append_helpers import REGISTERED
from tests.databases import ScratchDatabase
from tests.missing import NO_PROMTOOL
from tests.service import ADMIN_KEY, running

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "registry.json"


@pytest.fixture
def settings(database: ScratchDatabase, tmp_path: Path) -> Settings:
    key = tmp_path / "signing.key"
    return Settings(database_url=database.app_url, data_dir=tmp_path, signing_key=key, admin_key=ADMIN_KEY)


def promtool(*words: str) -> str:
    """Run promtool in the folder of the rules."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(NO_PROMTOOL)
    done = subprocess.run([program, *words], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_and_configuration_are_valid() -> None:
    promtool("check", "rules", RULES.name)
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_alerts_name_sections_that_exist() -> None:
    named = re.findall(r'action: "docs/([a-z]+\.md), (.+)"', RULES.read_text())
    assert len(named) > 5
    for document, section in named:
        assert re.search(rf"^#+ {section}$", (DEPLOY.parent / "docs" / document).read_text(), re.MULTILINE), section


def named_metrics(text: str) -> set[str]:
    """The metrics that expressions name."""
    return set(re.findall(r"\bregistry_[a-z_]+", text))


def expressions_of_the_dashboard() -> str:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return "\n".join(target["expr"] for panel in panels for target in panel["targets"])


async def test_dashboard_shows_every_metric_and_it_and_the_alerts_name_no_other(settings: Settings) -> None:
    # A replica's metrics exist where a replica is set.
    async with running(replace(settings, replica_urls=(settings.database_url or "",))) as service:
        await service.client.post("/v1/deals/plant/events", json=REGISTERED)
        exported = (await service.client.get("/metrics")).text
    families = set(re.findall(r"^# TYPE (registry_\S+) ", exported, re.MULTILINE))
    names = families | set(re.findall(r"^(registry_[a-z_]+)[{ ]", exported, re.MULTILINE))
    assert named_metrics(RULES.read_text() + expressions_of_the_dashboard()) <= names
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in named_metrics(expressions_of_the_dashboard())}
    assert families == shown
    assert "registry_signer_up 1.0" in exported
    assert "registry_log_rewound 0.0" in exported


def test_every_alert_names_what_to_do_in_the_documents() -> None:
    documents = {path.name: path.read_text() for path in (DEPLOY.parent / "docs").glob("*.md")}
    for file, heading in re.findall(r'action: "docs/(\w+\.md), ([^"]+)"', RULES.read_text()):
        assert re.search(rf"^#+ {re.escape(heading)}", documents[file], re.MULTILINE), (file, heading)
