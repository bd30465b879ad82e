"""Load pretrained weights: torchvision's ImageNet weights, or a file in torchvision's format."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import nn

from overfly.runtime.errors import WeightsError, first_sentence
from overfly.training.models.registry import MODELS
from overfly.training.models.torchvision_import import torchvision_models

StateDict = dict[str, torch.Tensor]


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
        return
    state = imagenet_state(name) if weights == "imagenet" else read_state_dict(Path(weights))
    load_backbone(model, name, state, source=weights)


def imagenet_state(name: str) -> StateDict:
    """Return torchvision's ``IMAGENET1K_V1`` weights, from its cache or by a download, with its hash check."""
    weights = torchvision_models().get_model_weights(name)["IMAGENET1K_V1"]
    file_name = weights.url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    remedy = f"put {file_name} into {cached.parent}, or name a local file with --weights"
    try:
        # torch.hub announces a download on standard output, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr):
            state: StateDict = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(f"the ImageNet weights of {name} can't be downloaded ({reason}): {remedy}") from error
    except Exception as error:
        if cached.exists():
            remedy = f"delete {cached} and try again, or name a local file with --weights"
        raise WeightsError(f"the ImageNet weights of {name} are damaged ({first_sentence(error)}): {remedy}") from error
    return state


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of a ``.safetensors`` file, or of a ``.pth`` file without running code from it.

    Raises
    ------
    WeightsError
        If the file is missing, has neither format, or contains anything but tensors.
    """
    expected = "expected a state dict in torchvision's format, .pth or .safetensors"
    if not path.is_file():
        raise WeightsError(f"the weights file {path} does not exist: {expected}, or --weights imagenet or none")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"the weights file {path} can't be read ({first_sentence(error)}): {expected}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise WeightsError(f"the weights file {path} is not a state dict: {expected}")
    return dict(state)


def load_backbone(model: nn.Module, name: str, state: StateDict, *, source: str) -> None:
    """Load `state` into `model`, except the classifier, which keeps its own weights.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, or has another shape.
    """
    own = model.state_dict()
    head = {f"{MODELS[name]}.weight", f"{MODELS[name]}.bias"}
    given = {key: value for key, value in state.items() if key not in head}
    wanted = own.keys() - head
    # Older files lack the batch counters of batch-norm layers; the counters have no effect.
    missing = {key for key in wanted - given.keys() if not key.endswith("num_batches_tracked")}
    unknown = given.keys() - wanted
    misfits = {key for key in wanted & given.keys() if own[key].shape != given[key].shape}
    if missing or unknown or misfits:
        example = min(missing | unknown | misfits)
        raise WeightsError(
            f"the weights {source} are not for {name}: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(misfits)} of another shape (such as {example}); choose the --model that they were made for"
        )
    model.load_state_dict({**own, **given})
