"""A network that tells the output of one of its layers too, for losses of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medkd.outputs import FeatureOutput

__all__ = ["FeatureNetwork", "with_feature"]


class FeatureNetwork(nn.Module):
    """A network and one of its layers, whose map a loss compares with another network's.

    ``module``, as DDP calls what it wraps, is what is deployed, so that ``models/model.pt`` holds a plain network of the kind
    that was given.

    Args:
        network: any network that gives logits ``[B, K, *spatial]``.
        layer: the name of a module in it (``named_modules``) that gives a map ``[B, C, *spatial]``.
        image_shape: ``[C, *spatial]`` of an image, to find out C of the layer.
        channels: bring the map to so many by a 1 × 1 convolution, which is trained and not deployed (Shu et al., arXiv
            2011.13256, section 3.2): as many as the map has that it is compared with. ``None``: the map as it is.

    Raises:
        ValueError: if there is no such layer, or it does not give such a map.

    Examples:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 4, 1))
        >>> output = FeatureNetwork(net, "0", [1, 16, 16])(torch.zeros(2, 1, 16, 16))
        >>> tuple(output.prediction.shape), tuple(output.feature.shape)
        ((2, 4, 16, 16), (2, 8, 16, 16))
    """

    def __init__(
        self, network: nn.Module, layer: str, image_shape: Sequence[int], *, channels: int | None = None
    ) -> None:
        super().__init__()
        layers = dict(network.named_modules())
        if layer not in layers:
            known = ", ".join(name for name in layers if name and "." not in name)
            raise ValueError(f"expected a layer of {type(network).__name__} ({known}, or one inside), found {layer!r}")
        self.module = network
        self.adapter: nn.Module = nn.Identity()
        self._feature: Any = None
        layers[layer].register_forward_hook(self._keep)
        feature = self._of_a_black_image(layer, image_shape)
        if channels is not None:
            convolution = nn.Conv2d if feature.ndim == 4 else nn.Conv3d
            self.adapter = convolution(feature.shape[1], channels, 1)

    def forward(self, x: Tensor) -> Tensor | FeatureOutput:
        """Logits and map of images ``[B, C, *spatial]`` (training mode), or logits alone (eval mode)."""
        return self.outputs(x) if self.training else self.outputs(x).prediction

    def outputs(self, x: Tensor) -> FeatureOutput:
        """Logits and map in either mode."""
        logits = self.module(x)
        feature, self._feature = self._feature, None  # else its graph would live on
        return FeatureOutput(getattr(logits, "prediction", logits), self.adapter(feature))

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._feature = output

    @torch.no_grad()
    def _of_a_black_image(self, layer: str, image_shape: Sequence[int]) -> Tensor:
        training, device = self.training, next((p.device for p in self.parameters()), None)
        feature = self.eval().outputs(torch.zeros(1, *image_shape, device=device)).feature
        self.train(training)
        if not isinstance(feature, Tensor) or feature.ndim != 1 + len(image_shape):
            found = list(feature.shape) if isinstance(feature, Tensor) else type(feature).__name__
            raise ValueError(f"layer {layer}: expected a map of {1 + len(image_shape)} dimensions, found {found}")
        return feature


def with_feature(
    network: nn.Module, layer: str | None, image_shape: Sequence[int], *, channels: int | None = None
) -> nn.Module:
    """The network as it is, or with the map of a layer if one is named; see ``FeatureNetwork``."""
    return network if layer is None else FeatureNetwork(network, layer, image_shape, channels=channels)
