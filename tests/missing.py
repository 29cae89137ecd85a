"""Why tests are skipped where a program is missing; the end of the run repeats these reasons."""

from __future__ import annotations

from typing import Any

NO_CHROMIUM = "no Chromium was found: the pages were NOT walked in a browser (install chromium, or set CHROMIUM to it)"
NO_PGBOUNCER = "no PgBouncer was found: the service was NOT tried behind a pooler (install pgbouncer)"
NO_PROMTOOL = "no promtool was found: the alert rules were NOT checked (install prometheus)"
NO_GENERATOR = "not installed: the OpenAPI document was NOT read by every generator of clients (CONTRIBUTING.md)"
NO_PROVIDER = "no OpenID provider was found: signing in through one was NOT tried (node; npm ci --prefix tests/oidc)"
NO_PGBACKREST = "no pgBackRest or no Debian Postgres was found: NOTHING was restored to a point in time (install both)"
NO_KUSTOMIZE = "no kustomize was found: the Kubernetes example was NOT built (install kubectl or kustomize)"
NO_SCHEMAS = (
    "no schemas of Kubernetes were found: its example was NOT validated"
    " (pip install --no-deps -r tests/packaging/requirements-kubernetes.txt)"
)
NO_INSTALLER = "no index was asked: the README's commands for pipx and uv were NOT run"
NO_NETWORK = "root, ip, curl, caddy or haproxy is missing: NO proxy at another address was tried"
NO_CONTAINERS = "no container was started: the image and the compose file were NOT tested"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Report loudly what was skipped for want of a program."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for title, notice in (
        ("the pages", NO_CHROMIUM),
        ("the containers", NO_CONTAINERS),
        ("the installation", NO_INSTALLER),
        ("the pooler", NO_PGBOUNCER),
        ("the proxies", NO_NETWORK),
        ("the alerts", NO_PROMTOOL),
        ("the point-in-time recovery", NO_PGBACKREST),
        ("the Kubernetes example", NO_KUSTOMIZE),
        ("the schemas of Kubernetes", NO_SCHEMAS),
        ("the OpenAPI document", NO_GENERATOR),
        ("signing in through OpenID", NO_PROVIDER),
    ):
        if any(notice in reason for reason in reasons):
            terminalreporter.section(title, sep="!", red=True, bold=True)
            terminalreporter.line(notice, red=True, bold=True)
