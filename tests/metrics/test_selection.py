"""What is selected by, with labels of images and with masks."""

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn

from medkd.metrics.selection import SelectionScore, image_level_score


def score(pooled, foreground, label):
    return image_level_score(*(torch.tensor(values, dtype=torch.float) for values in (pooled, foreground, label)))


def test_a_map_that_ranks_images_and_is_empty_where_it_should_is_perfect():
    assert score([0.9, 0.8, 0.1], [0.4, 0.3, 0.0], [1, 1, 0]) == pytest.approx(1)


def test_all_foreground_is_worth_a_quarter():
    assert score([1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 0]) == pytest.approx(0.25)


def test_emptiness_of_the_negatives_counts():
    assert score([0.9, 0.2], [0.5, 0.2], [1, 0]) == pytest.approx((1 + 0.8) / 2)


def test_images_of_one_class_have_what_there_is():
    assert score([0.2, 0.4], [0.1, 0.3], [0, 0]) == pytest.approx(0.8)
    assert score([0.2, 0.4], [0.1, 0.3], [1, 1]) == pytest.approx(0.3)


class Identity(nn.Module):
    """The image is the map."""

    def forward(self, x):
        return x


def select(by, **batch):
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[batch],
        epoch_length=1,
        network=Identity(),
        key_val_metric={"score": SelectionScore(by)},
    )
    evaluator.run()
    return evaluator.state.metrics["score"]


def maps():
    image = torch.zeros(3, 1, 4, 4)
    image[0, :, :2] = 1.0
    image[1, :, :1] = 0.9
    return {"image": image, "label": torch.tensor([1.0, 1.0, 0.0])}


def test_an_evaluator_selects_by_image_labels():
    assert select("labels", **maps()) == pytest.approx(1)


def test_an_evaluator_selects_by_the_masks_there_are():
    mask = torch.zeros(3, 1, 4, 4)
    mask[0, :, :1] = 1.0
    known = torch.tensor([True, False, True])
    assert select("pixels", mask=mask, has_mask=known, **maps()) == pytest.approx((2 * 4 / 12 + 1) / 2)


def test_selection_by_pixels_needs_a_mask():
    with pytest.raises(ValueError, match='a "mask" of at least one positive validation image'):
        select("pixels", mask=torch.zeros(3, 1, 4, 4), has_mask=torch.tensor([False, False, True]), **maps())


def test_another_criterion_is_refused():
    with pytest.raises(ValueError, match=r'"labels" or "pixels", got \'loss\''):
        SelectionScore("loss")
