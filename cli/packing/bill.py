"""The bill of materials: what is in a pack, in CycloneDX JSON 1.6."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.bom_ref import BomRef
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ...runtime.bundle import MANIFEST_FILE
from ...runtime.manifest import Manifest
from .wheel import Wheel

CARD_FILE = "MODEL_CARD.md"
_LICENCES = LicenseFactory()
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle in the pack: its folder there, its manifest, and the sha256 of ``manifest.json``."""

    folder: str
    manifest: Manifest
    sha256: str


def bill_of_materials(
    wheels: Sequence[Wheel], needs: Mapping[str, Sequence[str]], root: str, models: Sequence[Model]
) -> bytes:
    """The bill as UTF-8 JSON, the same bytes for the same parts; it therefore names no time.

    Args:
        wheels: all of them.
        needs: what each needs of the others, by name; a wheel that is not in it serves the installation alone.
        root: the name of our own.
        models: the bundles that go along.
    """
    libraries = {wheel.name: _library(wheel, is_needed=wheel.name in needs) for wheel in wheels}
    own = libraries.pop(root)
    own.type = ComponentType.APPLICATION
    bundles = [_model(model) for model in models]
    parts = [*libraries.values(), *bundles]
    bom = Bom(components=parts, serial_number=_serial(wheels, models))
    bom.metadata.component = own
    bom.metadata.timestamp = None
    refs = {name: BomRef(component.bom_ref.value) for name, component in {**libraries, root: own}.items()}
    for name, others in needs.items():
        on = [refs[other] for other in others] + ([bundle.bom_ref for bundle in bundles] if name == root else [])
        bom.dependencies.add(Dependency(refs[name], [Dependency(ref) for ref in on]))
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text.encode() + b"\n"


def _serial(wheels: Sequence[Wheel], models: Sequence[Model]) -> uuid.UUID:
    """A number that is the same for the same parts."""
    digests = sorted([wheel.sha256 for wheel in wheels] + [model.sha256 for model in models])
    return uuid.uuid5(uuid.NAMESPACE_OID, " ".join(digests))


def _library(wheel: Wheel, *, is_needed: bool) -> Component:
    purl = PackageURL("pypi", None, wheel.name, wheel.version, {"file_name": wheel.path.name})
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{wheel.name}@{wheel.version}",
        purl=purl,
        scope=ComponentScope.REQUIRED if is_needed else ComponentScope.EXCLUDED,
        description=wheel.metadata.get("Summary"),
        hashes=[_sha256(wheel.sha256)],
        licenses=_licences(wheel),
    )


def _licences(wheel: Wheel) -> list[License]:
    """What the wheel says: an SPDX expression, its classifiers, or in words."""
    if expression := wheel.metadata.get("License-Expression"):
        return [_LICENCES.make_from_string(expression)]
    named = [line.rpartition(" :: ")[2] for line in wheel.metadata.get_all("Classifier", []) if _CLASSIFIER in line]
    words = (wheel.metadata.get("License") or "").strip()
    # Some put the whole text there.
    if words and "\n" not in words and len(words) < 100:
        return [_LICENCES.make_from_string(words)]
    return [DisjunctiveLicense(name=name) for name in named]


def _model(model: Model) -> Component:
    manifest, ref = model.manifest, f"bundle:{model.folder}"
    files = [
        Component(name=name, type=ComponentType.FILE, bom_ref=f"{ref}/{name}", hashes=[_sha256(entry.sha256)])
        for name, entry in sorted(manifest.files.items())
    ]
    card = ExternalReference(
        type=ExternalReferenceType.MODEL_CARD, url=XsUri(f"{model.folder}/{CARD_FILE}"), comment="within the pack"
    )
    return Component(
        name=manifest.name,
        version=model.sha256[:12],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=ref,
        hashes=[_sha256(model.sha256)],
        licenses=[DisjunctiveLicense(name=f"as told in {CARD_FILE}")],
        external_references=[card] if CARD_FILE in manifest.files else [],
        properties=[Property(name=f"dagger-edge:{name}", value=value) for name, value in _properties(manifest).items()],
        components=files,
    )


def _properties(manifest: Manifest) -> dict[str, str]:
    return {
        "hash-and-version-are-of": MANIFEST_FILE,
        "source": manifest.source.title,
        "precision": manifest.precision.name,
        "parity": manifest.parity_summary,
        "created": manifest.created,
        **{f"source-sha256:{name}": shard.sha256 for name, shard in sorted(manifest.source.shards.items())},
        **{f"made-with:{name}": version for name, version in sorted(manifest.tools.items())},
    }


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
