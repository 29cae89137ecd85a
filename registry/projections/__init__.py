"""The views: everything here can be thrown away and rebuilt from the log."""

from __future__ import annotations

from registry.projections.deal_versions import DealVersions
from registry.projections.mentions import Mentions
from registry.projections.organizations import Organizations
from registry.projections.projection import Pending, Step, View

VIEWS: tuple[View, ...] = (DealVersions(), Mentions(), Organizations())

__all__ = ["VIEWS", "Pending", "Step", "View"]
