"""Announcements that the documentation shows: posted in this order to a new deal, each is taken."""

from __future__ import annotations

from typing import Any

SOURCE = {
    "publisher": "The Korea Herald",
    "url": "https://www.koreaherald.com/article/10604137",
    "language": "en",
    "published_on": "2025-10-29",
}

ANNOUNCEMENTS: dict[str, Any] = {
    "A deal begins": {
        "sources": [SOURCE],
        "event": {
            "type": "deal_registered",
            "title": {"en": "AWS AI region in the capital area", "ko": "AWS 수도권 AI 리전"},
            "kind": "investment",
            "sectors": ["data-centres"],
        },
    },
    "Several at once, all or none": [
        {
            "effective_on": "2025-10-29",
            "sources": [SOURCE],
            "event": {
                "type": "parties_joined",
                "parties": [
                    {
                        "organization": "amazon-web-services",
                        "name": {"en": "Amazon Web Services", "ko": "아마존웹서비스"},
                        "role": "investor",
                    }
                ],
            },
        },
        {
            "effective_on": "2025-10-29",
            "sources": [SOURCE],
            "event": {"type": "site_announced", "site": "incheon", "place": "KR-28", "precision": "region"},
        },
    ],
    "An amount is pledged": {
        "effective_on": "2025-10-29",
        "sources": [SOURCE],
        "note": "The article says 'by 2031'.",
        "event": {
            "type": "pledge_announced",
            "pledge": "capital-region",
            "amount": {
                "value": "5000000000",
                "currency": "USD",
                "qualifier": "about",
                "stated_as": [{"value": "7000000000000", "currency": "KRW", "qualifier": "about"}],
            },
            "amount_basis": "additional",
            "commitment": "pledge",
            "by": ["amazon-web-services"],
            "horizon": {"until": "2031"},
        },
    },
    "A step is planned": {
        "effective_on": "2025-10-29",
        "sources": [SOURCE],
        "event": {
            "type": "milestone_scheduled",
            "milestone": "first-power",
            "kind": "power_on",
            "site": "incheon",
            "planned": "2027-11",
        },
    },
    "Another source says otherwise": {
        "sources": [SOURCE],
        "event": {
            "type": "claim_reported",
            "claim": "herald",
            "field": "/pledges/capital-region/amount",
            "value": {"value": "5000000000", "currency": "USD", "qualifier": "more_than"},
        },
    },
    "The plan changes": {
        "effective_on": "2025-11-01",
        "event": {"type": "milestone_rescheduled", "milestone": "first-power", "planned": "2028"},
    },
}

ORGANIZATION_ANNOUNCEMENTS: dict[str, Any] = {
    "An organization begins": {
        "event": {
            "type": "organization_registered",
            "name": {"en": "Amazon Web Services", "ko": "아마존웹서비스"},
            "country": "US",
        }
    },
    "It has another name": {
        "effective_on": "2006-03-14",
        "event": {"type": "organization_named", "name": "AWS", "language": "en", "kind": "short"},
    },
}
