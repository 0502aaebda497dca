import re
import subprocess
import sys

import pytest

from metadcseg.cli import main as cli
from metadcseg.cli.commands import COMMANDS, prepare, train
from metadcseg.cli.first import COMMON, EXAMPLES, FIRST
from metadcseg.cli.help import help_page, plain
from metadcseg.cli.parsing import make_parser, parse
from metadcseg.methods import METHODS


def options(page):
    return re.findall(r"^  (--[\w.-]+|[A-Z]+)", page, flags=re.M)


def test_train_shows_the_dozen_options_that_people_need_on_one_screen():
    page = help_page("train", train, whole=False)
    assert len(page.splitlines()) <= 40
    assert options(page) == list(FIRST["train"])
    assert "every option: metadcseg train --help-all" in page
    assert "metadcseg train --resume my_run" in page


def test_the_whole_page_has_every_option_in_groups():
    page = help_page("train", train, whole=True)
    known = make_parser("train", train.DESCRIPTION, train.add_options)._option_string_actions
    hidden = {
        "--help",
        "--print_shtab",
        "--network",
        "--training",
        "--training.augment",
        *(f"--{n}" for n in METHODS),
    }
    named = {name for name in known if name.startswith("--") and not name.endswith("+")} - hidden
    assert sorted(options(page)) == sorted(named)
    for title in (
        "options people need",
        "the network",
        "the training",
        *(f"method {name}" for name in METHODS),
    ):
        assert f"\n{title}:\n" in page
    assert "learning rate before schedule" in " ".join(page.split())  # from the docstrings
    assert "paper-kvasir-seg" in page


def test_no_markup_and_no_equation_without_words():
    page = " ".join(help_page("train", train, whole=True).split())
    assert "``" not in page
    assert ":class:" not in page
    assert "the weight update (eq. 22)" in page
    assert not re.findall(r"(?:^|[.:] )[Ee]q\\. \\d", page)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "the confidence of eq. 6-8, above 0.5",
            "the confidence of the regions and boundary (eq. 6-8), above 0.5",
        ),
        ("an edge (eq. 8)", "an edge (eq. 8)"),
        ("see :func:`metadcseg.x.y` and\n  :class:`~metadcseg.z.W`", "see y and W"),
        ('``"none"`` as in eq. 99', '"none" as in eq. 99'),
    ],
)
def test_words_of_docstrings_become_plain(text, said):
    assert plain(text) == said


def test_the_short_help_tells_the_truth():
    """What it says by itself, so as not to wait for torch, is what the parser has."""
    for name in ("train", "cross-validate"):
        command = cli._load(COMMANDS[name])
        known = make_parser(name, command.DESCRIPTION, command.add_options)._option_string_actions
        assert {option for option in FIRST[name] if option.startswith("--")} <= known.keys()
        assert COMMON.keys() <= known.keys()
    assert all(method in COMMON["--method"][1] for method in METHODS)
    page = help_page("prepare", prepare, whole=False)
    assert set(options(page)) == {
        option if option[0] == "-" else option.upper() for option in FIRST["prepare"]
    }


def test_every_example_can_be_parsed():
    assert COMMANDS.keys() <= EXAMPLES.keys()
    for name, lines in EXAMPLES.items():
        for line in lines:
            if name not in COMMANDS or "$" in line:
                continue
            command = cli._load(COMMANDS[name])
            words = line.split()
            assert words[:2] == ["metadcseg", name]
            parse(make_parser(name, command.DESCRIPTION, command.add_options), words[2:])


@pytest.mark.parametrize(
    "words", [["train", "--help"], ["cross-validate", "-h"], ["help", "train"], ["version"]]
)
def test_help_does_not_wait_for_torch(words):
    code = (
        f"import sys; from metadcseg.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
