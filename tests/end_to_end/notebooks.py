"""Notebooks without Jupyter: their code cells run in one namespace, their pictures are caught.

``python tests/end_to_end/notebooks.py examples/weights.ipynb`` runs a notebook and writes what it shows into it.
"""

import base64
import io
import json
import os
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """Run the code cells in order, put their outputs into the notebook, and return the namespace."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    namespace: dict[str, Any] = {"__name__": "notebook"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        printed = io.StringIO()
        with redirect_stdout(printed), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "FigureCanvasAgg is non-interactive"
            )  # plt.show() where nobody looks
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)  # noqa: S102
        cell["execution_count"] = number
        cell["outputs"] = []
        if text := printed.getvalue():
            lines = text.splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": lines})
        for figure in map(pyplot.figure, pyplot.get_fignums()):
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=70, bbox_inches="tight", metadata={"Software": None})
            picture = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": ["a figure"]}
            cell["outputs"].append({"output_type": "display_data", "data": picture, "metadata": {}})
        pyplot.close("all")
    return namespace


def main(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    here = Path.cwd()
    os.chdir(path.parent)
    sys.path.insert(0, "")
    execute(notebook)
    os.chdir(here)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
