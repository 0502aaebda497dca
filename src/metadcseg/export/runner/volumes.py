"""What run.py does with volumes beside what it does with images: reading, cutting into slices, windows."""

import itertools

import nibabel
import numpy as np
from shared import asked, resize


def files_of(source, out, suffixes):
    """Return each volume with its mask, called alike."""
    files = asked(source, out, suffixes)
    out.mkdir(parents=True, exist_ok=True)
    return [(path, out / path.name) for path in files]


def read(path, model):
    """Return the slices, normalized, as (D, H, W, C), and what writes the mask on the volume's grid."""
    stack, view, mask, image = read_volume(path, model["preprocessing"])

    def save(file, maps):
        view[:] = [resize(planes, view.shape[1:], 1).argmax(axis=0) for planes in maps]
        write_labels(file, mask, image)

    return stack, save


def read_volume(path, how):
    """Return slices (D, H, W, C), a view of an empty mask to write their labels into, the mask, and the file."""
    image = nibabel.load(path)
    if len(image.shape) < 3:
        raise SystemExit(f"{path} must hold a volume (X, Y, Z) or (X, Y, Z, channels), got {image.shape}")
    array = np.asarray(image.dataobj)
    array = array.astype(np.float32) if array.dtype.kind == "f" or array.dtype.itemsize > 4 else array
    array = array.reshape(*array.shape[:3], -1)
    unit = {"meter": 1e3, "micron": 1e-3}.get(image.header.get_xyzt_units()[0], 1)
    matrix = image.affine[:3, :3] * unit
    spacing = np.linalg.norm(matrix, axis=0)
    placed = how["order"] == "world" and (image.header["sform_code"] > 0 or image.header["qform_code"] > 0)
    cosines = abs(matrix) / spacing  # (world, file)
    body = max(
        itertools.permutations(range(3)),
        key=lambda order: sum(cosines[order[n], n].round(6) for n in range(3)),
    )
    body = body if placed else (0, 1, 2)
    if how["axis"] == "auto":
        single = np.flatnonzero(np.array(array.shape[:3]) == 1)
        widest = np.flatnonzero(spacing >= spacing.max() * (1 - 1e-3))
        axis = max(single if len(single) == 1 else widest, key=lambda number: body[number])
    elif how["axis"] in "xyz":
        axis = "xyz".index(how["axis"])
    else:
        axis = cosines[("sagittal", "coronal", "axial").index(how["axis"])].argmax()
    plane = sorted({0, 1, 2} - {int(axis)}, key=lambda number: body[number])
    flipped = [number for number in range(3) if placed and matrix[body[number], number] < 0]
    outside = [background(array[..., channel]) for channel in range(array.shape[3])]
    box = [slice(None)] * 3
    content = (array != np.array(outside)).any(axis=3)
    if how["crop"] == "content" and content.any():
        for number in range(3):
            held = np.flatnonzero(content.any(axis=tuple({0, 1, 2} - {number})))
            margin = 0 if number == axis else how["margin"]
            box[number] = slice(max(0, held[0] - margin), held[-1] + 1 + margin)
    channels = [scale(array[..., n], outside[n], how["normalize"]) for n in range(array.shape[3])]
    mask = np.zeros(array.shape[:3], np.uint8)
    view = np.flip(mask[tuple(box)], flipped).transpose(axis, *plane)
    stack = np.flip(np.stack(channels, axis=3)[tuple(box)], flipped).transpose(axis, *plane, 3)
    if how["pixel"]:
        sides = [max(1, round(view.shape[k + 1] * spacing[plane[k]] / how["pixel"])) for k in (0, 1)]
        stack = resize(stack, sides, 1, smooth=True)
    return stack.astype(np.float16), view, mask, image


def background(channel):
    """Return the most common value on the six faces."""
    faces = [np.moveaxis(channel, axis, 0)[edge].ravel() for axis in range(3) for edge in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return values[counts.argmax()]


def scale(channel, outside, how):
    """Bring one channel of a volume to the scale that the network was trained on."""
    values = channel.astype(np.float32)
    if how == "none":
        return values
    if how in ("zscore", "nonzero"):
        known = channel != outside if how == "nonzero" else np.ones(channel.shape, bool)
        if not known.any() or values[known].min() == values[known].max():
            return np.zeros_like(values)
        mean, spread = values[known].mean(dtype=np.float64), values[known].std(dtype=np.float64)
        return np.where(known, ((values - mean) / spread).astype(np.float32), np.float32(0))
    low, high = map(float, how[7:].split(",")) if how != "percentile" else np.percentile(values, (0.5, 99.5))
    if low == high:
        return np.zeros_like(values)
    return ((values - float(low)) * (2 / (float(high) - float(low))) - 1).clip(-1, 1).astype(np.float32)


def predict_in_windows(maps, network, window):
    """(C, *size) -> (L, *size): windows that overlap, averaged with Gaussian weights; whole without."""
    if window is None or list(maps.shape[1:]) == window["size"]:
        return network(maps)
    weights, places = np.ones((), np.float32), []
    for side, size in zip(maps.shape[1:], window["size"], strict=True):
        x = np.arange(size, dtype=np.float32) - (size - 1) / 2
        weights = weights[..., None] * np.exp(x**2 / (-2 * (window["sigma"] * size) ** 2))
        step = size if size == side else max(1, int(size * (1 - window["overlap"])))
        places.append(
            [slice(at, at + size) for at in (min(n, side - size) for n in range(0, side - size + step, step))]
        )
    weights = np.maximum(weights, max(weights.min(), window["least"])).astype(np.float32)
    total, seen = 0.0, np.zeros(maps.shape[1:], np.float32)
    for place in itertools.product(*places):
        found = network(maps[(slice(None), *place)]) * weights
        total = np.zeros((len(found), *maps.shape[1:]), np.float32) if seen.max() == 0 else total
        total[(slice(None), *place)] += found
        seen[place] += weights
    return total / seen


def write_labels(path, labels, like):
    """Write (X, Y, Z) labels with the place in the world of another file."""
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header["cal_max"] = header["cal_min"] = 0
    image = type(like)(labels, like.affine, header)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)
