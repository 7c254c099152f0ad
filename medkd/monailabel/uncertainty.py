"""Active learning: the study of which a student is least certain comes first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from torch import Tensor

from medkd.bundle import read_metadata
from medkd.files import sha256

__all__ = ["EntropyScoring", "LeastCertain", "mean_entropy"]

_logger = logging.getLogger(__name__)


def mean_entropy(output: Tensor, *, probabilities: bool = False) -> float:
    """Mean over pixels of the prediction's entropy, as a share of the largest there can be, in [0, 1].

    Args:
        output: of a network, ``[K, *spatial]`` logits; with ``K = 1`` one class against the background.
        probabilities: it holds probabilities already.
    """
    if output.shape[0] == 1:
        foreground = output.clamp(0, 1) if probabilities else output.sigmoid()
        p = torch.cat([1 - foreground, foreground])
    else:
        p = output if probabilities else output.softmax(0)
    entropy = -(p * p.clamp_min(1e-12).log()).sum(0).mean()
    return float(entropy / torch.log(torch.tensor(float(p.shape[0]))))


class EntropyScoring(ScoringMethod):  # type: ignore[misc] # the server is not installed where medkd is checked
    """Score every unlabelled study by ``mean_entropy``; a score stays until the model changes.

    A study that cannot be read or is of another kind has no score, and the log says why; nor has a whole slide, which is
    annotated by regions.

    Args:
        name: of the model.
        task: infers with it.
    """

    def __init__(self, name: str, task: Any) -> None:
        super().__init__(f"Mean entropy of {name}")
        self.name, self.task = name, task

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """Score what has no score of this version of the model."""
        version, probabilities = model_version(self.task.bundle_path), _gives_probabilities(self.task.bundle_path)
        scored = 0
        for image in datastore.get_unlabeled_images():
            info = dict(datastore.get_image_info(image) or {})
            known = dict(info.get("medkd") or {})
            if known.get(self.name, {}).get("version") == version:
                continue
            entropy = self._score(datastore, image, request, probabilities)
            known[self.name] = {"version": version, "entropy": entropy}
            datastore.update_image_info(image, {"medkd": known})
            scored += 1
        return {"scored": scored}

    def _score(self, datastore: Any, image: str, request: Mapping[str, Any], probabilities: bool) -> float | None:
        try:
            path = datastore.get_image_uri(image)
            place = {"image": path, "image_path": path, "device": request.get("device", "cpu")}
            data = {**self.task.config(), **request, **place}
            data = self.task.run_pre_transforms(data, self.task.pre_transforms(data))
            data = self.task.run_inferer(data, device=data["device"])
        except Exception as error:  # noqa: BLE001 - one unreadable study must not end the scoring of the others
            _logger.info("%s: no score by %s (%s)", image, self.name, error.__cause__ or error)
            return None
        return mean_entropy(torch.as_tensor(data[self.task.output_label_key]).float(), probabilities=probabilities)


class LeastCertain(Strategy):  # type: ignore[misc] # the server is not installed where medkd is checked
    """Offer the unlabelled study with the highest score of the request's ``model`` (or of any).

    Where none has a score yet, the first by name is offered.

    Args:
        bundles: folders of the models by name, as they are at the moment of a request.
    """

    def __init__(self, bundles: Mapping[str, Path]) -> None:
        super().__init__("The study of which the student is least certain")
        self.bundles = bundles

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any] | None:
        """``{"id": image, "weight": score}``; ``None`` if all are labelled."""
        images = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not images:
            return None
        wanted = [request["model"]] if request.get("model") in self.bundles else list(self.bundles)
        versions = {name: model_version(self.bundles[name]) for name in wanted}
        scores = {image: _best(datastore.get_image_info(image), versions) for image in images}
        chosen = max(images, key=lambda image: scores[image])
        return {"id": chosen, "weight": max(0.0, scores[chosen])}


def model_version(bundle: str | Path) -> str:
    """Tells one state of a student from another."""
    return sha256(Path(bundle) / "models" / "model.pt")


def _best(info: Mapping[str, Any] | None, versions: Mapping[str, str]) -> float:
    """The highest score by a present version; −1 for none."""
    known = (info or {}).get("medkd") or {}
    scores = [known.get(name, {}) for name in versions]
    present = [s["entropy"] for s, v in zip(scores, versions.values(), strict=True) if s.get("version") == v]
    return max((score for score in present if score is not None), default=-1.0)


def _gives_probabilities(bundle: str | Path) -> bool:
    output = next(iter(read_metadata(Path(bundle))["network_data_format"]["outputs"].values()))
    return list(output.get("value_range") or []) == [0, 1]
