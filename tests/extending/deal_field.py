"""Add a made-up field of deals with a filter to a copy of the repository: `python -m tests.extending.deal_field`.

It does what CONTRIBUTING.md says, names the files that the field touches, and fails if there are more than five beside
the catalogues, the golden files and the declared schema. It runs mypy, the tests of `funding.py` and those that cover
every event type. Then it takes each change back in turn: one of these tests has to fail.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.extending.run import (
    FILTERS,
    HELP,
    MAX_FILES,
    ROOT,
    STATES,
    TYPES,
    add_help,
    add_labels,
    copied_repository,
    failing_tests,
    insert,
    insert_after,
    labels,
    run,
    write,
    write_schema,
)

TABLES = "registry/projections/facts/tables.py"
MIGRATION = "migrations/versions/0003_funding.py"
STORIES = "tests/golden/make.py"
GOLDEN = "tests/golden/deal_registered.v1.funding.json"

TESTS = (
    "tests/transparency/test_funding.py",
    "tests/i18n/test_labels.py",
    "tests/i18n/test_help.py",
    "tests/infra/test_schema.py",
    "tests/schemas",
    "tests/golden/test_golden.py",
    "tests/transparency/test_certificate.py::test_certificate_of_the_first_format_still_verifies",
    "tests/api/test_openapi.py",
)

FUNDING = """Funding = Literal["public", "private"]


"""
GIVEN = "    funding: Funding | None = None\n"
REVISED = "    funding: Funding | UnsetType | None = UNSET\n"
FILTER = '    funding: Annotated[Funding | None, Meta(description="Deals with this source of funds.")] = None\n'
CONDITION = "    funding: str | None\n"
LATER = """    "deal_registered.v1.funding": [{**REGISTERED, "funding": "public"}],
    "deal_revised.v1.funding": [REGISTERED, {"type": "deal_revised", "funding": "private"}],
"""
ROW_TYPE = '    "new_deal_facts_2",\n'

UPGRADE = '''"""The funding of deals."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

CREATE_NEW_DEAL_FACTS = """
CREATE TYPE new_deal_facts_2 AS (
    deal text, effective_from date, effective_to date, recorded_from bigint, recorded_to bigint, ordinal smallint,
    published_from date, published_to date, changed_at bigint,
    title text, kind text, funding text, sectors text[], classifications text[], identifiers text[]
)
"""


def upgrade() -> None:
    """Add the column and the type."""
    op.execute(text('ALTER TABLE deal_facts ADD COLUMN funding text COLLATE "C"'))
    op.execute(text(CREATE_NEW_DEAL_FACTS))
'''

LABELS = {
    "en": {
        "field/funding": "Funding",
        "facet/funding": "Funding",
        "funding/public": "Public funds",
        "funding/private": "Private funds",
    },
    "ko": {
        "field/funding": "재원",
        "facet/funding": "재원",
        "funding/public": "공공 재원",
        "funding/private": "민간 재원",
    },
}


def add_field(copy: Path) -> None:
    """Make the changes that CONTRIBUTING.md names."""
    insert(copy, TYPES, "class DealRegistered(", FUNDING)
    insert(copy, TYPES, "    sectors: tuple[Slug, ...] = ()\n", GIVEN)
    insert(copy, TYPES, "    sectors: tuple[Slug, ...] | UnsetType | None = UNSET\n", REVISED)
    insert(copy, TYPES, "from msgspec import UNSET", "from typing import Literal\n")
    insert(copy, STATES, "    summary: Localized | None = None\n    sectors:", GIVEN)
    insert(copy, STATES, "from registry.events.values import", "from registry.events.types.deals import Funding\n")
    insert(copy, FILTERS, "    currency: Currency | None = None\n", FILTER)
    insert(copy, FILTERS, "    amount_min: str | None\n", CONDITION)
    insert(copy, FILTERS, "from registry.events.values import", "from registry.events.types.deals import Funding\n")
    insert_after(copy, TABLES, "for one in FIELD_FILTERS.items()))),", ROW_TYPE)
    (copy / MIGRATION).write_text(UPGRADE)
    add_labels(copy, LABELS)
    add_help(copy, "Only deals with this source of funds.", "재원이 이와 같은 투자 건만")
    insert(copy, STORIES, '    "deal_registered.v1.classifications"', LATER)
    run(copy, "-m", "tests.golden.make")
    write_schema(copy)


def steps(copy: Path) -> Iterator[tuple[str, str, bytes | None]]:
    """What can be forgotten: the file, what of it, and the file without it; None for no file."""
    for file, name, text in (
        (TYPES, "the field of the registration", GIVEN),
        (TYPES, "the field of the revision", REVISED),
        (STATES, "the field of the state", GIVEN),
        (FILTERS, "the filter", FILTER),
        (FILTERS, "the parameter of the client", CONDITION),
        (TABLES, "the row type", ROW_TYPE),
    ):
        yield file, name, (copy / file).read_bytes().replace(text.encode(), b"", 1)
    yield MIGRATION, "the file", None
    yield GOLDEN, "the file", None
    for language in LABELS:
        yield labels(language), "the labels", (ROOT / labels(language)).read_bytes()
    yield HELP, "the help", (ROOT / HELP).read_bytes()


def main() -> None:
    """Add the field, count the files, run the tests, and take each change back."""
    with copied_repository() as (copy, files):
        add_field(copy)
        shutil.copy(ROOT / "tests/extending/funding.py", copy / "tests/transparency/test_funding.py")
        changed = [file for file in files if (copy / file).read_bytes() != (ROOT / file).read_bytes()]
        code = [file for file in (*changed, MIGRATION) if not file.endswith(".po") and not file.startswith("tests/")]
        write(f"{len(code)} files beside catalogues, golden files and schema; at most {MAX_FILES}", *code)
        types = run(copy, "-m", "mypy", "registry")
        found = failing_tests(copy, TESTS)
        write(types.stdout[-500:], f"failures with all changes: {len(found)}", *found[:10])
        missed = len(code) > MAX_FILES or bool(types.returncode) or bool(found)
        for file, name, without in steps(copy):
            kept = (copy / file).read_bytes()
            assert without != kept
            if without is None:
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(without)
            found = failing_tests(copy, TESTS)
            write(f"{file} without {name}: {len(found)} failures", *found[:2])
            missed |= not found
            (copy / file).write_bytes(kept)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
