"""Whose folder it is: a run goes on only as what it was begun, and nothing of another run is overwritten."""

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metadcseg.data.store.content import clean_content_of, identity_of
from metadcseg.data.store.reader import ROLES, PreparedSet
from metadcseg.data.synthetic.corruption import without_draws
from metadcseg.errors import InputError
from metadcseg.files import LOCK, lock_folder, refuse_link
from metadcseg.methods.base import Method
from metadcseg.networks import NetworkOptions
from metadcseg.results.upgrade import UNRESUMABLE
from metadcseg.training.options import TrainingOptions
from metadcseg.training.run.checkpoints import has_checkpoint
from metadcseg.training.run.folder import RunFolder, read_run
from metadcseg.training.run.settings import differences


def describe(
    prepared: PreparedSet,
    method: Method,
    network: NetworkOptions,
    options: TrainingOptions,
    *,
    seed: int,
    label: str,
) -> dict[str, Any]:
    """Return what ``run.json`` says about a run before its first step, as plain values."""
    described = {
        "method": method.name,
        "label": label,
        "options": asdict(method),  # type: ignore[call-overload]
        "declaration": asdict(method.info),
        "seed": seed,
        **describe_set(prepared),
        "network": asdict(network),
        **({} if network.class_path is None else {"trusted_code": network.class_path}),
        "training": asdict(options),
        "versions": {
            "metadcseg": version("metadcseg"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "status": "running",
        "epochs_done": 0,
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def describe_set(prepared: PreparedSet) -> dict[str, Any]:
    """Return what ``run.json`` says about a set, and about its noise."""
    described = {
        "path": str(prepared.path.resolve()),
        "name": prepared.name,
        **identity_of(prepared),
        "clean_content": clean_content_of(prepared),
        "classes": list(prepared.classes),
        "channels": prepared.channels,
        "cases": {role: len(prepared.select(role)) for role in ROLES},
        "volumes": _volumes(prepared),
        "pairs": count_pairs(prepared),
        "preprocessing": prepared.preprocessing,
        "image_key": prepared.source.get("image_key"),
    }
    return {"set": described, "noise": None if prepared.noise is None else without_draws(prepared.noise)}


def _volumes(prepared: PreparedSet) -> dict[str, int] | None:
    """Return how many volumes the cases of each role are slices of, None for images."""
    if not prepared.volumes:
        return None
    return {role: sum(volume.role == role for volume in prepared.volumes) for role in ROLES}


def count_pairs(prepared: PreparedSet) -> dict[str, int | None]:
    """Return how many gold cases hold the mask that the verified one replaced, and of how many volumes these are."""
    paired = [case for case in prepared.select("gold") if case.has_given]
    volumes = len({case.volume for case in paired}) if prepared.volumes else None
    return {"cases": len(paired), "volumes": volumes}


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the run computes on; of a processor also torch's kind of vectors, since others round otherwise."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        name = f"{name} ({torch.backends.cpu.get_cpu_capability()})"
    return {
        "system": platform.platform(),
        "device": device.type,
        "device_name": name,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def earlier_versions(there: Mapping[str, Any] | None, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` keeps of the versions with which earlier parts of a run were trained, oldest first.

    Args:
        there: what it says by now; None for a new run.
        info: what :func:`describe` returned.

    Example:
        >>> old, new = {"torch": "2.10"}, {"torch": "2.11"}
        >>> earlier_versions({"versions": old}, {"versions": new})
        {'earlier_versions': [{'torch': '2.10'}]}
    """
    if there is None:
        return {}
    kept = list(there.get("earlier_versions") or [])
    if there.get("versions") not in (None, info["versions"]):
        kept.append(there["versions"])
    return {"earlier_versions": kept} if kept else {}


@contextmanager
def claimed(folder: RunFolder, info: Mapping[str, Any], resume: bool) -> Iterator[dict[str, Any] | None]:
    """Make sure that a folder may be used for this run, and hold it for this process alone.

    Args:
        folder: the run's folder; made where it is missing.
        info: what :func:`describe` returned.
        resume: an earlier part of the same run is welcome.

    Yields:
        What ``run.json`` says about the earlier part of the run, None for a new one or where an earlier one
        failed before its first checkpoint.

    Raises:
        InputError: where the folder holds something else, a run with other settings, or this run without
            ``resume``, or another process trains there.
    """
    path = folder.path
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file; give a new folder")
    if not folder.info.exists():
        _take_empty(path)
    busy = f"--out {path}: another process trains there: wait for it, or give another --out"
    for inner in (folder.checkpoints, folder.weights, folder.figures, folder.tensorboard):
        refuse_link(inner)
    # a folder that may only be read is not held: all that can be said of it is that the run is finished
    with lock_folder(path, busy) if os.access(path, os.W_OK) else nullcontext():
        yield _earlier_part(folder, info, resume)


def _earlier_part(folder: RunFolder, info: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    path = folder.path
    if not folder.info.exists():
        return None
    there = read_run(path)
    if there["status"] == "failed" and not has_checkpoint(folder.checkpoints):
        shutil.rmtree(folder.weights, ignore_errors=True)  # it came to nothing: there is nothing to keep
        return None
    if resume and UNRESUMABLE in there:
        raise InputError(
            f"--resume: {path} was begun by version {there['versions'].get('metadcseg')} with {there[UNRESUMABLE]}, "
            "which no method has any more: evaluate and predict with it, or train anew with another --out"
        )
    if found := differences(there, info):
        what = "--resume: the run there was begun otherwise" if resume else "it already holds a different run"
        go_on = "" if resume else f", or go on with it as it was begun: metadcseg train --resume {path}"
        raise InputError(
            f"--out {path}: {what} ({'; '.join(found)}); give the same settings or another --out{go_on}"
        )
    if not resume:
        done = f"{there['status']}, {there['epochs_done']} epochs done"
        raise InputError(
            f"--out {path} already holds this run ({done}); add --resume to go on, or give another --out"
        )
    return there


def _take_empty(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path} cannot be made ({error.strerror}); give another --out") from error
    left = [entry.name for entry in path.iterdir() if entry.name != LOCK and not entry.name.endswith(".tmp")]
    if left:
        raise InputError(
            f"--out {path} holds files that are no run of metadcseg ({', '.join(sorted(left)[:3])}); "
            "give another --out"
        )
