"""What the bench found best on this machine, kept in the user's cache folder for who leaves the choice to overfly."""

import hashlib
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.documents import read_document, write_document
from overfly.runtime.errors import DocumentError
from overfly.runtime.inference.devices import full_name, resolve_device
from overfly.runtime.inference.model_cache import user_cache_folder

RECOMMENDATION_SCHEMA = "overfly.recommendation/1"


@dataclass(frozen=True, slots=True)
class Placement:
    """A variant on a device, whose full name was `device_name`."""

    variant: str
    device: str
    device_name: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to run of one bundle on one machine.

    Attributes
    ----------
    manifest_sha256
        Of the bundle that was measured.
    host, cpu
        The machine's name in its network, and its processor: a home folder may be shared.
    latency, throughput
        The best for single images, and for many.
    valid
        Whether the report called itself VALID.
    timestamp
        When it was measured: UTC, ISO 8601.
    """

    manifest_sha256: str
    host: str
    cpu: str
    latency: Placement
    throughput: Placement
    valid: bool
    timestamp: str

    def placement(self, *, variant: str, device: str, hint: str) -> Placement | None:
        """Return the best placement for a performance hint that agrees with what is named; ``auto`` names nothing."""
        best = self.latency if hint == "latency" else self.throughput
        names = {"auto", best.device, best.device.removesuffix(".0")}
        agrees = variant in {"auto", best.variant} and (device in names or device.upper() in names)
        return best if agrees else None


def save_recommendation(recommendation: Recommendation) -> None:
    """Keep a recommendation, in place of an earlier one; where the cache folder can't be written nothing is kept."""
    with suppress(OSError, RuntimeError):
        path = _path(recommendation.manifest_sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_document(path, recommendation, schema=RECOMMENDATION_SCHEMA)


def delete_recommendation(manifest_sha256: str) -> None:
    """Drop what was kept for a bundle on this machine: a later bench recommends nothing."""
    with suppress(OSError, RuntimeError):
        _path(manifest_sha256).unlink(missing_ok=True)


def load_recommendation(bundle: Bundle) -> Recommendation | None:
    """Return what the bench recommended for this very bundle on this machine.

    None when it was never measured, when the bundle has changed since, and when a device that it
    names is gone or another one.
    """
    with suppress(OSError, RuntimeError, DocumentError):
        manifest_sha256 = bundle.manifest_sha256()
        found = read_document(_path(manifest_sha256), Recommendation, schema=RECOMMENDATION_SCHEMA)
        machine = (manifest_sha256, platform.node(), full_name("CPU"))
        if (found.manifest_sha256, found.host, found.cpu) == machine and all(
            placement.variant in bundle.manifest.variants
            and full_name(resolve_device(placement.device)) == placement.device_name
            for placement in (found.latency, found.throughput)
        ):
            return found
    return None


def _path(manifest_sha256: str) -> Path:
    """Return the file for a bundle on this machine."""
    machine = hashlib.sha256(f"{platform.node()}\n{full_name('CPU')}".encode()).hexdigest()
    return user_cache_folder() / "recommendations" / f"{manifest_sha256[:32]}-{machine[:16]}.json"
