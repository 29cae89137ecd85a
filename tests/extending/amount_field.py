"""Add a made-up field of amounts to a copy of the repository: `python -m tests.extending.amount_field`.

It does what CONTRIBUTING.md says, names the files that the field touches, and fails if there are more than five beside
the catalogues and the declared schema. It runs the tests of `taxes.py` and those that cover every event type.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.extending.run import (
    MAX_FILES,
    ROOT,
    SCHEMA,
    add_labels,
    copied_repository,
    insert,
    insert_after,
    run,
    write,
    write_schema,
)

TESTS = (
    "tests/api/test_taxes.py",
    "tests/transparency/test_certificate.py",
    "tests/golden/test_golden.py",
    "tests/i18n/test_labels.py",
    "tests/schemas",
    "tests/projections",
)

VALUES = "registry/events/values.py"
RESPONSES = "registry/schemas/values.py"
TABLES = "registry/projections/facts/tables.py"
MIGRATION = "migrations/versions/0003_tax.py"

TYPE = """
CREATE TYPE {name} AS (
    deal text, effective_from date, effective_to date, recorded_from bigint, recorded_to bigint, ordinal smallint,
    published_from date, published_to date, changed_at bigint, {first},
    currency text, value text, low text, high text, qualifier text, stated_as text, wording text, figure text,
    price_year integer, tax text, {last}
)
"""
TYPES = {
    "new_pledge_facts_2": (
        "pledge text, status text",
        "amount_basis text, commitment text, organizations text[], additional_to text, until text, announced_on date,"
        " stated_on date, compared_on date, compared_with text",
    ),
    "new_incentive_facts_2": (
        "incentive text, kind text",
        "authority text, text text, status text, granted_on date",
    ),
}
STATEMENTS = [
    *(f'ALTER TABLE {table} ADD COLUMN tax text COLLATE "C"' for table in ("pledge_facts", "incentive_facts")),
    *(TYPE.format(name=name, first=first, last=last) for name, (first, last) in TYPES.items()),
]
UPGRADE = f'''"""Whether amounts include taxes."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

STATEMENTS = {STATEMENTS!r}


def upgrade() -> None:
    """Add the columns and the types."""
    for statement in STATEMENTS:
        op.execute(text(statement))
'''

LABELS = {
    "en": {"field/tax": "Tax", "tax/included": "Included", "tax/excluded": "Excluded"},
    "ko": {"field/tax": "부가세", "tax/included": "포함", "tax/excluded": "별도"},
}


def add_field(copy: Path) -> None:
    """Make the changes that CONTRIBUTING.md names."""
    insert(copy, VALUES, "\n\nAMOUNT_TEXT =", '    tax: Literal["included", "excluded"] | None = None\n')
    insert(copy, RESPONSES, "\n\nclass HorizonResponse", '    tax: Literal["included", "excluded"] | None\n')
    insert(copy, RESPONSES, "from typing import", "from typing import Literal\n")
    insert_after(copy, TABLES, "_pledge(pledge, checks)),", '    "new_pledge_facts_2",\n')
    insert(copy, TABLES, '"milestones": "new_milestone', '"incentives": "new_incentive_facts_2", ')
    (copy / MIGRATION).write_text(UPGRADE)
    add_labels(copy, LABELS)
    write_schema(copy)


def main() -> None:
    """Add the field, count the files and run the tests."""
    with copied_repository() as (copy, files):
        add_field(copy)
        shutil.copy(ROOT / "tests/extending/taxes.py", copy / "tests/api/test_taxes.py")
        changed = [file for file in files if (copy / file).read_bytes() != (ROOT / file).read_bytes()]
        code = [file for file in (*changed, MIGRATION) if not file.endswith(".po") and file != SCHEMA]
        write(f"{len(code)} files beside catalogues and schema; at most {MAX_FILES}", *code)
        types = run(copy, "-m", "mypy", "registry/domain", "registry/events", "registry/projections")
        tests = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
        write(types.stdout[-500:], tests.stdout[-3000:])
    sys.exit(1 if len(code) > MAX_FILES or types.returncode or tests.returncode else 0)


if __name__ == "__main__":
    main()
