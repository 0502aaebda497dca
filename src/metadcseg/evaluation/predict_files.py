"""Masks for image files and volumes that nobody has outlined."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from metadcseg.data.formats.images import read_image
from metadcseg.data.formats.volumes import read_volume
from metadcseg.data.slicing.cut import SliceOptions, cut
from metadcseg.errors import InputError, first_of
from metadcseg.evaluation.inference import DEFAULT, InferenceOptions, in_chunks
from metadcseg.evaluation.inputs import (
    check_channel_files,
    find_images,
    find_volumes,
    output_names,
    volume_names,
)
from metadcseg.evaluation.mask_folder import MaskFolder
from metadcseg.evaluation.overlays import (
    Labels,
    encode_mask,
    encode_picture,
    overlay,
    picture_of,
    with_legend,
)
from metadcseg.evaluation.predict import (
    Predict,
    Progress,
    fit_channels,
    labels_of_stack,
    load_predictor,
    most_probable,
    probabilities_of_stack,
)
from metadcseg.files import cannot_write
from metadcseg.training.run.folder import TrainedRun
from metadcseg.validation import check_workers

RECORD = "inference.json"
"""In the folder of the masks: the test-time options that were not the default."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Case:
    """An image or a volume.

    Args:
        title: of its picture.
        mask: name of that file.
        picture: likewise.
        files: of its channels.
    """

    title: str
    mask: str
    picture: str
    files: list[Path]


class _Kind(Protocol):
    """How one kind of case, images or volumes, is read, predicted and written."""

    together: int
    """Cases that are predicted in one pass."""

    def read(self, case: _Case) -> Any: ...

    def predict(self, loaded: Sequence[Any]) -> list[Labels]: ...

    def write(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path: ...

    def draw(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path: ...


def predict_images(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    overlays: bool = False,
    device: str | None = None,
    trust_code: bool = False,
    options: InferenceOptions = DEFAULT,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment image files, or volumes, and write a mask for each over its image.

    Masks of images are PNG in the image's own size. They hold 0 and 255 for two classes, class numbers for more
    (:func:`~.overlays.mask_values`), under the names of :func:`~.inputs.output_names`.

    A network that was trained on volumes takes volumes and writes label volumes on their grid, in the same format where
    that is one file, under the names of :func:`~.inputs.volume_names`. They are cut as those that it was trained on,
    HDF5 files read under the same key. A file is one case. Only where the network was trained on several channels, and
    a file of a folder has fewer, others are its channels: those that share its name but for the last four digits,
    counted from 0 (``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, ...).

    What is there already is left alone. That is fine where it holds the same mask, else an error.

    Args:
        run: the folder of a run.
        images: a file (PNG, JPEG, TIFF), a folder of them, or a pattern such as ``scans/*.png``; for a network of
            volumes a volume, a DICOM folder, or a folder of them.
        out: folder for the masks; made where missing. Options other than the default are written there, too
            (``inference.json``).
        overlays: also write every image, or slices of a volume, with its outlines, as PNG into ``out/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.
        options: how the network is asked.
        workers: threads that read and cut the next cases meanwhile; 0: none.
        progress: called after every case.

    Returns:
        The masks, in the order of the images.

    Raises:
        InputError: at the end, naming the files that were left out, when all others are done; at once where
            run, images or out cannot be used at all.

    Example:
        >>> predict_images(Path("my_run"), Path("new_images"), Path("new_masks"))[0].name  # doctest: +SKIP
        'a.png'
    """
    check_workers(workers, what="threads")
    run, images, out = Path(run), Path(images), Path(out)
    trained, predict = load_predictor(run, device, options, trust_code=trust_code)
    kind: _Kind
    if trained.info["set"].get("preprocessing") is not None:
        kind = _Volumes(trained, predict, options)
        found = find_volumes(images, trained.channels, trained.info["set"].get("image_key"))
        cases = [
            _Case(title, *names, files)
            for (title, files), names in zip(found, volume_names(found), strict=True)
        ]
    else:
        kind = _Images(trained, predict, options)
        files = find_images(images)
        cases = [
            _Case(file.name, name, name, [file])
            for name, file in zip(output_names(files), files, strict=True)
        ]
    if images.is_dir() and out.resolve() == images.resolve():
        raise InputError(
            f"--out {out} is the folder of the images: give another one, so that none is mixed up"
        )
    written: list[Path] = []
    troubles = _Troubles(out)
    with MaskFolder(out) as masks:
        if options != DEFAULT:
            masks.write(RECORD, (json.dumps({"run": str(run), **options.said()}, indent=1) + "\n").encode())
        done = 0
        for chunk in in_chunks(_read_ahead(cases, kind.read, workers), kind.together):
            read = [
                (case, loaded) for case, get in chunk if (loaded := troubles.catch(case, get)) is not None
            ]
            for (case, loaded), labels in zip(read, _predicted(kind, read, troubles), strict=True):
                if labels is None:
                    continue
                mask = troubles.catch(case, partial(kind.write, masks, case, loaded, labels))
                if mask is not None:
                    written.append(mask)
                    if overlays:
                        troubles.catch(case, partial(kind.draw, masks, case, loaded, labels))
            done += len(chunk)
            if progress is not None:
                progress(done, len(cases))
    if troubles.sentences:
        raise InputError(
            f"{len(written)} of {len(cases)} masks are in {out}, the rest had to be left out: "
            f"{first_of(troubles.sentences)}"
        )
    return written


class _Troubles:
    """Collects what is wrong with single cases, so that none ends the batch."""

    def __init__(self, out: Path) -> None:
        self.sentences: list[str] = []
        self._out = out

    def catch(self, case: _Case, act: Callable[[], _T]) -> _T | None:
        """Return what an act returns, None where it fails."""
        try:
            return act()
        except InputError as error:
            self.sentences.append(str(error))
        except OSError as error:  # such as a name that is too long for the file system
            self.sentences.append(f"{case.files[0]}: {cannot_write(self._out / case.mask, error)}")
        except MemoryError:
            self.sentences.append(f"{case.files[0]} does not fit into memory: make it smaller")
        return None


def _read_ahead(
    cases: Sequence[_Case], read: Callable[[_Case], _T], workers: int
) -> Iterator[tuple[_Case, Callable[[], _T]]]:
    """Yield each case in order, and what returns its content or raises; workers read the next ones meanwhile."""
    if workers == 0:
        for case in cases:
            yield case, partial(read, case)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[_Case, Future[_T]]] = deque()
        try:
            for case in cases:
                waiting.append((case, pool.submit(read, case)))
                if len(waiting) > workers:
                    first, future = waiting.popleft()
                    yield first, future.result
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result
        finally:
            pool.shutdown(cancel_futures=True)


def _predicted(
    kind: _Kind, read: Sequence[tuple[_Case, Any]], troubles: _Troubles
) -> Sequence[Labels | None]:
    """Return the labels of each case, None where it fails; where cases fail together, each is tried alone."""
    if len(read) > 1:
        try:
            return kind.predict([loaded for _, loaded in read])
        except (InputError, MemoryError):
            pass
    alone = [troubles.catch(case, partial(kind.predict, [loaded])) for case, loaded in read]
    return [None if found is None else found[0] for found in alone]


class _Images:
    """Plain images, of any sizes."""

    def __init__(self, trained: TrainedRun, predict: Predict, options: InferenceOptions) -> None:
        self._trained, self._predict, self._options = trained, predict, options
        self.together = options.batch_size

    def read(self, case: _Case) -> Any:
        image = read_image(case.files[0]).array
        return image, fit_channels(case.files[0], image, self._trained.channels)

    def predict(self, loaded: Sequence[Any]) -> list[Labels]:
        images, grid = [fitted for _, fitted in loaded], (self._trained.size, self._trained.size)
        found = probabilities_of_stack(self._predict, images, grid, normalized=False, options=self._options)
        return [most_probable(maps) for maps in found]

    def write(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path:
        return masks.write(case.mask, encode_mask(labels, self._trained.classes))

    def draw(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path:
        drawn = overlay(loaded[0], labels, foreground=len(self._trained.classes) - 1)
        picture = encode_picture(with_legend(drawn, self._trained.classes, title=case.title))
        return masks.write(f"overlays/{case.picture}", picture)


class _Volumes:
    """Volumes, cut as those that the network was trained on."""

    together = 1

    def __init__(self, trained: TrainedRun, predict: Predict, options: InferenceOptions) -> None:
        self._trained, self._predict, self._options = trained, predict, options
        self._cut = SliceOptions.from_dict(trained.info["set"]["preprocessing"])

    def read(self, case: _Case) -> Any:
        check_channel_files(case.files, self._trained.channels)
        volume = read_volume(case.files, key=self._trained.info["set"].get("image_key"))
        if volume.array.shape[3] != self._trained.channels:
            raise InputError(
                f"{case.files[0]}: the network was trained on {self._trained.channels} channels, got "
                f"{volume.array.shape[3]}"
            )
        return cut(volume, self._cut)

    def predict(self, loaded: Sequence[Any]) -> list[Labels]:
        return [
            labels_of_stack(self._predict, stack, self._trained.grid, placement, self._options)
            for stack, placement in loaded
        ]

    def write(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path:
        first = case.files[0]
        like = first if first.is_file() else None
        return masks.write_labels(case.mask, labels, loaded[1].grid, like)

    def draw(self, masks: MaskFolder, case: _Case, loaded: Any, labels: Labels) -> Path:
        stack, placement = loaded
        picture = picture_of(stack, placement, labels, classes=self._trained.classes, title=case.title)
        return masks.write(f"overlays/{case.picture}", picture)
