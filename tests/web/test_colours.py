"""The colours of the pages and charts have the contrast that WCAG 2.1 asks for, in light and in dark windows."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STATIC = files("registry.web") / "static"
TEXTS = {
    "ink": ("paper", "raised", "del", "ins", "past"),
    "quiet": ("paper", "raised", "del", "ins", "past"),
    "accent": ("paper", "raised"),
    "on-accent": ("accent",),
    "past-ink": ("past",),
    **dict.fromkeys(("world", "record", "source", "late"), ("paper",)),
    "v-ink": ("v1", "v2", "v3", "v4", "v5"),
}
"""Colours of texts, and what they stand on (1.4.3: 4.5 to 1)."""

LINES = ("past-line", "n-intended", "n-pledged", "n-confirmed", "n-construction", "n-operating")
"""Colours of lines that carry data (1.4.11: 3 to 1)."""


def palette(scheme: str) -> dict[str, str]:
    """The colours of a scheme by name."""

    def colours(text: str) -> dict[str, str]:
        return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", text))

    light = colours((STATIC / "charts.css").read_text())
    return (
        light if scheme == "light" else {**light, **colours((STATIC / "style.css").read_text().partition("\n* {")[0])}
    )


def luminance(colour: str) -> float:
    """The relative luminance of a colour as WCAG defines it."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_of_charts_have_contrast(scheme: str) -> None:
    colours = palette(scheme)
    low = [
        f"{name} on {ground}"
        for name, grounds in TEXTS.items()
        for ground in grounds
        if contrast(colours[name], colours[ground]) < 4.5
    ]
    low += [f"{name} on paper" for name in LINES if contrast(colours[name], colours["paper"]) < 3]
    assert low == []
