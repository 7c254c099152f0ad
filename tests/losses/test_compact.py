"""Labels where there are some, a teacher everywhere, wherever the teacher is."""

import pytest
import torch
from monai.losses import DiceLoss

from medkd.losses import CompactLoss
from medkd.losses.compact import soft_dice
from medkd.outputs import DualBranchOutput, FeatureOutput

TERMS = {"pixel", "channelwise", "pairwise", "variation"}
ALL = {f"{name}_weight": 1.0 for name in TERMS}


def _maps(seed: int = 0, classes: int = 3) -> torch.Tensor:
    return torch.randn(2, classes, 8, 8, generator=torch.Generator().manual_seed(seed))


def _label(classes: int = 3) -> torch.Tensor:
    return torch.randint(classes, (2, 1, 8, 8), generator=torch.Generator().manual_seed(9)).float()


def test_total_is_the_weighted_sum_of_its_terms() -> None:
    weights = {"label": 0.5, "pixel": 2.0, "channelwise": 3.0, "pairwise": 4.0, "variation": 5.0}
    loss = CompactLoss(**{f"{name}_weight": weight for name, weight in weights.items()})
    found = loss(_maps(), {"label": _label()}, _maps(1))
    distillation = sum(weight * found[name] for name, weight in weights.items() if name != "label")
    torch.testing.assert_close(found["loss"], 0.5 * (found["dice"] + found["ce"]) + distillation)
    assert all(found[name] > 0 for name in TERMS)


def test_a_teacher_in_files_and_one_beside_the_student_teach_the_same() -> None:
    student, teacher = _maps(), 20 * _maps(1)  # sure of itself: files cannot hold how sure
    beside = CompactLoss(**ALL)(student, {"label": _label()}, teacher)
    in_files = CompactLoss(**ALL)(student, {"label": _label(), "teacher": (255 * teacher.softmax(1)).round() / 255})
    for name, value in beside.items():
        torch.testing.assert_close(in_files[name], value, rtol=0.02, atol=1e-3)


def test_of_a_network_with_several_outputs_the_prediction_counts() -> None:
    two = DualBranchOutput(_maps(5), _maps()), DualBranchOutput(_maps(6), _maps(1))
    found = CompactLoss(**ALL)(two[0], {"label": _label()}, two[1])
    torch.testing.assert_close(found, CompactLoss(**ALL)(_maps(), {"label": _label()}, _maps(1)))


def test_beyond_the_border_there_is_background() -> None:
    nothing, background = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    background[:, 0] = 1
    found, expected = (CompactLoss(**ALL)(_maps(), {"label": _label(), "teacher": t}) for t in (nothing, background))
    torch.testing.assert_close(found, expected)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = _maps(1).requires_grad_()
    student = _maps().requires_grad_()
    CompactLoss(**ALL)(student, {"label": _label()}, teacher)["loss"].backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_images_without_a_label_follow_the_teacher_alone() -> None:
    student = _maps().requires_grad_()
    found = CompactLoss(**ALL)(student, {"label": torch.full((2, 1, 8, 8), 255.0)}, _maps(1))
    assert found["dice"] == found["ce"] == 0
    assert all(found[name] > 0 for name in TERMS)
    assert torch.isfinite(found["loss"])


def test_ignored_pixels_teach_no_class() -> None:
    label, student = _label(), _maps()
    label[..., 4:] = 255
    changed = student.clone()
    changed[..., 4:] += torch.randn(2, 3, 8, 4)
    alone = CompactLoss(pixel_weight=0)
    torch.testing.assert_close(alone(student, {"label": label}), alone(changed, {"label": label}))


def test_dice_is_that_of_monai_where_all_is_annotated() -> None:
    probability, label = _maps().softmax(1), _label()
    expected = DiceLoss(include_background=False, to_onehot_y=True, batch=True)(probability, label)
    torch.testing.assert_close(soft_dice(probability, label), expected)


@pytest.mark.parametrize(
    ("arguments", "batch", "found"),
    [
        ({}, {"label": _label()}, "found neither"),
        ({}, {"label": _label(), "teacher": torch.zeros(2, 4, 8, 8)}, r"\(2, 4, 8, 8\)"),
        ({"pixel_weight": 0.0}, {"label": torch.zeros(2, 1, 4, 8)}, r"\(2, 1, 4, 8\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, batch, found) -> None:
    with pytest.raises(ValueError, match=found):
        CompactLoss(**arguments)(_maps(), batch)


@pytest.mark.parametrize("arguments", [{"label_weight": -1.0}, {"pairwise_weight": -1.0}, {"temperature": 0.0}])
def test_options_out_of_range_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match="weights >= 0 and temperatures > 0"):
        CompactLoss(**arguments)


def _with_feature(seed: int, shape: tuple[int, ...]) -> FeatureOutput:
    return FeatureOutput(_maps(seed), torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def test_features_are_compared_channel_by_channel() -> None:
    student, teacher = _with_feature(2, (2, 5, 8, 8)), _with_feature(3, (2, 5, 8, 8))
    loss = CompactLoss(label_weight=0, pixel_weight=0, feature_weight=50, channelwise_temperature=4)
    found = loss(student, {"label": _label()}, teacher)
    s, t = ((one.feature / 4).flatten(2).double().softmax(-1) for one in (student, teacher))
    expected = 16 * (t * (t / s).log()).sum(-1).mean()  # equation 3 of arXiv 2011.13256
    torch.testing.assert_close(found["feature"].double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(found["loss"], 50 * found["feature"])


def test_the_student_s_map_is_brought_to_the_teacher_s_size() -> None:
    loss = CompactLoss(pixel_weight=0, feature_weight=1)
    small, large = _with_feature(2, (2, 5, 4, 4)), _with_feature(3, (2, 5, 8, 8))
    resized = small._replace(feature=torch.nn.functional.interpolate(small.feature, scale_factor=2, mode="bilinear"))
    batch = {"label": _label()}
    torch.testing.assert_close(loss(small, batch, large)["feature"], loss(resized, batch, large)["feature"])


def test_other_channels_than_the_teacher_s_are_refused() -> None:
    loss = CompactLoss(pixel_weight=0, feature_weight=1)
    with pytest.raises(ValueError, match=r"feature_channels: expected 6, .* got 5"):
        loss(_with_feature(2, (2, 5, 8, 8)), {"label": _label()}, _with_feature(3, (2, 6, 8, 8)))


@pytest.mark.parametrize("teacher", [None, _maps(1)])
def test_features_need_layers_of_both(teacher) -> None:
    loss = CompactLoss(pixel_weight=0, feature_weight=1)
    with pytest.raises(ValueError, match=r"feature_weight: expected a layer of the student .*teacher_layer"):
        loss(_with_feature(2, (2, 5, 8, 8)), {"label": _label(), "teacher": _maps(4).softmax(1)}, teacher)
