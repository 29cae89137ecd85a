"""Refusals on the pages, in the reader's language."""

from __future__ import annotations

from html import unescape

import httpx
import pytest

from registry.domain.refusal import Refusal
from registry.i18n import render
from tests.web.forms import fields, of_first, opened_article


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_form_with_a_pledge_id_that_is_used_shows_the_refusal(editor: httpx.AsyncClient, language: str) -> None:
    page = await opened_article(editor, deal="sk-aws-ulsan", type="pledge_announced")
    form = {**fields(page.text), **of_first(pledge="total"), "effective_on": "2026-01-01", "step": "record"}
    response = await editor.post("/record", params={"lang": language}, data=form)
    assert response.status_code == 409
    assert render(Refusal("pledge-id-used", pledge="total"), language) in unescape(response.text)
