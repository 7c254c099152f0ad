"""ConfKD on any encoder of MONAI's ``FlexibleUNet``, for those that have pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import FlexibleUNet
from torch import Tensor, nn

from medkd.networks.backbones import require_multiples_of_32
from medkd.networks.dual_branch import DualBranch
from medkd.outputs import DualBranchOutput

__all__ = ["DualBranchFlexibleUNet"]


class DualBranchFlexibleUNet(DualBranch):
    """MONAI's ``FlexibleUNet`` with a second decoder: one pretrained encoder under the teacher's and the student's, in 2D.

    Args:
        in_channels: channels of the image.
        out_channels: K, the number of classes with the background.
        backbone: a name that ``FlexibleUNet`` knows: ``"efficientnet-lite0"`` to ``"efficientnet-lite2"``, and MONAI's own.
        pretrained: as the backbone takes it: ``EfficientNetLite`` ``"imagenet"`` or a path, MONAI's own ``True``.
        decoder_channels: width of each step of the decoders, from the coarsest; as many as the encoder has levels.

    Raises:
        ValueError: for an unknown backbone, or what ``EfficientNetLite`` refuses; when called, for an image whose sides
            are not multiples of 32.

    Examples:
        >>> import torch
        >>> network = DualBranchFlexibleUNet(1, 4).eval()
        >>> network(torch.zeros(2, 1, 64, 96)).shape
        torch.Size([2, 4, 64, 96])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        backbone: str = "efficientnet-lite0",
        *,
        pretrained: str | bool | None = None,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    ) -> None:
        def unet(start: str | bool | None) -> FlexibleUNet:
            return FlexibleUNet(in_channels, out_channels, backbone, start or False, tuple(decoder_channels))  # type: ignore[arg-type]

        student = unet(pretrained)
        super().__init__(student.encoder, _Decoder(unet(None)), _Decoder(student))

    def forward(self, x: Tensor, strong: Tensor | None = None) -> Tensor | DualBranchOutput:
        """As in ``DualBranch``; the images' sides are multiples of 32."""
        require_multiples_of_32(x)
        return super().forward(x, strong)


class _Decoder(nn.Module):
    """The decoder and the head of a ``FlexibleUNet``, on its encoder's features."""

    def __init__(self, unet: FlexibleUNet) -> None:
        super().__init__()
        self.decoder, self.head, self.skips = unet.decoder, unet.segmentation_head, unet.skip_connect

    def forward(self, features: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(self.decoder(features, self.skips))
        return logits
