"""The three calls of cleanlab's segmentation module on arrays of a folder, in an environment of its own.

    python -m venv /tmp/cleanlab && /tmp/cleanlab/bin/pip install cleanlab
    /tmp/cleanlab/bin/python studies/cost/cleanlab_calls.py FOLDER

Reads labels.npy (N, H, W) and probabilities.npy (N, L, H, W) as memory maps, writes issues.npy (N, H, W), quality.npy
(N, H, W) and images.npy (N,), and prints processor time and memory as JSON.
"""

import argparse
import json
from pathlib import Path

from watched import Watched, held, one_thread

one_thread()

import cleanlab  # noqa: E402
import numpy as np  # noqa: E402
from cleanlab.segmentation.filter import find_label_issues  # noqa: E402
from cleanlab.segmentation.rank import get_label_quality_scores  # noqa: E402
from cleanlab.segmentation.summary import common_label_issues  # noqa: E402


def main() -> None:
    """Make the calls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--two", action="store_true", help="leave out the summary, whose table is not needed")
    asked = parser.parse_args()
    labels, said = (
        np.load(asked.folder / f"{name}.npy", mmap_mode="r") for name in ("labels", "probabilities")
    )
    before, calls = held(), {}
    with Watched() as watched:
        issues = find_label_issues(labels, said, downsample=1, n_jobs=1, verbose=False)
    calls["find_label_issues"] = watched
    with Watched() as watched:
        images, quality = get_label_quality_scores(labels, said, n_jobs=1, verbose=False)
    calls["get_label_quality_scores"] = watched
    if not asked.two:
        with Watched() as watched:
            common_label_issues(issues, labels, said, verbose=False)
        calls["common_label_issues"] = watched
    for name, array in (("issues", issues), ("quality", quality), ("images", images)):
        np.save(asked.folder / f"{name}.npy", array)
    print(
        json.dumps(
            {
                "cleanlab": cleanlab.__version__,
                "seconds": {name: round(each.seconds, 2) for name, each in calls.items()},
                "before_mb": round(before / 1e6),
                "peak_mb": round(max(each.peak for each in calls.values()) / 1e6),
            }
        )
    )


if __name__ == "__main__":
    main()
