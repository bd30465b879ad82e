"""The documentation: it builds without a warning, and the commands, options, names and links in it exist."""

import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.cli import COMMANDS, cli
from overfly.training.recipe import Recipe

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# The changelog names options that are gone.
CURRENT_PAGES = [path for path in PAGES if path.name.lower() != "changelog.md"]

# Options in the text that belong to other programs.
FOREIGN_OPTIONS = frozenset(
    # torchrun; dask; srun; wsl; sphinx-build, pip, ruff and pytest; Chromium
    [
        "--nproc-per-node",
        "--nnodes",
        "--node-rank",
        "--master-addr",
        "--master-port",
        "--host",
        "--port",
        "--no-dashboard",
        "--dashboard-address",
        "--tls-ca-file",
        "--ntasks",
        "--cpus-per-task",
        "--update",
        "--shutdown",
        "--keep-going",
        "--no-deps",
        "--check",
        "--pdb",
        "--headless",
        "--hide-scrollbars",
        "--window-size",
        "--screenshot",
    ]
)
# Options of the modules in `overfly.benchmarks.development`, one of which the line itself must name.
DEVELOPMENT_OPTIONS = frozenset(
    option
    for path in (ROOT / "benchmarks" / "development").glob("*.py")
    for option in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8"))
)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
each_current_page = pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def _options(name):
    """Return the visible options of a command."""
    command = cli.get_command(click.Context(cli), name)
    visible = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return {flag for option in visible for flag in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}


OPTIONS = {name: _options(name) for name in COMMANDS}
ALL_OPTIONS = frozenset().union(*OPTIONS.values()) | {"--version"}


def _commands(text):
    """Yield (command, rest of the line) of every ``overfly ...`` in a line of code or between backticks."""
    lines = re.findall(r"^ {4}(?:torchrun .*)?overfly(?:\.cli)? ([a-z]+)\b(.*)$", text, re.MULTILINE)
    spans = re.findall(r"`overfly ([a-z]+)\b([^`]*)`", text)
    yield from lines + spans


def _flags(text):
    return re.findall(r"(?<![\w-])--?[a-z][\w-]*", text)


@each_current_page
def test_every_command_and_its_options_exist(page):
    for command, rest in _commands(page.read_text(encoding="utf-8")):
        assert command in OPTIONS, f"overfly {command}{rest}"
        unknown = set(_flags(rest)) - OPTIONS[command]
        assert not unknown, f"overfly {command} has no {sorted(unknown)}"


@each_current_page
def test_every_option_between_backticks_exists(page):
    for span in re.findall(r"`(-[^`]*)`", page.read_text(encoding="utf-8")):
        unknown = (
            set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span)) - ALL_OPTIONS - FOREIGN_OPTIONS - DEVELOPMENT_OPTIONS
        )
        assert not unknown, span


@each_current_page
def test_every_option_in_a_line_of_code_exists(page):
    for line in re.findall(r"^ {4}(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        known = DEVELOPMENT_OPTIONS if "benchmarks.development" in line else ALL_OPTIONS | FOREIGN_OPTIONS
        unknown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line)) - known
        assert not unknown, line


@each_page
def test_every_setting_of_a_recipe_exists(page):
    names = set(re.findall(r"--set ([a-z]\w*)=", page.read_text(encoding="utf-8")))
    assert names <= {field.name for field in dataclasses.fields(Recipe)}


@each_page
def test_every_dotted_name_of_ours_can_be_imported(page):
    text = page.read_text(encoding="utf-8")
    # Not `overfly.run/5`, which is a schema.
    names = set(re.findall(r"\boverfly(?:\.[A-Za-z_]\w*)+(?![\w/])", text))
    imported = re.findall(r"from (overfly[\w.]+) import ([\w, ]+)", text)
    names |= {f"{module}.{name}" for module, listed in imported for name in listed.split(", ")}
    for name in names:
        _resolve(name)


def _resolve(name):
    """Import the longest module of a dotted name and take the rest as attributes."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            value = getattr(value, part)
        return
    pytest.fail(f"{name} does not exist")


@each_page
def test_every_link_and_every_path_between_backticks_exists(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, link
    rooms = "cli|benchmarks|export|training|runtime|tests|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", text):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path


def test_the_page_about_reports_lists_every_column():
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)[2:]  # below its heading
    narrow = [
        (column.narrow_title or column.title).replace("\n", " ") if column.on_terminal else "-" for column in COLUMNS
    ]
    assert listed == list(zip([column.title for column in COLUMNS], narrow, strict=True))


def test_the_readme_is_short_and_its_image_is_small():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 200_000


@pytest.mark.slow
@pytest.mark.docs
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        tmp_path / "cache",
        "docs",
        tmp_path / "site",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {name.removesuffix(".html") for name in pages}
    for name, html in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*\bhref=\"([^\"]+)", html)
        assert not [url for pair in loaded for url in pair if "//" in url], name
    for command in COMMANDS:
        assert f"<h3>{command}<" in pages["cli.html"], command
