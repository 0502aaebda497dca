"""The site of the docs builds without a warning, and what is uploaded to PyPI is whole and renders."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def python(*words, **settings):
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", *(str(word) for word in words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_site_builds_and_a_warning_would_end_it(tmp_path):
    said = python("mkdocs", "build", "--strict", "--site-dir", tmp_path / "site", cwd=ROOT)
    assert "WARNING" not in said
    api = (tmp_path / "site/reference/api/index.html").read_text(encoding="utf-8")
    assert 'id="metadcseg.algorithm.boundary.region_centers"' in api
    shown = re.sub(r"<[^>]+>", "", api)
    assert ":func:" not in shown, "roles of Sphinx are not Markdown: docs/_site/docstrings.py"
    assert "Example:\n" not in shown
    assert not (tmp_path / "site/_site").exists()


def test_every_page_is_in_the_navigation_once():
    class Loader(yaml.SafeLoader):
        """YAML of mkdocs: names of Python objects are left alone."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)  # noqa: S506

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [
            page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)
        ]

    listed = pages(config["nav"])
    there = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """What would be uploaded, built from a copy, so that nothing is left in the source tree."""
    source = tmp_path_factory.mktemp("dist") / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    shutil.copy(ROOT / "CONTRIBUTING.md", source)
    for name in ("tests", "docs", "results"):
        (source / name).mkdir()
        (source / name / "large.py").write_text("must not be shipped\n")
    python("build", "--no-isolation", "--outdir", source / "dist", source)
    return source / "dist"


def test_what_goes_to_pypi_is_whole_and_its_readme_renders(dist):
    files = sorted(dist.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    assert python("twine", "check", "--strict", *files).count("PASSED") == 2
    with tarfile.open(files[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CITATION.cff", "src/metadcseg/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs", "results"))]


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["title"], cited["version"], cited["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )
    assert cited["references"][0]["title"] in " ".join(
        (ROOT / "README.md").read_text(encoding="utf-8").split()
    )
    assert project["version"] in (ROOT / "docs/faq.md").read_text(encoding="utf-8")
