"""When student and teacher change roles, and what is left of the decision."""

import logging

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import EpochMetric
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler
from torch import nn

from medkd.engines import DistillationTrainer
from medkd.handlers import BestModel, RoleEvents, RoleSwitch, TrainingState


class Constant(nn.Module):
    """A learned number, whatever the image."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(value)))

    def forward(self, x):
        return x * 0 + self.value


class Quality(EpochMetric):
    """The mean prediction: the higher, the better."""

    def __init__(self):
        super().__init__(lambda prediction, _: float(prediction.mean()), check_compute_fn=False)

    def iteration_completed(self, engine):
        values = torch.stack([item["pred"].mean() for item in engine.state.output]).detach()
        self.update((values, torch.zeros(len(values))))


def evaluator(network, handlers=()):
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": torch.ones(1, 1, 2, 2), "label": torch.zeros(1)}],
        epoch_length=1,
        network=network,
        key_val_metric={"quality": Quality()},
        val_handlers=list(handlers),
    )


class Training:
    """A student that becomes better by one in every epoch."""

    def __init__(self, folder, *, epochs, student=0.0, teacher=2.0, length=4, resume=False, stop_after=None):
        self.network, self.teacher = Constant(student), Constant(teacher)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        best = str(folder / "model.pt")
        validator = evaluator(self.network, [BestModel(best, self.network)])
        switch = RoleSwitch(
            self.network,
            self.teacher,
            epochs=epochs,
            best_path=best,
            evaluator=validator,
            teacher_evaluator=evaluator(self.teacher),
        )
        objects = {"network": self.network, "teacher": self.teacher, "optimizer": self.optimizer}
        state = TrainingState(str(folder / "state"), objects, evaluators={"validator": validator}, resume=resume)
        self.trainer = DistillationTrainer(
            device=torch.device("cpu"),
            max_epochs=length,
            train_data_loader=[{"image": torch.ones(1, 1, 2, 2), "label": torch.zeros(1)}],
            epoch_length=1,
            network=self.network,
            teacher=self.teacher,
            optimizer=self.optimizer,
            loss_function=lambda output, batch, teacher: {"loss": -output.mean()},
            train_handlers=[ValidationHandler(1, validator), switch, state],
        )
        self.fired = []
        for event in RoleEvents if epochs else ():
            self.trainer.add_event_handler(event, lambda engine, e=event: self.fired.append((engine.state.epoch, e)))
        if stop_after:
            self.trainer.add_event_handler(Events.EPOCH_STARTED, self._stop, stop_after)

    def _stop(self, engine, last):
        if engine.state.epoch > last:
            raise KeyboardInterrupt

    def run(self):
        self.trainer.run()
        return self

    @property
    def values(self):
        return self.network.value.item(), self.teacher.value.item()

    @property
    def decisions(self):
        return [(record["epoch"], record["switched"]) for record in self.trainer.state.role_decisions]


def test_a_better_student_becomes_the_teacher_and_takes_the_old_weights(tmp_path):
    found = Training(tmp_path, epochs=[3], length=3).run()
    assert found.values == (2.0, 3.0)  # the student was 3 after 3 epochs
    assert found.fired == [(3, RoleEvents.ROLES_SWITCHED)]
    (record,) = found.trainer.state.role_decisions
    assert record["reason"] == "the best student (epoch 3, 3.0000) is better than the teacher (2.0000)"


def test_a_student_that_is_not_better_keeps_its_role(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "medkd.handlers.role_switch"):
        found = Training(tmp_path, epochs=[2], length=2).run()
    assert found.values == (2.0, 2.0)
    assert found.fired == [(2, RoleEvents.ROLES_KEPT)]
    reason = "the best student (epoch 2, 2.0000) is not better than the teacher (2.0000)"
    assert f"Epoch 2: roles kept: {reason}." in caplog.text
    assert found.trainer.state.metrics["role_switch"] == 0


def test_no_student_is_ever_better(tmp_path):
    found = Training(tmp_path, epochs=[1, 2, 3], teacher=100.0, length=3).run()
    assert found.decisions == [(1, False), (2, False), (3, False)]
    assert found.values == (3.0, 100.0)


def test_the_new_teacher_has_the_score_it_had_as_a_student(tmp_path):
    found = Training(tmp_path, epochs=[3, 4, 6], length=6).run()
    # Epoch 3: student 3 > teacher 2. Epoch 4: the student, at 3 again from the old weights, is no better than 3.
    # Epoch 6: it has come to 5.
    assert found.decisions == [(3, True), (4, False), (6, True)]
    assert [record["teacher_score"] for record in found.trainer.state.role_decisions] == [2.0, 3.0, 3.0]
    assert found.values == (3.0, 5.0)


def test_decisions_are_metrics_of_their_epoch_alone(tmp_path):
    training, seen = Training(tmp_path, epochs=[3], length=4), {}
    training.trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: seen.update({engine.state.epoch: dict(engine.state.metrics)})
    )
    training.run()
    assert seen[3]["role_switch"] == 1
    assert (seen[3]["role_student_score"], seen[3]["role_teacher_score"]) == (3.0, 2.0)
    assert not [name for epoch in (2, 4) for name in seen[epoch] if name.startswith("role")]


@pytest.mark.parametrize("stop_after", [2, 3, 5])
def test_roles_survive_a_stop(tmp_path, stop_after):
    options = {"epochs": [3, 6], "length": 7}
    whole = Training(tmp_path / "whole", **options).run()
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path / "parts", stop_after=stop_after, **options).run()
    resumed = Training(tmp_path / "parts", resume=True, student=-7.0, teacher=-9.0, **options).run()
    assert resumed.values == whole.values
    assert resumed.trainer.state.role_decisions == whole.trainer.state.role_decisions


def test_without_epochs_nothing_is_scored(tmp_path):
    found = Training(tmp_path, epochs=[], length=3).run()
    assert found.values == (3.0, 2.0)
    assert not hasattr(found.trainer.state, "role_decisions")


def test_an_epoch_that_never_comes_is_told(tmp_path, caplog):
    found = Training(tmp_path, epochs=[3, 9]).run()
    assert "ends before epochs [9], when roles would be decided" in caplog.text
    assert found.decisions == [(3, True)]


def test_epochs_count_from_one(tmp_path):
    with pytest.raises(ValueError, match=r"expected epochs >= 1 to switch roles after, got \[0\]"):
        Training(tmp_path, epochs=[0])
