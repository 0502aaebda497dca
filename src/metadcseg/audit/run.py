"""Audit the masks of a split: which are wrong, where, how sure that is, and what they should be."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from metadcseg.audit.annotator_tables import AnnotatorTables
from metadcseg.audit.calibration import Calibration, calibrate
from metadcseg.audit.case_files import CASES, read_case, write_case
from metadcseg.audit.correction import MaskWriter, write_wrong
from metadcseg.audit.folder import AuditFolder
from metadcseg.audit.folds import out_of_fold
from metadcseg.audit.fused_case import FusedCase, learned_annotators, matched_to_outlines
from metadcseg.audit.judged import SURE, Judged, judge
from metadcseg.audit.page import ReviewPage
from metadcseg.audit.predictors import CasePredictor, own_network
from metadcseg.audit.probability import Labels, Maps, PairCounts, ShareSample, Witnesses
from metadcseg.audit.ranking import dsc_interval, expected_dsc
from metadcseg.audit.records import Arrays, AuditedCase
from metadcseg.audit.regions import find_regions
from metadcseg.audit.scoring import SCORES, histogram, true_dsc
from metadcseg.audit.summary import begun, page_summary, said_of, summarize
from metadcseg.audit.tables import CASE_COLUMNS, REGION_COLUMNS, SortedLines, case_cells, region_cells
from metadcseg.audit.units import Unit, judged_units, paired_units
from metadcseg.audit.who_errs import WhoErrs
from metadcseg.constants import IGNORE
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.evaluation.noise_detection import outline_distances
from metadcseg.evaluation.predict import Progress
from metadcseg.training.run.folder import RunFolder, read_run, set_of_run

THRESHOLD = 0.7
"""Regions that are wrong with this mean probability are flagged."""

STORED = ("written", "like", "detection", "above", "annotators")
"""What is stored of each case beside its masks; ``detection`` and ``above`` where it has a truth."""

_ASKED = 100  # images and volumes, evenly over the split, on which the network's say is matched to the pairs'


def audit_run(
    run: Path,
    out: Path,
    prepared: PreparedSet | None = None,
    *,
    split: str = "train",
    threshold: float = THRESHOLD,
    sure: float = SURE,
    folds: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Say of every mask of a split which of its pixels are wrong, and write all of it into a folder.

    P(the given label is wrong) comes from the table of the set's gold pairs and from the network of the run
    (:mod:`metadcseg.audit.probability`); where several annotators drew a case, from all outlines, each with its
    annotator's table (:mod:`metadcseg.audit.annotator_tables`). Every case is read, judged and written by itself; where
    the folder holds some cases of the same audit, only the others are done. Judged is the label of the set: of several
    annotators the fused one. Volumes are one case each.

    Args:
        run: the folder of a run, of any method.
        out: where everything goes: ``audit.json``, ``cases.csv``, ``regions.csv``, ``wrong/``, ``corrected/LEVEL/``,
            ``cases/NAME.npz`` and the review page, ``index.html``.
        prepared: the set; None: the one that the run was trained on.
        split: a role of that set.
        threshold: mean P(wrong) of a region from which it is flagged, above 0 and at most 1.
        sure: P(wrong) from which the level ``sure`` changes a pixel, likewise.
        folds: 0: the run's own network is asked, which has been trained on the masks that it judges. Else so many
            networks are trained with the run's options, in ``out/folds``, each without the cases that it is asked
            about; of the split ``train`` only.
        device: where the network computes; None takes a GPU where there is one.
        progress: called after every case.
        console: where trainings of folds show their progress; None shows nothing.

    Returns:
        What ``audit.json`` holds: ``cases``, ``regions``, ``flagged`` (counts), ``threshold``, ``calibration`` on the
        gold pairs, and where every case has a truth ``detection``, ``given`` and ``corrected``.

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
    info = read_run(run)
    if prepared is None:
        prepared = PreparedSet.open(set_of_run(info))
    if folds and split != "train":
        raise InputError(
            f"--folds asks networks about masks that they were not shown: take --split train, not {split}"
        )
    predictor: CasePredictor = own_network(
        run, prepared, device
    )  # which also says whether run and set fit together
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
            predictor = out_of_fold(info, prepared, folds, out / "folds", device, console)
        return Audit(prepared, split, predictor, folder, threshold, sure).carry_out(run, progress)


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

    def carry_out(self, run: Path, progress: Progress | None) -> dict[str, Any]:
        """Do what is not done yet, and return the record."""
        units, out = judged_units(self.prepared, self.split), self.folder.path
        learned = self.folder.read_state()
        if learned is None:
            self.folder.begin()
            learned = self._learn(units)
            self.folder.write_state(*learned)
        witnesses, calibration, annotators = learned
        page = ReviewPage(
            out,
            f"Audit of {self.prepared.name}",
            self.prepared.classes,
            begun(self.threshold, self.predictor.name),
            identity=self.folder.identity,
            fingerprint=self.prepared.fingerprint,
        )
        masks = MaskWriter(self.prepared, out / "corrected")
        for done, unit in enumerate(units, start=1):
            if not (out / CASES / f"{unit.name}.npz").is_file():
                self._audit(unit, witnesses, calibration, annotators, page, masks)
            if progress is not None:
                progress(done, len(units))
        record = {
            "run": str(run.resolve()),
            "set": {
                "path": str(self.prepared.path.resolve()),
                "name": self.prepared.name,
                "fingerprint": self.prepared.fingerprint,
            },
            "split": self.split,
            "classes": list(self.prepared.classes),
            "threshold": self.threshold,
            "sure": self.sure,
            "network": self.predictor.name,
            "witnesses": "pairs and network" if witnesses.table is not None else "network alone",
            **self._tables(units, annotators),
            "calibration": calibration.to_dict(),
        }
        asked = (self.predictor.seen_in_training, self.predictor.pairs_seen_in_training)
        record["sentences"] = said_of(record, self.prepared, calibration, *asked)
        page.summary = page_summary(record, out)
        page.close()
        self.folder.write_record(record)
        return record

    def _learn(self, units: Sequence[Unit]) -> tuple[Witnesses, Calibration, AnnotatorTables | None]:
        """Count the pairs, match the network's say to them, and judge them as if nobody had verified them."""
        classes, paired = len(self.prepared.classes), paired_units(self.prepared)
        cases = [case for unit in paired for case in unit.cases if case.has_given]
        groups = [case.group for case in cases]

        def masks() -> Iterator[tuple[Labels, Labels]]:  # read twice, one pair in memory
            return ((self.prepared.given(case), self.prepared.label(case)) for case in cases)

        counts = PairCounts.count(masks(), classes)
        table = counts.table()
        if table is None:
            return Witnesses(), Calibration(), None
        pairs, annotators = learned_annotators(self.prepared) or (None, None)
        if annotators is not None:
            odds = matched_to_outlines(
                _some(units), self.prepared, self.predictor, Witnesses(table), annotators
            )
        else:
            odds = self._matched(units, table) if table.any() else None
        witnesses = Witnesses(table, odds)
        said = (
            maps
            for unit in paired
            for case, maps in zip(unit.cases, self.predictor.of(unit), strict=True)
            if case.has_given
        )
        seen = ((*pair, maps) for pair, maps in zip(masks(), said, strict=True))
        priors = None
        if pairs is not None and annotators is not None:
            priors = pairs.unseen_priors(cases, self.prepared, annotators.dependence)
        found = calibrate(seen, counts, groups, witnesses, self.threshold, priors)
        return witnesses, found, annotators

    def _matched(self, units: Sequence[Unit], table: Tensor) -> Tensor | None:
        """Match the network's say to the pairs', on some of the cases."""
        asked = _some(units)
        sample = ShareSample(len(table), sum(len(unit.cases) for unit in asked))
        for unit in asked:
            for given, maps in zip(unit.given(self.prepared), self.predictor.of(unit), strict=True):
                sample.add(given, maps)
        return sample.match(table)

    def _audit(
        self,
        unit: Unit,
        witnesses: Witnesses,
        calibration: Calibration,
        annotators: AnnotatorTables | None,
        page: ReviewPage,
        masks: MaskWriter,
    ) -> None:
        """Judge one case and write all of it; its record comes last."""
        given, out, classes = unit.given(self.prepared), self.folder.path, len(self.prepared.classes)
        truth = unit.truth(self.prepared) if unit.has_truth else None
        fused = None if annotators is None else FusedCase(annotators, unit, self.prepared)
        told = (None, None) if fused is None else (fused.priors, fused.watch)
        scores = None if truth is None else _Scores(truth, given, witnesses, told[0])
        maps = self.predictor.of(unit)
        judged = judge(witnesses, given, maps if scores is None else scores.watched(maps), *told)
        numbers, regions = find_regions(given, judged.proposed, judged.wrong, unit.spacing)
        corrected = judged.corrected(numbers, self.sure)
        dsc = (
            {}
            if truth is None
            else {level: true_dsc(mask, truth, classes) for level, mask in corrected.items()}
        )
        case = AuditedCase(
            unit.id,
            unit.name,
            self.split,
            unit.shape,
            unit.spacing,
            expected_dsc(judged.counts, judged.highest),
            dsc_interval(judged.counts, regions, calibration.spread, judged.highest),
            regions,
            unit.annotator,
            unit.group,
            None if truth is None else true_dsc(given, truth, classes),
            {str(level): value for level, value in dsc.items()},
        )
        (out / "wrong").mkdir(exist_ok=True)
        write_wrong(out / "wrong", unit, judged.wrong)
        files = {str(level): mask for level, mask in corrected.items()}
        files |= {} if fused is None else fused.written(out)
        written = masks.write(unit, given, files)
        arrays = Arrays(unit.image(self.prepared), given, judged.wrong, numbers, corrected)
        page.add(case, arrays)
        more = {} if scores is None else scores.found(judged, self.threshold)
        more |= {} if fused is None else fused.found()
        write_case(out, case, arrays, unit.slices, {**written, **more})

    def _tables(self, units: Sequence[Unit], annotators: AnnotatorTables | None) -> dict[str, Any]:
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
        return found if who is None else found | who.written(out, self.prepared)


def _some(units: Sequence[Unit]) -> Sequence[Unit]:
    return units[:: -(-len(units) // _ASKED)]


class _Scores:
    """What tells wrong pixels of one case from right ones, beside its truth."""

    def __init__(
        self, truth: Labels, given: Labels, witnesses: Witnesses, priors: Sequence[Maps | None] | None
    ) -> None:
        self._truth, self._given, self._witnesses, self._priors = truth, given, witnesses, priors
        self._network = np.zeros(given.shape, np.float32)
        self._pairs = np.zeros(given.shape, np.float32)

    def watched(self, maps: Iterator[Maps]) -> Iterator[Maps]:
        """Yield what comes, and keep how little the given labels are believed."""
        for number, said in enumerate(maps):
            plane = self._given[number]
            self._network[number] = self._witnesses.wrong(plane, said)
            if self._witnesses.table is not None:
                prior = None if self._priors is None else self._priors[number]
                alone = self._witnesses.posterior(plane, None, prior)
                self._pairs[number] = self._witnesses.wrong(plane, alone)
            yield said

    def found(self, judged: Judged, threshold: float) -> dict[str, NDArray[Any]]:
        """Return ``detection``, (S, 2, BINS) histograms in the order of ``SCORES``, and ``above``, (2,) pixels."""
        known = (self._given != IGNORE) & (self._truth != IGNORE)
        wrong = (self._given != self._truth)[known]
        scores = {
            "audit": judged.wrong,
            "disagreement": self._network,
            "pairs alone": self._pairs,
            "given foreground": (self._given != 0).astype(np.float32),
            "near the outline": (1 / (1 + outline_distances(self._given))).astype(np.float32),
        }
        above = judged.wrong[known] >= threshold
        return {
            "detection": np.stack([histogram(scores[name][known], wrong) for name in SCORES]),
            "above": np.array([above.sum(), (above & wrong).sum()], np.int64),
        }
