"""The command line: one thin module per command with its options, messages and exit codes.

Exit codes: 0 done; 1 a named failure; 2 wrong usage; 130 interrupted.
"""

import importlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import click

from overfly.cli.arguments import check_quotes, expand_wildcards
from overfly.cli.streams import ReaderGoneError, discard_unwritten, prepare_streams, write_error
from overfly.runtime.errors import OverflyError

# In the order in which a user meets them.
COMMANDS = (
    "demo",
    "fetch",
    "sample",
    "chips",
    "train",
    "export",
    "bench",
    "compare",
    "devices",
    "check",
    "predict",
    "map",
    "worker",
    "assess",
    "paper",
)

_LOGGER = logging.getLogger("overfly")


_LEVELS = {"verbose": logging.INFO, "quiet": logging.ERROR}


def _set_level(_context: click.Context, option: click.Parameter, given: bool) -> None:
    """Set the level of the log, if ``-v`` or ``-q`` is given."""
    if given and option.name is not None:
        _LOGGER.setLevel(_LEVELS[option.name])


_flag = partial(click.Option, is_flag=True, expose_value=False)
_COMMON_FLAGS = [
    _flag(["-v", "--verbose"], callback=_set_level, help="Also log what the library does."),
    _flag(["-q", "--quiet"], callback=_set_level, help="Show only the result and errors."),
    _flag(["--debug"], help="Show the traceback of an error."),
]


class _LazyGroup(click.Group):
    """Imports a command's module when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order in which a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command with the options that every command has."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"overfly.cli.{cmd_name}").command
        command.name = cmd_name  # the documentation lists it by this name
        command.params += [flag for flag in _COMMON_FLAGS if flag not in command.params]
        return command


@click.group(
    cls=_LazyGroup,
    params=list(_COMMON_FLAGS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  overfly demo",
)
@click.version_option(package_name="overfly", message="%(package)s %(version)s")
def cli() -> None:
    """Train, quantize, verify and measure an aerial image classifier.

    The usual order is train, export, bench, predict. Each command has its own --help with an example.
    """


class _LogHandler(logging.Handler):
    """Writes what the library logs to standard error, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        write_error(self.format(record))


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Show the library's warnings on standard error; ``-v`` shows more, ``-q`` less."""
    start = time.perf_counter()
    handler = _LogHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        if _LOGGER.isEnabledFor(logging.INFO):
            import platform
            from importlib.metadata import version

            from overfly.runtime.machine import system_name

            versions = f"overfly {version('overfly')}, Python {platform.python_version()}, {system_name()}"
            logging.getLogger("overfly.cli").info("%s: %.1f s", versions, time.perf_counter() - start)
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(logging.NOTSET)


def main() -> None:
    """Run the command line and exit with its code."""
    prepare_streams()
    arguments = sys.argv[1:]
    if sys.platform == "win32":
        arguments = list(expand_wildcards(arguments))
    code = run(arguments)
    discard_unwritten()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line with the given arguments and return its exit code."""
    try:
        if sys.platform == "win32":
            check_quotes(arguments)
        # Not cli.main, which turns a broken pipe into exit code 1.
        with _log_to_stderr(), cli.make_context("overfly", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        write_error("overfly: interrupted")
        return 130
    except click.ClickException as error:
        with suppress(OSError):
            _renamed(error).show()
        return error.exit_code
    except ReaderGoneError:
        return 0
    except (OverflyError, OSError, ImportError) as error:
        sentence = _sentence(error)
        if "--debug" in arguments or sentence is None:
            raise
        from overfly.cli.output import one_line

        write_error(f"overfly: {one_line(sentence)}")
        return 1
    return 0


def _renamed(error: click.ClickException) -> click.ClickException:
    """Return the error; the one for an option of an earlier version names what replaced it."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        from overfly.cli.options import RENAMED

        if new := RENAMED.get(error.ctx.command.name or "", {}).get(error.option_name):
            return click.UsageError(f"{error.option_name} is now {new}", error.ctx)
    return error


def _sentence(error: OverflyError | OSError | ImportError) -> str | None:
    """Return the sentence to show for an error, None for a mistake in a program.

    Those of the system lack the file and the remedy.
    """
    if isinstance(error, OverflyError):
        return str(error)
    from overfly.runtime.cpp_runtime import explain_missing_dll

    missing_dll = explain_missing_dll(error)
    if missing_dll is not None or isinstance(error, ImportError):
        return missing_dll
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror or error}; check the path, the permissions and the free disk space"
