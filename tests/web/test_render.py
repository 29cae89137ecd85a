"""What a page was rendered from is freed with it, not by a later garbage collection."""

from __future__ import annotations

import gc
import weakref

from jinja2 import nodes

from registry.web.page.render import environment


class Item:
    """Something that a page shows."""


TEMPLATE = """
{% import "parts.html" as p with context %}
{% include included %}
{% macro shown(one) %}{{ one }} of {{ items | length }} {{ caller() }}{% endmacro %}
{% for item in items %}{% call shown(item) %}{{ p.joined(["a", "b"]) }}{% endcall %}{% endfor %}
"""


INCLUDED = "{% macro count() %}{{ items | length }}{% endmacro %}{{ count() }} items"


def test_the_values_of_a_rendered_page_are_freed() -> None:
    template, included = environment("en").from_string(TEMPLATE), environment("en").from_string(INCLUDED)
    items = [Item(), Item()]
    seen = [weakref.ref(item) for item in items]
    gc.collect()
    gc.disable()
    try:
        text = template.render(page=None, times=None, items=items, included=included)
        assert "2 items" in text
        assert " of 2 " in text
        del items
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_no_macro_refers_to_itself() -> None:
    """Freeing a page's contexts leaves such a cycle. A macro that imports refers to all that its template defines."""
    templates = environment("en")
    assert templates.loader is not None
    for name in templates.list_templates(extensions=["html", "svg"]):
        parsed = templates.parse(templates.loader.get_source(templates, name)[0])
        macros = {macro.name: macro for macro in parsed.find_all(nodes.Macro)}
        calls = {
            macro: {found.name for found in macros[macro].find_all(nodes.Name)} & macros.keys() for macro in macros
        }
        for macro in macros:
            assert not [*macros[macro].find_all((nodes.Import, nodes.FromImport))], f"{name}: {macro}"
            reached, following = set[str](), set(calls[macro])
            while following:
                one = following.pop()
                if one not in reached:
                    reached.add(one)
                    following |= calls[one]
            assert macro not in reached, f"{name}: {macro}"
