"""Generators of clients, and a linter, accept the OpenAPI document without a warning, and what they make works.

Each runs where it is installed: in tests/clients/node_modules, in tests/clients/.venv, or on PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.missing import NO_GENERATOR
from tests.service import ADMIN_KEY, Service, openapi_document

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "docs" / "clients"
PATH = os.pathsep.join([str(HERE / "node_modules/.bin"), str(HERE / ".venv/bin"), os.environ["PATH"]])


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """The OpenAPI document as a file."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(openapi_document()))
    return file


async def run(folder: Path, program: str, *arguments: str, **environment: str) -> str:
    """Run a program in a folder and return what it prints. Fails if it fails; skips if it is not installed."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(f"{program}: {NO_GENERATOR}")
    process = await asyncio.create_subprocess_exec(
        found,
        *arguments,
        cwd=folder,
        # openapi-python-client calls ruff.
        env={**os.environ, "PATH": f"{Path(found).parent}{os.pathsep}{PATH}", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    return printed


async def test_redocly_accepts_the_document(document: Path) -> None:
    printed = await run(document.parent, "redocly", "lint", "--format", "json", document.name)
    report = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert report["totals"]["errors"] == report["totals"]["warnings"] == 0


@pytest.mark.drill
async def test_typescript_program_posts_and_reads_with_generated_types(service: Service, document: Path) -> None:
    folder = document.parent
    await run(folder, "openapi-typescript", document.name, "-o", "registry.ts")
    shutil.copy(EXAMPLES / "program.ts", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    options = ("--strict", "--target", "es2022", "--module", "nodenext")
    await run(folder, "tsc", *options, "program.ts")
    printed = await run(folder, "node", "program.js", REGISTRY_URL=service.url, REGISTRY_KEY=ADMIN_KEY)
    assert printed == "A data centre USD 5000000000\n"


@pytest.mark.drill
async def test_openapi_python_client_makes_a_client_that_posts_and_reads(service: Service, document: Path) -> None:
    folder = document.parent
    config = str(EXAMPLES / "openapi-python-client.yaml")
    arguments = ("--path", document.name, "--output-path", "made", "--meta", "none", "--config", config)
    assert await run(folder, "openapi-python-client", "generate", *arguments) == "Generating made\n"
    generator = shutil.which("openapi-python-client", path=PATH)
    assert generator is not None
    (folder / "program.py").write_text((EXAMPLES / "generated_program.py").read_text())
    # The interpreter beside the generator has the packages that a generated client imports.
    python = str(Path(generator).parent / "python")
    printed = await run(folder, python, "program.py", REGISTRY_URL=service.url, REGISTRY_KEY=ADMIN_KEY)
    assert printed == "A data centre USD 5000000000\n"


async def test_datamodel_codegen_makes_models_that_read_an_announcement(document: Path) -> None:
    folder = document.parent
    options = ("--output-model-type", "pydantic_v2.BaseModel", "--enum-field-as-literal", "all")
    arguments = ("--input", document.name, "--input-file-type", "openapi", "--output", "models.py", *options)
    assert await run(folder, "datamodel-codegen", *arguments, "--formatters", "builtin") == ""
    generator = shutil.which("datamodel-codegen", path=PATH)
    assert generator is not None
    program = (
        "import models\n"
        "body = {'event': {'type': 'deal_registered', 'title': {'en': 'A data centre'}}}\n"
        "print(models.Announcement.model_validate(body).event.title['en'])\n"
    )
    printed = await run(folder, str(Path(generator).parent / "python"), "-W", "error", "-c", program)
    assert printed == "A data centre\n"
