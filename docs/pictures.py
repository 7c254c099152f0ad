"""The pictures of the how-to pages that are drawn: ``python docs/pictures.py`` writes them to ``docs/images``.

Figures are read from the pages' own tables, so that a picture cannot say something else than its page.
``python docs/pictures.py mlflow`` trains a ladder for minutes and takes the picture of MLflow's page of it (``screenshots.py``).
Other screenshots, and what a trained student found, are not made here; their pages say how they were made.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
import torch

from medkd.datasets import load_datalist, make_cardiac_phantoms

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parent
BLUE, ORANGE, GREEN, YELLOW, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#F0E442",
    "#7f7f7f",
)  # Okabe-Ito: told apart by everyone


def table(page: str, first: str) -> list[list[str]]:
    """The rows below the header of the page's table whose first line begins with these words."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


def save(figure: Any, name: str) -> None:
    """A PNG for a page, light whatever the reader's colours are."""
    figure.savefig(DOCS / "images" / name, dpi=110, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def supervision() -> None:
    """One phantom as an image, with its full mask, with a sparse label, and with none."""
    with TemporaryDirectory() as folder:
        make_cardiac_phantoms(Path(folder) / "data", strong=1, weak=0, validation=1, test=1)
        (item,) = load_datalist(Path(folder) / "data", "training")
        keys = ("image", "label", "weak_label")
        image, full, sparse = (np.asanyarray(nib.load(item[key]).dataobj)[16:80, 16:80, 3].T for key in keys)
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.9), layout="constrained")
    masks = (full, sparse, np.full_like(full, 255))
    titles = ("strong: every pixel", "weak: some pixels", "none: an image alone")
    colours = matplotlib.colors.ListedColormap([YELLOW, BLUE, ORANGE, GREEN])
    for axis, mask, title in zip(axes, masks, titles, strict=True):
        axis.imshow(image, cmap="gray")
        shown = np.ma.masked_where((mask == 255) | ((mask == 0) & (mask is full)), mask)
        axis.imshow(shown, cmap=colours, vmin=0, vmax=3, alpha=0.85, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    save(figure, "supervision.png")


def speed() -> None:
    """How many times as fast as the teacher in PyTorch each network is in each runtime, from the page of KDAS."""
    rows = table("methods/kdas.md", "| network | file, MB (8 bits) | PyTorch |")
    runtimes = ("PyTorch", "TorchScript", "ONNX Runtime", "OpenVINO", "ONNX Runtime, 8 bits", "OpenVINO, 8 bits")
    figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    for number, (row, colour) in enumerate(zip(rows, (GREY, BLUE, ORANGE), strict=True)):
        times = [1.0 if cell.endswith("ms") else float(cell.split()[0]) for cell in row[2:]]
        places = np.arange(len(times)) + (number - 1) * 0.27
        axis.bar_label(axis.bar(places, times, 0.26, color=colour, label=row[0]), fmt="%.1f", fontsize=7)
    axis.set_xticks(range(len(runtimes)), [name.replace(", ", ",\n") for name in runtimes], fontsize=8)
    axis.set_ylabel("times the teacher's speed in PyTorch")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save(figure, "speed.png")


def cost() -> None:
    """Dice against the size of the file, from the table of the page on deployment; labels are the rows' own words."""
    figure, axis = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    for network, runtime, precision, _, _, _, size, dice in table("how-to/deploy.md", "| network | runtime |"):
        colour = GREY if network == "teacher" else BLUE if precision == "fp32" else ORANGE
        axis.scatter(float(size), float(dice), s=60, color=colour, marker="s" if network == "teacher" else "o")
        above = (network, runtime) != ("student", "pytorch")  # ONNX has the same Dice in the same place
        label = f"{network}, {runtime}, {precision}" if network == "student" else network
        axis.annotate(
            label,
            (float(size), float(dice)),
            (0, 8 if above else -15),
            textcoords="offset points",
            fontsize=8,
            ha="center",
        )
    axis.set(xlabel="file, MB", ylabel="validation Dice", xlim=(0, 22), ylim=(0.842, 0.850))
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, "cost.png")


def standardised() -> None:
    """What the loss of the page on own methods sees of a teacher, and of the same teacher half as sure; the code is the page's."""
    page = (DOCS / "how-to/own-method.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "own-method.md", "exec"), names)  # noqa: S102 - our own page
    logits = torch.tensor([2.0, 1.0, -1.5])
    teachers = {"teacher": logits, "the same, half as sure and shifted": logits / 2 + 1}
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.9), layout="constrained", sharey=True)
    for axis, title in zip(axes, ("logits of a pixel", "standardised: what the student copies"), strict=True):
        for number, (name, values) in enumerate(teachers.items()):
            shown = values if axis is axes[0] else names["standardised"](values.view(1, 3, 1)).flatten()
            axis.bar(np.arange(3) + 0.4 * (number - 0.5), shown, 0.38, color=(BLUE, ORANGE)[number], label=name)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(range(3), ["class 0", "class 1", "class 2"])
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False, fontsize=8)
    save(figure, "standardised.png")


if __name__ == "__main__":
    if sys.argv[1:] == ["mlflow"]:
        from screenshots import mlflow

        sys.exit(mlflow())
    for draw in (supervision, speed, cost, standardised):
        draw()
