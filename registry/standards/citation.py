"""How to cite an answer of the registry: as text, as BibTeX and as CSL-JSON, which reference managers import.

A citation names what was shown, at which point in time, the log position, and an address that shows it again.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.i18n import Message, render
from registry.infra.data_licence_setting import DataLicence

# What TeX would take for a command, and how it writes the character itself.
_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


class CitationText(Message):
    """A text of citations."""

    __slots__ = ()
    context = "citation"


class Citation(Struct, frozen=True, kw_only=True):
    """What is cited.

    Attributes:
        title: What was shown.
        origin: The name of the log.
        point: The point in time at which it was shown (`point_of`), or the two points.
        position: The log position of the answer.
        on: The day of the registry's calendar on which the log had that position, as far as it is known.
        url: An address that shows it again.
        licence: The licence of the data.
        language: The language of the citation.
    """

    title: str
    origin: str
    point: Message
    position: int
    on: date | None
    url: str
    licence: DataLicence | None
    language: str

    @property
    def key(self) -> str:
        """A key that tells it apart from other citations of a bibliography."""
        path = re.sub(r"[^a-z0-9]+", "-", self.url.partition("//")[2].partition("/")[2].partition("?")[0].lower())
        return "-".join(part for part in ("registry", path.strip("-"), str(self.position)) if part)

    @property
    def text(self) -> str:
        """The citation as a sentence."""
        return self._render(
            "text", origin=self.origin, title=self.title, point=self.point, n=self.position, url=self.url
        )

    @property
    def source(self) -> str:
        """The text under a chart: who made it, and at which point in time."""
        return self._render("source", origin=self.origin, point=self.point, n=self.position)

    @property
    def bibtex(self) -> str:
        """The citation as an entry of BibTeX."""
        fields = {
            "author": f"{{{self._publisher.translate(_TEX)}}}",
            "title": f"{{{self.title.translate(_TEX)}}}",
            "year": str(self.on.year) if self.on else "",
            "month": f"{self.on:%b}".lower() if self.on else "",
            "day": str(self.on.day) if self.on else "",
            "version": self._version.translate(_TEX),
            "note": self._note.translate(_TEX),
            "url": self.url,
        }
        values = {name: f"{{{value}}}" for name, value in fields.items() if value}
        if self.on:
            values["month"] = fields["month"]  # BibTeX's own name of the month, which takes no braces
        lines = "".join(f"  {name} = {value},\n" for name, value in values.items())
        return f"@misc{{{self.key},\n{lines}}}\n"

    @property
    def csl(self) -> dict[str, Any]:
        """The citation as an item of CSL-JSON."""
        item: dict[str, Any] = {
            "id": self.key,
            "type": "dataset",
            "title": self.title,
            "author": [{"literal": self._publisher}],
            "publisher": self._publisher,
            "version": self._version,
            "note": self._note,
            "URL": self.url,
            "language": self.language,
        }
        if self.on is not None:
            item["issued"] = {"date-parts": [[self.on.year, self.on.month, self.on.day]]}
        return item

    @property
    def _publisher(self) -> str:
        return self._render("publisher", origin=self.origin)

    @property
    def _version(self) -> str:
        return self._render("version", n=self.position)

    @property
    def _note(self) -> str:
        point = render(self.point, self.language)
        licence = self._render("licence", name=self.licence.name) if self.licence is not None else ""
        return ". ".join(part for part in (point, licence) if part)

    def _render(self, code: str, **params: Any) -> str:
        return render(CitationText(code, **params), self.language)


def point_of(as_of: AsOf, day: date) -> Message:
    """The text of a point in time.

    Args:
        as_of: The point.
        day: Its effective date.
    """
    as_of = replace(as_of, effective_on=as_of.effective_on or day)
    date = f"{as_of.effective_on}"
    if as_of.published_on is not None:
        return CitationText("as_published", date=date, known=as_of.published_on)
    if as_of.recorded_at is not None:
        return CitationText("as_recorded", date=date, known=f"{as_of.recorded_at:%Y-%m-%dT%H:%M:%SZ}")
    return CitationText("as_known", date=date)


def points_of(start: AsOf, end: AsOf, day: date) -> Message:
    """The text of two points that are compared; a point without an effective date is at that of `day`."""
    return CitationText("compared", start=point_of(start, day), end=point_of(end, day))
