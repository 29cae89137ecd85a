"""Compare the finding of a failed verification by its code and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from registry.errors import RegistryError
from registry.i18n import Message
from registry.transparency.findings import Finding


def finding_of(error: RegistryError) -> Finding:
    """The finding that an error carries, possibly inside the message of the error that caused it."""
    message: Message = error.message
    while not isinstance(message, Finding):
        (message,) = (value for value in message.params.values() if isinstance(value, Message))
    return message


@contextmanager
def raises_finding(error: type[RegistryError], code: str | None = None, **params: Any) -> Iterator[None]:
    """Expect an error whose finding has this code, if one is given, and at least these parameters."""
    with pytest.raises(error) as caught:
        yield
    finding = finding_of(caught.value)
    assert code in (None, finding.code)
    assert {name: finding.params.get(name) for name in params} == params
