"""What verification finds: a code with parameters for each thing that a proof shows, and for each way it can fail.

The texts stand in `i18n/locale/LANGUAGE/proofs.po`. An error of this package carries its finding as the parameter of
its own message: `CheckpointError(reason=Finding("note_not_utf8"))`.
"""

from __future__ import annotations

from registry.i18n import Message


class Finding(Message):
    """One result of verification."""

    __slots__ = ()
    context = "proof"
