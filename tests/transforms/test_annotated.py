import torch
from monai.data import MetaTensor

from medkd.transforms import IgnoreUnannotatedd


def one_hot(classes: torch.Tensor, number: int = 3) -> MetaTensor:
    return MetaTensor(torch.nn.functional.one_hot(classes, number).movedim(-1, 0).float())


def test_only_annotated_pixels_count():
    label = MetaTensor(torch.tensor([[[0, 1, 255], [2, 254, 1]]]), meta={"filename_or_obj": "a.nii.gz"})
    item = {"label": label, "pred": one_hot(torch.tensor([[0, 2, 1], [2, 2, 1]])), "other": 1}
    done = IgnoreUnannotatedd(["pred", "teacher"], label_key="label", values=[254, 255], allow_missing_keys=True)(item)
    assert torch.equal(done["label"].as_tensor(), torch.tensor([[[0, 1, 0], [2, 0, 1]]]))
    assert torch.equal(done["pred"].as_tensor(), one_hot(torch.tensor([[0, 2, 0], [2, 0, 1]])).as_tensor())
    assert done["label"].meta["filename_or_obj"] == "a.nii.gz"
    assert item["label"].max() == 255


def test_full_masks_are_left_as_they_are():
    classes = torch.tensor([[0, 1], [2, 2]])
    done = IgnoreUnannotatedd("pred", label_key="label")({"label": MetaTensor(classes[None]), "pred": one_hot(classes)})
    assert torch.equal(done["label"].as_tensor(), classes[None])
    assert torch.equal(done["pred"].as_tensor(), one_hot(classes).as_tensor())
