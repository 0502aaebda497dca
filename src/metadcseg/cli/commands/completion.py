"""``metadcseg completion``: let the shell complete commands and options."""

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.output import write_out
from metadcseg.errors import unknown_name

DESCRIPTION = """Print a script by which your shell completes commands, options and their values. bash and zsh: put
eval "$(metadcseg completion bash)" into ~/.bashrc, or the script itself into a file there, which starts faster. fish:
metadcseg completion fish > ~/.config/fish/completions/metadcseg.fish"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("shell", type=str, help="bash, zsh, fish, tcsh or powershell")


def run(options: Namespace, console: Console) -> int:
    """Print the script."""
    from metadcseg.cli.completion import SHELLS, script

    if options.shell not in SHELLS:
        raise unknown_name("shell", options.shell, SHELLS)
    write_out(script(options.shell, COMMANDS))
    return 0
