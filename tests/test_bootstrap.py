"""The script a newcomer runs first: its sentences, and that a second run installs nothing."""

import contextlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    """Return the module, pointed at a folder of its own, with every command recorded instead of run."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", ROOT / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for floor in ("cli", "runtime"):
        (tmp_path / floor).mkdir()
    (tmp_path / "runtime" / "a.py").write_text("a = 1\n")
    venv = tmp_path / ".venv"
    python = venv / "bin" / "python"
    for name, value in {"ROOT": tmp_path, "VENV": venv, "PYTHON": python, "STAMP": venv / "stamp"}.items():
        monkeypatch.setattr(module, name, str(value))
    module.calls = []

    def call(arguments, **_):
        if "--version" in arguments:
            return 0 if module.pip_works else 1
        module.calls.append(arguments)
        if "venv" in arguments:
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
            module.pip_works = module.failing != "venv"
        if "wheel" in arguments:
            (venv / "wheels").mkdir()
            (venv / "wheels" / "overfly-1-py3-none-any.whl").touch()
        return 1 if module.failing in arguments else 0

    module.failing, module.pip_works = None, False
    module.really_enabled = module.long_paths_enabled
    # Temporary folders are too deep for Windows's limit, and only one test is about that.
    monkeypatch.setattr(module, "long_paths_enabled", lambda: True)
    monkeypatch.setattr(module.subprocess, "call", call)
    return module


def _main(module, monkeypatch, *arguments):
    module.calls.clear()
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", *arguments])
    return module.main()


WINDOWS = {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows", "platform_machine": "AMD64"}
LINUX = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64"}
# The first release of each line, and a later one: some packages need a fix of Python.
each_python = pytest.mark.parametrize("python", [f"3.{minor}.{fix}" for minor in (10, 11, 12, 13) for fix in (0, 9)])


def pins_for(python, system):
    """Return the constraints that apply, by the name of the package."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines())
    pins = map(Requirement, filter(None, lines))
    return {canonicalize_name(pin.name): pin for pin in pins if applies(pin, python, system)}


def applies(requirement, python, system, extras=("",)):
    """Return whether a package with these extras has the requirement on that Python and system."""
    there = {"python_version": python.rpartition(".")[0], "python_full_version": python, **system}
    return requirement.marker is None or any(requirement.marker.evaluate({**there, "extra": e}) for e in extras)


@pytest.fixture(scope="module")
def installed():
    """Name -> the metadata of the installed package."""
    return {canonicalize_name(d.metadata["Name"]): d for d in importlib.metadata.distributions()}


@each_python
def test_no_constraint_is_a_version_that_this_python_can_not_install(python, installed):
    pins = pins_for(python, LINUX)
    known = [(pin, installed[name]) for name, pin in pins.items() if name in installed]
    known = [(pin, found) for pin, found in known if found.version in pin.specifier]
    assert len(known) > 20
    for pin, found in known:
        assert python in SpecifierSet(found.metadata.get("Requires-Python") or ""), pin


@each_python
@pytest.mark.parametrize("system", [LINUX, WINDOWS], ids=["Linux", "Windows"])
def test_every_package_that_an_installation_brings_is_pinned(python, system, installed):
    """Follow the requirements of overfly with all extras; those of a version that is not installed here are unknown."""
    pins = pins_for(python, system)
    extras_of, open_versions, n_followed = {}, [], 0
    todo = [(Requirement("overfly[dev]"), "")]
    while todo:
        requirement, parent = todo.pop()
        name = canonicalize_name(requirement.name)
        exact = any(specifier.operator == "==" for specifier in requirement.specifier)
        if name not in {*pins, "overfly"} and not exact:
            open_versions.append(f"{parent} requires {requirement}")
        extras = {"", *requirement.extras} - extras_of.get(name, set())
        found = installed.get(name)
        if not extras or found is None or (name in pins and found.version not in pins[name].specifier):
            continue
        extras_of[name] = extras_of.get(name, set()) | extras
        n_followed += 1
        todo += [(r, name) for r in map(Requirement, found.requires or ()) if applies(r, python, system, extras)]
    assert n_followed > 40
    assert open_versions == []


def test_the_first_run_makes_the_environment_and_installs_the_wheel_with_the_constraints(bootstrap, monkeypatch):
    assert _main(bootstrap, monkeypatch, "demo", "--seed", "3") == 0
    venv, wheel, install, again, demo = bootstrap.calls
    assert venv[1:3] == ["-m", "venv"]
    assert "wheel" in wheel
    assert install[-1].endswith("overfly-1-py3-none-any.whl[all]")
    assert install[install.index("--constraint") + 1].endswith("constraints.txt")
    assert "--force-reinstall" in again
    assert demo[1:] == ["-m", "overfly.cli", "demo", "--seed", "3"]


def test_a_second_run_installs_nothing(bootstrap, monkeypatch):
    _main(bootstrap, monkeypatch, "test")
    assert bootstrap.calls[2][-1].endswith("[dev]")
    assert _main(bootstrap, monkeypatch, "test", "-x") == 0
    assert [call[1:] for call in bootstrap.calls] == [["-m", "pytest", "-x"]]
    # The tests' environment is good for the demo too.
    _main(bootstrap, monkeypatch, "demo")
    assert [call[1:] for call in bootstrap.calls] == [["-m", "overfly.cli", "demo"]]


def test_changed_code_is_installed_again(bootstrap, monkeypatch):
    _main(bootstrap, monkeypatch, "demo")
    Path(bootstrap.ROOT, "runtime", "a.py").write_text("a = 2\n")
    _main(bootstrap, monkeypatch, "demo")
    assert len(bootstrap.calls) == 4


def test_a_failed_attempt_is_one_sentence_and_the_next_one_starts_clean(bootstrap, monkeypatch):
    bootstrap.failing = "venv"
    with pytest.raises(SystemExit) as caught:
        _main(bootstrap, monkeypatch, "demo")
    assert "apt install python3-venv" in str(caught.value)
    # Python is there now, but no pip: the environment is made again, from nothing.
    bootstrap.failing = "install"
    with pytest.raises(SystemExit) as caught:
        _main(bootstrap, monkeypatch, "demo")
    assert "the installation failed" in str(caught.value)
    assert bootstrap.calls[0][1:4] == ["-m", "venv", "--clear"]
    bootstrap.failing = None
    assert _main(bootstrap, monkeypatch, "demo") == 0
    assert "venv" not in bootstrap.calls[0]


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 14)])
def test_an_unsuitable_python_is_rejected_in_one_sentence(bootstrap, monkeypatch, version):
    monkeypatch.setattr(bootstrap.sys, "version_info", (*version, 0))
    with pytest.raises(SystemExit) as caught:
        _main(bootstrap, monkeypatch, "demo")
    expected = f"bootstrap: overfly needs Python 3.10 to 3.13, but this is Python {version[0]}.{version[1]}"
    assert str(caught.value).startswith(expected)
    assert bootstrap.calls == []


@pytest.mark.parametrize(
    ("enabled", "length", "rejected"), [(0, 68, True), (0, 67, False), (1, 200, False), (None, 68, True)]
)
def test_a_folder_too_deep_for_windows_is_rejected_unless_long_paths_are_enabled(
    bootstrap, monkeypatch, enabled, length, rejected
):
    def query(_key, name):
        assert name == "LongPathsEnabled"
        if enabled is None:
            raise FileNotFoundError(name)
        return enabled, 4

    winreg = SimpleNamespace(HKEY_LOCAL_MACHINE=0, OpenKey=lambda *_: contextlib.nullcontext(), QueryValueEx=query)
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    monkeypatch.setattr(bootstrap, "os", SimpleNamespace(name="nt", path=os.path, listdir=os.listdir, remove=os.remove))
    monkeypatch.setattr(bootstrap, "long_paths_enabled", bootstrap.really_enabled)
    monkeypatch.setattr(bootstrap, "install", lambda _extra: None)
    monkeypatch.setattr(bootstrap, "ROOT", "x" * length)
    if not rejected:
        assert _main(bootstrap, monkeypatch, "demo") == 0
        return
    with pytest.raises(SystemExit) as caught:
        _main(bootstrap, monkeypatch, "demo")
    for part in ("x" * length, str(length), "67"):
        assert part in str(caught.value)
    assert bootstrap.calls == []


class _Os(SimpleNamespace):
    """The module `os`, as on Windows."""

    name = "nt"

    def __getattr__(self, name):
        return getattr(os, name)


@pytest.fixture
def on_windows(bootstrap, monkeypatch):
    """The module as on Windows, with a folder `build`, and the number of tries that fail to delete it."""
    build = Path(bootstrap.ROOT, "build")
    (build / "lib").mkdir(parents=True)
    (build / "lib" / "a.py").touch(0o444)
    rmtree, pauses = bootstrap.shutil.rmtree, []

    def delete_later(path):
        if len(pauses) < bootstrap.n_failures:
            raise PermissionError(13, "in use")
        assert (build / "lib" / "a.py").stat().st_mode & 0o200
        rmtree(path)

    monkeypatch.setattr(bootstrap, "os", _Os())
    monkeypatch.setattr(bootstrap, "shutil", SimpleNamespace(rmtree=delete_later))
    monkeypatch.setattr(bootstrap, "time", SimpleNamespace(sleep=pauses.append))
    return build


def test_a_folder_of_the_build_that_a_scanner_has_open_is_deleted_when_it_is_free(bootstrap, on_windows):
    bootstrap.n_failures = 3
    bootstrap.remove(str(on_windows))
    assert not on_windows.exists()


def test_a_folder_of_the_build_that_stays_open_is_one_sentence(bootstrap, on_windows):
    bootstrap.n_failures = 1000
    with pytest.raises(SystemExit) as caught:
        bootstrap.remove(str(on_windows))
    assert str(caught.value).startswith(f"bootstrap: {on_windows} can't be deleted")
    assert on_windows.exists()


def test_without_a_command_it_says_what_it_can_do():
    result = subprocess.run([sys.executable, ROOT / "bootstrap.py"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "python bootstrap.py demo" in result.stderr
