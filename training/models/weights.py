"""Load pretrained weights: torchvision's ImageNet weights, or a file in torchvision's format."""

import contextlib
import logging
import re
import socket
import sys
import zipfile
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from overfly.runtime.bundle.manifest import MANIFEST
from overfly.runtime.errors import WeightsError, first_sentence
from overfly.runtime.files.hashing import sha256_file
from overfly.training.models.registry import MODELS
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.run_layout import CHECKPOINT, RUN_FILE

StateDict = dict[str, torch.Tensor]

_LOGGER = logging.getLogger(__name__)

_TIMEOUT_S = 30.0
# The keys under which training scripts commonly save a state dict together with other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")


def load_pretrained(model: nn.Module, name: str, weights: str) -> None:
    """Load pretrained weights into a model, except its classifier.

    Parameters
    ----------
    model
        From `overfly.training.models.build.build_model`; changed in place.
    name
        Its name in `overfly.training.models.registry.MODELS`.
    weights
        ``none`` leaves the model unchanged; ``imagenet`` loads torchvision's ``IMAGENET1K_V1`` weights from its cache
        or downloads them; anything else is the path of a ``.pth`` or ``.safetensors`` file.

    Raises
    ------
    WeightsError
        If the weights can't be downloaded, can't be read, or are not for this model.
    """
    if weights == "none":
        _LOGGER.info("initial weights: random")
        return
    state = imagenet_state(name) if weights == "imagenet" else read_state_dict(Path(weights))
    load_backbone(model, name, state, source=weights)


def imagenet_state(name: str) -> StateDict:
    """Return torchvision's ``IMAGENET1K_V1`` weights, from its cache or by a download.

    The name of the file holds the first digits of its SHA-256, which are compared each time: half a second for 100 MB.

    Raises
    ------
    WeightsError
        If the file can't be downloaded, or is not torchvision's.
    """
    weights = torchvision_models().get_model_weights(name)["IMAGENET1K_V1"]
    file_name = weights.url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if cached.parts[0] == "~":
        raise WeightsError(
            "there is no home folder to keep the ImageNet weights in: set HOME or TORCH_HOME, or name a local file "
            "with --weights"
        )
    if cached.is_file():
        _check_hash(cached)
    _LOGGER.info("initial weights: %s, %s", cached, "in the cache" if cached.is_file() else f"from {weights.url}")
    remedy = f"put {file_name} into {cached.parent}, or name a local file with --weights"
    try:
        # torch.hub announces a download on standard output, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr), _limit_waiting():
            state: StateDict = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(f"the ImageNet weights of {name} can't be downloaded ({reason}): {remedy}") from error
    except RuntimeError as error:
        reason = first_sentence(error)
        raise WeightsError(f"the downloaded weights of {name} are not torchvision's ({reason}): {remedy}") from error
    return state


def _check_hash(path: Path) -> None:
    """Raise WeightsError if a file in torchvision's cache has another hash than its name says."""
    found = sha256_file(path)
    expected = path.stem.rpartition("-")[2]
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} in torchvision's cache is damaged, or not torchvision's file: its SHA-256 begins with "
            f"{found[: len(expected)]}, expected {expected}; delete it and try again, or name a local file with "
            "--weights"
        )


@contextlib.contextmanager
def _limit_waiting() -> Iterator[None]:
    """Inside the block, give up on a server that is silent for `_TIMEOUT_S`; torch.hub itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of a ``.safetensors`` file, or of a ``.pth`` file without running code from it.

    A state dict in a dictionary of its own, as many training scripts save it, is found. The prefixes ``module.`` and
    ``_orig_mod.``, which DataParallel and `torch.compile` put before each name, are removed.

    Raises
    ------
    WeightsError
        If the file is missing, has neither format, contains anything but tensors, has values that are not finite, or
        has different tensors for one layer.
    """
    expected = "expected a state dict in torchvision's format, .pth or .safetensors"
    if not path.exists():
        raise WeightsError(f"the weights file {path} does not exist: {expected}, or --weights imagenet or none")
    try:
        _check_no_output(path)
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"the weights file {path} can't be read ({first_sentence(error)}): {expected}") from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise WeightsError(f"the weights file {path} is not a state dict: {expected}")
    state: StateDict = {}
    for key, value in content.items():
        _check_values(path, key, value)
        short = _PREFIXES.sub("", key)
        if not torch.equal(state.setdefault(short, value), value):
            raise WeightsError(
                f"the weights file {path} has different tensors under {short} and {key}: remove those of one model"
            )
    _LOGGER.info("initial weights: %d tensors of %s", len(state), path)
    return state


def _check_values(path: Path, key: str, value: torch.Tensor) -> None:
    """Raise WeightsError if a tensor of a file is not a dense one of finite real numbers."""
    is_tiny_float = value.is_floating_point() and value.element_size() < torch.float16.itemsize
    if value.is_meta or value.is_complex() or value.is_quantized or value.layout is not torch.strided or is_tiny_float:
        raise WeightsError(
            f"the weights file {path} has tensors of a kind that no layer takes, such as {key} ({value.dtype}, "
            f"{value.layout}): expected dense real numbers"
        )
    if not value.isfinite().all():
        raise WeightsError(
            f"the weights file {path} has values that are not finite (NaN or infinity), such as in {key}: use "
            "weights from before that training diverged"
        )


def _check_no_output(path: Path) -> None:
    """Raise WeightsError if the path is a folder, or a bundle in one file; it says which of our outputs that is."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    elif path.is_dir():
        names = {entry.name for entry in path.iterdir()}
    else:
        return
    if MANIFEST in names:
        what = "is a bundle, which has no PyTorch weights: name checkpoint.safetensors of the run that it was made from"
    elif RUN_FILE in names:
        what = f"is a run: name its file {path / CHECKPOINT}"
    elif path.is_dir():
        what = "is a folder: name a .pth or .safetensors file"
    else:
        return
    raise WeightsError(f"can't read weights from {path}, because it {what}")


def load_backbone(model: nn.Module, name: str, state: StateDict, *, source: str) -> None:
    """Load `state` into `model`, except the classifier, which keeps its own weights.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, has another shape, has whole numbers for real ones, or is a layer of zeros.
    """
    own = model.state_dict()
    head = {f"{MODELS[name]}.weight", f"{MODELS[name]}.bias"}
    backbone = {key: value for key, value in state.items() if key not in head}
    wanted = own.keys() - head
    # Older files lack the batch counters of batch-norm layers; the counters have no effect.
    missing = {key for key in wanted - backbone.keys() if not key.endswith("num_batches_tracked")}
    unknown = backbone.keys() - wanted
    misfits = {
        key
        for key in wanted & backbone.keys()
        if own[key].shape != backbone[key].shape or own[key].is_floating_point() > backbone[key].is_floating_point()
    }
    if missing or unknown or misfits:
        example = min(missing | unknown | misfits)
        raise WeightsError(
            f"the weights {source} are not for {name}: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(misfits)} of another shape or type (such as {example}); choose the --model that they were made for"
        )
    # Scales and biases may be zero. A layer of zeros gives the same output for every image.
    zeros = [key for key, value in backbone.items() if value.dim() > 1 and not value.any()]
    if zeros:
        raise WeightsError(
            f"the weights {source} are all zero in {zeros[0]}, so that every image would look alike: use the weights "
            "of a finished training"
        )
    model.load_state_dict({**own, **backbone})
