"""The kinds of noise beside the paper's, pixel by pixel. Slow and obvious; imports nothing of the package."""

import math


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
    """The values of a centered square; pixels beyond the image are no values."""
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


def moved(mask, down, right):
    """Every pixel carried over; what leaves the image is lost."""
    result = [[0] * len(mask[0]) for _ in mask]
    for h, row in enumerate(mask):
        for w, value in enumerate(row):
            if value and 0 <= h + down < len(mask) and 0 <= w + right < len(mask[0]):
                result[h + down][w + right] = 1
    return result


def missing(mask, first, share):
    """Objects in scan order, each with its number; those below the share go."""
    result = [[0] * len(mask[0]) for _ in mask]
    for k, component in enumerate(components(mask)):
        if (first + (math.sqrt(5.0) - 1.0) / 2.0 * k) % 1.0 >= share:
            for h, w in component:
                result[h][w] = 1
    return result


def invented(mask, value, one, strength, ignore=255):
    """One class of a mask of several with its false object, an ellipse on background."""
    height, width = len(mask), len(mask[0])
    own = [[int(v == value) for v in row] for row in mask]
    taken = [[int(v not in (0, ignore)) for v in row] for row in mask]
    everywhere = [(h, w) for h in range(height) for w in range(width)]
    free = [(h, w) for h, w in everywhere if mask[h][w] == 0 and not any(square(taken, h, w, 1))]
    area = sum(map(sum, own))
    if not free or not area or not strength:
        return own
    row, column = free[math.floor(one["place"] * len(free))]
    theta = math.radians(one["angle"])
    for h, w in free:
        along = (w - column) * math.cos(theta) - (h - row) * math.sin(theta)
        across = (w - column) * math.sin(theta) + (h - row) * math.cos(theta)
        squared = strength * one["size"] * area / math.pi
        if along**2 / one["stretch"] + across**2 * one["stretch"] <= squared:
            own[h][w] = 1
    return own


def distance(point, one, other):
    """From a point to the stretch between two points."""
    (y, x), (dy, dx) = (point[0] - one[0], point[1] - one[1]), (other[0] - one[0], other[1] - one[1])
    length = dy * dy + dx * dx
    share = min(1.0, max(0.0, (y * dy + x * dx) / length)) if length else 0.0
    return math.hypot(y - share * dy, x - share * dx)


def simplified(points, tolerance):
    """Ramer, Douglas and Peucker on a closed outline, cut at its first and furthest point; three points stay."""
    far = max(range(len(points)), key=lambda k: math.dist(points[0], points[k]))
    third = max(range(len(points)), key=lambda k: distance(points[k], points[0], points[far]))

    def between(stretch):
        one, *inner, other = stretch
        if not inner:
            return []
        away = [distance(point, one, other) for point in inner]
        k = away.index(max(away))
        if away[k] <= tolerance and inner[k] != points[third]:
            return []
        return [*between([one, *inner[: k + 1]]), inner[k], *between([*inner[k:], other])]

    return [
        points[0],
        *between(points[: far + 1]),
        points[far],
        *between([*points[far:], points[0]]),
    ]


def inside(polygon, h, w):
    """Even-odd: how many sides lie to the left of a pixel's center, in its row."""
    left = 0
    for k, (y, x) in enumerate(polygon):
        v, u = polygon[(k + 1) % len(polygon)]
        if min(y, v) <= h < max(y, v) and x + (h - y) * (u - x) / (v - y) <= w:
            left += 1
    return left % 2 == 1


def careless(mask, one, strength, sway, waves, overlooked):
    """Pixel by pixel: nearer to an object than its outline was moved, and that object seen; no tie between objects."""
    height, width = len(mask), len(mask[0])
    found = components(mask)
    area = sum(len(component) for component in found)
    radius = math.sqrt(area / (math.pi * len(found))) if found else 0.0
    golden = (math.sqrt(5) - 1) / 2
    result = [[0] * width for _ in mask]
    for h in range(height):
        for w in range(width):
            away = [min(math.dist((h, w), pixel) for pixel in component) for component in found]
            if not away:
                continue
            empty = [(i, j) for i in range(height) for j in range(width) if not mask[i][j]]
            signed = min(away) - 0.5 if not mask[h][w] else 0.5 - min(math.dist((h, w), x) for x in empty)
            swing = 0.0
            for k in range(waves):
                angle, phase = math.radians(one[f"direction_{k}"]), math.radians(one[f"phase_{k}"])
                along = w * math.cos(angle) - h * math.sin(angle)
                swing += math.sin(2 * math.pi * along / (one[f"length_{k}"] * radius) + phase)
            reach = strength * radius * (one["lean"] + sway * swing / math.sqrt(2 * waves))
            number = (one["first"] + golden * away.index(min(away))) % 1.0
            result[h][w] = int(signed <= reach and number >= overlooked * strength)
    return result
