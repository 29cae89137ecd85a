"""The software bill of materials: every pinned package, and a document that conforms to CycloneDX."""

from __future__ import annotations

import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion

from deploy import sbom
from tests.packaging.test_requirements import pins


def test_bill_lists_every_pinned_package_with_its_hashes(tmp_path: Path) -> None:
    sbom.main(tmp_path / "one.json")
    sbom.main(tmp_path / "two.json")
    text = (tmp_path / "one.json").read_text()
    assert text == (tmp_path / "two.json").read_text()
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", SchemaVersion.V1_6.to_version())
    listed = {component["name"]: component for component in bill["components"]}
    assert listed.keys() == pins("requirements.txt").keys()
    for name, pin in pins("requirements.txt").items():
        assert listed[name]["purl"] == f"pkg:pypi/{name}@{listed[name]['version']}"
        assert {hash["content"] for hash in listed[name]["hashes"]} == set(sbom.SHA256.findall(pin))
        assert listed[name].get("licenses") or name not in ("litestar", "uvicorn", "asyncpg"), name
    needed = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert any(ref.startswith("litestar@") for ref in needed["investment-registry"])
    assert any(ref.startswith(("h11@", "click@")) for refs in needed.values() for ref in refs)
