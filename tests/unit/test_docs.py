"""The pages say what is so: links lead somewhere, names and options exist, defaults are those of the code."""

import ast
import importlib
import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.config import read_config
from metadcseg.methods import METHODS
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PRESETS = ("demo", "small", "paper-kvasir-seg")
NOT_OURS = {
    "--logdir",  # TensorBoard's
    "--small_loss.keep",  # of a method which a page tells to write
    *(
        "--standalone",
        "--no-python",
        "--nproc-per-node",
        "--nnodes",
        "--rdzv-backend",
        "--rdzv-endpoint",
    ),  # torchrun's
    *("--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--signal", "--requeue"),  # SLURM's
    "--network",  # of examples/own_loop.py
    "--probabilities",  # of the script that export writes
    *("--config_file", "--bundle_root", "--dataset_dir", "--output_dir"),  # MONAI's, of a bundle
    *(
        "--before",
        "--cleanlab",
        "--images",
        "--noise",
        "--pixels",
        "--rounds",
        "--small",
        "--repeats",
        "--seeds",
        "--widths",
        "--work",
    ),  # of scripts that measure
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@cache
def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links them: lower case, hyphens for spaces, no other punctuation."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken, f"{page.relative_to(ROOT)}: these links lead nowhere: {', '.join(broken)}"


def test_every_page_can_be_reached_from_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / name).resolve() for name in re.findall(r"\]\(([^)#\s]+)", index)}
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    missing = pages - linked - {ROOT / "docs" / "README.md"}
    missing = {page for page in missing if page.parent.name != "results"}
    assert not missing


def resolve(name: str) -> object:
    """Import what a dotted name stands for: a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@every_page
def test_names_of_the_package_exist(page):
    names = set(re.findall(r"`(metadcseg(?:\.\w+)+)`", page.read_text(encoding="utf-8")))
    for name in sorted(names):
        resolve(name)


def test_the_equation_table_names_functions_and_references():
    page = ROOT / "docs" / "explanation" / "paper.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    named = [row for row in rows if "`metadcseg." in row[3]]
    assert len(named) > 25
    for row in named:
        for file in re.findall(r"`([\w/]+\.py)`", row[4]):
            assert (ROOT / file).is_file() or (ROOT / "tests" / "reference" / file).is_file(), row


def flat(prefix, options):
    """Options of a dataclass by their full names, as the command line has them."""
    found = {}
    for option in fields(options):
        value = getattr(options, option.name)
        name = f"{prefix}.{option.name}"
        found |= flat(name, value) if is_dataclass(value) else {name: value}
    return found


def all_options(network, training, methods):
    found = flat("network", network) | flat("training", training)
    for method in methods:
        found |= flat(method.name, method)
    return found


@cache
def options_of_commands() -> set[str]:
    known = set()
    for module in COMMANDS.values():
        parser = ArgumentParser(exit_on_error=False)
        importlib.import_module(module).add_options(parser)
        known |= {name for name in parser._option_string_actions if name.startswith("--")}
    return known | {"--debug", "--version", "--help-all"}


@every_page
def test_options_exist(page):
    named = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", page.read_text(encoding="utf-8")))
    assert named <= options_of_commands() | NOT_OURS, named - options_of_commands() - NOT_OURS


def shown(value) -> str:
    """A value as a page shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_page_of_options_has_the_defaults_and_presets_of_the_code():
    defaults = all_options(NetworkOptions(), TrainingOptions(), [made() for made in METHODS.values()])
    presets = [read_config(name) for name in PRESETS]
    presets = [all_options(preset.network, preset.training, preset.methods.values()) for preset in presets]
    expected = {}
    for name, value in defaults.items():
        changed = [shown(preset[name]) for preset in presets]
        cells = [f"`{cell}`" if cell != shown(value) else "" for cell in changed]
        expected[name] = [f"`--{name}`", f"`{shown(value)}`", *cells]
    page = ROOT / "docs" / "reference" / "options.md"
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `--")]
    written = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`-")
        assert name not in written, f"{page.name}: {name} stands there twice"
        written[name] = cells[: 2 + len(PRESETS)]
    wrong = [" | ".join(row) for name, row in expected.items() if written.get(name) != row]
    assert not wrong, f"{page.name} must begin these rows with:\n" + "\n".join(f"| {row} |" for row in wrong)
    assert written.keys() == expected.keys()


def codes_in_the_source() -> tuple[set[str], set[str]]:
    """The codes of findings: those written out, and patterns for those put together."""
    written, patterns = set(), set()

    def take(node):
        if isinstance(node, ast.Constant):
            written.add(node.value)
        elif isinstance(node, ast.IfExp):
            take(node.body)
            take(node.orelse)
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "[a-z]+" for part in node.values]
            patterns.add("".join(parts))

    for file in (ROOT / "src" / "metadcseg" / "data").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                take(node.args[1])
    return written, patterns


def test_the_codes_of_findings_are_listed_and_real():
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:error|warning|note) \|(.*)\|$", page, flags=re.M)
    listed = {code for row in rows for code in re.findall(r"`([\w-]+)`", row)}
    written, patterns = codes_in_the_source()
    assert written
    assert patterns
    assert written <= listed, f"not listed: {written - listed}"
    made_up = {code for code in listed - written if not any(re.fullmatch(p, code) for p in patterns)}
    assert not made_up
