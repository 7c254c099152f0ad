"""What a MONAI Label server takes for one study, by stage, for the three bundles with the networks that they ship.

A real server of medkd's app answers requests for one image, of each bundle in every runtime in turn; medians of its own clock are
printed, and of the client's, which waits for the mask. Weights do not change these figures: they are random, unless a student is
given, and an image in the place of noise. The last column is the lowest Dice of a class between the mask and the first runtime's.
A student with a datalist runs in 8 bits too (`onnx-int8`, `openvino-int8`); `pytorch-float32` is PyTorch without bfloat16.

    python benchmarks/serving.py SERVER/bin/python [--rounds 7] [--runtimes pytorch onnx]     (SERVER: made by `medkd label-env`)
    python benchmarks/serving.py SERVER/bin/python --bundles confkd_cardiac_mri_segmentation --student MODEL.pt --heart STUDY.nii.gz \
        --dataset_dir DIR --runtimes pytorch-float32 pytorch onnx openvino onnx-int8 openvino-int8
"""

import argparse
import gzip
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import requests
import torch
from monai.bundle import ConfigParser
from PIL import Image

from medkd.bundle.runtimes import exported_path
from medkd.export import export_bundle
from medkd.serving import deploy

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
NETWORKS = {
    "confkd_cardiac_mri_segmentation": "heart",
    "compact_segmentation": "heart",
    "kdas_polyp_segmentation": "polyp",
    "ikdmil_histology_segmentation": "tile",
}
METHODS = [name for name in NETWORKS if name != "compact_segmentation"]  # which ships no network of its own size
SIZES = {"heart": (216, 256, 10), "polyp": (384, 288), "tile": (512, 512)}
STAGES = ("Pre", "Inferer", "Post", "Write", "Total")
RUNTIMES = ["pytorch", "pytorch-float32", "onnx", "openvino", "onnx-int8", "openvino-int8"]
PORT = 8097


def make_studies(folder: Path, heart: Path | None) -> Path:
    """Noise in the sizes of an ACDC volume, a CVC-ClinicDB frame and a tile; or a volume that there is."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    volume = rng.normal(size=SIZES["heart"]).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.4, 1.4, 10, 1])), folder / "heart.nii.gz")
    if heart:
        shutil.copy(heart, folder / "heart.nii.gz")
    for name in ("polyp", "tile"):
        pixels = rng.integers(0, 255, (*SIZES[name][::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def make_app(
    folder: Path, studies: Path, names: list[str], runtimes: list[str], student: Path | None, dataset_dir: Path | None
) -> Path:
    """The bundles with random weights, or a student, deployed in every runtime."""
    for name in names:
        bundle = folder / name
        shutil.copytree(BUNDLES / name, bundle, ignore=shutil.ignore_patterns("models", "checkpoints", "eval", "data"))
        (bundle / "models").mkdir()
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / "inference.yaml"))
        network = parser.get_parsed_content("network_def")
        torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")
        if student:
            shutil.copy(student, bundle / "models" / "model.pt")
        for label in runtimes:
            runtime, _, said = label.partition("-")
            precision = "int8" if said == "int8" else "fp32"
            if runtime != "pytorch" and not exported_path(bundle / "models" / "model.pt", runtime, precision).exists():
                (image,) = studies.glob(f"{NETWORKS[name]}.*")
                with_data = {"images": image} if precision == "fp32" else {"dataset_dir": dataset_dir}
                export_bundle(bundle, format="onnx", precision=precision, **with_data)
            deploy(bundle, folder / "app", name=f"{name}_{label}", runtime=runtime, precision=precision)
            if said == "float32":
                config = folder / "app" / "model" / f"{name}_{label}" / "configs" / "inference.yaml"
                config.write_text(config.read_text().replace("amp: auto", "amp: false"))
    return folder / "app"


def ask(name: str, runtime: str, device: str) -> tuple[float, np.ndarray]:
    """Seconds until the mask is there, and the mask."""
    started = time.perf_counter()
    where = f"http://127.0.0.1:{PORT}/infer/{name}_{runtime}?image={NETWORKS[name]}&output=image"
    answer = requests.post(where, data={"params": json.dumps({"device": device})}, timeout=600)
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    if NETWORKS[name] != "heart":
        return seconds, np.asarray(Image.open(io.BytesIO(answer.content)))
    return seconds, np.asanyarray(nib.Nifti1Image.from_bytes(gzip.decompress(answer.content)).dataobj)


def agreement(mask: np.ndarray, other: np.ndarray) -> float:
    """The lowest Dice of a class that either has."""
    classes = np.union1d(np.unique(mask), np.unique(other))
    found = [(mask == one, other == one) for one in classes[classes > 0]]
    return min((2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in found), default=1.0)


def answers() -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{PORT}/info/", timeout=5).ok
    except requests.RequestException:
        return False


def scoring() -> bool:
    """Whether the server computes the entropy of its studies, as it does in the background after its start."""
    return "RUNNING" in requests.get(f"http://127.0.0.1:{PORT}/scoring/?all=true", timeout=60).text


def report(name: str, runtime: str, log: str, client: list[float], same: float) -> None:
    """One row; the first request, in which the network is loaded, is told apart."""
    lines = [line for line in log.splitlines() if "++ Latencies" in line]
    stages = {stage: [float(re.search(rf"{stage}: ([\d.]+)", line)[1]) for line in lines] for stage in STAGES}
    size = " × ".join(map(str, SIZES[NETWORKS[name]]))
    middle = [1000 * statistics.median(stages[stage][1:]) for stage in STAGES]
    cells = [f"{value:.0f}" for value in [*middle, 1000 * statistics.median(client[1:]), 1000 * client[0]]]
    print("| " + " | ".join([name, runtime, size, *cells, f"{same:.4f}"]) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path, help="of the server's environment")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bundles", nargs="+", default=METHODS, choices=NETWORKS)
    parser.add_argument("--runtimes", nargs="+", default=["pytorch", "onnx"], choices=RUNTIMES)
    parser.add_argument("--student", type=Path, default=None, help="models/model.pt of a bundle that was trained")
    parser.add_argument("--dataset_dir", type=Path, default=None, help="a datalist, for 8 bits")
    parser.add_argument("--heart", type=Path, default=None, help="a cardiac volume")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder, log = Path(made), Path(made) / "server.log"
        studies = make_studies(folder / "studies", options.heart)
        app = make_app(folder, studies, options.bundles, options.runtimes, options.student, options.dataset_dir)
        command = [options.python.parent.absolute() / "monailabel", "start_server", "--app", app, "--studies", studies]
        command += ["--host", "127.0.0.1", "--port", str(PORT)]
        path = f"{options.python.parent.absolute()}{os.pathsep}{os.environ['PATH']}"
        with log.open("w") as file:
            process = subprocess.Popen(
                list(map(str, command)), stdout=file, stderr=file, cwd=folder, env={**os.environ, "PATH": path},
                start_new_session=True,
            )  # fmt: skip
        try:
            while not answers():
                if process.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.5)
            time.sleep(5)  # until it begins
            while scoring():
                time.sleep(1)
            print(
                "| bundle | runtime | image | load | network | back to the image | write | server | client | first request | agreement |"
            )
            for name in options.bundles:
                logs, clients = dict.fromkeys(options.runtimes, ""), {one: [] for one in options.runtimes}
                masks: dict[str, np.ndarray] = {}
                for _ in range(options.rounds + 1):
                    for runtime in options.runtimes:
                        before = len(log.read_text())
                        seconds, masks[runtime] = ask(name, runtime, options.device)
                        clients[runtime].append(seconds)
                        logs[runtime] += log.read_text()[before:]
                for runtime in options.runtimes:
                    same = agreement(masks[runtime], masks[options.runtimes[0]])
                    report(name, runtime, logs[runtime], clients[runtime], same)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
