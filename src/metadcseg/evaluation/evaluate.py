"""Score a trained run on one split of a prepared set, every case in its native size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.evaluation.inference import DEFAULT, InferenceOptions
from metadcseg.evaluation.predict import Progress, load_predictor
from metadcseg.evaluation.scored_split import score_split
from metadcseg.evaluation.scoring import Compared, predict_unit
from metadcseg.training.run.folder import TrainedRun


def evaluate_run(
    run: Path | str,
    prepared: PreparedSet,
    split: str,
    *,
    save_predictions: bool = True,
    overlays: bool = False,
    device: str | None = None,
    trust_code: bool = False,
    options: InferenceOptions = DEFAULT,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict and score every case of a split, and write ``RUN/evaluation/SPLIT.json`` and ``SPLIT.csv``.

    A case is compared with its truth where it has one, else with the label that was given; which of the two
    is part of the record. Volumes are put together from their slices and scored whole, on the grid of their file,
    and so are the set's regions (unions of labels). Predicted masks go to ``RUN/evaluation/SPLIT/CASE.png``
    (volumes: ``.nii.gz``), CASE being the id made a file name (:func:`~metadcseg.files.safe_names`). What an earlier
    evaluation of that split left is replaced as a whole, and stays as it was when this one fails.

    Args:
        run: the folder of a run.
        prepared: the set to evaluate on; its classes and channels must be those of the run.
        split: a role of that set. Scores on ``train`` say how well bad labels were resisted; nothing is
            chosen by them, nor by those on ``test``.
        save_predictions: write the predicted masks.
        overlays: write every image, or nine slices of a volume, with its outlines, into
            ``RUN/evaluation/SPLIT/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.
        options: how the network is asked.
        progress: called after every case.

    Returns:
        The record, as in the JSON file: what :func:`~.records.summarize` returns, and ``split``, ``method``,
        ``label``, ``seed``, ``noise`` (of the set trained on), ``set`` (evaluated on), ``declaration``,
        ``epochs_done``, ``tolerance`` of the NSD, ``predictions`` (id -> path beside the JSON file),
        ``mask_values`` (class -> gray value there), ``inference`` (test-time options, where they are not the default),
        and ``notes``: sentences that belong beside the scores.

    Raises:
        InputError: where run and set do not fit together, the split has no cases, stored bytes are damaged,
            or the disk refuses.

    Example:
        >>> record = evaluate_run(Path("my_run"), PreparedSet.open("my_set"), "test")  # doctest: +SKIP
        >>> record["split"], record["summary"]["dsc"]["n"]  # doctest: +SKIP
        ('test', 2)
    """
    run = Path(run)
    trained, predict = load_predictor(run, device, options, trust_code=trust_code)
    check_fit(trained, prepared)

    def compare(unit: Case | StoredVolume) -> Compared:
        return predict_unit(predict, prepared, unit, trained.grid, options)

    return score_split(
        run,
        trained.info,
        prepared,
        split,
        compare,
        save_predictions=save_predictions,
        overlays=overlays,
        inference=options.said(),
        progress=progress,
    )


def check_fit(trained: TrainedRun, prepared: PreparedSet) -> None:
    """Refuse a set that the network of a run cannot be asked about: other classes, channels, or cut otherwise.

    Raises:
        InputError: saying what differs.
    """
    if prepared.classes != trained.classes:
        raise InputError(
            f"{prepared.path} must have the classes of the run ({', '.join(trained.classes)}), got "
            f"{', '.join(prepared.classes)}: evaluate on a set with the same classes"
        )
    if prepared.channels != trained.channels:
        raise InputError(
            f"{prepared.path} must have images of {trained.channels} channels, as the run was trained on, "
            f"got {prepared.channels}: evaluate on a set with as many"
        )
    there, here = _cut(trained.info["set"].get("preprocessing")), _cut(prepared.preprocessing)
    if there != here:
        found = [
            f"{'normalize' if name == 'normalise' else name}: {there.get(name, 'none')} there, "
            f"{here.get(name, 'none')} here"
            for name in sorted(there.keys() | here.keys())
            if there.get(name) != here.get(name)
        ]
        raise InputError(
            f"{prepared.path} must be prepared as the set that the run was trained on ({'; '.join(found)}): "
            "prepare it with the same options"
        )


def _cut(preprocessing: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how images became what the network sees; which empty slices were dropped changes none of them."""
    return {name: value for name, value in (preprocessing or {}).items() if name != "empty"}
