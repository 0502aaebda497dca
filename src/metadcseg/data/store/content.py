"""What a set holds but for its edges: equal wherever it was prepared.

Edges come out of a network in single precision. Another kind of processor sums in another order, so that some edges
differ by one of 255 steps, and with them the fingerprint of the set. Images, masks and noise do not.
"""

import json
from typing import Any

from metadcseg.data.store.layout import digest
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.store.tables import Case

_EDGES = "edges"


def content_of(prepared: PreparedSet) -> str:
    """Return the sha256 of all that training and evaluation read, edges excepted: their detector counts.

    Args:
        prepared: the set; no array is read, the checksums of its tables are taken.

    Returns:
        64 hexadecimal digits: equal for equal classes, preprocessing, order, roles, groups, spacings, images, masks,
        confidences, annotators, volumes and noise. Name, place, source and fingerprint have no part in it.

    Example:
        >>> content_of(PreparedSet.open("here")) == content_of(PreparedSet.open("there"))  # doctest: +SKIP
        True
    """
    cases = [
        [
            *_facts(case),
            case.annotators,
            case.annotator,
            {kind: sha256 for kind, sha256 in prepared.checksums(case).items() if kind != _EDGES},
        ]
        for case in prepared.cases
    ]
    noise = prepared.noise
    told = None if noise is None else {key: noise.get(key) for key in ("model", "target", "seed", "hash")}
    return _digest(prepared, [*cases, told])


def identity_of(prepared: PreparedSet) -> dict[str, str]:
    """Return what records name a set by: ``fingerprint`` and ``content``.

    Args:
        prepared: the set; no array is read.
    """
    return {"fingerprint": prepared.fingerprint, "content": content_of(prepared)}


def clean_content_of(prepared: PreparedSet) -> str:
    """Return the sha256 of images, reference masks and roles: equal for a set and for all that ``corrupt`` made of it.

    Args:
        prepared: the set; no array is read.

    Returns:
        64 hexadecimal digits. The reference of a case is its truth where one is stored, else its label; that of a
        volume counts as verified, as ``corrupt`` takes it.
    """
    cases = []
    for case in prepared.cases:
        sums = prepared.checksums(case)
        cases.append([*_facts(case), sums["image"], sums.get("truth", sums["label"])])
    return _digest(prepared, cases, verified=True)


def _facts(case: Case) -> list[Any]:
    return [case.id, case.role, case.group, case.spacing, case.volume, case.slice]


def _digest(prepared: PreparedSet, cases: list[Any], *, verified: bool = False) -> str:
    volumes = []
    for volume in prepared.volumes:
        held = [verified or volume.verified, volume.placement.to_dict(), prepared.checksums(volume)]
        volumes.append([volume.id, volume.role, volume.group, *held])
    of_all = [prepared.classes, prepared.channels, prepared.preprocessing, prepared.regions]
    told = [*of_all, prepared.edge_detector, cases, volumes]
    return digest(json.dumps(told, sort_keys=True).encode())
