"""No training step waits for its device, and none mixes devices: rehearsed on a pretended one."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from medkd.ladder import load_ladder

from ..pretend_device import DEVICE, Rehearsal
from .conftest import Case

# What happens once per epoch or training, and needs data on the CPU: validation and files.
BETWEEN_STEPS = {"ValidationHandler", "RoleSwitch", "FinalModel", "TrainingState", "Progress"}
STEPS = 4


def _rehearse(case: Case, root: Path, stage: str, **settings: Any) -> list[Counter[str]]:
    """Train an epoch; what had waited at the start of the epoch and after each of its steps."""
    own = {key: settings.get(key, value) for key, value in {**case.settings, **settings}.items()}
    workflow = ConfigWorkflow(
        config_file=str(case.bundle / "configs" / "train.yaml"),
        workflow_type="train",
        logging_file=False,
        **{**own, "bundle_root": str(root), "dataset_dir": str(case.data), "epoch_length": STEPS, "val_interval": 0},
        device=DEVICE,
        amp=False,
    )
    handlers = workflow.parser[stage]["handlers"]
    handlers[:] = [handler for handler in handlers if handler["_target_"].rpartition(".")[2] not in BETWEEN_STEPS]
    waited: list[Counter[str]] = []
    with Rehearsal() as rehearsal:
        workflow.initialize()
        trainer = workflow.parser.get_parsed_content(f"{stage}#trainer")
        for event in (Events.EPOCH_STARTED, Events.ITERATION_COMPLETED):
            trainer.add_event_handler(event, lambda: waited.append(rehearsal.waits.copy()))
        trainer.run()
        assert rehearsal.waits - waited[-1], "the epoch's means are read at its end"
        assert next(iter(trainer.network.parameters())).device == DEVICE
        assert trainer.state.metrics
    return waited


def test_no_step_waits_for_the_device(case: Case, tmp_path: Path) -> None:
    before, *after = _rehearse(case, tmp_path, "train", max_epochs=1)
    assert [waits - before for waits in after] == [Counter()] * STEPS * (2 if "scales" in case.settings else 1)


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
def test_the_branch_of_strong_images_alone_waits_for_nothing_either(case: Case, tmp_path: Path) -> None:
    before, *after = _rehearse(case, tmp_path, "train", max_epochs=1, kl_on="strong")
    assert [waits - before for waits in after] == [Counter()] * STEPS


@pytest.mark.parametrize("case", ["confkd"], indirect=True)
@pytest.mark.parametrize("rung", ["mean_teacher", "cross_pseudo_supervision"])
def test_its_peers_wait_for_nothing_either(case: Case, rung: str, tmp_path: Path) -> None:
    before, *after = _rehearse(case, tmp_path, "train", max_epochs=1, **load_ladder(case.bundle).rungs[rung])
    assert [waits - before for waits in after] == [Counter()] * STEPS


@pytest.mark.parametrize("case", ["ikdmil"], indirect=True)
def test_no_step_of_the_first_stage_waits(case: Case, tmp_path: Path) -> None:
    before, *after = _rehearse(case, tmp_path, "mil", teacher_epochs=1, teacher_path="$None")
    assert [waits - before for waits in after] == [Counter()] * STEPS


def test_the_rehearsal_sees_what_waits() -> None:
    x, mask = torch.arange(4.0), torch.tensor([True, False, True, True])
    with Rehearsal() as rehearsal:
        there, where = x.to(DEVICE, non_blocking=True), mask.to(DEVICE, non_blocking=True)
        (there * 2)[torch.tensor([0, 2]).to(DEVICE, non_blocking=True)].sum()  # none of this waits
        assert not rehearsal.waits
        for wait in (
            lambda: there.sum().item(),
            lambda: bool(where.any()),
            lambda: there[where],
            lambda: where.nonzero(),
            lambda: there.cpu(),
            lambda: there.masked_select(where),
            lambda: x.to(DEVICE),
            lambda: there.copy_(x),
            lambda: there[torch.tensor([0, 2])],
        ):
            before = rehearsal.waits.total()
            wait()
            assert rehearsal.waits.total() == before + 1
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            there + x
        with pytest.raises(RuntimeError, match="cannot be indexed"):
            x[torch.tensor([0]).to(DEVICE, non_blocking=True)]
