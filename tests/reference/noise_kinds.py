"""The kinds of noise beside the paper's, pixel by pixel. Slow and obvious; imports nothing of the package."""


def components(mask):
    """The objects of a 0/1 mask in scan order, as lists of (h, w); pixels that touch at a corner are one object."""
    height, width = len(mask), len(mask[0])
    seen, found = set(), []
    for start in ((h, w) for h in range(height) for w in range(width)):
        if not mask[start[0]][start[1]] or start in seen:
            continue
        seen.add(start)
        component = [start]
        for h, w in component:
            for near in ((h + i, w + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and mask[near[0]][near[1]] and near not in seen:
                    seen.add(near)
                    component.append(near)
        found.append(component)
    return found


def square(mask, h, w, reach):
    """The values of a centred square; pixels beyond the image are no values."""
    return [
        mask[i][j]
        for i in range(max(0, h - reach), min(len(mask), h + reach + 1))
        for j in range(max(0, w - reach), min(len(mask[0]), w + reach + 1))
    ]


def over(mask, reach):
    """Foreground wherever the square holds some."""
    return [[int(any(square(mask, h, w, reach))) for w in range(len(mask[0]))] for h in range(len(mask))]


def under(mask, reach):
    """Object by object: eroded by the square, or else by the largest smaller one that leaves something."""
    result = [[0] * len(mask[0]) for _ in mask]
    for component in components(mask):
        for smaller in range(reach, -1, -1):
            left = [(h, w) for h, w in component if all(square(mask, h, w, smaller))]
            if left:
                break
        for h, w in left:
            result[h][w] = 1
    return result
