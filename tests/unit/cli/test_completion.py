import shutil
import subprocess

import pytest

from metadcseg.cli import main as cli
from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.completion import SHELLS


@pytest.fixture(scope="module")
def scripts():
    from metadcseg.cli.completion import script

    return {shell: script(shell, COMMANDS) for shell in SHELLS}


def test_every_shell_is_told_commands_options_and_values(scripts):
    assert {"bash", "zsh", "fish"} <= scripts.keys()
    for shell, text in scripts.items():
        assert all(name in text for name in (*COMMANDS, "version", "help")), shell
        assert all(name in text for name in ("training.size", "supervised.gold", "resume", "split")), shell
        assert "mixed" in text, shell
        assert "--network " not in text, shell  # what only the parser's library adds


def test_bash_accepts_the_script_and_completes(scripts, tmp_path):
    if not (bash := shutil.which("bash")):
        pytest.skip("no bash here")
    file = tmp_path / "completion"
    file.write_text(scripts["bash"])
    assert subprocess.run([bash, "-n", str(file)], capture_output=True).returncode == 0

    def completed(*words):
        said = " ".join(f"'{word}'" for word in words)
        lines = (
            f"source {file}; COMP_WORDS=({said}); COMP_CWORD={len(words) - 1}; "
            "$(complete -p metadcseg | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo ${COMPREPLY[*]}"
        )
        return subprocess.run([bash, "-c", lines], capture_output=True, text=True).stdout.split()

    assert completed("metadcseg", "eval") == ["evaluate"]
    assert completed("metadcseg", "train", "--training.s") == ["--training.size"]
    assert completed("metadcseg", "train", "--config", "sm") == ["small"]


def test_the_command_prints_it(capsys, scripts):
    assert cli.main(["completion", "fish"]) == 0
    assert capsys.readouterr().out == scripts["fish"]
    assert cli.main(["completion", "fsh"]) == 2
    assert "unknown shell 'fsh': did you mean 'fish'?" in capsys.readouterr().err
