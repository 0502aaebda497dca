"""A small simulated audit: discs on noise, given too large; two regions, one of them an invented spot."""

import numpy as np

from metadcseg.audit.page import CalibrationPoint, PageSummary, ReviewPage, SummaryTable
from metadcseg.audit.records import Arrays, AuditedCase, Region
from metadcseg.files import safe_names

CLASSES = ["background", "organ", "<b>tumor</b>"]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"quotes\" & 'single' `ticks`",
    "\u202eright to left שלום",
    "x" * 200,
    "new\nline --> ]]> \u2028 \udce4",
]
SUMMARY = PageSummary(
    ("9 of 30 masks <b>are</b> flagged.", "Most are too large."),
    0.5,
    "own EMA",
    (("30", "masks"), ("9", "flagged")),
    (CalibrationPoint(0.9, 0.85, 0.8, 0.9, 100), CalibrationPoint(0.1, 0.1, 0.05, 0.2, 900)),
    (SummaryTable("By kind", ("kind", "regions"), (("too large", "30"), ("invented </th>", "30"))),),
    ("metadcseg report my_audit",),
)


def disc(shape, radius, center=(16, 18)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - center[0], x - center[1]) < radius


def made(number, name=None, slices=1, size=(32, 40), channels=1):
    """Return a case and its arrays; the higher its number, the better."""
    rng = np.random.default_rng(number)
    given, proposed = np.zeros((slices, *size), np.uint8), np.zeros((slices, *size), np.uint8)
    given[:, disc(size, 10)] = 1
    proposed[:, disc(size, 7)] = 1
    given[:, 2:5, 2:6] = 2
    given[:, -1] = proposed[:, -1] = 255
    regions = np.zeros(given.shape, np.int32)
    regions[(given == 1) & (proposed == 0)] = 1
    regions[given == 2] = 2
    wrong = np.where(regions > 0, 0.9 - 0.3 * (regions == 2), 0.02).astype(np.float32)
    half = np.where(regions == 1, proposed, given)
    image = rng.integers(0, 256, (slices, *size, channels), np.uint8)
    found = tuple(
        Region(
            key,
            kind,
            key,
            0,
            int((regions == key).sum()),
            None,
            float(wrong[regions == key].mean()),
            float(wrong[regions == key].sum()),
            tuple((int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(regions == key)),
        )
        for key, kind in ((1, "too large"), (2, "invented"))
    )
    id = f"case {number:02d}" if name is None else name
    case = AuditedCase(
        id,
        safe_names([id])[0],
        "train",
        given.shape,
        (2.0, 1.0, 1.0) if slices > 1 else None,
        0.4 + number / 100,
        (0.3, 0.9),
        found,
        annotator=("anna", "bo")[number % 2],
        group=f"patient {number // 10}",
    )
    return case, Arrays(
        image, given, wrong, regions, {"sure": half, "balanced": proposed, "network": proposed}
    )


def written(out, cases, identity="ab12", classes=CLASSES):
    page = ReviewPage(out, "Audit <i>&", classes, SUMMARY, identity=identity, fingerprint="f00d")
    for case in cases:
        page.add(*case)
    return page.close()
