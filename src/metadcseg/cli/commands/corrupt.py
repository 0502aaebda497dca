"""``metadcseg corrupt``: label noise (the paper's, eq. 15-20, or another kind), calibrated to a rate."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import check_seed, plain_output, print_json, print_note, progress_bar
from metadcseg.data.findings import plural
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError
from metadcseg.noise.registry import MODELS, noise_model

DESCRIPTION = """Inject label noise into the training masks of a clean prepared set. The paper's: rotation, erosion or
dilation, replacement by an ellipse; --model names others. Its strength is solved for until the mean of 1 - DSC is
within 0.01 of the rate. Gold, validation and test masks stay as they are. Beside every gold mask goes the one that it
replaced: spoilt like a training mask."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("set", type=str, help="the clean prepared set")
    parser.add_argument(
        "--rate", type=float, required=True, help="target corruption rate, mean of 1 - DSC (eq. 20)"
    )
    parser.add_argument("--model", type=str, default="paper", help=f"kind of noise: {', '.join(MODELS)}")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same noise")
    parser.add_argument("--out", type=str, required=True, help="where the corrupted set goes")
    parser.add_argument(
        "--roles",
        type=str,
        default="train",
        help="whose masks: train, or train,val where no verified masks shall choose the best epoch",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Corrupt and report the rate reached."""
    seed = check_seed(options.seed)
    clean = PreparedSet.open(Path(options.set))
    roles = options.roles.split(",")
    if "gold" in roles:
        raise InputError(
            "--roles gold would spoil verified masks (those that they replaced are corrupted with the training masks): "
            "leave it out"
        )
    with progress_bar(console, "corrupting") as advance:
        report = corrupt_set(
            clean, Path(options.out), options.rate, seed, roles=roles, progress=advance, model=options.model
        )
    if dropped := sum(bool(case.annotators) for case in clean.cases):
        print_note(
            console,
            f"outlines of annotators ({plural(dropped, 'case')}) are left out of the copy: they would show what was "
            "right before the noise",
        )
    if options.json:
        print_json(report)
        return 0
    knob = noise_model(options.model, options.rate).knob
    plain_output().print(
        f"{options.out}: corruption rate {report['rate']:.3f} ± {report['sd']:.3f} over "
        f"{plural(report['cases'], 'mask')} (asked for {report['target']}), {knob} {report['scale']:.2f}, "
        f"{plural(report['vanished'], 'mask')} vanished; {plural(report['pairs'], 'pair')} of gold"
    )
    return 0
