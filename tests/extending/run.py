"""Add a made-up event type to a copy of the repository as CONTRIBUTING.md says: `python -m tests.extending.run`.

It names the files that the event type touches, runs the tests that cover every event type, and then takes each change
back in turn: mypy or one of these tests has to fail. It takes some minutes, so the suite does not run it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = (
    "tests/golden",
    "tests/i18n/test_labels.py",
    "tests/schemas",
    "tests/api/test_openapi.py",
    "tests/web/test_forms.py",
)

EVENT = '''class PermitGranted(Event, frozen=True, tag="permit_granted"):
    """An authority permits the deal."""

    permit: Slug
    authority: Slug | None = None
    text: Localized | None = None


'''

STATE = '''class PermitState(ListItem, frozen=True, gc=False):
    """A permit of an authority."""

    id_fields = ("permit",)
    order = ("granted_on", "permit")

    permit: str
    authority: str | None
    text: Localized | None
    granted_on: date


'''

CASE = """        case PermitGranted():
            if find_item(deal.permits, "permit", event.permit):
                return deal
            given = given_fields(event, PermitState)
            return insert_item(deal, "permits", PermitState(granted_on=on, **given))
"""

MEMBER = "    | PermitGranted\n"
FIELD = "    permits: tuple[PermitState, ...] = ()\n"

LABELS = {
    "en": {"event/permit_granted": "Permit granted", "field/permit": "Permit", "field/permits": "Permits"},
    "ko": {"event/permit_granted": "허가 취득", "field/permit": "허가", "field/permits": "허가"},
}
GRANTED_ON = {"en": "Granted on", "ko": "취득일"}

TYPES = "registry/events/types/deals.py"
STATES = "registry/domain/deal/state.py"
EVOLVE = "registry/domain/deal/evolve.py"
GOLDEN = "tests/golden/permit_granted.v1.json"


def labels(language: str) -> str:
    """The catalogue of the labels of a language."""
    return f"registry/i18n/locale/{language}/labels.po"


def insert(copy: Path, file: str, before: str, text: str) -> None:
    """Insert a text before the first place of another one."""
    path = copy / file
    source = path.read_text()
    assert before in source, f"{file}: {before}"
    path.write_text(source.replace(before, text + before, 1))


def add_event_type(copy: Path) -> None:
    """Make the changes that CONTRIBUTING.md names."""
    insert(copy, TYPES, "class PartiesJoined(", EVENT)
    insert(copy, TYPES, "    | SetbackResolved\n", MEMBER)
    insert(copy, STATES, "class Deal(Struct", STATE)
    insert(copy, STATES, "    conditions: tuple[ConditionState, ...] = ()\n", FIELD)
    insert(copy, EVOLVE, "        case ConditionSet():", CASE)
    insert(copy, EVOLVE, "    PartnershipFormed,\n", "    PermitGranted,\n")
    insert(copy, EVOLVE, "    PledgeState,\n", "    PermitState,\n")
    for language, texts in LABELS.items():
        catalogue = (copy / labels(language)).read_text()
        texts = texts | ({} if '"field/granted_on"' in catalogue else {"field/granted_on": GRANTED_ON[language]})
        entries = "".join(f'\nmsgctxt "label"\nmsgid "{id}"\nmsgstr "{text}"\n' for id, text in texts.items())
        (copy / labels(language)).write_text(catalogue.rstrip("\n") + "\n" + entries)
    run(copy, "-m", "tests.golden.make")


def steps(copy: Path) -> Iterator[tuple[str, str, bytes | None]]:
    """What can be forgotten: the file, what of it, and the file without it; None for no file."""
    for file, name, text in (
        (TYPES, "the member of the union", MEMBER),
        (EVOLVE, "the case", CASE),
        (STATES, "the field of the deal", FIELD),
    ):
        yield file, name, (copy / file).read_bytes().replace(text.encode(), b"")
    yield GOLDEN, "the file", None
    for language in LABELS:
        yield labels(language), "the labels", (ROOT / labels(language)).read_bytes()


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=environment, text=True, capture_output=True, check=False)


def failures(copy: Path) -> list[str]:
    """The errors of mypy, or without one the first failure of the tests."""
    types = run(copy, "-m", "mypy", "registry/domain", "registry/events")
    found = [f"mypy: {line}" for line in types.stdout.splitlines() if ": error:" in line]
    if found:
        return found
    # Those of parameters are most of the tests of the document, and do not depend on event types.
    tests = run(copy, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not documented_parameter", *TESTS)
    found = [line for line in tests.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return found or ([] if tests.returncode == 0 else [tests.stdout[-1000:] + tests.stderr[-1000:]])


def write(*lines: str) -> None:
    """Write a line and those that belong to it."""
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Add the event type, and take each of its changes back."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True)
    files = [file for file in listed.stdout.splitlines() if (ROOT / file).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy / file)
        add_event_type(copy)
        made = [file for file in (GOLDEN,) if (copy / file).exists()]
        changed = [file for file in files if (copy / file).read_bytes() != (ROOT / file).read_bytes()]
        write("touched:", *changed, *made)
        found = failures(copy)
        write(f"failures with all changes: {len(found)}", *found[:10])
        missed = bool(found)
        for file, name, without in steps(copy):
            kept = (copy / file).read_bytes()
            assert without != kept
            if without is None:
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(without)
            found = failures(copy)
            write(f"{file} without {name}: {len(found)} failures", *found[:2])
            missed |= not found
            (copy / file).write_bytes(kept)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
