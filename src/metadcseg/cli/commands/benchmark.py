"""``metadcseg benchmark``: carry out a grid of runs, and say how far it is."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.live import Live
from rich.table import Table

from metadcseg.benchmark.read_grid import read_grid
from metadcseg.benchmark.run import Benchmark, Executor, LocalExecutor, remaining_seconds
from metadcseg.cli.commands.console import add_trust_option, plain_output
from metadcseg.cli.parsing import AUTO, parse, preset_names
from metadcseg.constants import INTERRUPTED
from metadcseg.data.findings import plural
from metadcseg.errors import InputError, Note
from metadcseg.files import lock_folder, refuse_link
from metadcseg.results.grid import Grid
from metadcseg.validation import check_workers

DESCRIPTION = """Carry out a grid: data sets x noise x methods x seeds. Every run has a folder of its own below --out;
runs that are finished are not done again, interrupted ones go on where they were, and one that fails is reported while
the others go on. All rows of a table get the same masks, gold and budget; validation chooses their epoch.
`metadcseg report OUT` then makes tables and figures."""

_SHOWN = 12
_MOST_JOBS = 1024  # at a time, on other machines


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("grid", type=str, help="a YAML file (docs/how-to/benchmark.md)")
    parser.add_argument("--out", type=str, required=True, help="the folder of all runs")
    parser.add_argument("--data", type=str, default="data", help="what {data} stands for in the grid")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, each on one thread")
    parser.add_argument(
        "--executor",
        type=str,
        default="local",
        help="local, ray or slurm (pip install 'metadcseg[ray]' or 'metadcseg[slurm]')",
    )
    parser.add_argument("--address", type=str, default=None, help="of a Ray cluster; this machine by default")
    add_trust_option(parser)
    parser.add_argument("--cpus", type=float, default=1.0, help="Ray, SLURM: processors of each run")
    parser.add_argument("--gpus", type=float, default=0.0, help="Ray, SLURM: GPUs of each run")
    parser.add_argument(
        "--hours", type=float, default=24.0, help="SLURM: until a run is queued again, to go on"
    )
    parser.add_argument(
        "--slurm", type=str, default="", help="further options of sbatch, such as partition=gpu,account=lab"
    )


def run(options: Namespace, console: Console) -> int:
    """Run the grid; the exit status is 2 where a run failed."""
    grid, out = read_grid(Path(options.grid)), Path(options.out)
    check_names(grid, options.grid, options.trust_code)
    with closing(_executor(options)) as executor:
        data = str(Path(options.data).absolute())
        status, done = carry_out(grid, out, data, executor, console, options.trust_code)
    if status != INTERRUPTED:
        plain_output().print(f"{out}: {done} runs are done; metadcseg report {out}")
    return status


def carry_out(
    grid: Grid, out: Path, data: str, executor: Executor, console: Console, trust_code: bool = False
) -> tuple[int, str]:
    """Run a grid to its end, saying how far it is and what failed.

    Args:
        grid: as it was read.
        out: the folder.
        data: stands for ``{data}`` in the grid.
        executor: where runs are carried out.
        console: for progress and failures.
        trust_code: whether classes of networks that the grid names may be imported.

    Returns:
        The exit status (2 where a run failed), and how many runs are done, of how many.
    """
    busy = f"{out}: another benchmark is running there: wait for it, or give another --out"
    with lock_folder(out, busy):
        benchmark = Benchmark(grid, out, data, trust_code)
        whole = _follow(benchmark, executor, console)
    if not whole:
        return INTERRUPTED, ""
    failed = [entry for entry in benchmark.entries.values() if entry["status"] == "failed"]
    for error in dict.fromkeys(entry["error"] for entry in failed):
        first, *others = [entry["id"] for entry in failed if entry["error"] == error]
        alike = f" and {plural(len(others), 'other')}" if others else ""
        console.print(f"{first}{alike} failed: {error}", style="red", markup=False, soft_wrap=True)
    done = f"{len(benchmark.entries) - len(failed)} of {len(benchmark.entries)}"
    return (2 if failed else 0), done


def check_names(grid: Grid, where: str, trust_code: bool = False) -> None:
    """Ask whether config, methods, their options and kinds of noise exist, before anything runs for hours.

    ``auto`` is no config of a grid: it chooses for each set and machine.

    Raises:
        InputError: naming the file, and what in it does not.
    """
    # torch comes with these, for which `--help` need not wait
    from metadcseg.cli.commands import train
    from metadcseg.cli.config import RunConfig, run_config
    from metadcseg.networks import Consent, network_of
    from metadcseg.noise.registry import noise_model
    from metadcseg.training.setup import check_network

    if grid.config == AUTO:
        raise InputError(
            f"{where}: config: auto chooses size, batch and epochs for each set and machine, and runs that are "
            f"compared need the same: name a preset or a file (presets: {', '.join(preset_names())})"
        )
    parser = ArgumentParser(prog="metadcseg train", exit_on_error=False, allow_abbrev=False)
    train.add_options(parser)
    words = ["--data", "-", "--out", "-", "--config", grid.config]
    with _blaming(f"{where}: noise"):
        for noise in grid.noise:
            noise_model(noise.model, noise.rate)
    with _blaming(f"{where}: config"):
        run_config(parse(parser, words))
    parts = {"options": grid.options} if grid.options else {}
    parts |= {f"row '{row}'": grid.options_of(row) for row in grid.rows}
    chosen: dict[str, RunConfig] = {}
    with TemporaryDirectory() as folder, catch_warnings():
        simplefilter("ignore", Note)  # each run says its own
        file = Path(folder) / "part.yaml"
        for part, content in parts.items():
            file.write_text(yaml.safe_dump(content), encoding="utf-8")
            with _blaming(f"{where}: {part}", file):
                chosen[part] = run_config(parse(parser, [*words, "--config", str(file)]))
    for part, config in chosen.items():
        Consent(f"{where}: {part}", trust_code).check(config.network.class_path)
    for row, held in grid.rows.items():
        with _blaming(f"{where}: row '{row}'"):
            config = chosen[f"row '{row}'"]
            check_network(config.method, config.network, "write network: {{name: {}}} into the row")
            # a run leaves out what another network's --config sets; here it is the row's
            network_of({"name": config.network.name, **held.get("network", {})}, where, trust_code)


@contextmanager
def _blaming(place: str, file: Path | None = None) -> Iterator[None]:
    """Say where in the grid something is wrong, in place of a file or option that its author never saw."""
    try:
        yield
    except InputError as error:
        sentence = str(error).replace(f"--config {file}: ", "").replace(f"--config {file}", "this part")
        raise InputError(f"{place}: {sentence}") from error


def _executor(options: Namespace) -> Executor:
    here = options.executor == "local"
    check_workers(
        options.workers, least=1, what="runs" if here else "jobs", most=None if here else _MOST_JOBS
    )
    if here:
        return LocalExecutor(options.workers)
    if options.executor == "ray":
        from metadcseg.benchmark.ray_executor import RayExecutor

        return RayExecutor(options.workers, options.address, options.cpus, options.gpus)
    if options.executor == "slurm":
        from metadcseg.benchmark.slurm_executor import SlurmExecutor, sbatch_options

        if options.hours <= 0:
            raise InputError(f"--hours must be above 0, got {options.hours:g}")
        asked = sbatch_options(options.slurm)
        # anew each time: submitit unpickles what lies there
        refuse_link(home := Path(options.out) / "slurm")  # submitit unpickles what lies in its folder
        folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{token_hex(4)}"
        return SlurmExecutor(folder, options.workers, options.cpus, options.gpus, options.hours, asked)
    raise InputError(f"--executor must be local, ray or slurm, got '{options.executor}'")


def _follow(benchmark: Benchmark, executor: Executor, console: Console) -> bool:
    """Run; show a table on a terminal, with failures above it, and elsewhere a line for every run that ends."""
    news = _News(benchmark, console)
    if console.is_terminal:
        shown = _Shown(benchmark, executor.workers)
        with Live(get_renderable=shown.table, console=console, refresh_per_second=1):
            return benchmark.run(executor, lambda: news.tell("failed"))
    return benchmark.run(executor, lambda: news.tell("done", "failed"))


class _News:
    """A line for every run that has ended, and why it failed unless an earlier line said the same."""

    def __init__(self, benchmark: Benchmark, console: Console) -> None:
        self._benchmark, self._console = benchmark, console
        self._told: set[str] = set()
        self._reasons: set[str] = set()

    def tell(self, *statuses: str) -> None:
        entries = self._benchmark.entries.values()
        ended = [entry for entry in entries if entry["status"] in ("done", "failed")]
        new = [entry for entry in ended if entry["status"] in statuses and entry["id"] not in self._told]
        for number, entry in enumerate(new, start=len(ended) - len(new) + 1):
            line = f"{number} of {len(entries)}: {entry['id']} {entry['status']} ({entry['seconds']:.0f} s)"
            if entry["error"] and entry["error"] not in self._reasons:
                line += f": {entry['error']}"
            self._told.add(entry["id"])
            self._reasons.add(entry["error"])
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Shown:
    """The live table, made anew once a second: who runs is asked how far it is."""

    def __init__(self, benchmark: Benchmark, workers: int) -> None:
        self._benchmark, self._workers = benchmark, workers

    def table(self) -> Table:
        entries = list(self._benchmark.entries.values())
        counts = {
            status: sum(entry["status"] == status for entry in entries)
            for status in ("done", "failed", "running")
        }
        left = remaining_seconds(entries, self._workers)
        finish = (
            ""
            if left is None
            else f", finished at about {time.strftime('%a %H:%M', time.localtime(time.time() + left))}"
        )
        table = Table(title=f"{counts['done']} of {len(entries)} done, {counts['failed']} failed{finish}")
        for column in ("run", "state", "epochs"):
            table.add_column(column)
        first = {"running": 0, "failed": 1, "done": 2, "waiting": 3}
        for entry in sorted(entries, key=lambda entry: first[entry["status"]])[:_SHOWN]:
            done, epochs = self._benchmark.progress(entry["id"]) if entry["status"] == "running" else (0, 0)
            table.add_row(entry["id"], entry["status"], f"{done} / {epochs}" if epochs else "")
        return table
