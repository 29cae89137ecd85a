"""The texts of imports: what is wrong in a file or a cell, and the questions about a tracker's sheet."""

from __future__ import annotations

from registry.i18n import Message


class ImportText(Message):
    """A text about an imported file, as a code and its parameters."""

    context = "import"
