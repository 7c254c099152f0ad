"""Arguments of commands that run a student, exported or not."""

from __future__ import annotations

import argparse

__all__ = ["add_runtime"]


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """``--runtime`` and ``--precision``, keys of ``inference.yaml``, which says them otherwise."""
    parser.add_argument(
        "--runtime",
        choices=["pytorch", "torchscript", "exported_program", "onnx", "openvino"],
        default=None,
        help="what runs the student, as `medkd export` wrote it (default: what inference.yaml says, pytorch)",
    )
    parser.add_argument("--precision", choices=["fp32", "fp16", "int8"], default=None, help="of the exported student")
