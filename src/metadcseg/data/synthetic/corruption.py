"""Make a corrupted copy of a clean prepared set: drawn noise on the labels, the reference as truth.

Noise is drawn once, before training, from (seed, case id); it is stored with the set and never redrawn.
"""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.store.reader import Case, PreparedSet, SetWriter, refuse_occupied
from metadcseg.errors import InputError
from metadcseg.noise.base import Draw, NoiseModel, corrupt, draw_mask
from metadcseg.noise.calibration import Progress, calibrate, compare, report
from metadcseg.noise.registry import noise_model

Label = NDArray[Any]


def corrupt_set(
    source: PreparedSet,
    out: Path | str,
    rate: float,
    seed: int,
    roles: Sequence[str] = ("train",),
    progress: Progress | None = None,
    *,
    model: str = "paper",
) -> dict[str, Any]:
    """Write a copy of a set in which the labels of some roles are corrupted at a calibrated rate.

    The reference mask of a case (its truth, or else its label) is what gets corrupted and what the rate is
    measured against. In the copy every case holds it as truth. Labels of other roles stay as they are,
    and so do the references of volumes.

    A gold case gets a pair: beside its label, which stays, the mask that it replaced (``PreparedSet.given``), its
    reference corrupted by the same model and strength, drawn as a training mask is. At a rate of 0 that is the label
    itself. What other roles have of such masks is carried over. Outlines of annotators are not: they show what was
    right before the noise.

    ``PreparedSet.noise`` of the copy holds the dictionary returned and ``draws``: case id -> one draw per
    foreground class, from which the labels can be made again.

    Args:
        source: a clean set.
        out: folder of the new set; missing or empty.
        rate: target mean of 1 - DSC over the cases that hold foreground, 0 (labels are copied) up to 1.
        seed: of the draws: the same seed, cases and rate make the same labels.
        roles: whose labels are corrupted.
        progress: called now and then with (done, total).
        model: kind of noise, a name of :data:`metadcseg.noise.registry.MODELS`.

    Returns:
        The fields of :class:`metadcseg.noise.calibration.NoiseReport`, with ``per_class`` keyed by
        class name, and ``roles``, ``clean_set`` (fingerprint of ``source``), ``hash`` (sha256 over ids,
        draws and corrupted labels: equal for equal noise) and ``pairs`` (how many gold cases hold the mask that their
        label replaced). JSON values only.

    Raises:
        InputError: where the set is corrupted already, ``out`` is occupied, no case has one of
            the roles or foreground, the model is unknown, or the rate is out of range or cannot be reached.

    Example:
        >>> noise = corrupt_set(PreparedSet.open("my_set"), "my_noisy_set", rate=0.2, seed=0)  # doctest: +SKIP
        >>> round(noise["rate"], 1)  # doctest: +SKIP
        0.2
    """
    if not 0.0 <= rate < 1.0:
        raise InputError(f"rate must be at least 0 and below 1, got {rate}")
    kind = noise_model(model, rate)
    if source.noise is not None:
        raise InputError(
            f"{source.path} is corrupted already (rate {source.noise.get('target')}, "
            f"seed {source.noise.get('seed')}); start from the clean set"
        )
    cases = [case for role in dict.fromkeys(roles) for case in source.select(role)]
    if not cases:
        raise InputError(f"{source.path} has no case with the role {' or '.join(roles)} to corrupt")
    refuse_occupied(Path(out))  # before the work
    steps = _Steps(progress, calibrating=2 * len(cases), after=len(cases) + len(source.cases))
    strength = _calibrated(source, cases, kind, rate, seed, steps)
    noisy, noise = _corrupted(source, cases, kind, strength, rate, seed, steps)
    paired = [case.id for case in source.select("gold") if case.id not in noisy]
    noise |= {"roles": list(dict.fromkeys(roles)), "clean_set": source.fingerprint, "pairs": len(paired)}
    _write(source, Path(out), noisy, noise, kind, steps)
    return without_draws(noise)


def without_draws(noise: dict[str, Any]) -> dict[str, Any]:
    """Return what a report shows of ``PreparedSet.noise``: all but the draws, which are long."""
    return {key: value for key, value in noise.items() if key != "draws"}


def reference(source: PreparedSet, case: Case) -> Label:
    """Return the mask to measure against, (H, W) uint8: the truth where one is stored, or else the label."""
    return source.truth(case) if case.has_truth else source.label(case)


def _calibrated(
    source: PreparedSet, cases: Sequence[Case], model: NoiseModel, rate: float, seed: int, steps: "_Steps"
) -> float:
    """Return the strength that reaches the rate; 0 for no noise."""
    if rate == 0.0:
        return 0.0
    return calibrate(
        (reference(source, case) for case in cases),
        [case.id for case in cases],
        model,
        rate,
        seed,
        classes=len(source.classes),
        progress=steps.calibration,
    ).strength


def _corrupted(
    source: PreparedSet,
    cases: Sequence[Case],
    model: NoiseModel,
    strength: float,
    rate: float,
    seed: int,
    steps: "_Steps",
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the corrupted labels by case id, packed, and what is to be said about them."""
    packed: dict[str, bytes] = {}
    drawn: dict[str, list[Draw]] = {}
    records = []
    state = hashlib.sha256()
    for case in cases:
        clean = reference(source, case)
        noisy, drawn[case.id] = source.label(case), []
        if rate:
            noisy, drawn[case.id] = _spoiled(clean, case, len(source.classes), model, strength, seed)
        state.update(json.dumps([case.id, drawn[case.id], noisy.shape]).encode())
        state.update(noisy.tobytes())
        records.append(compare(clean, noisy, len(source.classes)))
        packed[case.id] = zlib.compress(noisy.tobytes(), 1)
        steps.step()
    noise = asdict(report(records, target=rate, model=model, strength=strength, seed=seed))
    noise["per_class"] = dict(zip(source.classes[1:], noise["per_class"], strict=True))
    return packed, noise | {"hash": state.hexdigest(), "draws": drawn}


def _spoiled(
    clean: Label, case: Case, classes: int, model: NoiseModel, strength: float, seed: int
) -> tuple[Label, list[Draw]]:
    """Return a mask corrupted, and what chance decided for it."""
    draws = draw_mask(model, seed, case.id, classes)
    return corrupt(clean, draws, model, strength), draws


def _replaced(source: PreparedSet, case: Case, noise: dict[str, Any], model: NoiseModel) -> Label | None:
    """Return the mask that the verified one of a case whose label stays replaced, None where there is none."""
    if case.role == "gold" and noise["target"]:
        clean = reference(source, case)
        return _spoiled(clean, case, len(source.classes), model, noise["scale"], noise["seed"])[0]
    if case.has_given:
        return source.given(case)
    return source.label(case) if case.role == "gold" else None


def _write(
    source: PreparedSet,
    out: Path,
    noisy: dict[str, bytes],
    noise: dict[str, Any],
    model: NoiseModel,
    steps: "_Steps",
) -> None:
    with SetWriter(
        out,
        name=source.name,
        classes=source.classes,
        channels=source.channels,
        noise=noise,
        source=source.source,
        edge_detector=source.edge_detector,
        preprocessing=source.preprocessing,
        regions=source.regions,
    ) as writer:
        for volume in source.volumes:
            writer.add_volume(
                id=volume.id,
                role=volume.role,
                group=volume.group,
                placement=volume.placement,
                reference=source.reference(volume),
                verified=True,  # as the truth of its slices: what the labels were before the noise
            )
        for case in source.cases:
            truth = reference(source, case)
            if case.id in noisy:
                label, given = np.frombuffer(zlib.decompress(noisy[case.id]), truth.dtype), None
                label = label.reshape(truth.shape)
            else:
                label, given = source.label(case), _replaced(source, case, noise, model)
            writer.add(
                id=case.id,
                role=case.role,
                group=case.group,
                image=source.image(case),
                label=label,
                truth=truth,
                edges=source.edges(case) if case.has_edges else None,
                spacing=case.spacing,
                label_confidence=source.label_confidence(case) if case.has_label_confidence else None,
                given=given,
                volume=case.volume,
                slice=case.slice,
            )
            steps.step()


class _Steps:
    """Progress over calibration, corruption and writing as one count."""

    def __init__(self, progress: Progress | None, *, calibrating: int, after: int) -> None:
        self._progress = progress
        self._done = calibrating
        self._total = calibrating + after

    def calibration(self, done: int, total: int) -> None:
        """Report the first part; its total is what ``calibrating`` said."""
        if self._progress:
            self._progress(done, self._total)

    def step(self) -> None:
        """Report one more piece of the later parts."""
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)
