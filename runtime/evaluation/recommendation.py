"""Save the bench's recommendation in the user's cache folder, and load it for ``--variant auto``."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.documents import read_document, write_document
from overfly.runtime.errors import DocumentError
from overfly.runtime.files.replacing import remove
from overfly.runtime.inference.devices import full_name, resolve_device
from overfly.runtime.inference.model_cache import user_cache_folder
from overfly.runtime.machine import host_name

RECOMMENDATION_SCHEMA = "overfly.recommendation/1"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A variant to run on a device; `device_name` is the device's full name."""

    variant: str
    device: str
    device_name: str


@dataclass(frozen=True, slots=True)
class SavedRecommendation:
    """The recommended deployments of one bundle on one machine.

    Attributes
    ----------
    manifest_sha256
        SHA-256 of the manifest of the bundle that was measured.
    host, cpu
        The machine's network name and its processor, because several machines may share a home folder.
    latency, throughput
        The fastest deployment for single images, and for a stream of images.
    valid
        Whether the report was valid.
    timestamp
        When it was measured: UTC, ISO 8601.
    """

    manifest_sha256: str
    host: str
    cpu: str
    latency: Deployment
    throughput: Deployment
    valid: bool
    timestamp: str

    def deployment(self, *, variant: str, device: str, hint: str) -> Deployment | None:
        """Return the deployment for a performance hint; None if it contradicts the arguments.

        Parameters
        ----------
        variant, device
            What the caller asked for; ``auto`` agrees with everything.
        hint
            ``latency`` or ``throughput``.
        """
        best = self.latency if hint == "latency" else self.throughput
        names = {"auto", best.device, best.device.removesuffix(".0")}
        agrees = variant in {"auto", best.variant} and (device in names or device.upper() in names)
        return best if agrees else None


def save_recommendation(recommendation: SavedRecommendation) -> None:
    """Save a recommendation, replacing an earlier one; do nothing if the cache folder can't be written."""
    with suppress(OSError, RuntimeError):
        path = _path(recommendation.manifest_sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_document(path, recommendation, schema=RECOMMENDATION_SCHEMA)


def delete_recommendation(manifest_sha256: str) -> None:
    """Delete the recommendation for a bundle on this machine, if there is one."""
    with suppress(OSError, RuntimeError):
        remove(_path(manifest_sha256))


def load_recommendation(bundle: Bundle) -> SavedRecommendation | None:
    """Return what the bench recommended for this bundle on this machine.

    None if the bundle was never measured here or has changed since, or if one of the devices is no longer there.
    """
    with suppress(OSError, RuntimeError, DocumentError):
        manifest_sha256 = bundle.manifest_sha256()
        found = read_document(_path(manifest_sha256), SavedRecommendation, schema=RECOMMENDATION_SCHEMA)
        machine = (manifest_sha256, host_name(), full_name("CPU"))
        if (found.manifest_sha256, found.host, found.cpu) == machine and all(
            deployment.variant in bundle.manifest.variants
            and full_name(resolve_device(deployment.device)) == deployment.device_name
            for deployment in (found.latency, found.throughput)
        ):
            return found
    return None


def _path(manifest_sha256: str) -> Path:
    """Return the file for a bundle on this machine."""
    machine = hashlib.sha256(f"{host_name()}\n{full_name('CPU')}".encode()).hexdigest()
    return user_cache_folder() / "recommendations" / f"{manifest_sha256[:32]}-{machine[:16]}.json"
