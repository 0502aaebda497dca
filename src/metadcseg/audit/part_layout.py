"""Verified masks of which each class lies in a file of its own, as it does in the given ones."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from metadcseg.audit.plan import GOLD, Plan, Reviewed
from metadcseg.constants import IGNORE
from metadcseg.data.names import IGNORED, name_key
from metadcseg.data.sources.case import RawCase
from metadcseg.data.sources.parts import Parts
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

_CORRECTED = "take the masks from corrected/ of the audit yourself"


def named_parts(cases: Iterable[RawCase]) -> dict[str, Parts]:
    """Return the masks as given that are a file for each class, by the id of their case.

    Args:
        cases: of the folder.
    """
    held = {case.id: case.label if case.given is None else case.given for case in cases}
    return {id: mask for id, mask in held.items() if isinstance(mask, Parts) and mask.names}


def names_of_classes(parts: Iterable[Parts], prepared: PreparedSet) -> dict[int, str]:
    """Return what files call each class: class number -> name, 255 where a file is of ignored pixels.

    Args:
        parts: of all cases.
        prepared: the set that was made of them.

    Raises:
        InputError: where the set has other classes than the files have names, as after a remap.
    """
    numbers = {name_key(name): number for number, name in enumerate(prepared.classes)} | {IGNORED: IGNORE}
    called = sorted({name for each in parts for name in each.names})
    names = {numbers.get(name_key(name), 0): name for name in called}
    if 0 in names or not names.keys() >= set(range(1, len(prepared.classes))):
        raise InputError(
            f"the masks are a file for each class ({', '.join(called[:5])}), and {prepared.path} has other classes, "
            f"so no file can hold one: {_CORRECTED}"
        )
    return names


def put_parts(
    plan: Plan, id: str, reviewed: Reviewed, names: Mapping[int, str], places: Mapping[int, Path]
) -> None:
    """Write a verified mask as a file for each class, also for those that it does not show.

    Args:
        plan: of the folder.
        id: of the case.
        reviewed: what became of it.
        names: from :func:`names_of_classes`.
        places: where the file of each class lies in ``gold/``.

    Raises:
        InputError: where pixels are ignored and no file says so.
    """
    if IGNORE not in names and (reviewed.mask.read() == IGNORE).any():
        raise InputError(
            f"the mask of '{id}' has ignored pixels, which files of classes cannot say: {_CORRECTED}"
        )
    for label in names:
        plan.put(Path(GOLD) / places[label], partial(reviewed.write_class, label))


def places_of(
    names: Mapping[int, str], given: Parts, stem: str, suffix: str, *, by_class: bool
) -> dict[int, Path]:
    """Return where the file of each class lies: ``CLASS/CASE.png``, or ``CASE/CLASS.png`` as in the given mask.

    Args:
        names: of the classes.
        given: the mask that is replaced.
        stem: of the image.
        suffix: of the files.
        by_class: whether each class has a folder.

    Example:
        >>> given = Parts(Path("masks/a"), (Path("masks/a/liver.png"),), ("liver",))
        >>> [places_of({1: "liver"}, given, "a", ".png", by_class=each)[1].as_posix() for each in (True, False)]
        ['liver/a.png', 'a/liver.png']
    """
    if by_class:
        return {label: Path(name) / f"{stem}{suffix}" for label, name in names.items()}
    return {label: Path(given.path.name) / f"{name}{suffix}" for label, name in names.items()}
