"""The code of the templates is kept in a folder, and used as long as the templates are the same."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from registry.web.page import render
from registry.web.page.render import CompiledTemplates


class Compiled(jinja2.Environment):
    """Templates that count how often one is compiled."""

    count = 0

    def _generate(self, *arguments: object, **more: object) -> str:
        self.count += 1
        return super()._generate(*arguments, **more)  # type: ignore[arg-type]


def rendered(folder: Path, text: str = "{{ 1 + 1 }} deals") -> tuple[str, int]:
    """What a new process renders that keeps code in the folder, and how many templates it compiles."""
    environment = Compiled(loader=jinja2.DictLoader({"page": text}), bytecode_cache=CompiledTemplates(folder))
    return environment.get_template("page").render(), environment.count


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    return tmp_path / "__pycache__"


def test_template_is_compiled_once(folder: Path) -> None:
    assert rendered(folder) == ("2 deals", 1)
    assert rendered(folder) == ("2 deals", 0)


def test_changed_template_is_compiled_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered(folder)
    assert rendered(folder, "{{ 1 + 2 }} deals") == ("3 deals", 1)
    monkeypatch.setattr(jinja2, "__version__", "another")
    assert rendered(folder, "{{ 1 + 2 }} deals") == ("3 deals", 1)
    monkeypatch.setattr(render, "_this_file", lambda: b"other filters")
    assert rendered(folder, "{{ 1 + 2 }} deals") == ("3 deals", 1)


def test_damaged_code_is_replaced(folder: Path) -> None:
    rendered(folder)
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    assert rendered(folder) == ("2 deals", 1)
    assert rendered(folder) == ("2 deals", 0)


def test_templates_are_rendered_where_no_code_can_be_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("no folder")
    assert rendered(folder) == ("2 deals", 1)
    folder.unlink()
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert rendered(folder) == ("2 deals", 1)
    assert not folder.exists()
