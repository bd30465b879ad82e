"""Fixtures for floor 4: the command line called in this process or in one of its own, and small folders to feed it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from overfly.cli import main, run


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def sentence(self):
        """The one sentence that the command failed with."""
        lines = [line for line in self.err.splitlines() if line.startswith("overfly: ")]
        assert len(lines) == 1, self.err
        return lines[0]

    def assert_failed(self, *fragments, out=""):
        """Exit code 1; one sentence with these fragments, last on standard error; no traceback; only `out` printed."""
        assert self.code == 1, (self.out, self.err)
        assert "Traceback" not in self.err
        assert self.err.splitlines()[-1] == self.sentence
        for fragment in fragments:
            assert str(fragment) in self.sentence, (fragment, self.sentence)
        assert self.out == out

    def assert_misused(self, *fragments):
        """Exit code 2; a usage error with these fragments; nothing printed."""
        assert self.code == 2, (self.out, self.err)
        assert "Usage: overfly" in self.err
        for fragment in fragments:
            assert fragment in self.err
        assert self.out == ""

    def assert_done(self):
        """Exit code 0, and no error on the way."""
        assert self.code == 0, self.err
        assert "overfly: " not in self.err
        assert "Traceback" not in self.err


@pytest.fixture(scope="session")
def strange_pixels():
    """Black and white squares, uint8 of shape ``[96, 96, 3]``: no scene, and farther from one than noise."""
    squares = np.random.default_rng(0).integers(0, 2, (8, 8, 1), dtype=np.uint8) * np.uint8(255)
    return np.kron(squares, np.ones((12, 12, 3), np.uint8))


@pytest.fixture
def scaled_bundle(tiny_bundle, tmp_path):
    """A function that copies the small bundle with another record of its temperature."""
    from dataclasses import replace

    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.bundle.manifest import write_manifest

    def call(scaling):
        folder = shutil.copytree(tiny_bundle, tmp_path / "scaled")
        write_manifest(folder, replace(Bundle.open(folder).manifest, temperature_scaling=scaling))
        return folder

    return call


@pytest.fixture(scope="session")
def known_bundle(tiny_bundle, tiny_data, strange_pixels, tmp_path_factory):
    """The fp32 variant of the small bundle with a known score; its threshold parts all its scenes from strange pixels.

    It is halfway between them: a map reads a scene a little differently than a photo, and the network is trained anew.
    """
    from dataclasses import replace

    from overfly.export.ir import save_ir
    from overfly.export.known_score import KnownScoreWeights, add_known_score, read_taps, run_known_score
    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.bundle.manifest import KnownScore, hash_files, write_manifest
    from overfly.runtime.inference.compile import read_variant

    folder = tmp_path_factory.mktemp("known") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    bundle = Bundle.open(folder)
    for path in folder.iterdir():
        if path.stem in {"fp16", "int8"} or path.name == "manifest.json":
            path.unlink()
    reader = bundle.manifest.image.reader()
    paths = sorted(tiny_data.rglob("*.jpg"))
    images = np.stack([reader.read(path) for path in paths])
    labels = np.array([bundle.manifest.classes.index(path.parent.name) for path in paths])
    model = read_variant(Bundle.open(tiny_bundle), "fp32")
    taps = read_taps(model, images)
    add_known_score(model, KnownScoreWeights.fit(taps, labels, taps))
    save_ir(model, folder / "fp32.xml")
    Image.fromarray(strange_pixels).save(folder.with_name("strange.png"))
    strange = reader.read(folder.with_name("strange.png"))
    lowest, strangest = (float(run_known_score(model, each).min()) for each in (images, strange[np.newaxis]))
    assert strangest < lowest
    threshold = (strangest + lowest) / 2
    score = KnownScore("made by hand", len(images), 0.99, "val", len(images), {"fp32": threshold})
    variants = {"fp32": bundle.manifest.variants["fp32"]}
    write_manifest(folder, replace(bundle.manifest, variants=variants, files=hash_files(folder), known_score=score))
    return folder


@pytest.fixture
def overfly(capsys):
    """A function that runs a command in this process and returns its outcome."""

    def call(*arguments):
        capsys.readouterr()
        try:
            code = run([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return Outcome(code, *capsys.readouterr())

    return call


class _WindowsSys:
    """The module `sys` as the command line sees it on Windows; only the platform differs."""

    platform = "win32"

    def __getattr__(self, name):
        return getattr(sys, name)


@pytest.fixture
def on_windows(monkeypatch, capsys):
    """A function that runs the command line as if on Windows and returns its outcome.

    Only the modules of the command line see Windows: other libraries would call functions that are missing here.
    """

    def call(*arguments):
        capsys.readouterr()
        for module in ("overfly.cli", "overfly.cli.options", "overfly.cli.streams"):
            monkeypatch.setattr(f"{module}.sys", _WindowsSys())
        monkeypatch.setattr(sys, "argv", ["overfly", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(stop.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def start():
    """A function that starts a command in a process of its own, both streams open; at the end what runs is killed."""
    processes = []

    def call(*arguments, **environment):
        command = [sys.executable, "-m", "overfly.cli", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        )
        processes.append(process)
        return process

    yield call
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        # A test that closes a stream sets it to None, so that `communicate` leaves it out.
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


@pytest.fixture(scope="session")
def python():
    """A function that runs Python code with arguments in a process of its own and returns its outcome."""

    def call(code, *arguments, **environment):
        finished = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            check=False,
        )
        return Outcome(finished.returncode, finished.stdout, finished.stderr)

    return call


@pytest.fixture(scope="session")
def content():
    """A function that returns every path below a folder with its bytes; None for what does not exist."""

    def read(path):
        if not path.exists():
            return None
        if path.is_file():
            return path.read_bytes()
        return {p.relative_to(path).as_posix(): p.read_bytes() if p.is_file() else None for p in path.rglob("*")}

    return read


@pytest.fixture(scope="session")
def small_pixels():
    """A function that returns noisy uint8 pixels of shape [size, size, 3]; classes differ in brightness."""

    def draw(label, index, size=40):
        rng = np.random.default_rng([label, index])
        return rng.normal(60 + 90 * label, 20, (size, size, 3)).clip(0, 255).astype(np.uint8)

    return draw


@pytest.fixture
def small_data(tmp_path, small_pixels):
    """A folder of two classes with six small images each, the test's own to change."""
    folder = tmp_path / "data"
    for label, name in enumerate(("field", "water")):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            Image.fromarray(small_pixels(label, index)).save(folder / name / f"{name}{index}.png")
    return folder


@pytest.fixture(scope="session")
def briefly():
    """Options of the shortest training there is."""
    return ("--weights", "none", "--epochs", 1, "--image-size", 32, "--device", "cpu", "--model", "shufflenet_v2_x1_0")


@pytest.fixture(scope="session")
def fp32_bundle(tiny_run, make_once):
    """The small run exported by the command line as fp32 alone, and what the command printed; not to be changed."""

    def make(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        options = ["--out", folder / "bundle", "--variant", "fp32", "--json"]
        command = [sys.executable, "-m", "overfly.cli", "export", tiny_run, *options]
        finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        outcome = [finished.returncode, finished.stdout, finished.stderr]
        (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")

    folder = make_once("fp32", make)
    return folder / "bundle", Outcome(*json.loads((folder / "outcome.json").read_text(encoding="utf-8")))
