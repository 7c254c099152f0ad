"""What is compared: a bundle's weights in a runtime and a precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medkd.bundle import Bundle, read_bundle
from medkd.bundle.runtimes import PRECISIONS, exported_path
from medkd.networks.exported import RUNTIMES

__all__ = ["Candidate", "candidates"]


@dataclass(frozen=True)
class Candidate:
    """One line of the table.

    Attributes:
        name: of the network.
        bundle: its folder, with ``inference.yaml``.
        model: the file with its weights.
        runtime: as for ``medkd.bundle.student_network``.
        precision: of an exported file.
    """

    name: str
    bundle: Path
    model: Path
    runtime: str
    precision: str

    @property
    def file(self) -> Path:
        """What is deployed."""
        return self.model if self.runtime == "pytorch" else exported_path(self.model, self.runtime, self.precision)

    def read(self) -> Bundle:
        """Its configurations, with the settings of these weights, and this runtime."""
        found = read_bundle(self.bundle, self.model)
        found.run_by(self.runtime, self.precision)
        return found


def candidates(networks: Sequence[str], runtimes: Sequence[str] = ()) -> list[Candidate]:
    """Every network in every runtime.

    Args:
        networks: folders of bundles, or ``FOLDER=FILE`` with the weights to take in place of ``models/model.pt``: those of
            the teacher, for example. Two folders of one name are called by their paths.
        runtimes: ``pytorch``, ``onnx`` or with a precision ``onnx:int8``; by default PyTorch and whatever was exported.

    Raises:
        FileNotFoundError: for weights, or an exported file, that are not there; all of them at once.
        ValueError: for an unknown runtime, or a folder that is no bundle.
    """
    found, problems = [], []
    parts = list(dict.fromkeys(map(_network, networks)))
    folders = [bundle.name for bundle in {bundle for bundle, _ in parts}]
    for bundle, model in parts:
        name = bundle.name if folders.count(bundle.name) == 1 else str(bundle)
        if model != bundle / "models" / "model.pt":
            name += f" {model.relative_to(bundle).as_posix() if model.is_relative_to(bundle) else model}"
        every = [Candidate(name, bundle, model, *_parts(runtime)) for runtime in runtimes or _all()]
        wanted = every if runtimes else [one for one in every if one.runtime == "pytorch" or one.file.is_file()]
        problems += [str(one.file) for one in wanted if not one.file.is_file()]
        found += wanted
    if problems:
        raise FileNotFoundError(
            f"{', '.join(problems)}: expected trained weights and what `medkd export` made of them, found nothing there"
        )
    return found


def _network(text: str) -> tuple[Path, Path]:
    """The folder of a bundle and its weights."""
    folder, _, file = text.partition("=")
    bundle = Path(folder).resolve()
    return bundle, Path(file).resolve() if file else bundle / "models" / "model.pt"


def _all() -> list[str]:
    more = [f"{runtime}:{precision}" for runtime in ("onnx", "openvino") for precision in PRECISIONS]
    return ["pytorch", "torchscript", *more]


def _parts(text: str) -> tuple[str, str]:
    runtime, _, precision = text.partition(":")
    precision = precision or "fp32"
    if runtime not in ("pytorch", *RUNTIMES) or precision not in PRECISIONS:
        raise ValueError(
            f"expected a runtime (pytorch, {', '.join(RUNTIMES)}), with or without a precision ({', '.join(PRECISIONS)}) "
            f"behind a colon, got {text!r}"
        )
    return runtime, precision
