"""Compare the pinned packages with published advisories, without a network.

The advisories are a checkout of https://github.com/pypa/advisory-database: a folder `vulns` of files in the OSV format.
The repository holds no copy of it, because new advisories appear daily and an old copy would report a safety that it
cannot know. Without advisories, or with advisories older than the release, the audit says that it could not be made.

    python -m deploy.audit FOLDER

Exit codes: 0 if no pinned version is affected, 1 if one is, 2 if the audit could not be made.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from registry import RELEASED_ON

TOP = Path(__file__).parents[1]
AFFECTED, NOT_AUDITED = 1, 2


def pinned(files: Iterable[Path]) -> dict[str, Version]:
    """The version that the requirements files pin for each package."""
    lines = "\n".join(path.read_text() for path in files)
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", lines)
    return {canonicalize_name(name): Version(version) for name, version in found}


def advisories(folder: Path, package: str) -> Iterator[dict[str, Any]]:
    """The advisories of one package, without those that were withdrawn."""
    for path in sorted((folder / "vulns" / package).glob("*.yaml")):
        advisory = yaml.safe_load(path.read_text())
        if "withdrawn" not in advisory:
            yield advisory


def affects(advisory: dict[str, Any], package: str, version: Version) -> bool:
    """Whether an advisory affects a version (OSV schema 1.6, "Evaluation")."""
    for affected in advisory.get("affected", ()):
        if canonicalize_name(affected["package"]["name"]) != package:
            continue
        if str(version) in affected.get("versions", ()):
            return True
        ranges = [entry for entry in affected.get("ranges", ()) if entry["type"] == "ECOSYSTEM"]
        if any(in_range(entry["events"], version) for entry in ranges):
            return True
    return False


def in_range(events: list[dict[str, str]], version: Version) -> bool:
    """Whether a range's events, in the order of their versions, leave `version` affected."""
    is_affected = False
    ordered = sorted((Version(limit), kind) for event in events for kind, limit in event.items())
    for limit, kind in ordered:
        match kind:
            case "introduced":
                is_affected |= version >= limit
            case "fixed":
                is_affected &= version < limit
            case "last_affected":
                is_affected &= version <= limit
            case _:
                raise ValueError(f"unknown kind of range event: {kind}")
    return is_affected


def newest(folder: Path) -> date:
    """The day on which the newest advisory was modified."""
    days = re.compile(r"(?m)^modified: [\"']?(\d{4}-\d{2}-\d{2})")
    found = (days.search(path.read_text()) for path in folder.glob("vulns/*/*.yaml"))
    return max((date.fromisoformat(match[1]) for match in found if match), default=date.min)


def audit(folder: Path | None, pins: dict[str, Version], released_on: date) -> int:
    """Print the findings; return the exit code."""
    if folder is None or not (folder / "vulns").is_dir():
        print("NOT AUDITED: there are no advisories to compare with. Where a network is, run")
        print("  git clone --depth 1 https://github.com/pypa/advisory-database DIR && make audit ADVISORIES=DIR")
        return NOT_AUDITED
    findings = [
        f"{package} {version}: {advisory['id']} ({', '.join(advisory.get('aliases', ())) or 'no alias'})"
        for package, version in sorted(pins.items())
        for advisory in advisories(folder, package)
        if affects(advisory, package, version)
    ]
    print(*findings, sep="\n", end="\n" if findings else "")
    last = newest(folder)
    print(f"{len(pins)} pinned packages, {len(findings)} advisories affect them; the newest advisory is of {last}.")
    if findings:
        return AFFECTED
    if last < released_on:
        print(f"NOT AUDITED: the advisories are older than the release ({released_on}). Update them and run again.")
        return NOT_AUDITED
    return 0


def main() -> None:
    """Run the command."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.exit(audit(folder, pinned(sorted(TOP.glob("requirements*.txt"))), RELEASED_ON))


if __name__ == "__main__":
    main()
