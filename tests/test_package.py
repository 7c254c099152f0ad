"""The package's face: cheap to import, complete, documented."""

import importlib
import inspect
import subprocess
import sys

import pytest

import medkd

SUBPACKAGES = [
    *("bundle", "datasets", "engines", "handlers", "ladder", "losses", "metrics", "networks", "reading", "transforms"),
    *("dicom", "distributed", "errors", "export", "infer", "outputs", "pooling", "score", "serving"),
    *("cli", "demo", "files", "program", "runs", "visualise", "handlers.tracking", "handlers.segmentation_scores"),
    *("networks.checkpoints", "losses.divergence", "losses.confkd_released", "ladder.table", "ladder.mlflow_parent"),
    *("collection", "collection.slides", "collection.studies", "collection.teachers"),
    *("slides", "handlers.slide_maps", "datasets.camelyon16", "datasets.digestpath", "datasets.split"),
    *("report", "report.cases", "report.curves", "report.figures", "report.numbers", "report.tables", "metrics.trust"),
    *("reading.slides", "reading.annotations", "reading.tiles", "metrics.selection", "bundle.command_line"),
]


def public(module_name):
    module = importlib.import_module(f"medkd.{module_name}")
    return [(name, getattr(module, name)) for name in module.__all__]


def test_importing_the_root_imports_nothing_heavy():
    code = "import medkd, sys; print(sorted({'torch', 'monai', 'numpy', 'mlflow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_subpackage_is_imported_when_it_is_first_used():
    code = "import medkd, sys; assert 'medkd.losses' not in sys.modules; print(medkd.losses.ConfKDLoss.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ConfKDLoss"


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'medkd' has no attribute 'nonsense'"):
        medkd.nonsense  # noqa: B018


@pytest.mark.parametrize("name", medkd.__all__)
def test_every_name_of_the_root_is_a_module(name):
    assert inspect.ismodule(getattr(medkd, name))


@pytest.mark.parametrize("module_name", SUBPACKAGES)
def test_every_public_name_resolves_and_is_documented(module_name):
    undocumented = []
    for name, item in public(module_name):
        if not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        if not inspect.getdoc(item):
            undocumented.append(name)
        if inspect.isclass(item):
            members = {key: value for key, value in vars(item).items() if not key.startswith("_")}
            undocumented += [
                f"{name}.{key}"
                for key, value in members.items()
                if (inspect.isfunction(value) or isinstance(value, (property, staticmethod, classmethod)))
                and not inspect.getdoc(value)
            ]
    assert undocumented == []


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert medkd.__version__ == version("medkd")
