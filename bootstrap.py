"""Make .venv, install overfly in it, and run it. Needs only CPython 3.10 to 3.13.

    python bootstrap.py demo [options of overfly demo]     train, export and measure on this machine
    python bootstrap.py test [options of pytest]           run the tests against the built wheel

A second run uses the same environment and starts in seconds.
"""

# No syntax newer than Python 2: an old Python must get far enough to say that it is too old.
import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "overfly-installed.txt")
SOURCES = ("cli", "training", "export", "runtime", "benchmarks", "setup.cfg", "pyproject.toml", "constraints.txt")
EXTRAS = {"demo": "all", "test": "dev"}
# Windows allows paths of 259 characters. The longest below site-packages is torch 2.13's, of 167 characters.
LONGEST_ROOT = 259 - len(r"\.venv\Lib\site-packages" + "\\") - 167


def main():
    """Install what the command needs, run it, and return its exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in EXTRAS:
        sys.exit(__doc__)
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        stop("overfly needs Python 3.10 to 3.13, but this is Python {0}.{1}; use another one".format(*sys.version_info))
    if len(ROOT) > LONGEST_ROOT and os.name == "nt" and not long_paths_enabled():
        stop(
            "the path {0} has {1} characters, but Windows's limit leaves at most {2}; move overfly to a shorter path "
            "such as C:\\overfly, or enable long paths in Windows".format(ROOT, len(ROOT), LONGEST_ROOT)
        )
    install(EXTRAS[command])
    if command == "demo":
        return subprocess.call([PYTHON, "-m", "overfly.cli", "demo"] + sys.argv[2:])
    return subprocess.call([PYTHON, "-m", "pytest"] + sys.argv[2:], cwd=ROOT)


def install(extra):
    """Install overfly with an extra, unless the environment is up to date."""
    wanted = fingerprint()
    if extra == "all" and installed() == (wanted, "dev"):
        extra = "dev"  # dev contains all
    if installed() == (wanted, extra):
        return
    if not has_pip():
        print("making .venv")
        run(
            [sys.executable, "-m", "venv", "--clear", VENV],
            "the environment .venv can't be made; on Debian, run: apt install python3-venv",
        )
    print("installing overfly and its dependencies (this takes a few minutes the first time)")
    wheels = os.path.join(VENV, "wheels")
    # An old build folder may hold files that are deleted from the sources. egg-info would hide the installed wheel.
    byproducts = [os.path.join(ROOT, name) for name in ("build", "overfly.egg-info")]
    for leftover in [STAMP, wheels] + byproducts:
        remove(leftover)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    remedy = "the installation failed; the last lines above say why. It needs a network and 3 GB of free disk space"
    run(pip + ["wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT], remedy)
    wheel = os.path.join(wheels, os.listdir(wheels)[0])
    for byproduct in byproducts:
        remove(byproduct)
    constraints = os.path.join(ROOT, "constraints.txt")
    run(pip + ["install", "--quiet", "--constraint", constraints, "{0}[{1}]".format(wheel, extra)], remedy)
    # The same version may be installed with older code.
    run(pip + ["install", "--quiet", "--no-deps", "--force-reinstall", wheel], remedy)
    with open(STAMP, "w") as stream:
        stream.write("{0} {1}\n".format(wanted, extra))


def long_paths_enabled():
    """Return whether this Windows allows paths of more than 259 characters."""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    except OSError:
        return False


def has_pip():
    """Return whether the environment is complete: a failed attempt leaves one without pip."""
    if not os.path.exists(PYTHON):
        return False
    with open(os.devnull, "w") as nowhere:
        return subprocess.call([PYTHON, "-m", "pip", "--version"], stdout=nowhere, stderr=nowhere) == 0


def fingerprint():
    """Return a hash of the Python version and of all source files."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(files()):
        with open(path, "rb") as stream:
            digest.update(path[len(ROOT) :].encode() + hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()


def files():
    """Yield the path of every source file."""
    for source in SOURCES:
        path = os.path.join(ROOT, source)
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in names:
                if "__pycache__" not in folder:
                    yield os.path.join(folder, name)


def installed():
    """Return the fingerprint and the extra of the installed overfly, or an empty tuple."""
    if not (os.path.exists(STAMP) and os.path.exists(PYTHON)):
        return ()
    with open(STAMP) as stream:
        return tuple(stream.read().split())


def run(arguments, remedy):
    """Run a command; stop with the remedy if it fails."""
    if subprocess.call(arguments) != 0:
        stop(remedy)


def remove(path):
    """Delete a file or a folder, if it is there.

    On Windows a virus scanner may have a new file open for a moment, and nothing that is read-only is deleted.
    """
    tries = 100 if os.name == "nt" else 1
    while os.path.exists(path):
        try:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.remove(path)
        except OSError as error:
            tries -= 1
            if not tries:
                stop("{0} can't be deleted ({1}); close the program that has it open".format(path, error))
            make_writable(path)
            time.sleep(0.1)


def make_writable(path):
    """Take the mark "read-only" from a file or all of a folder."""
    inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    for each in inside or [path]:
        with contextlib.suppress(OSError):  # it may be in use for this too
            os.chmod(each, stat.S_IWRITE | stat.S_IREAD)


def stop(sentence):
    """Exit with one sentence and code 1."""
    sys.exit("bootstrap: " + sentence)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
