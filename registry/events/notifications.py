"""What a process tells the others by NOTIFY after it has committed events."""

from __future__ import annotations

NOTIFY_CHANNEL = "registry"

NOTIFY_RIGHTS = "rights"
"""The payload where events of principals are among them; otherwise it is empty."""
