"""Write the software bill of materials of the pinned packages (CycloneDX 1.6, JSON), without a network.

    python -m deploy.sbom FILE

The packages, versions and hashes are those of requirements.txt; licenses and dependencies come from the metadata of the
installed packages. The same pins give the same bytes.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, time
from importlib import metadata
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import registry
from deploy.audit import TOP

PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)(.*(?:\n .*)*)")
SHA256 = re.compile(r"sha256:([0-9a-f]{64})")


def bill(requirements: str) -> Bom:
    """The bill of materials of a requirements file."""
    components: dict[str, Component] = {
        canonicalize_name(name): _component(canonicalize_name(name), version, SHA256.findall(rest))
        for name, version, rest in PIN.findall(requirements)
    }
    service = Component(
        name="investment-registry",
        version=registry.version(),
        type=ComponentType.APPLICATION,
        bom_ref="investment-registry",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )
    bom = Bom(components=components.values(), serial_number=uuid5(NAMESPACE_URL, requirements))
    bom.metadata.component = service
    bom.metadata.timestamp = datetime.combine(registry.RELEASED_ON, time(), UTC)
    bom.register_dependency(
        service, [components[name] for name in _requires("investment-registry") & components.keys()]
    )
    for name, component in components.items():
        bom.register_dependency(component, [components[other] for other in _requires(name) & components.keys()])
    return bom


def _component(name: str, version: str, hashes: list[str]) -> Component:
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}@{version}",
        purl=PackageURL("pypi", None, name, version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in hashes],
        licenses=[LicenseFactory().make_from_string(text) for text in _licenses(name)],
    )


def _licenses(name: str) -> list[str]:
    """The license that an installed package states: an SPDX expression, else its shortest other form."""
    try:
        fields = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        # A package of another platform.
        return []
    classifiers = [
        text.rpartition(" :: ")[2] for text in fields.get_all("Classifier") or [] if text.startswith("License :: ")
    ]
    stated = [*(fields.get_all("License-Expression") or []), *classifiers, *(fields.get_all("License") or [])]
    return [text for text in stated if "\n" not in text][:1]


def _requires(name: str) -> set[str]:
    """The packages that an installed package needs on this platform."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return set()
    needed = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def main(file: Path) -> None:
    """Write the bill of materials."""
    bom = bill((TOP / "requirements.txt").read_text())
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    file.write_text(text + "\n")
    print(f"{file}: {len(bom.components)} packages")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
