"""Pretrained weights, from a file, a cache or a server, reach all but the head; code in them never runs."""

import gc
import hashlib
import http.server
import io
import logging
import os
import pickle
import re
import socket
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from overfly.runtime.errors import WeightsError
from overfly.runtime.files.hashing import sha256_file
from overfly.training.models import weights
from overfly.training.models.build import build_model
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.models.weights import imagenet_state, load_backbone, load_pretrained, read_state_dict

NAME = "shufflenet_v2_x1_0"
HEAD = {"fc.weight", "fc.bias"}


@pytest.fixture(scope="module")
def state():
    """A state dict in torchvision's format, with 1,000 outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = torchvision_models().shufflenet_v2_x1_0(weights=None)
        for name, buffer in model.named_buffers():
            if not name.endswith("num_batches_tracked"):
                buffer.uniform_(0.5, 2)
    return model.state_dict()


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        return build_model(NAME, 3)


def save_state(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def assert_loaded(model, state, head_before):
    """All tensors but the head's are those of `state`; the head's are those from before."""
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    for key, value in loaded.items():
        assert torch.equal(value, head_before[key] if key in HEAD else state[key]), key


def head_of(model):
    return {key: value.clone() for key, value in model.state_dict().items() if key in HEAD}


@pytest.mark.parametrize("file_name", ["w.pth", "w.pt", "w.safetensors", "mes poids é.pth"])
def test_a_file_is_loaded_into_everything_but_the_head(tmp_path, model, state, file_name):
    head = head_of(model)
    load_pretrained(model, NAME, str(save_state(state, tmp_path / file_name)))
    assert_loaded(model, state, head)
    assert model.fc.out_features == 3


def test_a_file_from_before_batches_were_counted(tmp_path, model, state):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    head = head_of(model)
    load_pretrained(model, NAME, str(save_state(old, tmp_path / "old.pth")))
    assert_loaded(model, state, head)


def test_a_file_without_a_head_or_with_ours(tmp_path, model, state):
    head = head_of(model)
    without = {key: value for key, value in state.items() if key not in HEAD}
    load_pretrained(model, NAME, str(save_state(without, tmp_path / "without.pth")))
    assert_loaded(model, state, head)
    with_ours = {**without, "fc.weight": torch.zeros(3, 1024), "fc.bias": torch.zeros(3)}
    load_pretrained(model, NAME, str(save_state(with_ours, tmp_path / "ours.pth")))
    assert_loaded(model, state, head)


def test_none_leaves_the_model_as_it_is(model):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_pretrained(model, NAME, "none")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_of_another_model(tmp_path, state):
    path = save_state(state, tmp_path / "w.pth")
    other = build_model("mobilenet_v2", 3)
    n_wanted = sum(not key.endswith("num_batches_tracked") for key in other.state_dict()) - 2
    with pytest.raises(WeightsError) as caught:
        load_pretrained(other, "mobilenet_v2", str(path))
    assert str(caught.value).startswith(
        f"the weights {path} are not for mobilenet_v2: {n_wanted} tensors missing, {len(state)} unknown, "
        "0 of another shape or type (such as "
    )
    assert str(caught.value).endswith("); choose the --model that they were made for")


def test_one_tensor_of_another_shape_changes_nothing(model, state):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_backbone(model, NAME, {**state, "conv1.0.weight": torch.zeros(24, 3, 5, 5)}, source="w.pth")
    assert re.findall(r"\d+ (?=tensors|unknown|of)", str(caught.value)) == ["0 ", "0 ", "1 "]
    assert "conv1.0.weight" in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_whole_numbers_for_real_ones_are_rejected(model, state, dtype):
    with pytest.raises(WeightsError) as caught:
        load_backbone(model, NAME, {**state, "conv1.0.weight": state["conv1.0.weight"].to(dtype)}, source="w.pth")
    assert "1 of another shape or type (such as conv1.0.weight)" in str(caught.value)


def test_half_precision_is_loaded(model, state):
    load_backbone(model, NAME, {key: v.half() if v.is_floating_point() else v for key, v in state.items()}, source="w")
    assert torch.allclose(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"], atol=1e-3)


def test_a_layer_of_zeros_is_rejected_but_not_a_head_or_a_bias(model, state):
    zeros = {key: torch.zeros_like(value) for key, value in state.items()}
    biases = {key: value for key, value in zeros.items() if value.dim() < 2 or key in HEAD}
    load_backbone(model, NAME, {**state, **biases}, source="w.pth")
    with pytest.raises(WeightsError) as caught:
        load_backbone(model, NAME, {**state, "conv1.0.weight": zeros["conv1.0.weight"]}, source="w.pth")
    assert str(caught.value) == (
        "the weights w.pth are all zero in conv1.0.weight, so that every image would look alike: use the weights of a "
        "finished training"
    )


@pytest.mark.parametrize("kept", [0.3, 0.95])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(tmp_path, model, state, suffix, kept):
    path = save_state(state, tmp_path / f"w{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(WeightsError) as caught:
        load_pretrained(model, NAME, str(path))
    assert str(caught.value).startswith(f"the weights file {path} can't be read (")
    assert str(caught.value).endswith("expected a state dict in torchvision's format, .pth or .safetensors")


TEXTS = [
    b"",
    b"\n",
    b"hello world\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n",
    b"<!DOCTYPE html>",
]


@pytest.mark.parametrize("content", [*TEXTS, b"PK\x03\x04 no zip", b"\x80\x02", b"Jv\xa3", b"\x80\x02\x81*"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_another_kind(tmp_path, content, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_code_in_a_pickle_does_not_run(tmp_path):
    marker = tmp_path / "it ran"
    content = {"fc.weight": Evil(marker)}
    torch.save(content, tmp_path / "new.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("new.pth", "old.pth", "plain.pth"):
        with pytest.raises(WeightsError) as caught:
            read_state_dict(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    assert not marker.exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())["fc.weight"].close()  # noqa: S301 - to see that it would have
    assert marker.exists()


def test_a_missing_file(model, tmp_path):
    with pytest.raises(WeightsError) as caught:
        load_pretrained(model, NAME, str(tmp_path / "absent.pth"))
    assert str(caught.value) == (
        f"the weights file {tmp_path / 'absent.pth'} does not exist: expected a state dict in torchvision's format, "
        ".pth or .safetensors, or --weights imagenet or none"
    )


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"state_dict": {"fc.weight": 1.0}, "epoch": 3},
        {"weights": {"fc.weight": torch.zeros(1)}},
        torch.zeros(3),
        {"fc.bias": 1.0},
        {0: torch.zeros(1)},
    ],
)
def test_a_file_with_something_else_in_it(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value) == (
        f"the weights file {path} is not a state dict: expected a state dict in torchvision's format, .pth or "
        ".safetensors"
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_prefixes_of_wrapped_models_are_removed(tmp_path, model, state, prefix, suffix):
    head = head_of(model)
    prefixed = {f"{prefix}{key}": value for key, value in state.items()}
    load_pretrained(model, NAME, str(save_state(prefixed, tmp_path / f"w{suffix}")))
    assert_loaded(model, state, head)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_one_layer_under_two_names_must_be_one_tensor(tmp_path, state, suffix):
    copies = {f"module.{key}": value.clone() for key, value in state.items()}
    assert read_state_dict(save_state({**state, **copies}, tmp_path / f"w{suffix}")).keys() == state.keys()
    copies["module.conv1.0.weight"] += 1
    path = save_state({**state, **copies}, tmp_path / f"w{suffix}")
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value) == (
        f"the weights file {path} has different tensors under conv1.0.weight and module.conv1.0.weight: remove those "
        "of one model"
    )


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_a_state_dict_next_to_other_things_is_found(tmp_path, model, state, key):
    head = head_of(model)
    content = {"epoch": 3, key: state, "optimizer": {"param_groups": [{"lr": 0.1}]}}
    load_pretrained(model, NAME, str(save_state(content, tmp_path / "w.pth")))
    assert_loaded(model, state, head)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_value_that_is_not_finite_is_found_when_the_file_is_read(tmp_path, state, suffix, value):
    damaged = state["stage2.0.branch2.3.weight"].clone()
    damaged[3, 0, 1, 1] = value
    path = save_state({**state, "stage2.0.branch2.3.weight": damaged}, tmp_path / f"w{suffix}")
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value) == (
        f"the weights file {path} has values that are not finite (NaN or infinity), such as in "
        "stage2.0.branch2.3.weight: use weights from before that training diverged"
    )


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64), torch.ones(2).to(torch.float8_e5m2)],
    ids=["sparse", "complex", "float8"],
)
def test_a_tensor_that_no_layer_takes_is_named(tmp_path, state, tensor):
    path = tmp_path / "w.pth"
    torch.save({**state, "odd": tensor}, path)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value) == (
        f"the weights file {path} has tensors of a kind that no layer takes, such as odd ({tensor.dtype}, "
        f"{tensor.layout}): expected dense real numbers"
    )


def write_folder(folder, name):
    folder.mkdir()
    (folder / name).touch()
    return folder


def write_bundle_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
    return path


BUNDLE = "a bundle, which has no PyTorch weights: name checkpoint.safetensors of the run that it was made from"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: write_folder(path, "run.json"), "a run: name its file {path}/checkpoint.safetensors"),
        (lambda path: write_folder(path, "manifest.json"), BUNDLE),
        (write_bundle_zip, BUNDLE),
        (lambda path: write_folder(path, "notes.txt"), "a folder: name a .pth or .safetensors file"),
    ],
    ids=["run", "bundle", "zipped bundle", "folder"],
)
def test_what_is_no_weights_file_is_called_what_it_is(tmp_path, make, kind):
    path = make(tmp_path / "given")
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    kind = kind.replace("{path}/", f"{path}{os.sep}")
    assert str(caught.value) == f"can't read weights from {path}, because it is {kind}"


def test_the_log_says_where_the_weights_are_from(tmp_path, model, state, caplog):
    caplog.set_level(logging.INFO, "overfly")
    load_pretrained(model, NAME, "none")
    path = save_state(state, tmp_path / "w.pth")
    load_pretrained(model, NAME, str(path))
    assert caplog.messages == ["initial weights: random", f"initial weights: {len(state)} tensors of {path}"]


# torchvision's own loading code, with its cache in a folder of the test's and its server on this machine.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torchvision's cache folder, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def point_to(monkeypatch):
    """A function that sets the address of the ImageNet weights."""

    def point(url):
        member = torchvision_models().get_model_weights(NAME)["IMAGENET1K_V1"]
        monkeypatch.setattr(member.value, "url", url)

    return point


@pytest.fixture
def server():
    """A web server on this machine: its address, what it serves, and what it was asked for."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", files, asked
        httpd.shutdown()
        thread.join()


@pytest.fixture
def published(state):
    """The content of a weights file and its name, which holds the first digits of its hash."""
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    return content, f"shufflenet-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def test_a_file_in_torchvisions_cache_is_what_is_loaded(hub, point_to, model, state, published):
    content, file_name = published
    point_to(f"{closed_port()}/{file_name}")
    hub.mkdir(parents=True)
    (hub / file_name).write_bytes(content)
    head = head_of(model)
    load_pretrained(model, NAME, "imagenet")
    assert_loaded(model, state, head)


def test_weights_are_downloaded_once_into_the_cache(hub, point_to, server, model, state, published):
    url, files, asked = server
    content, file_name = published
    files[f"/models/{file_name}"] = content
    point_to(f"{url}/models/{file_name}")
    head = head_of(model)
    for _ in range(2):
        load_pretrained(model, NAME, "imagenet")
        assert_loaded(model, state, head)
    assert asked == [f"/models/{file_name}"]
    assert [path.name for path in hub.iterdir()] == [file_name]
    assert (hub / file_name).read_bytes() == content


@pytest.mark.parametrize("alter", [lambda c: c[:-1] + b"?", lambda c: c[: len(c) // 2], lambda _: b"<html>"])
def test_a_wrong_file_from_the_server_is_rejected_and_not_kept(hub, point_to, server, published, alter):
    url, files, _ = server
    content, file_name = published
    files[f"/{file_name}"] = alter(content)
    point_to(f"{url}/{file_name}")
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert str(caught.value).startswith(f"the downloaded weights of {NAME} are not torchvision's (invalid hash value")
    assert str(caught.value).endswith(f"): put {file_name} into {hub}, or name a local file with --weights")
    assert list(hub.iterdir()) == []


def closed_port():
    """An address on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_without_a_network_the_sentence_says_what_to_do(hub, point_to):
    point_to(f"{closed_port()}/shufflenet-01234567.pth")
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    message = str(caught.value)
    assert message.startswith(f"the ImageNet weights of {NAME} can't be downloaded (")
    assert message.endswith(f"): put shufflenet-01234567.pth into {hub}, or name a local file with --weights")
    assert list(hub.iterdir()) == []


def test_a_server_without_the_file(hub, point_to, server):
    point_to(f"{server[0]}/shufflenet-01234567.pth")
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert "Not Found" in str(caught.value)
    assert list(hub.iterdir()) == []


def test_a_server_that_never_answers_ends_the_wait(hub, point_to, monkeypatch):
    monkeypatch.setattr(weights, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(f"http://127.0.0.1:{silent.getsockname()[1]}/shufflenet-01234567.pth")
        with pytest.raises(WeightsError) as caught:
            imagenet_state(NAME)
    assert "timed out" in str(caught.value)
    assert str(caught.value).endswith(f"put shufflenet-01234567.pth into {hub}, or name a local file with --weights")
    assert socket.getdefaulttimeout() is None
    assert list(hub.iterdir()) == []


# Python's http.client leaves the socket to the garbage collector if a proxy does not answer.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_proxy_that_never_answers_ends_the_wait(hub, point_to, monkeypatch):
    monkeypatch.setattr(weights, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        point_to("https://download.example/shufflenet-01234567.pth")
        with pytest.raises(WeightsError) as caught:
            imagenet_state(NAME)
    assert "timed out" in str(caught.value)
    caught.value.__cause__ = caught.value.__context__ = None
    gc.collect()
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a file", None])
def test_a_file_in_the_cache_that_is_not_torchvisions_is_rejected(hub, point_to, state, content):
    point_to(f"{closed_port()}/shufflenet-01234567.pth")
    hub.mkdir(parents=True)
    path = hub / "shufflenet-01234567.pth"
    if content is None:
        torch.save({key: torch.zeros_like(value) for key, value in state.items()}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert str(caught.value) == (
        f"{path} in torchvision's cache is damaged, or not torchvision's file: its SHA-256 begins with "
        f"{sha256_file(path)[:8]}, expected 01234567; delete it and try again, or name a local file with --weights"
    )


def test_without_a_home_folder_the_message_says_so(monkeypatch):
    for name in ("HOME", "USERPROFILE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # What expanduser does for a user whom the system does not know.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert str(caught.value) == (
        "there is no home folder to keep the ImageNet weights in: set HOME or TORCH_HOME, or name a local file with "
        "--weights"
    )


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "vgg16"])
def test_every_model_has_imagenet_weights(hub, monkeypatch, name):
    member = torchvision_models().get_model_weights(name)["IMAGENET1K_V1"]
    file_name = Path(member.url).name
    monkeypatch.setattr(member.value, "url", f"{closed_port()}/{file_name}")
    with pytest.raises(WeightsError) as caught:
        imagenet_state(name)
    assert f"{file_name} into {hub}" in str(caught.value)
