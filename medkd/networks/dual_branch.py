"""One shared encoder and two decoders: the teacher's and the student's (ConfKD, arXiv 2109.10902, figure 1)."""

# No postponed annotations here: TorchScript reads the signatures as types, not as strings.

import itertools
from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import Tensor, nn

from medkd.outputs import DualBranchOutput, positions

__all__ = ["DualBranch", "DualBranchUNet", "UNetDecoder", "UNetEncoder"]


class DualBranch(nn.Module):
    """Any encoder under two decoders.

    Args:
        encoder: maps an image ``[B, C, *spatial]`` to one feature tensor, or to a list of them with the batch first.
        teacher: maps what the encoder returns to logits ``[B, K, *spatial]``; learns from the strong images.
        student: of the same kind; the branch that is deployed.

    In training mode ``forward(x, strong)`` returns ``DualBranchOutput``, in eval mode the student's logits alone.
    Each decoder runs once, and the teacher's only on the images whose output is used.

    Examples:
        >>> import torch
        >>> from monai.networks.nets import UNet
        >>> shared = UNet(2, 1, 8, channels=(4, 8), strides=(2,))
        >>> network = DualBranch(shared, torch.nn.Conv2d(8, 4, 1), torch.nn.Conv2d(8, 4, 1))
        >>> output = network(torch.zeros(3, 1, 16, 16), strong=torch.tensor([True, False, False]))
        >>> output.teacher.shape, output.student.shape
        (torch.Size([1, 4, 16, 16]), torch.Size([3, 4, 16, 16]))
    """

    def __init__(self, encoder: nn.Module, teacher: nn.Module, student: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.teacher = teacher
        self.student = student

    def forward(self, x: Tensor, strong: Tensor | None = None) -> Tensor | DualBranchOutput:
        """Logits of both branches (training mode) or of the student (eval mode).

        Args:
            x: images ``[B, C, *spatial]``.
            strong: the images for which the teacher's branch is decoded: bool ``[B]``, or their positions ``[S]`` in
                ascending order, which no step waits for; all of them if ``None``.
        """
        if self.training:
            return self.outputs(x, strong)
        student: Tensor = self.student(self.encoder(x))
        return student

    @torch.jit.unused
    def outputs(self, x: Tensor, strong: Tensor | None = None) -> DualBranchOutput:
        """Logits of both branches whatever the mode; the arguments are those of ``forward``."""
        features = self.encoder(x)
        student = self.student(features)
        chosen = None if strong is None else positions(strong, x.device)
        if chosen is not None and len(chosen) == 0:  # normalisation layers refuse an empty batch
            return DualBranchOutput(student[:0], student)
        if chosen is not None and len(chosen) < len(x):
            features = features[chosen] if isinstance(features, Tensor) else [level[chosen] for level in features]
        return DualBranchOutput(self.teacher(features), student)


class DualBranchUNet(DualBranch):
    """A U-Net with one encoder and two decoders, from MONAI's BasicUNet blocks; 2D and 3D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: K, the number of classes with the background.
        channels: features of each resolution level, from the finest; two levels or more. Each level halves the size.
        act: activation of every convolution, as MONAI names it.
        norm: normalisation of every convolution, as MONAI names it.
        dropout: dropout probability in every convolution.
        upsample: ``"deconv"``, ``"pixelshuffle"`` or ``"nontrainable"``.

    Raises:
        ValueError: with fewer than two levels.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        *,
        act: str | tuple[str, dict[str, object]] = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
        norm: str | tuple[str, dict[str, object]] = ("instance", {"affine": True}),
        dropout: float = 0.0,
        upsample: str = "deconv",
    ) -> None:
        if len(channels) < 2:
            raise ValueError(f"channels must name two resolution levels or more, got {tuple(channels)}")

        def decoder() -> nn.Module:
            return UNetDecoder(spatial_dims, out_channels, channels, act, norm, dropout, upsample)

        encoder = UNetEncoder(spatial_dims, in_channels, channels, act, norm, dropout)
        super().__init__(encoder, decoder(), decoder())


class UNetEncoder(nn.Module):
    """The contracting path: features ``[B, channels[i], *spatial / 2**i]`` from the finest level to the coarsest."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int],
        act: str | tuple[str, dict[str, object]],
        norm: str | tuple[str, dict[str, object]],
        dropout: float,
    ) -> None:
        super().__init__()
        levels: list[nn.Module] = [TwoConv(spatial_dims, in_channels, channels[0], act, norm, True, dropout)]
        levels += [
            Down(spatial_dims, fine, coarse, act, norm, True, dropout) for fine, coarse in itertools.pairwise(channels)
        ]
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every level for images ``[B, C, *spatial]``."""
        features: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class UNetDecoder(nn.Module):
    """The expanding path: logits ``[B, K, *spatial]`` from the encoder's features, finest level first."""

    def __init__(
        self,
        spatial_dims: int,
        out_channels: int,
        channels: Sequence[int],
        act: str | tuple[str, dict[str, object]],
        norm: str | tuple[str, dict[str, object]],
        dropout: float,
        upsample: str,
    ) -> None:
        super().__init__()
        coarse_to_fine = tuple(reversed(channels))
        self.levels = nn.ModuleList(
            UpCat(spatial_dims, coarse, fine, fine, act, norm, True, dropout, upsample)
            for coarse, fine in itertools.pairwise(coarse_to_fine)
        )
        convolution = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.head = convolution(channels[0], out_channels, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the finest features."""
        x = features[-1]
        for depth, level in enumerate(self.levels):
            x = level(x, features[len(features) - 2 - depth])
        logits: Tensor = self.head(x)
        return logits
