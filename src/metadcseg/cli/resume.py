"""``train --resume RUN`` needs nothing else: what is not said is taken from the run that goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from metadcseg.errors import InputError


def from_run(options: Namespace) -> Namespace:
    """Return the options of a run that goes on, with ``goes_on``; those of one that begins as they are.

    Args:
        options: parsed; ``resume`` is the folder of a run, or True for the run in ``out``.

    Raises:
        InputError: where the folder is no run, another folder is given as well, or the run's set is not there.
    """
    from metadcseg.training.run.folder import EXTERNAL, RunFolder, read_run

    folder = _folder(options)
    if folder is None or not (isinstance(options.resume, str) or RunFolder(folder).info.is_file()):
        return options
    info = read_run(folder)
    if info["method"] == EXTERNAL:
        raise InputError(
            f"--resume: {folder} holds predictions of another tool: give a folder that train wrote"
        )
    data = info["set"].get("path")
    if "data" not in options.said and not (data and Path(data).exists()):
        raise InputError(f"the set that {folder} was trained on is not at {data} any more: add --data")
    where = {"data": data, "out": str(folder), "seed": info["seed"], "label": info["label"]}
    again: Namespace = options.again({**where, **settings_of(info)}, str(RunFolder(folder).info))
    again["resume"] = again["goes_on"] = True
    return again


def settings_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run in the layout of a ``--config`` file.

    Args:
        info: what ``run.json`` says.
    """
    groups = {info["method"]: info["options"], "network": info["network"], "training": info["training"]}
    return {"method": info["method"], **{name: group for name, group in groups.items() if group}}


def _folder(options: Namespace) -> Path | None:
    """Return the run that goes on, None where a new one may begin."""
    if isinstance(options.resume, str):
        if options.out is not None and Path(options.out).resolve() != Path(options.resume).resolve():
            raise InputError(
                f"--resume {options.resume} and --out {options.out} name two folders: leave --out out"
            )
        return Path(options.resume)
    return Path(options.out) if options.resume and options.out is not None else None
