"""Synthetic endoscopy frames: deterministic, checked by what reads them, and not solved by their colour alone."""

import numpy as np
import pytest
from PIL import Image

from medkd.datasets import load_datalist
from medkd.datasets.polyp_phantoms import make_polyp_phantoms, polyp_phantom


def test_the_datalist_has_what_was_asked_for(tmp_path):
    counts = make_polyp_phantoms(tmp_path / "out", training=3, validation=2, test=1, size=64)
    assert [counts[s]["images"] for s in ("training", "validation", "test")] == [3, 2, 1]
    for section, items in load_datalist(tmp_path / "out", class_names=["polyp"]).items():
        if section not in {"name", "labels"}:
            for item in items:
                with Image.open(item["image"]) as image, Image.open(item["label"]) as mask:
                    assert image.size == mask.size == (64, 51)
                    assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_one_seed_gives_one_frame():
    first, second, other = (polyp_phantom(np.random.default_rng(seed), size=96) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_polyps_are_redder_but_no_threshold_on_colour_finds_them():
    best = []
    for seed in range(20):
        frame, mask = polyp_phantom(np.random.default_rng(seed))
        seen = frame.sum(2) > 60
        redness = frame[..., 0] / (frame.sum(2) + 1.0)
        truth = (mask > 0) & seen
        found = [(redness > threshold) & seen for threshold in np.linspace(0.3, 0.7, 41)]
        dice = [2 * (red & truth).sum() / (red.sum() + truth.sum()) for red in found]
        best.append(max(dice))
    assert np.mean(best) < 0.8


@pytest.mark.parametrize("options", [{"size": 32}, {"training": 0}, {"test": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="expected size >= 64"):
        make_polyp_phantoms(tmp_path / "out", **options)


def test_frames_without_a_mask_leave_the_others_as_they_are(tmp_path):
    few, more = tmp_path / "few", tmp_path / "more"
    make_polyp_phantoms(few, training=2, validation=1, test=1, size=64)
    counts = make_polyp_phantoms(more, training=2, unlabelled=2, validation=1, test=1, size=64)
    assert counts["training"] == {"images": 4, "patients": 4, "strong": 2}
    for path in sorted(few.glob("*/*.png")):
        assert path.read_bytes() == (more / path.relative_to(few)).read_bytes()
