"""Generated files are what their sources say."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.chart import CHART, MINIMAL, only, render
from support.processes import source_path

GENERATORS = ("grafana/generate.py", "charts/generate.py")


@pytest.mark.parametrize("generator", GENERATORS)
def test_generated_files_are_up_to_date(generator: str, repository: Path) -> None:
    """The dashboard, its copy and the copy of the CRD in the chart, and the README's table of values."""
    command = [sys.executable, str(repository / generator), "--check"]
    done = subprocess.run(command, env=source_path(), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_definition_that_helm_installs_is_the_generated_one(repository: Path) -> None:
    """Nothing is lost on the way through the template, not even how a number is written."""
    (source,) = (repository / "crds").glob("*.yaml")

    installed = only(render(MINIMAL), "CustomResourceDefinition")
    assert installed["spec"] == yaml.safe_load(source.read_text())["spec"]


def test_the_chart_has_the_version_of_the_product(repository: Path) -> None:
    """One version for the chart, the images it names and the distribution."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    product = next(
        line for line in (repository / "pyproject.toml").read_text().splitlines() if line.startswith("version")
    )

    assert {chart["version"], chart["appVersion"]} == {product.split('"')[1]}


def test_the_example_in_the_charts_annotations_is_valid() -> None:
    """Artifact Hub shows it as the first thing to copy."""
    from memory_core.spec import MemoryResourceSpec  # noqa: PLC0415 - only this test

    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]

    for example in yaml.safe_load(annotations["artifacthub.io/crdsExamples"]):
        MemoryResourceSpec.model_validate(example["spec"])
