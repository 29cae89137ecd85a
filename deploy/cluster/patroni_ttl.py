"""Patroni with the `ttl` of its configuration: `python patroni_ttl.py patroni.yml`, with the Python of Patroni.

Patroni raises a `ttl` below 20 s to 20 s, so the loss of a whole node costs 20 s and the promotion. The rule that keeps
a former primary from running past its key is kept: loop_wait + 2 * retry_timeout <= ttl. The floor is a precaution
against failovers for want of a moment's network. Use this where 15 s matter more than a needless failover. Tried with
Patroni 4.1.5.
"""

from __future__ import annotations

import sys
from typing import Any

from patroni.__main__ import main
from patroni.config import Config


def check_timeouts(config: Config, settings: dict[str, Any]) -> None:
    """Refuse settings that would let a former primary run past its key."""
    ttl, loop_wait, retry_timeout = (int(settings[name]) for name in ("ttl", "loop_wait", "retry_timeout"))
    if loop_wait + 2 * retry_timeout > ttl:
        sys.exit(f"loop_wait + 2 * retry_timeout must not exceed ttl={ttl}")


Config._validate_and_adjust_timeouts = check_timeouts

if __name__ == "__main__":
    sys.exit(main())
