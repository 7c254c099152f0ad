"""One process against two with half its batch each: the loss terms of every epoch, and images per second.

Trainings of a bundle on phantoms, by Gloo on CPUs, one thread for each process, in float32. Two processes draw what the one draws.

    python benchmarks/processes.py [confkd kdas ikdmil compact] [--epochs 3] [--steps 8] [--frozen_batch_norm]

With ``--frozen_batch_norm`` batch norm keeps the statistics that it has, instead of those of a process's own images: what is then
left of a difference is not batch norm's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from trainings import BUNDLES, METHODS, known, on_phantoms

# The key of the batch, and the batch of the one process.
BATCH = {
    "confkd": ("volumes_per_batch", 8),
    "kdas": ("batch_size", 16),
    "ikdmil": ("batch_size", 16),
    "compact": ("images_per_batch", 8),
}
_CLOCK = "$print('SECONDS', @train#trainer.state.times['EPOCH_COMPLETED'], flush=True)"  # of the last epoch
# Read as False even where train() sets it. (One line, for it travels in a configuration.)
_FROZEN = (
    "$setattr(torch.nn.modules.batchnorm._BatchNorm, 'training', property(lambda self: False, lambda self, mode: None))"
)


def train(
    method: str, folder: Path, settings: dict[str, Any], processes: int, frozen: bool
) -> tuple[float, dict[tuple[str, int], float]]:
    """Seconds of the last epoch, and the loss terms by name and epoch."""
    configs, store = BUNDLES / METHODS[method] / "configs", f"sqlite:///{folder / 'mlruns.db'}"
    folder.mkdir()
    changes = {
        "finalize": [_CLOCK, "$medkd.distributed.stop()"][:processes],
        "+initialize": [_FROZEN] if frozen else [],
    }
    (folder / "changes.json").write_text(json.dumps(changes))
    files = ["train.yaml", "multi_gpu_train.yaml"][:processes]
    names = [*(str(configs / name) for name in files), str(folder / "changes.json")]
    own = {
        "bundle_root": folder,
        "tracking": configs / "tracking.yaml",
        "tracking_uri": store,
        "amp": "false",
        "progress": "false",
    }
    command = ["-m", "monai.bundle", "run", "--config_file", str(names)]
    for key, value in {**settings, **own}.items():
        command += [f"--{key}", str(value)]
    if processes > 1:
        command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    seconds = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    client = mlflow.MlflowClient(store)
    (run,) = [run for one in client.search_experiments() for run in client.search_runs(one.experiment_id)]
    terms = [name for name in run.data.metrics if name.startswith("train/")]
    return max(seconds), {
        (name, point.step): point.value for name in terms for point in client.get_metric_history(run.info.run_id, name)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(BATCH), type=known)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--frozen_batch_norm", action="store_true")
    options = parser.parse_args()
    print(
        "| bundle | largest difference of a term: in the first epoch | in all | images per second, two processes over one |"
    )
    print("|---|---|---|---|")
    for method in options.methods:
        key, batch = BATCH[method]
        with tempfile.TemporaryDirectory() as made:
            found = on_phantoms(method, Path(made) / "data")
            settings = {
                **found,
                "max_epochs": options.epochs,
                "epoch_length": options.steps,
                "val_interval": 0,
            }
            (one, alone), (two, pair) = (
                train(method, Path(made) / f"{n}", {**settings, key: batch // n}, n, options.frozen_batch_norm)
                for n in (1, 2)
            )
        apart = {place: abs(alone[place] - pair[place]) for place in alone}
        first = max(apart, key=lambda place: apart[place] if place[1] == 1 else -1)
        most = max(apart, key=apart.__getitem__)
        cells = [f"{apart[place]:.4f} ({place[0].removeprefix('train/')})" for place in (first, most)]
        print(f"| {method} | {' | '.join(cells)} | {one / two:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
