"""Every command of the documentation, word by word in a shell, where a reader would type it.

What is made smaller is what a reader may edit: the configurations of a working copy of a bundle, and the sources; and the
number of a ladder's seeds. A page that repeats another's words in the same folder types them once.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from medkd.bundle import bundle_path
from medkd.cli import _parser

from ..serving.conftest import METHODS, QUICK, edit
from . import sources
from .pages import PAGES, ROOT, Block, blocks, words

# Not run here, each with the reason; an entry that no page has any more fails.
NOT_RUN = {
    r"pip install ": "the package is installed; what its wheel holds is tested in tests/test_package.py",
    r"make (demo|test)\b": "demos are run by tests/bundles/test_demo.py; the suite does not run itself",
    r"mlflow ui ": "a server that does not end; the store that it shows is read in tests/bundles",
    r"medkd tracking sync ": "a server that was away; tests/test_sync.py stops one and types the same words",
    r"medkd label-env ": "downloads an environment; tests/serving use one",
    r"source SERVER/bin/activate && ": "a server; tests/serving/test_how_to.py starts it with the same words",
    r"dask (scheduler|worker) |CUDA_VISIBLE_DEVICES=1 dask": "other machines; tests/collection has a scheduler of its own",
    r"medkd collection .* --scheduler ": "likewise, with the same words",
    r"python benchmarks/": "hours of training on data that may not be redistributed",
}
ELSEWHERE = {
    "docs/how-to/monai-label.md": "tests/serving/test_how_to.py runs the first and the last block, test_pacs.py the server of the other one"
}
# The parts of pages that are followed in one folder, one after the other: of a page, or of one of its sections.
CARDIAC, POLYP, TUMOUR = (
    "Your cardiac MRI: the ACDC recipe",
    "Your polyp segmenter: smaller",
    "Your tumour maps: from yes and no",
)
CLINIC = "Into the clinic: MONAI Label and DICOM"
FOLLOWED = [("README.md", heading) for heading in ("Two commands", CARDIAC, POLYP, TUMOUR, CLINIC)]
FOLLOWED += [
    (f"docs/how-to/{name}.md", None)
    for name in ("collections", "deploy", "own-method", "report", "slides", "too-slow", "train", "your-data")
]
FOLLOWED += [(f"docs/methods/{name}.md", None) for name in ("compact", "confkd", "ikdmil", "kdas")]
FOLLOWED += [(f"data/{name}/README.md", None) for name in sources.BY_DATASET]
FOLLOWED += [(f"bundles/{name}/docs/README.md", None) for name in METHODS]
FOLLOWED += [("docs/index.md", None), ("docs/tutorials/first-student.md", None)]
QUICKEST = {**QUICK, "max_epochs": 1, "val_interval": 1}


def reason(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, words(command))), None)


def inline(page: str) -> list[str]:
    """Commands of medkd in the sentences of a page; ``…`` stands for what is left out."""
    return [span for span in re.findall(r"`(medkd [^`]+)`", (ROOT / page).read_text()) if "…" not in span]


def part(page: str, heading: str | None = None) -> list[Block]:
    return [block for block in blocks(page) if heading in (None, block.heading)]


class Reader:
    """Types the commands of pages in a folder of its own, with a method's sources under the names that the pages give."""

    def __init__(self, method: str, folder: Path, tools: Path) -> None:
        self.method, self.root = method, folder
        self.typed: set[tuple[Path, str]] = set()
        self.sources = folder / "sources"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")},
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        }
        self.sources.mkdir(parents=True)
        for name, make in (METHODS[bundle_path(method).name].sources if method else {}).items():
            make(self.sources / name)
        self.furnish(folder)

    def furnish(self, folder: Path) -> None:
        """The sources under their names; a working copy of a bundle of a test's size."""
        for source in self.sources.iterdir():
            (folder / source.name).symlink_to(source)
        configs = folder / "configs"
        if not configs.is_dir():
            return
        known = METHODS[bundle_path(self.method).name]
        edit(configs / "train.yaml", **known.small, **QUICKEST, **known.training)
        edit(configs / "inference.yaml", **known.small)
        if (configs / "slides.yaml").is_file():  # which needs tiles that are not squeezed
            edit(configs / "train.yaml", image_size=[64, 64])
        if known.ladder:
            rungs = yaml.safe_load((configs / "ladder.yaml").read_text())["rungs"]
            ladder = {**known.ladder, "rungs": {rung: rungs[rung] for rung in known.ladder["rungs"]}}
            (configs / "ladder.yaml").write_text(yaml.safe_dump(ladder, sort_keys=False))

    def follow(self, parts: list[Block], folder: Path | None = None) -> Path:
        """Type the commands of blocks, each once in a folder; return the folder where they end."""
        folder = folder or self.root
        assert parts
        for block in parts:
            for command in block.commands:
                if not reason(command) and (folder, words(command)) not in self.typed:
                    self.typed.add((folder, words(command)))
                    folder = self.type(command, folder, f"{block.page}:{block.number}, {block.heading}")
        return folder

    def type(self, command: str, folder: Path, place: str = "this test") -> Path:
        where = self.root / "where"
        typed = command.replace("--dataset_dir DIR --seeds 0 1 2", "--dataset_dir DIR --seeds 0")  # of `medkd ladder`
        done = subprocess.run(
            ["bash", "-ec", f"{typed}\npwd > {where}"],
            cwd=folder, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{place}\n$ {command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        found = Path(where.read_text().strip())
        if found != folder:
            self.furnish(found)
        return found

    def copy(self, name: str) -> Path:
        """Another working copy of the bundle."""
        return self.type(f"medkd bundle {self.method} {name} && cd {name}", self.root)


def forget(bundle: Path) -> None:
    """As before its training."""
    for made in ("models", "checkpoints", "eval"):
        shutil.rmtree(bundle / made, ignore_errors=True)


@pytest.fixture
def reader(tools, tmp_path):
    return lambda method: Reader(method, tmp_path, tools)


def test_every_command_is_followed_here_or_has_a_reason():
    everything = [block for page in PAGES if page not in ELSEWHERE for block in blocks(page)]
    followed = [block for page, heading in FOLLOWED for block in part(page, heading)]
    assert sorted(everything, key=str) == sorted(followed, key=str)
    for pattern in NOT_RUN:
        assert any(re.match(pattern, words(c)) for block in everything for c in block.commands), (
            f"{pattern}: on no page"
        )
    for page in ("docs/index.md", "docs/methods/compact.md", "docs/methods/ikdmil.md", "docs/methods/kdas.md"):
        assert all(reason(command) for block in blocks(page) for command in block.commands), page
    (start,) = part("README.md", "Two commands")
    assert all(reason(command) for command in start.commands)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_commands(page, capsys):
    for command in inline(page):
        _, *arguments = command.split()
        if (
            re.fullmatch(r"[a-z0-9 -]+", " ".join(arguments)) and "." not in arguments
        ):  # the name of a verb may stand alone
            with pytest.raises(SystemExit, match=r"^0$"):
                _parser().parse_args([*arguments, "--help"])
        else:
            _parser().parse_args(arguments)


def test_cardiac_mri(reader):
    reader = reader("confkd")
    heart = reader.follow(part("README.md", CARDIAC))
    assert heart == reader.root / "heart"
    reader.follow(part("docs/how-to/train.md"), heart)
    assert len(list((heart / "OUT").glob("*.nii.gz"))) == 1
    assert "kl_entropy − one_branch" in (heart / "ladder" / "ladder.md").read_text()
    reader.follow(part("docs/how-to/report.md"), heart)
    assert "kl_entropy, its teacher" in (heart / "report.html").read_text()
    assert "student" in (heart / "single.html").read_text()
    reader.follow(part("README.md", CLINIC))
    assert (reader.root / "seg.dcm").is_file()
    assert (reader.root / "APP" / "model" / "heart").exists()
    reader.follow(part("bundles/confkd_cardiac_mri_segmentation/docs/README.md"), heart)


def test_the_first_student(reader):
    """With the recipe and the phantoms of the page, smaller, and the ladder as it is shipped."""
    reader, page = reader("confkd"), "docs/tutorials/first-student.md"
    start, *lessons = [block for block in part(page) if not all(map(reason, block.commands))]
    lesson = reader.follow([start])
    assert len(list((lesson / "DIR" / "images").iterdir())) == 28
    shutil.rmtree(lesson / "DIR")
    sources.hearts_of_the_lesson(lesson / "DIR")
    (recipe,) = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    smaller = {"network_def#channels": [4, 8, 16, 16], "patch_size": [32, 32]} | {**QUICKEST, "learning_rate": 0.002}
    assert yaml.safe_load(recipe).keys() == smaller.keys() - {"progress"}
    (lesson / "configs" / "recipes" / "phantoms.yaml").write_text(yaml.safe_dump(smaller))
    shutil.copy(bundle_path("confkd") / "configs" / "ladder.yaml", lesson / "configs")
    reader.follow(lessons, lesson)
    assert {path.name for path in lesson.iterdir()} >= {"worst.png", "OUT", "ladder"}
    assert "| student |" not in (table := (lesson / "ladder" / "ladder.md").read_text())
    assert "kl_entropy − weak_only" in table


def test_a_compact_student(reader):
    reader = reader("compact")
    bundle = reader.follow(part("bundles/compact_segmentation/docs/README.md"), reader.copy("small"))
    assert len(list((bundle / "PREDICTIONS").glob("*.nii.gz"))) == 5
    assert len(list((bundle / "OUT").glob("*.nii.gz"))) == 5
    assert "pixel − teacher" in (bundle / "ladder" / "ladder.md").read_text()


def test_a_model_that_is_too_slow(reader):
    reader = reader("compact")
    for image in sorted((reader.sources / "IMAGES").iterdir())[1:]:  # each takes a program for each runtime
        image.unlink()
    small = reader.follow(part("docs/how-to/too-slow.md"))
    assert {path.name for path in (small / "models").iterdir()} >= {"model.pt", "model.onnx", "model.int8.onnx"}
    assert (small / "eval_int8" / "cases.csv").is_file()
    assert "| openvino | int8 |" in (small / "efficiency" / "table.md").read_text()
    assert "runtime: onnx" in (small / "APP" / "model" / "small" / "configs" / "inference.yaml").read_text()


def test_a_method_of_one_s_own(reader):
    """Its files are those of the page; the ladder's table has its row."""
    reader, page = reader("compact"), "docs/how-to/own-method.md"
    copy, test, ladder = part(page)
    mine = reader.follow([copy])
    text = (ROOT / page).read_text()
    losses, tests = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    rungs, network = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    (mine / "scripts").mkdir()
    for name, content in (("__init__", ""), ("losses", losses), ("test_losses", tests)):
        (mine / "scripts" / f"{name}.py").write_text(content)
    reader.follow([test], mine)
    shipped = bundle_path("compact") / "configs" / "ladder.yaml"
    own = rungs.partition("claims:")[0].removeprefix("rungs:\n"), rungs.partition("claims:\n")[2]
    whole = shipped.read_text().replace("claims:\n", f"{own[0]}claims:\n{own[1]}", 1)
    (mine / "configs" / "ladder.yaml").write_text(whole)
    reader.follow([ladder], mine)
    table = (mine / "ladder" / "ladder.md").read_text()
    assert "| standardised |" in table
    assert "standardised − pixel" in table
    tiny = "from torch import nn\n\n\nclass Tiny(nn.Conv2d):\n    def __init__(self, out_channels):\n"
    tiny += "        super().__init__(1, out_channels, 3, padding=1)\n"
    (mine / "scripts" / "networks.py").write_text(tiny)
    for name in ("train", "inference"):
        edit(mine / "configs" / f"{name}.yaml", **yaml.safe_load(network))
    run = "python -m monai.bundle run --config_file configs"
    reader.type(f"{run}/train.yaml --dataset_dir DIR --pixel_weight 0", mine, page)
    reader.type(f"{run}/inference.yaml --dataset_dir IMAGES --output_dir OUT", mine, page)
    assert list((mine / "OUT").glob("*.nii.gz"))


def test_the_page_of_confkd(reader):
    reader = reader("confkd")
    one_branch, released = (one for one in part("docs/methods/confkd.md") if not all(map(reason, one.commands)))
    for block, classes in ((one_branch, "all"), (released, "lv")):
        bundle = reader.copy(classes)
        reader.type(f"medkd data acdc ACDC_FOLDER DIR --strong 3 --weak scribble --classes {classes}", bundle)
        reader.follow([block], bundle)
        assert (bundle / "models" / "model.pt").is_file()


def test_data_of_one_s_own(reader):
    reader = reader("confkd")
    page = "docs/how-to/your-data.md"
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    sources.own_data(reader.root / "DIR", example, classes=3)
    check, slices, volumes = part(page)
    reader.follow([check])
    liver = reader.root / "liver"
    labels = '"labels": {"0": "background", "1": "liver", "2": "tumour"}'
    sources.own_data(reader.sources / "DIR", re.sub(r'"labels": \{.*\}', labels, example), classes=2)
    assert reader.follow([slices]) == liver
    forget(liver)
    reader.follow([volumes], liver)
    for command in ("medkd show .", "medkd freeze ."):
        assert command in inline(page)
        reader.type(command, liver, page)


def test_polyps(reader):
    reader = reader("kdas")
    polyp = reader.follow(part("README.md", POLYP))
    assert (polyp / "scores.json").is_file()
    (reader.root / "BUNDLE").symlink_to(polyp)
    reader.follow(part("docs/how-to/deploy.md"))
    assert {path.name for path in (polyp / "models").iterdir()} >= {"model.pt", "model.onnx", "model.ts", "model.pt2"}
    deployed = reader.root / "APP" / "model" / "kdas_polyp" / "models" / "model.pt"
    assert deployed.read_bytes() == (polyp / "models" / "model.pt").read_bytes()
    reader.follow(part("bundles/kdas_polyp_segmentation/docs/README.md"), polyp)


def test_tumour_maps(reader):
    reader = reader("ikdmil")
    tumour = reader.follow(part("README.md", TUMOUR))
    assert len(list((tumour / "OUT").glob("tile*_seg.png"))) == 20
    assert (tumour / "OUT" / "ring_contours.geojson").is_file()
    reader.follow(part("docs/how-to/slides.md"), tumour)
    reader.follow(part("docs/how-to/collections.md"), tumour)
    assert (tumour / "MAPS" / "ring_contours.geojson").is_file()
    reader.follow(part("bundles/ikdmil_histology_segmentation/docs/README.md"), reader.copy("another"))


@pytest.mark.parametrize("dataset", sources.BY_DATASET)
def test_recipes_of_datasets(reader, dataset):
    reader = reader("")
    for name, make in sources.BY_DATASET[dataset].items():
        make(reader.root / name)
    reader.follow(part(f"data/{dataset}/README.md"))
    assert (reader.root / "OUTPUT" / "datalist.json").is_file()
