"""One case by one candidate, as a program of its own: ``python -m medkd.efficiency.case``; it prints its times as JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Read, infer and post-process an image, once and again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    for name in ("bundle", "model", "runtime", "precision"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--again", type=int, required=True)
    options = parser.parse_args()

    import torch

    from medkd.bundle import infer
    from medkd.efficiency.candidates import Candidate

    torch.set_num_threads(options.threads)
    place = Path(options.bundle), Path(options.model)
    found = Candidate("", *place, options.runtime, options.precision).read()
    found.inference.update({"device": "cpu"})
    network = found.student()
    infer(found.inference, network, options.image)
    times = []
    for _ in range(options.again):
        begun = time.perf_counter()
        infer(found.inference, network, options.image)
        times.append(time.perf_counter() - begun)
    sys.stdout.write(json.dumps({"warm": statistics.median(times), "again": sum(times)}) + "\n")


if __name__ == "__main__":
    main()
