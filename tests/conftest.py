"""The run of the tests: its plugins, its environment, and the order of the files."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest
import structlog
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

from tests.hung import tasks_shown_after

pytest_plugins = ["tests.databases", "tests.service", "tests.missing"]


def examples(count: int) -> int:
    """How many examples a property is tried on: `count` in `make test`, ten times as many in `make drills`."""
    return count * int(os.environ.get("REGISTRY_TEST_EXAMPLES", "1"))


# No deadline: tests never assert a time.
settings.register_profile(
    "registry", max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("registry")


def drill(*values: Any) -> Any:
    """Parameters of a test that `make drills` runs, and `make test` runs only with others."""
    return pytest.param(*values, marks=pytest.mark.drill)


# The default writes tracebacks with all local variables, which takes seconds for an error in a template.
structlog.configure(
    [
        structlog.contextvars.merge_contextvars,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Seconds that a test waits for something to happen. Long, so that a busy machine does not make a test fail.
PATIENCE = 60.0

# A database has a thousand files: creating and dropping one is ten times as fast in memory.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK | os.X_OK) and disk_usage(MEMORY).free > 4 * 2**30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Tests connect to this machine only, never through a proxy.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost", "::1"]))

# Whether an earlier run has compiled the tests.
COMPILED = any(Path(__file__).parent.glob("web/__pycache__/*-pytest-*.pyc"))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, None, None]:
    """Let one of several processes compile the tests of a new clone: each would do it for itself, at the same time."""
    worker = getattr(session.config, "workerinput", None)
    if COMPILED or worker is None:
        return (yield)
    done = Path(tempfile.gettempdir(), f"registry-tests-{worker['testrunuid']}-compiled")
    if worker["workerid"] == "gw0":
        try:
            return (yield)
        finally:
            done.touch()
            session.config.add_cleanup(done.unlink)
    deadline = time.monotonic() + PATIENCE
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return (yield)


# Until the tests are collected, nearly every object stays: the collector took a seventh of that time.
gc.disable()


def pytest_collection_finish() -> None:
    """Freeze the objects that exist now: the collector would spend a tenth of the run on them."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


# Where several processes share the tests, the slowest files start first.
LONGEST = (
    "test_browser.py",
    "test_service.py",
    "test_tracker.py",
    "test_contradictions.py",
    "test_portfolio_pages.py",
    "test_log.py",
    "test_pages.py",
    "test_redaction.py",
    "test_mirror.py",
    "test_embedded.py",
    "test_webhooks.py",
    "test_signing.py",
    "test_articles.py",
    "test_certificate.py",
    "test_watches.py",
    "test_filtered_certificates.py",
    "test_auditors_page.py",
    "test_total_certificate.py",
    "test_columnar_copy.py",
    "test_watch_webhooks.py",
    "test_contract_fuzz.py",
    "test_witness.py",
    "test_cli.py",
    "test_rebuild.py",
    "test_cite_panel.py",
    "test_languages.py",
    "test_language.py",
    "test_access_tokens.py",
    "test_tampering.py",
    "test_order.py",
    "test_recording.py",
    "test_shared_key.py",
    "test_list_certificates.py",
    "test_lists.py",
    "test_principals.py",
    "test_walk.py",
    "test_alerts.py",
    "test_middleware.py",
    "test_files.py",
    "test_search_pages.py",
    "test_mementos.py",
    "test_asking.py",
    "test_backup.py",
    "test_exports.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, file by file, as the processes take them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Show the asyncio tasks of a test that hangs, before faulthandler ends the run."""
    seconds = float(item.config.getini("faulthandler_timeout")) - 20
    with tasks_shown_after(seconds, item.nodeid, item.config.stash[fault_handler_stderr_fd_key]):
        return (yield)


def known_loggers() -> dict[str, logging.Logger]:
    """The loggers of this process, without the root."""
    known = logging.getLogger().manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Take back what a test changes in how this process logs."""
    configuration, root = structlog.get_config(), logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    levels = {name: logger.level for name, logger in known_loggers().items()}
    yield
    structlog.configure(**configuration)
    root.setLevel(level)
    root.handlers[:] = handlers
    for name, logger in known_loggers().items():
        logger.setLevel(levels.get(name, logging.NOTSET))
