"""Audit the masks of a split: which are wrong, where, how sure that is, and what they should be."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from metadcseg.audit.annotator_tables import AnnotatorTables
from metadcseg.audit.calibration import Calibration, calibrate
from metadcseg.audit.case_files import read_case
from metadcseg.audit.case_judge import CaseJudge
from metadcseg.audit.folder import AuditFolder
from metadcseg.audit.folds import out_of_fold
from metadcseg.audit.fused_case import (
    fit_weight_beside,
    learned_annotators,
    matched_to_outlines,
)
from metadcseg.audit.judged import SURE
from metadcseg.audit.predictors import CasePredictor, own_network
from metadcseg.audit.probability import Labels, Maps, PairCounts, ShareSample, Witnesses
from metadcseg.audit.records import AuditedCase
from metadcseg.audit.summary import page_summary, said_of, summarize
from metadcseg.audit.tables import CASE_COLUMNS, REGION_COLUMNS, SortedLines, case_cells, region_cells
from metadcseg.audit.twins import has_twins, write_twins
from metadcseg.audit.units import Unit, judged_units, paired_units
from metadcseg.audit.weight import fit_weight, weights_for
from metadcseg.audit.who_errs import WhoErrs
from metadcseg.audit.workers import judged
from metadcseg.data.store.content import identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.evaluation.predict import Progress
from metadcseg.pairs.of_set import pairs_of_set
from metadcseg.pairs.statistics import Diagnosis
from metadcseg.training.run.folder import RunFolder, read_run, set_of_run
from metadcseg.validation import check_workers

THRESHOLD = 0.7
"""Regions that are wrong with this mean probability are flagged."""

STORED = ("written", "like", "detection", "above", "annotators")
"""What is stored of each case beside its masks; ``detection`` and ``above`` where it has a truth."""

_ASKED = 100  # images and volumes, evenly over the split, on which the network's say is matched to the pairs'


def audit_run(
    run: Path | str,
    out: Path | str,
    prepared: PreparedSet | None = None,
    *,
    split: str = "train",
    threshold: float = THRESHOLD,
    sure: float = SURE,
    folds: int = 0,
    device: str | None = None,
    trust_code: bool = False,
    workers: int = 0,
    progress: Progress | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Say of every mask of a split which of its pixels are wrong, and write all of it into a folder.

    P(the given label is wrong) comes from the table of the set's gold pairs and from the network of the run
    (:mod:`metadcseg.audit.probability`), of several annotators from all outlines and a table of each. Every case is
    read, judged and written by itself. Where the folder holds whole cases of the same audit, only the others are done.
    Judged is the label of the set: of several annotators the fused one. Volumes are one case each.

    Args:
        run: the folder of a run, of any method.
        out: where everything goes: ``audit.json``, ``cases.csv``, ``regions.csv``, ``wrong/``, ``corrected/LEVEL/``,
            ``cases/NAME.npz``, ``pairs/`` (what each verified mask replaced, corrected likewise) and the review page,
            ``index.html``.
        prepared: the set; None: the one that the run was trained on.
        split: a role of that set.
        threshold: mean P(wrong) of a region from which it is flagged, above 0 and at most 1.
        sure: P(wrong) from which the level ``sure`` changes a pixel, likewise.
        folds: 0: the run's own network is asked, which has been trained on the masks that it judges. Else so many
            networks are trained with the run's options, in ``out/folds``, each without the cases that it is asked
            about; of the split ``train`` only.
        device: where the network computes; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.
        workers: processes that judge, each on one thread with one case in memory; 0: this one, likewise. No bit depends
            on it. A script that asks for some needs the usual ``if __name__ == "__main__":``.
        progress: called after every case.
        console: where trainings of folds show their progress; None shows nothing.

    Returns:
        What ``audit.json`` holds: ``cases``, ``regions``, ``flagged`` (counts), ``threshold``, ``calibration`` on the
        gold pairs, ``annotators`` where several have pairs, and where every case has a truth ``detection``, ``given``
        and ``corrected``.

    Raises:
        InputError: where run and set do not fit together, the split has no cases, ``out`` holds something else, stored
            bytes are damaged, or the disk refuses.

    Example:
        >>> record = audit_run(Path("my_run"), Path("my_audit"))  # doctest: +SKIP
        >>> record["flagged"], record["cases"]  # doctest: +SKIP
        (9, 60)
    """
    for name, value in (("threshold", threshold), ("sure", sure)):
        if not 0 < value <= 1:
            raise InputError(f"--{name} must be above 0 and at most 1, got {value:g}")
    check_workers(workers)
    run, out = Path(run), Path(out)
    info = read_run(run)
    if prepared is None:
        prepared = PreparedSet.open(set_of_run(info))
    if folds and split != "train":
        raise InputError(
            f"--folds asks networks about masks that they were not shown: take --split train, not {split}"
        )
    # which also says whether run and set fit together
    predictor: CasePredictor = own_network(run, prepared, device, trust_code=trust_code)
    told = {
        "run": hashlib.sha256(RunFolder(run).model.read_bytes()).hexdigest(),
        "set": prepared.fingerprint,
        "split": split,
        "threshold": threshold,
        "sure": sure,
        "folds": folds,
    }
    folder = AuditFolder(out, told)
    with folder.hold():
        if folds:
            folder.begin()
            predictor = out_of_fold(
                info, prepared, folds, out / "folds", device, console, trust_code=trust_code
            )
        return Audit(prepared, split, predictor, folder, threshold, sure).carry_out(run, progress, workers)


@dataclass(frozen=True)
class Audit:
    """An audit on its way.

    Args:
        prepared: the set.
        split: whose masks are judged.
        predictor: the network that is asked.
        folder: what takes it.
        threshold: mean P(wrong) of a region from which it is flagged.
        sure: P(wrong) from which the level ``sure`` changes a pixel.
    """

    prepared: PreparedSet
    split: str
    predictor: CasePredictor
    folder: AuditFolder
    threshold: float
    sure: float

    def carry_out(self, run: Path, progress: Progress | None, workers: int) -> dict[str, Any]:
        """Do what is not done yet, and return the record."""
        units, out = judged_units(self.prepared, self.split), self.folder.path
        learned = self.folder.read_state()
        if learned is None:
            self.folder.begin()
            learned = self._learn(units)
            self.folder.write_state(*learned)
        elif not has_twins(out, self.prepared, learned[1]):
            self._learn(units)  # writes them anew; what cases were judged by stays
        witnesses, calibration, annotators = learned
        make = partial(
            CaseJudge, self.prepared, self.split, self.folder, threshold=self.threshold, sure=self.sure
        )
        judge = make(self.predictor)
        left = [unit for unit in units if not judge.is_done(unit)]
        done = len(units) - len(left)
        if done and progress is not None:
            progress(done, len(units))
        for number, _ in enumerate(judged(judge, make, self.predictor.load, left, workers), start=done + 1):
            if progress is not None:
                progress(number, len(units))
        diagnosis = None if witnesses.table is None else pairs_of_set(self.prepared.path)[0].diagnose()
        record = {
            "run": str(run.resolve()),
            "set": {
                "path": str(self.prepared.path.resolve()),
                "name": self.prepared.name,
                **identity_of(self.prepared),
            },
            "split": self.split,
            "classes": list(self.prepared.classes),
            "threshold": self.threshold,
            "sure": self.sure,
            "network": self.predictor.name,
            "witnesses": "network alone" if diagnosis is None else "pairs and network",
            **({"trusted_code": code} if (code := read_run(run)["network"].get("class_path")) else {}),
            **self._tables(units, annotators, diagnosis),
            "calibration": calibration.to_dict(),
        }
        asked = (self.predictor.seen_in_training, self.predictor.pairs_seen_in_training)
        record["sentences"] = said_of(record, self.prepared, diagnosis, calibration, *asked)
        judge.page.summary = page_summary(record, out)
        identity = judge.page.digest()  # decisions are about what was found, not only about what was asked
        judge.page.close(identity)
        self.folder.write_record(record, identity)
        return record

    def _learn(self, units: Sequence[Unit]) -> tuple[Witnesses, Calibration, AnnotatorTables | None]:
        """Count the pairs, fit the network's weight on them, and judge them as if nobody had verified them."""
        classes, paired = len(self.prepared.classes), paired_units(self.prepared)
        cases = [case for unit in paired for case in unit.cases if case.has_given]
        groups = [case.group for case in cases]

        def masks() -> Iterator[tuple[Labels, Labels]]:  # read twice, one pair in memory
            return ((self.prepared.given(case), self.prepared.label(case)) for case in cases)

        counts = PairCounts.count(masks(), classes)
        table = counts.table()
        if table is None:
            return Witnesses(), Calibration(), None

        def seen() -> Iterator[tuple[Labels, Labels, Maps]]:
            said = (
                maps
                for unit in paired
                for case, maps in zip(unit.cases, self.predictor.of(unit), strict=True)
                if case.has_given
            )
            return ((*pair, maps) for pair, maps in zip(masks(), said, strict=True))

        asked = units[:: -(-len(units) // _ASKED)]
        weights = weights_for(seen=self.predictor.pairs_seen_in_training)
        tables: AnnotatorTables | None = None
        priors: Callable[[], Iterable[Maps | None] | None] = _nobody
        if (several := learned_annotators(self.prepared)) is None:
            fit = fit_weight(seen(), counts, groups, self._matched(asked, table, weights))
        else:
            pairs, tables = several
            held = matched_to_outlines(asked, self.prepared, self.predictor, table, tables, weights)
            priors = partial(pairs.unseen_priors, cases, self.prepared, tables)
            fit = fit_weight_beside(seen(), pairs.unseen_priors(cases, self.prepared, tables), groups, held)
        calibration = calibrate(seen(), counts, fit, self.threshold, priors())
        write_twins(
            self.folder.path, self.prepared, self.predictor, counts, fit, calibration, self.sure, priors()
        )
        return fit.witnesses(table), calibration, tables

    def _matched(
        self, asked: Sequence[Unit], table: Tensor, weights: Sequence[float]
    ) -> Mapping[float, Tensor | None]:
        """Match the network's say to the pairs', at each weight, on some of the cases."""
        if not table.any():
            return dict.fromkeys(weights)
        sample = ShareSample(len(table), sum(len(unit.cases) for unit in asked))
        for unit in asked:
            for given, maps in zip(unit.given(self.prepared), self.predictor.of(unit), strict=True):
                sample.add(given, maps)
        return sample.match(table, weights)

    def _tables(
        self, units: Sequence[Unit], annotators: AnnotatorTables | None, diagnosis: Diagnosis | None
    ) -> dict[str, Any]:
        """Write all tables from the records of all cases, and return what they come to."""
        out, classes = self.folder.path, self.prepared.classes
        who = None if annotators is None else WhoErrs(annotators)
        with SortedLines(out) as cases, SortedLines(out) as regions:

            def read() -> Iterator[tuple[AuditedCase, dict[str, NDArray[Any]]]]:
                for unit in sorted(units, key=lambda unit: unit.id):
                    case, scores = read_case(out, unit.name, STORED)
                    cases.add(case.dsc, case_cells(case, str(scores["written"]), self.threshold))
                    size_in = "mm2" if unit.volume is None else "mm3"
                    for key, cells in region_cells(case, classes, size_in):
                        regions.add(key, cells)
                    if who is not None:
                        who.add(scores.get("annotators"))
                    yield case, scores

            found = summarize(read(), self.threshold)
            cases.write(out / "cases.csv", CASE_COLUMNS)
            regions.write(out / "regions.csv", REGION_COLUMNS)
        return found if who is None or diagnosis is None else found | who.written(out, classes, diagnosis)


def _nobody() -> None:
    """Say that no annotator is known."""
