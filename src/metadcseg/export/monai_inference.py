"""``inference.json`` of a MONAI bundle: which transforms, network and engine MONAI's own reader makes."""

from collections.abc import Mapping
from typing import Any

_LUMINANCE = [0.299, 0.587, 0.114]

# As the runner of an ONNX export reads. Where zero is white, Pillow turns 8 bits around, and leaves 16 as they are. Of
# color it keeps 8 bits: those of a PNG stand in what it will decode, those of a TIFF in a tag.
_PLAIN = (
    "$lambda image: sys.exit(f'{image.filename} holds {image.n_frames} frames, a single one is allowed: save each as a "
    "file of its own') if getattr(image, 'n_frames', 1) > 1 and image.format != 'MPO' else "
    "sys.exit(f'{image.filename} is 16-bit color, which Pillow cuts to 8: predict with metadcseg, or save it in gray') "
    "if image.mode in ('RGB', 'RGBA', 'LA') and "
    "(';16B' in str(image.tile) or np.max(getattr(image, 'tag_v2', {}).get(258, 8)) > 8) else "
    "(lambda it: Image.fromarray(65535 - np.asarray(it)) "
    "if it.mode.startswith('I;16') and getattr(image, 'tag_v2', {}).get(262) == 0 "
    "else it if it.mode in ('L', 'RGB', 'F') or it.mode.startswith('I') "
    "else it.convert('L' if it.mode in ('1', 'LA') else 'RGB'))(ImageOps.exif_transpose(image))"
)


def inference(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``inference.json``: transforms, network, and engine, which MONAI makes of it.

    Args:
        said: of :func:`.describe`.

    Example:
        >>> told = inference({"values": {"background": 0, "organ": 255}, "suffixes": [".png"], "channels": 1})
        >>> told["network_def"]["_target_"]
        'torch.jit.load'
    """
    values = list(said["values"].values())
    ends = tuple(said["suffixes"])
    before: list[dict[str, Any]] = [
        {
            "_target_": "LoadImaged",
            "keys": "image",
            "reader": {"_target_": "PILReader", "converter": _PLAIN, "reverse_indexing": False},
            "ensure_channel_first": True,
        },
        _fitted_channels(said["channels"]),
        {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True},
    ]
    after: list[dict[str, Any]] = [
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "MapLabelValued",
            "keys": "pred",
            "orig_labels": list(range(len(values))),
            "target_labels": values,
        },
        {"_target_": "Transposed", "keys": "pred", "indices": [0, 2, 1]},  # MONAI writes (W, H)
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "",
            "output_ext": ".png",
            "output_name_formatter": "$lambda meta, _: "
            "{'idx': None, 'subject': @names[os.path.basename(meta['filename_or_obj'])]}",
            "output_dtype": "$np.uint8",
            "resample": False,
            "separate_folder": False,
        },
    ]
    return {
        "imports": [
            "$import os",
            "$import sys",
            "$import collections",
            "$import numpy as np",
            "$import torch",
            "$import PIL.Image as Image",
            "$import PIL.ImageOps as ImageOps",
        ],
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": "masks",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$[os.path.join(@dataset_dir, n) for n in sorted(os.listdir(@dataset_dir)) "
        f"if n.lower().endswith({ends!r}) and n[0] != '.']",
        "files": "$[os.path.basename(path) for path in @datalist]",
        "stems": "$collections.Counter(name.rpartition('.')[0].casefold() for name in @files)",
        "names": "${name: "
        "(name if @stems[name.rpartition('.')[0].casefold()] > 1 else name.rpartition('.')[0]) + '.png' "
        "for name in @files}",
        "named": "$collections.Counter(name.casefold() for name in @names.values())",
        "twice": "$[file for file in @files if @named[@names[file].casefold()] > 1]",
        "network_def": {
            "_target_": "torch.jit.load",
            "f": "$@bundle_root + '/models/model.ts'",
            "map_location": "@device",
        },
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist] if not @twice else sys.exit(', '.join(@twice[:9]) + "
            "' would get masks of one name: rename one, or predict with metadcseg')",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": after},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network_def",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def _fitted_channels(channels: int) -> dict[str, Any]:
    """Return the transform that repeats gray, or takes the luminance of color."""
    fit = f"x.repeat({channels}, 1, 1) if x.shape[0] == 1 else x"
    if channels == 1:
        fit = f"sum(w * x[n : n + 1] for n, w in enumerate({_LUMINANCE})) if x.shape[0] == 3 else x"
    return {"_target_": "Lambdad", "keys": "image", "func": f"$lambda x: {fit}"}
