"""Floor 4: the command line. One thin module for each command: options, messages, exit codes.

Exit codes: 0 done; 1 a named failure; 2 wrong usage; 130 interrupted.
"""

import glob
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from overfly.runtime.errors import OverflyError

COMMANDS = ("train", "export", "bench", "compare", "check", "predict", "devices", "paper", "fetch", "sample", "demo")


class _LazyGroup(click.Group):
    """Imports a command's module when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the trip."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, with ``--debug`` added to its own options."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"overfly.cli.{cmd_name}").command
        if not any(option.name == "debug" for option in command.params):
            note = "Show the traceback of an error."
            command.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help=note))
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: overfly demo",
)
@click.version_option(package_name="overfly", message="%(package)s %(version)s")
def cli() -> None:
    """Take labelled aerial scenes to a verified, quantised classifier, and measure what the trip cost."""


def main() -> None:
    """Run the command line and exit with its code."""
    # What the caller closed goes nowhere; Python has None there. Open to the end of the process.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    # A file name that the terminal's encoding lacks is shown with escapes, and stops nothing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:]
    if sys.platform == "win32":
        # Windows leaves it to the program to expand *.jpg.
        arguments = [found for text in arguments for found in (sorted(glob.glob(text)) or [text])]  # noqa: PTH207
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line with the given arguments and return its exit code."""
    try:
        # Not cli.main, which turns a broken pipe into exit code 1.
        with cli.make_context("overfly", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("overfly: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (OverflyError, OSError) as error:
        if "--debug" in arguments:
            raise
        from overfly.cli.output import one_line

        click.echo(f"overfly: {one_line(_sentence(error))}", err=True)
        return 1
    return 0


def _sentence(error: OverflyError | OSError) -> str:
    """Return what a person reads of an error: ours say it themselves, the system's need the file and a remedy."""
    if isinstance(error, OverflyError):
        return str(error)
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror or error}; check the path, the rights and the space on the disk"
