"""The shape of the records of runs and benchmarks: what may be there, of which type, and in which range.

Records of other tools and of earlier versions lack parts, so that only a run that is to be used must have them all.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from metadcseg.data.store.layout import Role, Side
from metadcseg.results.grid import MOST_FOLDS

Count = Annotated[int, Meta(ge=0, le=2**53)]
Least1 = Annotated[int, Meta(ge=1, le=2**53)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]
Fold = Annotated[int, Meta(ge=1, le=MOST_FOLDS)]
Roles = dict[str, Role]
Classes = Annotated[list[str], Meta(min_length=2, max_length=255)]


class SetSaid(Struct, kw_only=True):
    """``set`` of ``run.json``: what was trained on."""

    path: str | None = None
    name: str | None = None
    fingerprint: str | None = None
    content: str | None = None
    clean_content: str | None = None
    classes: Classes | None = None
    channels: Side | None = None
    cases: dict[str, Count] = {}
    volumes: dict[str, Count] | None = None
    pairs: dict[str, Count | None] | None = None
    preprocessing: dict[str, Any] | None = None
    image_key: str | None = None


class SetOfRun(SetSaid, kw_only=True):
    """The same, of a run that is to be used."""

    path: str
    fingerprint: str
    classes: Classes
    channels: Side


class NetworkSaid(Struct, kw_only=True):
    """``network`` of ``run.json``: options, see ``NetworkOptions``."""

    name: str | None = None
    width: Annotated[int, Meta(ge=1, le=4096)] | None = None
    spatial_dims: Literal[2, 3] = 2
    pretrained: str | None = None
    class_path: str | None = None
    init_args: dict[str, Any] = {}
    head: str | None = None


class TrainingSaid(Struct, kw_only=True):
    """``training`` of ``run.json``: options, see ``TrainingOptions``; those by which a run is used."""

    epochs: Least1 | None = None
    size: Annotated[int, Meta(ge=1, le=16_384)] | None = None
    depth: Annotated[int, Meta(ge=1, le=16_384)] | None = None
    patch: tuple[Least1, Least1, Least1] | None = None
    augment: dict[str, Any] | None = None


class TrainingOfRun(TrainingSaid, kw_only=True):
    """The same, of a run that is to be used."""

    size: Annotated[int, Meta(ge=1, le=16_384)]
    depth: Annotated[int, Meta(ge=1, le=16_384)]


class Declaration(Struct, kw_only=True):
    """``declaration`` of ``run.json``: see ``MethodInfo``."""

    needs_gold: bool = False
    supervises_gold: bool = False
    asks_gold: bool = False
    uses_pairs: bool = False
    uses_edges: bool = False
    labels: str = "given"
    networks: Count = 1
    passes: float | None = None
    least_gold: Count = 0
    warmup: Count = 0


class Best(Struct):
    """``best`` of ``run.json``: the epoch whose weights are kept."""

    epoch: Count
    dsc: Share
    iou: Share


class RunSaid(Struct, kw_only=True):
    """``run.json``, as tables and pages read it."""

    method: str | None = None
    label: str | None = None
    options: dict[str, Any] = {}
    declaration: Declaration | None = None
    seed: Seed | None = None
    set: SetSaid | None = None
    noise: dict[str, Any] | None = None
    network: NetworkSaid | None = None
    training: TrainingSaid | None = None
    versions: dict[str, Any] | None = None
    status: str | None = None
    epochs_done: Count | None = None
    parameters: Count | None = None
    machine: dict[str, Any] | None = None
    best: Best | None = None
    seconds: Seconds | None = None
    gpu_peak_bytes: Count | None = None
    external: dict[str, Any] | None = None
    pretrained: dict[str, Any] | None = None
    fitted: list[str] = []


class ExternalRun(RunSaid, kw_only=True):
    """``run.json`` of predictions that another tool made."""

    format: Literal[1]
    method: str
    label: str
    options: dict[str, Any]
    seed: Seed
    set: SetOfRun
    network: NetworkSaid
    training: TrainingSaid
    status: str
    epochs_done: Count


class OwnRun(ExternalRun, kw_only=True):
    """``run.json`` of a run that can be used and gone on with."""

    training: TrainingOfRun


class LineSaid(Struct):
    """What every line of ``metrics.jsonl`` says; other kinds than ``epoch`` are passed over."""

    kind: str = ""


class Epoch(Struct, kw_only=True):
    """An epoch in ``metrics.jsonl``: means over it, and scores of the validation cases where there were some."""

    epoch: Count
    seconds: float | None = None
    train: dict[str, float | None] = {}
    val: dict[str, float | None] | None = None


class Spread(Struct):
    """A metric over cases."""

    mean: float | None = None
    sd: float | None = None
    n: Count = 0


class Score(Struct):
    """The same, where it is known."""

    mean: float
    sd: float | None
    n: Count


class Summary(Struct, forbid_unknown_fields=True):
    """Metrics over cases; those in mm, and with the background, where they are known."""

    dsc: Score
    iou: Score
    hd: Score
    hd95: Score
    nsd: Score
    miou: Score | UnsetType = UNSET
    hd_mm: Score | UnsetType = UNSET
    hd95_mm: Score | UnsetType = UNSET
    nsd_mm: Score | UnsetType = UNSET


class EvaluationSaid(Struct, kw_only=True):
    """``evaluation/SPLIT.json``, as tables and pages read it."""

    split: str | None = None
    method: str | None = None
    label: str | None = None
    summary: dict[str, Spread] = {}
    per_class: dict[str, dict[str, Any]] = {}
    pooled: dict[str, float] = {}
    set: SetSaid | None = None
    predictions: dict[str, str] = {}
    mask_values: dict[str, Count] | None = None
    epochs_done: Count | None = None
    inference: dict[str, Any] = {}
    notes: list[str] = []


class Evaluation(Struct, kw_only=True):
    """The same, of a run whose scores are summed up."""

    method: str
    label: str
    summary: Summary
    empty_predictions: Count
    set: SetSaid
    epochs_done: Count
    inference: dict[str, Any] = {}


class Folds(Struct):
    """``folds.json`` of a cross-validation."""

    set: str
    folds: Annotated[int, Meta(ge=2)]
    seed: Seed
    val: Any
    gold: str
    rate: Annotated[float, Meta(ge=0, lt=1)] | None
    model: str
    roles: Annotated[list[Roles], Meta(min_length=2)]
    content: str | None = None


class NoiseSaid(Struct):
    """``noise`` of a task."""

    model: str | None = None
    rate: Annotated[float, Meta(ge=0, lt=1)] | None = None


class Task(Struct, kw_only=True):
    """A task of ``benchmark.json``."""

    id: Text
    set: Text
    row: Text
    folder: Text
    noise: NoiseSaid | None = None
    gold: Annotated[float, Meta(ge=0)] | str | None = None
    folds: Fold | None = None
    seed: Seed | None = None
    status: str | None = None
    error: str | None = None
    attempts: Count | None = None
    seconds: Seconds | None = None
    peak_bytes: Annotated[float, Meta(ge=0)] | None = None


class Benchmark(Struct, kw_only=True):
    """``benchmark.json``; its tasks are read one by one."""

    tasks: list[Any]
    format: Any = None
    name: str | None = None
    grid: dict[str, Any] | None = None
    machine: dict[str, Any] | None = None
    seconds: Seconds | None = None
