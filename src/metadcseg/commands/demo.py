"""``metadcseg demo``: the whole story in a few minutes, on images drawn by code."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.commands.console import INTERRUPTED, progress_bar, score_table
from metadcseg.config import RunConfig, read_config
from metadcseg.data.corruption import corrupt_set
from metadcseg.data.phantom import PhantomOptions, phantom_cases
from metadcseg.data.prepare import prepare_cases
from metadcseg.data.store import PreparedSet
from metadcseg.evaluation.evaluate import evaluate_run
from metadcseg.experiments.page import build_page
from metadcseg.methods import create_method
from metadcseg.training import train

DESCRIPTION = """Draw a phantom set, inject 40 % label noise, train three networks on it (noisy masks only; noisy
masks and gold, plainly supervised; MetaDCSeg), evaluate them on clean test cases, and write one page with the table,
learning curves, sample predictions and weight maps. Takes a few minutes on two cores. Run it again to go on where it
was stopped."""

RATE = 0.4
SEED = 0
"""One seed: the demo shows how things are done, not which method is better."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=str, default="demo", help="where everything goes")


def run(options: Namespace, console: Console) -> int:
    """Run the whole demo, print the table and where the page is."""
    started = time.monotonic()
    out = Path(options.out)
    noisy = _noisy_set(out, console)
    runs = []
    for name, config in _configurations():
        folder = out / "runs" / name.replace(" + ", "-and-").replace(" ", "-")
        result = train(
            noisy,
            config.method,
            config.network,
            config.training,
            folder,
            seed=SEED,
            resume=True,
            config=config.to_dict(),
            console=console,
            label=name,
        )
        if result.interrupted:
            return INTERRUPTED
        runs.append((name, folder, evaluate_run(folder, noisy, "test")))
    page = build_page(
        [folder for _, folder, _ in runs],
        noisy.path,
        out / "index.html",
        title="MetaDCSeg on noisy masks: a demonstration",
        commands=_commands(out),
    )
    stdout = Console()
    ranking = sorted(runs, key=lambda entry: -entry[2]["summary"]["dsc"]["mean"])
    stdout.print(score_table([(name, record) for name, _, record in ranking], "test cases, best DSC first"))
    stdout.print(f"one seed, {time.monotonic() - started:.0f} s; the page: {page.resolve()}", soft_wrap=True)
    return 0


def _noisy_set(out: Path, console: Console) -> PreparedSet:
    clean_path, noisy_path = out / "set", out / "noisy-set"
    if not clean_path.exists():
        drawn = PhantomOptions(seed=SEED)
        with progress_bar(console, "drawing images") as advance:
            prepare_cases(phantom_cases(drawn), clean_path, name="phantom", progress=advance)
    if not noisy_path.exists():
        with progress_bar(console, "injecting noise") as advance:
            corrupt_set(PreparedSet.open(clean_path), noisy_path, RATE, SEED, progress=advance)
    return PreparedSet.open(noisy_path)


def _configurations() -> Sequence[tuple[str, RunConfig]]:
    config = read_config("demo")
    return [
        ("noisy only", replace(config, method=create_method("supervised", gold="none"))),
        ("noisy + gold", replace(config, method=create_method("supervised", gold="mixed"))),
        ("metadcseg", config),
    ]


def _commands(out: Path) -> list[str]:
    folder = shlex.quote(str(out))
    return [f"metadcseg demo --out {folder}"]
