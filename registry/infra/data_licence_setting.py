"""The setting REGISTRY_DATA_LICENCE: the licence's name and its address, `CC-BY-4.0 https://…`."""

from __future__ import annotations

import re

from msgspec import Struct


class DataLicence(Struct, frozen=True):
    """The licence under which the registry gives its data.

    Attributes:
        name: Its name, best the identifier of the Open Definition or of SPDX, such as CC-BY-4.0.
        url: The address of its text.
    """

    name: str
    url: str

    @property
    def link(self) -> str:
        """The value of a Link header (RFC 8288; relation `license`: RFC 4946)."""
        return f'<{self.url}>; rel="license"'


def parse_data_licence(text: str) -> DataLicence:
    """Parse the setting.

    Raises:
        ValueError: The text is not a name and an address.
    """
    name, _, url = text.rpartition(" ")
    if not name.strip().isprintable() or not name.strip() or not re.fullmatch(r"https?://[!-;=?-~]+", url):
        raise ValueError(text)
    return DataLicence(name.strip(), url)
