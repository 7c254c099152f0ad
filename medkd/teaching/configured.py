"""A teacher that is an inference configuration: that of a bundle, or a file that names an exported network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from monai.transforms import Activationsd, Compose, Invertd
from torch import Tensor, nn

from medkd.bundle.code import code_in, is_shipped
from medkd.bundle.scripts import find_scripts
from medkd.bundle.settings import adopt, settings_of
from medkd.files import sha256
from medkd.networks import ExportedNetwork
from medkd.networks.checkpoints import load_model
from medkd.reading.images import upright

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["ConfiguredTeacher", "Teacher", "load_teacher"]

_SUFFIXES = (".json", ".yaml", ".yml")


class Teacher(Protocol):
    """Whatever gives the probabilities of an image's pixels."""

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from another one."""

    def predict(self, image: str | Path) -> Tensor:
        """Probabilities ``[K − 1, *spatial]`` of the classes from 1 on, in the geometry of the file."""


class ConfiguredTeacher:
    """The network of a configuration, on images that are prepared as the configuration says.

    Args:
        parser: with ``preprocessing``, ``inferer``, ``network_def`` or ``network``, and perhaps ``postprocessing``.
        file: the configuration's file.
        weights: of the network; ``None``: it has them.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``; ``None``: that of ``postprocessing``, else softmax of
            several channels, unless they are probabilities already (of an exported network with its softmax inside); a
            single channel without one is a probability already.

    Attributes:
        identity: the configuration, and the hashes of its file and of the weights.
    """

    def __init__(
        self, parser: ConfigParser, file: Path, *, weights: Path | None = None, activation: str | None = None
    ) -> None:
        lacking = [key for key in ("preprocessing", "inferer") if key not in parser]
        lacking += [] if "network_def" in parser or "network" in parser else ["network_def"]
        if lacking:
            raise ValueError(f"{file}: expected {', '.join(lacking)} in the configuration of a teacher, found none")
        self.file, self.activation = file, activation
        network: nn.Module = parser.get_parsed_content("network_def" if "network_def" in parser else "network")
        exported = [module.path for module in network.modules() if isinstance(module, ExportedNetwork)]
        if not (weights or exported) and isinstance(parser.get("network_def"), Mapping):
            raise ValueError(
                f"{file}: expected a network with weights, {{_target_: medkd.networks.ExportedNetwork, path: …}} for example, found "
                "a network_def that starts from random ones; of a bundle name the folder, which has models/model.pt"
            )
        self.network = (load_model(weights, network, bare=True) if weights else network).eval()
        self.device = torch.device(parser.get_parsed_content("device"))
        self.network.to(self.device)
        self.inferer = parser.get_parsed_content("inferer")
        self.before = Compose(_transforms(parser, "preprocessing"))
        self.activations = [t for t in _transforms(parser, "postprocessing") if isinstance(t, Activationsd)]
        self.back = Invertd("pred", self.before, orig_keys="image", nearest_interp=False, to_tensor=True)
        self.identity = {"teacher": str(file), "configuration_sha256": sha256(file), "activation": activation or ""}
        files = [weights] if weights else exported
        self.identity["weights_sha256"] = " ".join(map(sha256, files)) or _digest(self.network)

    @torch.no_grad()
    def predict(self, image: str | Path) -> Tensor:
        """Probabilities ``[K − 1, *spatial]`` of the classes from 1 on, in the geometry of the file.

        Raises:
            ValueError: if they are none, overlap, or are not brought back to the image.
        """
        with upright(image) as path:
            item = self.before({"image": str(path)})
        shape = getattr(item["image"], "meta", {}).get("spatial_shape")
        if shape is None:  # Invertd would only warn, and leave the prediction where it is
            raise ValueError(
                f"{self.file}: expected preprocessing that keeps the image's meta data (track_meta), to bring the "
                "prediction back to the image, found none behind it"
            )
        logits = self.inferer(item["image"][None].to(self.device), self.network)[0].float().cpu()
        item["pred"] = self._foreground(logits, image)
        result: Tensor = self.back(item)["pred"].clamp(0, 1)
        expected, found = tuple(map(int, shape)), tuple(result.shape[1:])
        if found != expected:
            raise ValueError(f"{image}: expected a prediction of its shape {expected}, found {found}")
        return result

    def _foreground(self, logits: Tensor, image: str | Path) -> Tensor:
        """The probabilities on the network's grid: only what is zero outside may be brought back from there."""
        values = self._activated(logits)
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{self.file}: expected finite probabilities, found others for {image}")
        lowest, highest = float(values.min()), float(values.max())
        total = values.sum(0)
        exclusive = len(values) == 1 or float((total - 1).abs().max()) < 0.01
        if min(lowest, 1 - highest) < -1e-3 or not exclusive:
            raise ValueError(
                f"{self.file}: expected probabilities of classes that exclude each other, found for {image} "
                f"{len(values)} channels from {lowest:.3g} to {highest:.3g}, with sums from {float(total.min()):.3g} "
                f"to {float(total.max()):.3g}; --activation names another than the configuration has"
            )
        return values if len(values) == 1 else values[1:]

    def _activated(self, logits: Tensor) -> Tensor:
        if self.activation is None and self.activations:
            for activation in self.activations:
                logits = torch.as_tensor(activation(dict.fromkeys(activation.keys, logits))[activation.keys[0]])
            return logits
        kind = self.activation or ("softmax" if len(logits) > 1 and not _are_probabilities(logits) else "none")
        return logits.softmax(0) if kind == "softmax" else logits.sigmoid() if kind == "sigmoid" else logits


def _digest(network: nn.Module) -> str:
    """Of weights that an expression has loaded from wherever."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _are_probabilities(values: Tensor) -> bool:
    """Whether channels are from 0 to 1 and sum to one everywhere, as logits never do."""
    return float(values.min()) >= 0 and bool(torch.isclose(values.sum(0), torch.ones(()), atol=1e-3).all())


def load_teacher(
    path: str | Path, *, trust: bool = False, device: str = "cpu", activation: str | None = None
) -> ConfiguredTeacher:
    """A teacher from the folder of a bundle, or from one configuration file.

    Either has what MONAI's bundles have for inference: ``preprocessing``, ``inferer``, ``postprocessing``, and
    ``network_def`` or ``network``. The weights of a bundle are ``models/model.pt``. A file's network has its weights
    itself: ``{_target_: medkd.networks.ExportedNetwork, path: "$@bundle_root + '/model.onnx'"}``, where ``bundle_root`` is
    the file's folder.

    Args:
        path: the folder, or the ``.yaml`` or ``.json`` file.
        trust: run the code that stands in the configuration.
        device: of the network.
        activation: as for ``ConfiguredTeacher``.

    Raises:
        FileNotFoundError: if there is no configuration, or no weights.
        PermissionError: if the configuration is none that medkd ships, and ``trust`` is false, with the code in it.
        ValueError: if a part is missing, or the weights do not fit.
    """
    from monai.bundle import ConfigParser

    path = Path(path).resolve()
    file = _config_file(path)
    parser = ConfigParser()
    parser.read_config(str(file))
    if not (trust or is_shipped(file)):
        shown = "\n".join(f"  {place}: {text}" for place, text in code_in(parser.get()))
        raise PermissionError(f"{file}: this would run\n{shown}\nRead it, and add --trust if you trust who wrote it.")
    root = path if path.is_dir() else path.parent
    find_scripts(root)
    parser.update({"bundle_root": str(root), "device": device})
    weights = path / "models" / "model.pt" if path.is_dir() else None
    if (
        weights and weights.is_file() and settings_of(weights)
    ):  # a student of medkd, which knows what it was trained with
        adopt(parser, weights)
    return ConfiguredTeacher(parser, file, weights=weights, activation=activation)


def _config_file(path: Path) -> Path:
    if path.suffix in _SUFFIXES and path.is_file():
        return path
    files = [path / "configs" / f"inference{suffix}" for suffix in _SUFFIXES]
    found = [file for file in files if file.is_file()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{path}: expected the folder of a bundle with one configs/inference.yaml or .json, or such a file, "
            f"found {'another one' if path.is_file() else len(found) or 'none'}"
        )
    return found[0]


def _transforms(parser: ConfigParser, key: str) -> list[Any]:
    content: Any = parser.get_parsed_content(key) if key in parser else []
    return list(content.transforms if isinstance(content, Compose) else content)
