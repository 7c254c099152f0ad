"""The parts of an image that a network sees at once."""

import pytest
import torch

from medkd.engines import patch_inferer


class Seen(torch.nn.Module):
    """Three times its input; remembers the shapes."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return 3 * x


@pytest.mark.parametrize(
    ("window", "shapes"),
    [
        ([-1, -1], {(16, 1, 64, 64), (4, 1, 64, 64)}),
        ([32, 32], {(16, 1, 32, 32)}),  # 20 slices of 2 x 2 patches
        ([-1, 32], {(16, 1, 64, 32), (8, 1, 64, 32)}),
        ([40, 32, 8], {(4, 1, 40, 32, 8), (2, 1, 40, 32, 8)}),  # 2 x 3 patches
        ([-1, -1, -1], {(1, 1, 64, 64, 32)}),
    ],
)
def test_a_window_is_a_patch_or_the_whole_side_filled_up(window, shapes):
    volume, network = torch.rand(1, 1, 40, 52, 20), Seen()
    found = patch_inferer(window, len(window))(volume, network)
    torch.testing.assert_close(found, 3 * volume)
    assert set(network.shapes) == shapes


def test_pictures_have_two_dimensions():
    picture, network = torch.rand(1, 3, 40, 52), Seen()
    torch.testing.assert_close(patch_inferer([-1, -1], 2, pictures=True)(picture, network), 3 * picture)
    assert network.shapes == [(1, 3, 64, 64)]


@pytest.mark.parametrize("window", [[0, 32], [-2, -1], [32, -32]])
def test_sides_that_cannot_be_are_refused(window):
    with pytest.raises(
        ValueError, match="patch_size and window_size: expected sides > 0, or -1 for the whole side, got"
    ):
        patch_inferer(window, 2)


@pytest.mark.parametrize(("window", "spatial_dims"), [([32, 32], 3), ([32, 32, 8], 2), ([32], 1), (-1, 2)])
def test_another_number_of_sides_is_refused(window, spatial_dims):
    with pytest.raises(
        ValueError,
        match=rf"patch_size and window_size: expected {spatial_dims} sides for spatial_dims {spatial_dims}, got",
    ):
        patch_inferer(window, spatial_dims)
