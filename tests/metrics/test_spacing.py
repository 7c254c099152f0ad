"""The spacing of an image, and whether it is one in millimetres."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medkd.metrics import known_spacing


def volume(diagonal, **meta):
    return MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.diag(torch.tensor([*diagonal, 1.0])), meta=meta)


@pytest.mark.parametrize(
    ("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001)], ids=["metres", "millimetres", "micrometres"]
)
def test_units_of_the_header_are_converted_to_millimetres(code, factor):
    spacing, unit = known_spacing(volume((2.0, 3.0, 8.0), xyzt_units=code))
    assert unit == "mm"
    assert spacing == pytest.approx((2.0 * factor, 3.0 * factor, 8.0 * factor))


def test_time_units_do_not_hide_the_spatial_units():
    assert known_spacing(volume((1.0, 1.0, 1.0), xyzt_units=np.asarray(2 + 8)))[1] == "mm"


def test_unit_cubes_of_unknown_units_are_voxels():
    assert known_spacing(volume((1.0, 1.0, 1.0), xyzt_units=0)) == ((1.0, 1.0, 1.0), "voxels")


def test_time_units_alone_tell_nothing_about_space():
    assert known_spacing(volume((1.0, 1.0, 1.0), xyzt_units=8))[1] == "voxels"


def test_a_spacing_other_than_one_is_in_millimetres_without_units():
    spacing, unit = known_spacing(volume((1.5, 1.5, 8.0)))
    assert (spacing, unit) == (pytest.approx((1.5, 1.5, 8.0)), "mm")


def test_a_two_dimensional_image_has_two_spacings():
    image = MetaTensor(torch.zeros(1, 4, 4), affine=torch.diag(torch.tensor([0.5, 0.25, 1.0, 1.0])))
    assert known_spacing(image) == (pytest.approx((0.5, 0.25)), "mm")


def test_a_rotated_grid_keeps_its_spacing():
    affine = torch.tensor([[0.0, -2.0, 0.0, 5.0], [3.0, 0.0, 0.0, 7.0], [0.0, 0.0, 4.0, 9.0], [0.0, 0.0, 0.0, 1.0]])
    spacing, _ = known_spacing(MetaTensor(torch.zeros(1, 4, 4, 4), affine=affine))
    assert spacing == pytest.approx((3.0, 2.0, 4.0))


def test_a_plain_tensor_has_no_known_spacing():
    assert known_spacing(torch.zeros(1, 4, 4)) == ((1.0, 1.0), "voxels")
