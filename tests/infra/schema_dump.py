"""Describe a database's schema as text: tables, indexes, functions, triggers, types, extensions and grants.

Read from Postgres' catalogs, so that the text depends neither on the server's version nor on the order in which
migrations created things.
"""

from __future__ import annotations

import asyncpg

COLUMNS = """
SELECT c.relname AS owner, 'column ' || a.attname AS name,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                 CASE WHEN a.attcollation NOT IN (0, 100) THEN 'collate ' || l.collname END,
                 CASE WHEN a.attnotnull THEN 'not null' END,
                 'default ' || pg_get_expr(d.adbin, d.adrelid)) AS text
  FROM pg_class AS c
       JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
       LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'c')
 ORDER BY 1, a.attnum
"""

# Not-null constraints, which Postgres 18 lists as well, are in the columns.
CONSTRAINTS = """
SELECT c.relname AS owner, 'constraint ' || k.conname AS name, pg_get_constraintdef(k.oid) AS text
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
 WHERE k.connamespace = 'public'::regnamespace AND k.contype <> 'n'
 ORDER BY 1, 2
"""

INDEXES = """
SELECT c.relname AS owner, 'index ' || i.relname AS name, pg_get_indexdef(i.oid) AS text
  FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS c ON c.oid = x.indrelid
 WHERE c.relnamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u'))
 ORDER BY 1, 2
"""

TRIGGERS = """
SELECT c.relname AS owner, 'trigger ' || t.tgname AS name, pg_get_triggerdef(t.oid) AS text
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
 ORDER BY 1, 2
"""

TABLE_GRANTS = """
SELECT c.relname AS owner, 'grant ' || g.grantee::regrole AS name,
       string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) AS text
  FROM pg_class AS c, aclexplode(c.relacl) AS g
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND g.grantee NOT IN (0, c.relowner)
 GROUP BY 1, 2
 ORDER BY 1, 2
"""

FUNCTIONS = """
SELECT 'function ' || p.proname AS owner, 'definition' AS name, pg_get_functiondef(p.oid) AS text
  FROM pg_proc AS p
 WHERE p.pronamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
 ORDER BY 1
"""

# A function without an access list may be called by everyone.
FUNCTION_GRANTS = """
SELECT 'function ' || p.proname AS owner, 'executed by' AS name,
       CASE WHEN p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS g WHERE g.grantee = 0)
            THEN 'everyone' ELSE 'its owner' END AS text
  FROM pg_proc AS p
 WHERE p.pronamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
 ORDER BY 1
"""

EXTENSIONS = """
SELECT 'extensions' AS owner, extname AS name, '' AS text
  FROM pg_extension
 WHERE extname <> 'plpgsql'
 ORDER BY 2
"""

STATEMENTS = (COLUMNS, CONSTRAINTS, INDEXES, TRIGGERS, TABLE_GRANTS, FUNCTIONS, FUNCTION_GRANTS, EXTENSIONS)


async def dump(connection: asyncpg.Connection[asyncpg.Record], app_role: str) -> str:
    """The schema of a database, object by object, with the application's role as `app`."""
    objects: dict[str, list[str]] = {}
    for statement in STATEMENTS:
        for row in await connection.fetch(statement):
            text = row["text"].strip()
            objects.setdefault(row["owner"], []).append(f"{row['name']}: {text}" if text else row["name"])
    blocks = ("\n".join([owner, *(f"    {line}" for line in lines)]) for owner, lines in sorted(objects.items()))
    return "\n\n".join(blocks).replace(app_role, "app") + "\n"
