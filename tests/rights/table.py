"""Who may do what on each route, written from the contract and docs/principals.md, not from the code.

`test_routes.py` compares the table with the application's routes, and with what the service answers.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tests.service import ADMIN_KEY

ANYONE = "anyone"
"""Needs no key, even where reading does."""

READS = "reads"
"""Needs the scope `read` where reading is not public."""

SIGNED_IN = "signed in"
"""Needs a key of any scope; what it may do is decided by what it asks for."""


class Rule(Struct, frozen=True):
    """What one route needs.

    Attributes:
        needs: `ANYONE`, `READS`, `SIGNED_IN`, or scopes with spaces between them, one of which is needed, or `+`, where
            both are.
        reads: Whether it needs the scope `read` as well where reading is not public.
        query: The query of the test's request.
        body: The JSON of its body, or the fields of its form.
        media_type: The type of the body.
        headers: More headers of the request.
        ends_session: Whether it ends the session of the test's browser.
    """

    needs: str
    reads: bool = False
    query: str = ""
    body: Any = None
    media_type: str = "application/json"
    headers: dict[str, str] = {}
    ends_session: bool = False

    def allows(self, scopes: frozenset[str], *, public_read: bool) -> bool:
        """Whether a holder of these scopes may use the route."""
        if "admin" in scopes or self.needs == ANYONE:
            return True
        if (self.reads or self.needs == READS) and not public_read and "read" not in scopes:
            return False
        return self.needs in (READS, SIGNED_IN) or any(scopes >= {*one.split("+")} for one in self.needs.split())

    def needs_key(self, *, public_read: bool) -> bool:
        """Whether the route needs a key at all."""
        return self.needs != ANYONE and not (self.needs == READS and public_read)


DEAL, ORGANIZATION, SOURCE = "a-deal", "an-organization", "0" * 32
FILL = {
    "deal": DEAL,
    "organization": ORGANIZATION,
    "source": SOURCE,
    "principal": "p000000000000",
    "id": "00000000-0000-7000-8000-000000000000",
    "proposal": "00000000-0000-7000-8000-000000000000",
    "watch": "wa_0000000000000000",
    "webhook": "wh_0000000000000000",
    "name": "mapping.toml",
    "kind": "deals",
    "purpose": "end",
    "number": "1",
    "origin_hash": "0" * 64,
    "tile": "0/000",
    "file_path": "style.css",
    "path": "nothing",
}
"""The values of path parameters."""

_DEAL_REGISTERED = {"event": {"type": "deal_registered", "title": {"en": "A"}}}
_ORGANIZATION_REGISTERED = {"event": {"type": "organization_registered", "name": {"en": "A"}}}
_FORM = "application/x-www-form-urlencoded"
_LINES = "application/x-ndjson"
_DIGEST = {"If-Match": '"' + "0" * 64 + '"'}
_MERGES = {"merges": [{"organization": "a", "into": "b"}]}

anyone, reads, signed_in = Rule(ANYONE), Rule(READS), Rule(SIGNED_IN)
# A page of the reader's own, or a form. Forms show what is recorded.
own_page = Rule(SIGNED_IN, reads=True)


def form(needs: str = SIGNED_IN, *, reads: bool = True, **fields: str) -> Rule:
    """A form that is sent."""
    return Rule(needs, reads=reads, body=fields, media_type=_FORM)


TABLES = ("deals", "pledges", "sites", "metrics", "milestones", "parties", "incentives", "setbacks", "events")
FORMATS = ("csv", "ndjson", "xlsx", "parquet", "datapackage.json")

API: dict[str, Rule] = {
    **{f"GET /v1/export/{table}.{format}": reads for table in TABLES for format in FORMATS},
    "GET /docs": anyone,
    "GET /docs/openapi": anyone,
    "GET /docs/openapi/openapi.json": anyone,
    "GET /docs/openapi/{path:str}": anyone,
    "GET /docs/problems": anyone,
    "GET /docs/static/{file_path:path}": anyone,
    "GET /openapi.json": anyone,
    "GET /health/live": anyone,
    "GET /health/ready": anyone,
    "GET /metrics": reads,
    "GET /log/checkpoint": reads,
    "GET /log/tile/{tile:path}": reads,
    # Cosigns what the log has signed; there is nothing to read.
    "POST /log/witness/add-checkpoint": Rule(ANYONE, body={}),
    "GET /log/witness/key": reads,
    "GET /log/witness/{origin_hash:str}/checkpoint": reads,
    "GET /v1/compare": Rule(READS, query="from.effective_on=2025-01-01&to.effective_on=2025-02-01"),
    "GET /v1/deals": reads,
    "GET /v1/deals/{deal:str}": reads,
    "GET /v1/deals/{deal:str}/blame": reads,
    "GET /v1/deals/{deal:str}/compare": Rule(READS, query="from.effective_on=2025-01-01"),
    "GET /v1/deals/{deal:str}/events": reads,
    "POST /v1/deals/{deal:str}/events": Rule("record", body=_DEAL_REGISTERED, query="dry_run=true"),
    "GET /v1/deals/{deal:str}/timemap": reads,
    "GET /v1/events": reads,
    "GET /v1/events.atom": reads,
    "GET /v1/events/stream": reads,
    "GET /v1/events/{id:str}": reads,
    # Records nothing. The answer shows which organizations the registry knows.
    "POST /v1/extract": Rule(SIGNED_IN, reads=True, body={"text": "A plant."}),
    "GET /v1/feed.json": reads,
    "POST /v1/import": Rule("record", body={"deal": DEAL, **_DEAL_REGISTERED}, media_type=_LINES, query="dry_run=true"),
    "GET /v1/import/identifiers": Rule(READS, query="scheme=cim"),
    "POST /v1/import/lookup": Rule("propose record", reads=True, body={"ids": []}),
    "GET /v1/log/checkpoint": reads,
    "GET /v1/log/checkpoints": reads,
    "GET /v1/log/entries": reads,
    "GET /v1/log/heads": reads,
    "GET /v1/log/keys": reads,
    "GET /v1/log/names": reads,
    "GET /v1/log/proof/consistency": Rule(READS, query="from=1"),
    "GET /v1/log/proof/inclusion": Rule(READS, query="position=1"),
    "GET /v1/log/rates": reads,
    "GET /v1/ocds/records/{deal:str}": reads,
    "GET /v1/ocds/releases/{deal:str}": reads,
    "GET /v1/organization-clusters": reads,
    # Registers an organization that only announcements name.
    "POST /v1/organization-merges": Rule("correct+record", body=_MERGES),
    "POST /v1/organization-unmerges": Rule("correct", body=_MERGES),
    "GET /v1/organizations": reads,
    "GET /v1/organizations/{organization:str}": reads,
    "GET /v1/organizations/{organization:str}/events": reads,
    "POST /v1/organizations/{organization:str}/events": Rule(
        "record", body=_ORGANIZATION_REGISTERED, query="dry_run=true"
    ),
    "GET /v1/organizations/{organization:str}/similar": reads,
    "GET /v1/principals": Rule("admin"),
    "GET /v1/principals/{principal:str}": Rule("admin"),
    "GET /v1/principals/{principal:str}/events": Rule("admin"),
    "POST /v1/principals/{principal:str}/events": Rule(
        "admin", body={"event": {"type": "principal_registered", "name": "A", "kind": "system"}}
    ),
    # One's own proposals; those of others are not found.
    "GET /v1/proposals": signed_in,
    "POST /v1/proposals": Rule("propose record", body={"deal": DEAL, "announcements": [_DEAL_REGISTERED]}),
    "GET /v1/proposals/{proposal:str}": signed_in,
    "PUT /v1/proposals/{proposal:str}": Rule(SIGNED_IN, body={"announcements": [_DEAL_REGISTERED]}, headers=_DIGEST),
    "POST /v1/proposals/{proposal:str}/approve": Rule(SIGNED_IN, headers=_DIGEST),
    "POST /v1/proposals/{proposal:str}/reject": Rule(SIGNED_IN, body={}, headers=_DIGEST),
    "GET /v1/rates": reads,
    "GET /v1/reconcile": reads,
    "POST /v1/reconcile": Rule(READS, body={"queries": []}),
    "GET /v1/reconcile/extend/properties": Rule(READS, query="type=Deal"),
    "GET /v1/reconcile/preview": Rule(READS, query="id=a"),
    "GET /v1/reconcile/suggest/entity": Rule(READS, query="prefix=a"),
    "GET /v1/search": Rule(READS, query="q=plant"),
    "GET /v1/sources/{source:str}": reads,
    # The answer names the events that rest on the source.
    "POST /v1/sources/{source:str}/retraction": Rule(SIGNED_IN, reads=True, body={}),
    "GET /v1/totals": reads,
    "GET /v1/watches": signed_in,
    "POST /v1/watches": Rule(SIGNED_IN, reads=True, body={"email": "nobody"}),
    "DELETE /v1/watches/{watch:str}": signed_in,
    "POST /v1/watches/{watch:str}/confirm": Rule(SIGNED_IN, reads=True),
    "GET /v1/watches/{watch:str}/deliveries": signed_in,
    "GET /v1/webhooks": Rule("admin"),
    "POST /v1/webhooks": Rule("admin", body={}),
    "DELETE /v1/webhooks/{webhook:str}": Rule("admin"),
    "GET /v1/webhooks/{webhook:str}": Rule("admin"),
    "PATCH /v1/webhooks/{webhook:str}": Rule("admin", body={}),
    "GET /v1/webhooks/{webhook:str}/deliveries": Rule("admin"),
    "POST /v1/webhooks/{webhook:str}/resend": Rule("admin", body={"position": 1}),
    "POST /v1/webhooks/{webhook:str}/rotate": Rule("admin", body={}),
    "POST /v1/webhooks/{webhook:str}/test": Rule("admin"),
}
"""Routes that take a key in `Authorization`."""

PAGES: dict[str, Rule] = {
    "GET /": reads,
    "GET /about": reads,
    "GET /charts/deals/{deal:str}/timeline.svg": reads,
    "GET /charts/trend.svg": reads,
    "GET /compare": reads,
    "GET /compare.csv": reads,
    "GET /deals/{deal:str}": reads,
    "GET /deals/{deal:str}/blame": reads,
    "GET /deals/{deal:str}/compare": reads,
    "GET /deals/{deal:str}/compare.csv": reads,
    "GET /deals/{deal:str}/fields.csv": reads,
    "GET /deals/{deal:str}/record": own_page,
    "POST /deals/{deal:str}/record": form(),
    "GET /embed/deals/{deal:str}": reads,
    "GET /embed/trend": reads,
    "GET /events/{id:str}": reads,
    "GET /glossary": anyone,
    "GET /help": anyone,
    "GET /import": Rule("propose record", reads=True),
    "POST /import": Rule("propose record", reads=True, body={}, media_type="multipart/form-data; boundary=x"),
    "GET /import/{id:str}": Rule("propose record", reads=True),
    "POST /import/{id:str}/answers": form("propose record"),
    "POST /import/{id:str}/delete": form("propose record"),
    "POST /import/{id:str}/files": Rule(
        "propose record", reads=True, body={}, media_type="multipart/form-data; boundary=x"
    ),
    "POST /import/{id:str}/header": form("propose record"),
    "POST /import/{id:str}/mapping": form("propose record"),
    "POST /import/{id:str}/run": form("propose record"),
    "GET /import/{id:str}/{name:str}": Rule("propose record", reads=True),
    "GET /log": reads,
    "GET /organization-duplicates": own_page,
    "POST /organization-duplicates": form("correct+record"),
    "POST /organization-duplicates/undo": form("correct"),
    "GET /organizations": reads,
    "GET /organizations.csv": reads,
    "GET /organizations/{organization:str}": reads,
    "GET /organizations/{organization:str}/record": own_page,
    "POST /organizations/{organization:str}/record": form(),
    "GET /proposals": own_page,
    "GET /proposals/{id:str}": own_page,
    "POST /proposals/{id:str}": form(),
    "GET /proposals/{id:str}/change": own_page,
    "GET /record": own_page,
    "POST /record": form(),
    # Repeats what was typed.
    "GET /record/amount": anyone,
    "GET /record/article": own_page,
    "POST /record/article": form(),
    "GET /record/done": Rule(SIGNED_IN, reads=True, query="first=1&last=1"),
    "GET /record/names/{kind:str}": own_page,
    "POST /record/undo": form(),
    "GET /robots.txt": anyone,
    "GET /search": reads,
    "GET /search/suggestions": reads,
    "GET /sessions": signed_in,
    "POST /sessions/end-others": form(reads=False),
    "POST /sessions/{id:str}/end": form(reads=False),
    "GET /sign-in": anyone,
    "POST /sign-in": Rule(ANYONE, body={"key": ADMIN_KEY}, media_type=_FORM, ends_session=True),
    "GET /sign-in/callback": anyone,
    "GET /sign-in/provider": anyone,
    "POST /sign-out": Rule(ANYONE, body={}, media_type=_FORM, ends_session=True),
    # Not there at all where reading needs a key.
    "GET /sitemap.xml": anyone,
    "GET /sitemaps/deals/{number:int}": anyone,
    "GET /sitemaps/organizations/{number:int}": anyone,
    "GET /sitemaps/pages": anyone,
    "GET /sources/{source:str}": reads,
    "GET /sources/{source:str}/retraction": own_page,
    "POST /sources/{source:str}/retraction": form(),
    "GET /static/{file_path:path}": anyone,
    "GET /totals": reads,
    "GET /totals.csv": reads,
    "GET /watches": own_page,
    "POST /watches": form(),
    "GET /watches/new": own_page,
    "POST /watches/{id:str}/challenge": form(),
    "POST /watches/{id:str}/delete": form(),
    # The token of the link in an e-mail is the proof.
    "GET /watches/{id:str}/{purpose:str}": anyone,
    "POST /watches/{id:str}/{purpose:str}": Rule(ANYONE, body={}, media_type=_FORM),
}
"""Routes that take a session's cookie."""

RULES = {**API, **PAGES}
