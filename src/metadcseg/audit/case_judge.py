"""Judges one case of an audit after another, and writes all that is found of it."""

from metadcseg.audit.case_files import is_whole, read_case, write_case
from metadcseg.audit.case_scores import CaseScores
from metadcseg.audit.correction import MaskWriter, write_wrong, wrong_file
from metadcseg.audit.folder import AuditFolder
from metadcseg.audit.fused_case import CERTAINTY, FUSED, FusedCase
from metadcseg.audit.judged import judge
from metadcseg.audit.page import ReviewPage
from metadcseg.audit.predictors import CasePredictor
from metadcseg.audit.ranking import dsc_interval, expected_dsc
from metadcseg.audit.records import LEVELS, Arrays, AuditedCase
from metadcseg.audit.regions import find_regions
from metadcseg.audit.scoring import true_dsc
from metadcseg.audit.summary import begun
from metadcseg.audit.units import Unit
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.files import output_folder

_WRONG = "wrong"


class CaseJudge:
    """Judges cases by what was learned before the first of them, which the folder holds.

    Args:
        prepared: the set.
        split: whose masks are judged.
        folder: what takes them, and holds what was learned.
        predictor: the network that is asked.
        threshold: mean P(wrong) of a region from which it is flagged.
        sure: P(wrong) from which the level ``sure`` changes a pixel.

    Attributes:
        page: the review page, to which each case is added.

    Raises:
        InputError: where the folder does not say what was learned.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        split: str,
        folder: AuditFolder,
        predictor: CasePredictor,
        *,
        threshold: float,
        sure: float,
    ) -> None:
        learned = folder.read_state()
        if learned is None:
            raise InputError(f"{folder.path} does not say what was learned from pairs: audit anew")
        self._witnesses, self._calibration, self._annotators = learned
        self._prepared, self._split, self._predictor = prepared, split, predictor
        self._out, self._threshold, self._sure = folder.path, threshold, sure
        self.page = ReviewPage(
            folder.path,
            f"Audit of {prepared.name}",
            prepared.classes,
            begun(threshold, predictor.name),
            identity=folder.identity,
            fingerprint=prepared.fingerprint,
        )
        self._masks = MaskWriter(prepared, folder.path / "corrected")

    def is_done(self, unit: Unit) -> bool:
        """Return whether the record of a case can be read, and all other files are there that judging it writes.

        Args:
            unit: an image or a volume.
        """
        out = self._out
        if not is_whole(out, unit.name) or not self.page.has(unit.name):
            return False
        balanced = out / str(read_case(out, unit.name, ("written",))[1].get("written", ""))
        folders, maps = list(map(str, LEVELS)), [_WRONG]
        if self._annotators is not None and FusedCase(self._annotators, unit, self._prepared).several:
            folders, maps = [*folders, FUSED], [*maps, CERTAINTY]
        files = [balanced.parent.parent / level / balanced.name for level in folders]
        files += [wrong_file(out / folder, unit) for folder in maps]
        return all(file.is_file() for file in files)

    def __call__(self, unit: Unit) -> None:
        """Judge one case and write all of it; its record comes last.

        Raises:
            InputError: naming the case, where stored bytes are damaged or the disk refuses.
        """
        try:
            self._judge(unit)
        except InputError as error:
            if f"'{unit.id}'" in str(error):
                raise
            raise InputError(f"case '{unit.id}': {error}") from error

    def _judge(self, unit: Unit) -> None:
        given, out, classes = unit.given(self._prepared), self._out, len(self._prepared.classes)
        truth = unit.truth(self._prepared) if unit.has_truth else None
        fused = None if self._annotators is None else FusedCase(self._annotators, unit, self._prepared)
        told = (None, None) if fused is None else (fused.prior, fused.watch)
        scores = None if truth is None else CaseScores(truth, given, self._witnesses, told[0])
        maps = self._predictor.of(unit)
        watched = maps if scores is None else scores.watched(maps)
        judged = judge(self._witnesses, given, watched, self._calibration.margin, *told)
        numbers, regions = find_regions(given, judged.proposed, judged.wrong, unit.spacing)
        corrected = judged.corrected(numbers, self._sure)
        dsc = (
            {}
            if truth is None
            else {level: true_dsc(mask, truth, classes) for level, mask in corrected.items()}
        )
        case = AuditedCase(
            unit.id,
            unit.name,
            self._split,
            unit.shape,
            unit.spacing,
            expected_dsc(judged.counts, judged.highest),
            dsc_interval(judged.counts, regions, self._calibration.spread, judged.highest),
            regions,
            unit.annotator,
            unit.group,
            None if truth is None else true_dsc(given, truth, classes),
            {str(level): value for level, value in dsc.items()},
        )
        write_wrong(output_folder(out, _WRONG), unit, judged.wrong)
        files = {str(level): mask for level, mask in corrected.items()}
        files |= {} if fused is None else fused.written(out)
        written = self._masks.write(unit, given, files)
        arrays = Arrays(unit.image(self._prepared), given, judged.wrong, numbers, corrected)
        self.page.add(case, arrays)
        more = {} if scores is None else scores.found(judged, self._threshold)
        more |= {} if fused is None else fused.found()
        write_case(out, case, arrays, unit.slices, {**written, **more})
