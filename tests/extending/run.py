"""Add a made-up kind of item to a copy of the repository as CONTRIBUTING.md says: `python -m tests.extending.run`.

It names the files that the kind touches and fails if there are more than five beside the catalogues, the golden file
and the declared schema. It runs the tests that cover every event type and those of `permits.py`: state, filter, facet,
labels, form, exports and import block. Then it takes each change back in turn: mypy or one of these tests has to fail.
It takes some minutes, so the suite does not run it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = (
    "tests/api/test_permits.py",
    "tests/transparency/test_certificate.py::test_certificate_of_the_first_format_still_verifies",
    "tests/golden",
    "tests/infra/test_schema.py",
    "tests/i18n/test_labels.py",
    "tests/i18n/test_help.py",
    "tests/domain/test_labels.py",
    "tests/projections/test_columnar_totals.py",
    "tests/schemas",
    "tests/api/test_openapi.py",
    "tests/web/test_forms.py",
)

EVENT = '''PermitKind = Literal["environmental", "building"]


class PermitGranted(Event, frozen=True, tag="permit_granted"):
    """An authority permits the deal."""

    permit: Slug
    kind: PermitKind | None = None
    authority: Slug | None = None
    text: Localized | None = None


'''

STATE = '''class PermitState(ListItem, frozen=True, gc=False):
    """A permit of an authority."""

    id_fields = ("permit",)
    order = ("granted_on", "permit")
    announced_by = PermitGranted

    permit: str
    kind: PermitKind | None
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
FILTER = '    permit: Annotated[PermitKind | None, Meta(description="Deals with a permit of this kind.")] = None\n'

MIGRATION = '''"""Facts of permits."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

CREATE_PERMIT_FACTS = """
CREATE TABLE permit_facts (
    effective_from date NOT NULL, effective_to date NOT NULL, published_from date NOT NULL, published_to date NOT NULL,
    recorded_from bigint NOT NULL, recorded_to bigint NOT NULL, changed_at bigint NOT NULL, ordinal smallint NOT NULL,
    deal text COLLATE "C" NOT NULL, permit text COLLATE "C" NOT NULL, kind text COLLATE "C",
    authority text COLLATE "C", text text COLLATE "C", granted_on date NOT NULL,
    PRIMARY KEY (deal, permit, effective_from, recorded_from, ordinal)
)
"""

CREATE_NEW_PERMIT_FACTS = """
CREATE TYPE new_permit_facts AS (
    deal text, effective_from date, effective_to date, recorded_from bigint, recorded_to bigint, ordinal smallint,
    published_from date, published_to date, changed_at bigint,
    permit text, kind text, authority text, text text, granted_on date
)
"""


def upgrade() -> None:
    """Create the table and the type."""
    op.execute(text(CREATE_PERMIT_FACTS))
    op.execute(text(CREATE_NEW_PERMIT_FACTS))
'''

LABELS = {
    "en": {
        "event/permit_granted": "Permit granted",
        "field/permit": "Permit",
        "field/permits": "Permits",
        "facet/permit": "Permit",
        "import_block/permit": "Permit",
        "permit_kind/environmental": "Environmental",
        "permit_kind/building": "Building",
        "field/granted_on": "Granted on",
    },
    "ko": {
        "event/permit_granted": "허가 취득",
        "field/permit": "허가",
        "field/permits": "허가",
        "facet/permit": "허가",
        "import_block/permit": "허가",
        "permit_kind/environmental": "환경",
        "permit_kind/building": "건축",
        "field/granted_on": "취득일",
    },
}

TYPES = "registry/events/types/deals.py"
STATES = "registry/domain/deal/state.py"
EVOLVE = "registry/domain/deal/evolve.py"
FILTERS = "registry/schemas/deal_query.py"
MIGRATIONS = "migrations/versions/0003_permits.py"
GOLDEN = "tests/golden/permit_granted.v1.json"
SCHEMA = "tests/infra/schema.txt"
HELP = "registry/i18n/locale/ko/help.po"

MAX_FILES = 5
"""Beside the catalogues, the golden file and the declared schema, which a command writes."""


def labels(language: str) -> str:
    """The catalogue of the labels of a language."""
    return f"registry/i18n/locale/{language}/labels.po"


def insert(copy: Path, file: str, before: str, text: str) -> None:
    """Insert a text before the first place of another one."""
    path = copy / file
    source = path.read_text()
    assert before in source, f"{file}: {before}"
    path.write_text(source.replace(before, text + before, 1))


def insert_after(copy: Path, file: str, after: str, text: str) -> None:
    """Insert a line after the line that has this end."""
    path = copy / file
    source = path.read_text()
    assert f"{after}\n" in source, f"{file}: {after}"
    path.write_text(source.replace(f"{after}\n", f"{after}\n{text}", 1))


def add_labels(copy: Path, of_languages: dict[str, dict[str, str]]) -> None:
    """Add labels to the catalogues that have none for their ids."""
    for language, texts in of_languages.items():
        catalogue = (copy / labels(language)).read_text()
        new = {id: text for id, text in texts.items() if f'msgid "{id}"' not in catalogue}
        entries = "".join(f'\nmsgctxt "label"\nmsgid "{id}"\nmsgstr "{text}"\n' for id, text in new.items())
        (copy / labels(language)).write_text(catalogue.rstrip("\n") + "\n" + entries)


def add_help(copy: Path, text: str, translation: str) -> None:
    """Add the Korean help of an option."""
    catalogue = (copy / HELP).read_text()
    (copy / HELP).write_text(f'{catalogue}\nmsgctxt "help"\nmsgid "{text}"\nmsgstr "{translation}"\n')


def write_schema(copy: Path) -> None:
    """Write the declared schema."""
    os.environ["REGISTRY_WRITE_SCHEMA"] = "1"
    run(copy, "-m", "pytest", "-q", "tests/infra/test_schema.py", "-k", "declared_schema")
    del os.environ["REGISTRY_WRITE_SCHEMA"]


def add_event_type(copy: Path) -> None:
    """Make the changes that CONTRIBUTING.md names."""
    insert(copy, TYPES, "class PartiesJoined(", EVENT)
    insert(copy, TYPES, "    | SetbackResolved\n", MEMBER)
    insert(copy, TYPES, "from msgspec import UNSET", "from typing import Literal\n")
    insert(copy, STATES, "class Deal(Struct", STATE)
    insert(copy, STATES, "ConditionSet, SetbackReported\n", "PermitGranted, PermitKind, ")
    insert(copy, STATES, "    conditions: tuple[ConditionState, ...] = ()\n", FIELD)
    insert(copy, EVOLVE, "        case ConditionSet():", CASE)
    insert(copy, EVOLVE, "    PartnershipFormed,\n", "    PermitGranted,\n")
    insert(copy, EVOLVE, "    PledgeState,\n", "    PermitState,\n")
    insert(copy, FILTERS, "    currency: Currency | None = None\n", FILTER)
    insert(copy, FILTERS, "from registry.events.values import", "from registry.events.types.deals import PermitKind\n")
    insert(copy, FILTERS, "    amount_min: str | None\n", "    permit: str | None\n")
    (copy / MIGRATIONS).write_text(MIGRATION)
    add_labels(copy, LABELS)
    tables = (copy / HELP).read_text().replace("setbacks, events", "setbacks, permits, events")
    (copy / HELP).write_text(tables)
    add_help(copy, "Only deals with a permit of this kind.", "이 종류의 허가가 있는 투자 건만")
    run(copy, "-m", "tests.golden.make")
    write_schema(copy)


def steps(copy: Path) -> Iterator[tuple[str, str, bytes | None]]:
    """What can be forgotten: the file, what of it, and the file without it; None for no file."""
    for file, name, text in (
        (TYPES, "the member of the union", MEMBER),
        (EVOLVE, "the case", CASE),
        (STATES, "the field of the deal", FIELD),
        (STATES, "the event that makes an item", "    announced_by = PermitGranted\n"),
        (FILTERS, "the filter", FILTER),
    ):
        yield file, name, (copy / file).read_bytes().replace(text.encode(), b"")
    yield GOLDEN, "the file", None
    yield MIGRATIONS, "the file", None
    for language in LABELS:
        yield labels(language), "the labels", (ROOT / labels(language)).read_bytes()
    yield HELP, "the help", (ROOT / HELP).read_bytes()


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=environment, text=True, capture_output=True, check=False)


def failures(copy: Path) -> list[str]:
    """The errors of mypy, or without one the first failure of the tests."""
    types = run(copy, "-m", "mypy", "registry/domain", "registry/events")
    found = [f"mypy: {line}" for line in types.stdout.splitlines() if ": error:" in line]
    return found or failing_tests(copy, TESTS)


def failing_tests(copy: Path, tests: Sequence[str]) -> list[str]:
    """The first failure of some tests."""
    # Those of parameters are most of the tests of the document, and do not depend on event types.
    ran = run(copy, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not documented_parameter", *tests)
    found = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return found or ([] if ran.returncode == 0 else [ran.stdout[-1000:] + ran.stderr[-1000:]])


def write(*lines: str) -> None:
    """Write a line and those that belong to it."""
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


@contextmanager
def copied_repository() -> Iterator[tuple[Path, list[str]]]:
    """A copy of the files that git lists, and their paths in it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True)
    files = [file for file in listed.stdout.splitlines() if (ROOT / file).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy / file)
        yield copy, files


def main() -> None:
    """Add the event type, and take each of its changes back."""
    with copied_repository() as (copy, files):
        add_event_type(copy)
        shutil.copy(ROOT / "tests/extending/permits.py", copy / "tests/api/test_permits.py")
        made = [file for file in (GOLDEN, MIGRATIONS) if (copy / file).exists()]
        changed = [file for file in files if (copy / file).read_bytes() != (ROOT / file).read_bytes()]
        write("touched:", *changed, *made)
        found = failures(copy)
        write(f"failures with all changes: {len(found)}", *found[:10])
        code = [f for f in (*changed, *made) if not f.endswith(".po") and f not in (GOLDEN, SCHEMA)]
        write(f"{len(code)} files beside catalogues, golden file and schema; at most {MAX_FILES}", *code)
        missed = bool(found) or len(code) > MAX_FILES
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
