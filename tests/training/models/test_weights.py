"""Pretrained weights, from a file, a cache or a server, reach all but the head; code in them never runs."""

import hashlib
import http.server
import io
import pickle
import re
import socket
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from overfly.runtime.errors import WeightsError
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
        "0 of another shape (such as "
    )
    assert str(caught.value).endswith("); choose the --model that they were made for")


def test_one_tensor_of_another_shape_changes_nothing(model, state):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"0 tensors missing, 0 unknown, 1 of another shape \(such as conv1\.0"):
        load_backbone(model, NAME, {**state, "conv1.0.weight": torch.zeros(24, 3, 5, 5)}, source="w.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


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
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        read_state_dict(path)
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
        with pytest.raises(WeightsError, match=re.escape(str(tmp_path / name))):
            read_state_dict(tmp_path / name)
    assert not marker.exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())["fc.weight"].close()  # noqa: S301 - to see that it would have
    assert marker.exists()


def test_a_missing_file(model, tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(WeightsError) as caught:
            load_pretrained(model, NAME, str(path))
        assert str(caught.value).startswith(f"the weights file {path} does not exist: expected a state dict")


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": {"fc.weight": torch.zeros(1)}, "epoch": 3}, torch.zeros(3), {"fc.bias": 1.0}]
)
def test_a_file_with_something_else_in_it(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth"):
        read_state_dict(tmp_path / "w.pth")


def test_tensors_that_are_not_named(tmp_path, model):
    torch.save({0: torch.zeros(1), 1: torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=re.escape(str(tmp_path / "w.pth"))):
        load_pretrained(model, NAME, str(tmp_path / "w.pth"))


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


def test_a_file_in_torchvisions_cache_is_what_is_loaded(hub, model, state, published):
    # Under the file name that torchvision publishes, whose address is never asked.
    file_name = torchvision_models().get_model_weights(NAME)["IMAGENET1K_V1"].url.rpartition("/")[2]
    hub.mkdir(parents=True)
    (hub / file_name).write_bytes(published[0])
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
def test_a_wrong_file_from_the_server_is_refused_and_not_kept(hub, point_to, server, published, alter):
    url, files, _ = server
    content, file_name = published
    files[f"/{file_name}"] = alter(content)
    point_to(f"{url}/{file_name}")
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert str(caught.value).startswith(f"the ImageNet weights of {NAME} are damaged (invalid hash value")
    assert "name a local file with --weights" in str(caught.value)
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
    with pytest.raises(WeightsError, match=r"can't be downloaded \(.*Not Found.*\): put"):
        imagenet_state(NAME)
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a file"])
def test_a_damaged_file_in_the_cache_is_told_with_its_place(hub, point_to, content):
    point_to(f"{closed_port()}/shufflenet-01234567.pth")
    hub.mkdir(parents=True)
    (hub / "shufflenet-01234567.pth").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        imagenet_state(NAME)
    assert f"delete {hub / 'shufflenet-01234567.pth'} and try again" in str(caught.value)


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "vgg16"])
def test_every_model_has_imagenet_weights(hub, monkeypatch, name):
    member = torchvision_models().get_model_weights(name)["IMAGENET1K_V1"]
    file_name = Path(member.url).name
    monkeypatch.setattr(member.value, "url", f"{closed_port()}/{file_name}")
    with pytest.raises(WeightsError, match=rf"put {re.escape(file_name)} into {re.escape(str(hub))}"):
        imagenet_state(name)
