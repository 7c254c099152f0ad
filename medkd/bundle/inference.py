"""A bundle's inference on one image, in the steps of a MONAI Label server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["infer"]


@torch.no_grad()
def infer(inference: ConfigParser, network: nn.Module, path: str | Path) -> tuple[Tensor, NDArray[np.float64]]:
    """As ``BasicInferTask`` does it: with the server's keys in the item, and without ``SaveImaged``.

    Args:
        inference: the bundle's ``inference.yaml``, its ``device`` set.
        network: the student, on that device, in eval mode.
        path: the image.

    Returns:
        The mask, without a leading axis of one, and the affine of the file (pictures have none: the identity).
    """
    from monai.transforms import Compose, SaveImaged

    request = {"image_path": str(path), "device": "cpu", "model": "student", "description": "", "latencies": {}}
    item = Compose(_transforms(inference, "preprocessing"))({"image": str(path), **request})
    device = inference.get_parsed_content("device")
    item["pred"] = inference.get_parsed_content("inferer")(item["image"][None].to(device), network)[0]
    after = [t for t in _transforms(inference, "postprocessing") if not isinstance(t, SaveImaged)]
    pred = Compose(after)(item)["pred"].cpu()
    mask = torch.as_tensor(pred[0] if pred.ndim > 3 and pred.shape[0] == 1 else pred)
    return mask, np.asarray(item["image"].meta.get("original_affine", np.eye(4)), dtype=float)


def _transforms(inference: ConfigParser, key: str) -> list[Any]:
    from monai.transforms import Compose

    content: Any = inference.get_parsed_content(key)
    return list(content.transforms if isinstance(content, Compose) else content)
