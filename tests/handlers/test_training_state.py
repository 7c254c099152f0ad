"""Stop and continue."""

import logging
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from ignite.engine import Events
from monai.handlers import LrScheduleHandler, ValidationHandler, from_engine
from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.metrics import MAEMetric

from medkd.engines import DistillationEvaluator
from medkd.files import sha256
from medkd.handlers import TrainingState
from medkd.networks import DualBranchUNet


class Training:
    """A small real training with everything that its state consists of."""

    def __init__(self, folder, new_trainer, *, epochs, resume=False, stop_after=None, channels=(4, 8), **options):
        torch.manual_seed(0)
        self.network = DualBranchUNet(2, 1, 3, channels)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        generator = torch.Generator().manual_seed(1)
        sample = {
            "image": torch.randn(1, 1, 16, 16, generator=generator),
            "label": torch.randn(1, 3, 16, 16, generator=generator),
        }
        self.evaluator = DistillationEvaluator(
            device=torch.device("cpu"),
            val_data_loader=[sample],
            epoch_length=1,
            network=self.network,
            key_val_metric={"error": IgniteMetricHandler(MAEMetric(), output_transform=from_engine(["pred", "label"]))},
        )
        self.state = TrainingState(
            str(folder),
            {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler},
            evaluators={"validator": self.evaluator},
            resume=resume,
            **options,
        )
        handlers = [LrScheduleHandler(self.scheduler, print_lr=False), ValidationHandler(1, self.evaluator), self.state]
        self.trainer = new_trainer(handlers, network=self.network, optimizer=self.optimizer, max_epochs=epochs)
        self.epochs = []
        self.trainer.add_event_handler(Events.EPOCH_STARTED, lambda e: self.epochs.append(e.state.epoch))
        if stop_after is not None:
            self.trainer.add_event_handler(Events.EPOCH_STARTED(once=stop_after + 1), self._stop)

    def _stop(self, engine):
        raise KeyboardInterrupt

    def run(self):
        self.trainer.run()
        return self

    def everything(self):
        progress = {
            name: {
                key: getattr(engine.state, key) for key in ("epoch", "iteration", "best_metric", "best_metric_epoch")
            }
            for name, engine in (("trainer", self.trainer), ("validator", self.evaluator))
        }
        return self.network.state_dict(), self.optimizer.state_dict(), self.scheduler.state_dict(), progress


@pytest.fixture
def train(tmp_path, new_trainer):
    """Make a training whose saves are in one folder."""

    def make(folder="saves", **kwargs):
        return Training(tmp_path / folder, new_trainer, **kwargs)

    return make


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def test_every_epoch_is_saved_and_the_last_two_are_kept(train, tmp_path):
    train(epochs=3).run()
    kept = ["epoch=0002.pt", "epoch=0002.pt.sha256", "epoch=0003.pt", "epoch=0003.pt.sha256"]
    assert names(tmp_path / "saves") == kept  # nothing partial either
    for name in kept[::2]:
        save = tmp_path / "saves" / name
        assert save.with_name(f"{name}.sha256").read_text().strip() == sha256(save)


def test_the_number_of_saves_is_an_option(train, tmp_path):
    train(epochs=3, keep=0).run()  # one at least
    assert names(tmp_path / "saves") == ["epoch=0003.pt", "epoch=0003.pt.sha256"]


def test_a_save_holds_tensors_alone(train, tmp_path):
    training = train(epochs=2).run()
    state = torch.load(tmp_path / "saves" / "epoch=0002.pt", weights_only=True)
    assert set(state) == {"network", "optimizer", "scheduler", "engines", "max_epochs", "images_per_step"}
    assert equal(state["network"], dict(training.network.state_dict()))
    assert state["engines"]["trainer"]["epoch"] == 2
    assert state["engines"]["trainer"]["iteration"] == 6


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_training_is_bit_identical_to_an_uninterrupted_one(train, stop_after):
    whole = train("whole", epochs=4).run()
    with pytest.raises(KeyboardInterrupt):
        train(epochs=4, stop_after=stop_after).run()
    resumed = train(epochs=4, resume=True).run()
    assert resumed.epochs == list(range(stop_after + 1, 5))
    assert equal(resumed.everything(), whole.everything())
    assert whole.everything()[3]["trainer"] == {"epoch": 4, "iteration": 12, "best_metric": -1, "best_metric_epoch": -1}


@pytest.mark.parametrize(("batch_size", "processes"), [(4, 1), (2, 2), (2, 1)])
def test_another_number_of_images_per_step_is_told(train, caplog, batch_size, processes):
    def batched(training, size, number):
        loader = training.trainer.data_loader
        training.trainer.data_loader = Batched(
            loader, batch_sampler=SimpleNamespace(batch_size=size, num_replicas=number)
        )
        return training

    batched(train(epochs=2), 4, 1).run()
    batched(train(epochs=2, resume=True), batch_size, processes).run()
    told = "saved by a training of 4 images per step over all its processes; it goes on with 2" in caplog.text
    assert told == (batch_size * processes != 4)


class Batched(list):
    """Batches that say how large they are."""

    def __init__(self, batches, *, batch_sampler):
        super().__init__(batches)
        self.batch_sampler = batch_sampler


def test_the_best_metric_outlives_the_stop(train):
    first = train(epochs=3, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    first.trainer.state.epoch = 2
    first.evaluator.state.best_metric, first.evaluator.state.best_metric_epoch = 1e6, 1
    first.state(first.trainer)
    resumed = train(epochs=3, resume=True).run()
    assert (resumed.evaluator.state.best_metric, resumed.evaluator.state.best_metric_epoch) == (1e6, 1)


def test_a_finished_training_has_nothing_left_to_do(train):
    done = train(epochs=2).run()
    again = train(epochs=2, resume=True).run()
    assert again.epochs == []
    assert equal(dict(again.network.state_dict()), dict(done.network.state_dict()))


@pytest.mark.parametrize("damage", ["cut", "changed", "no digest"])
def test_a_damaged_newest_save_is_passed_over_with_a_warning(train, tmp_path, caplog, damage):
    whole = train("whole", epochs=3).run()
    with pytest.raises(KeyboardInterrupt):
        train(epochs=3, stop_after=2).run()
    newest = tmp_path / "saves" / "epoch=0002.pt"
    content = newest.read_bytes()
    if damage == "no digest":
        newest.with_name(newest.name + ".sha256").unlink()
    else:
        newest.write_bytes(content[:1000] if damage == "cut" else content[:-9] + b"!" + content[-8:])
    with caplog.at_level(logging.WARNING):
        resumed = train(epochs=3, resume=True).run()
    assert f"{newest} is damaged or incomplete; trying the save before it." in caplog.text
    assert resumed.epochs == [2, 3]
    assert equal(resumed.everything(), whole.everything())


def test_resuming_from_nothing_starts_from_the_beginning(train, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        training = train(epochs=1, resume=True).run()
    assert training.epochs == [1]
    assert f"Nothing to resume in {tmp_path / 'saves'}" in caplog.text


def test_without_resume_the_saves_of_an_earlier_training_are_cleared(train, tmp_path):
    train(epochs=3).run()
    (tmp_path / "saves" / "run_name.txt").write_text("kept")
    training = train(epochs=1).run()
    assert training.epochs == [1]
    assert names(tmp_path / "saves") == ["epoch=0001.pt", "epoch=0001.pt.sha256", "run_name.txt"]


def test_the_save_of_a_training_of_another_length_is_refused(train, tmp_path):
    train(epochs=1).run()
    with pytest.raises(
        RuntimeError, match=r"epoch=0001\.pt: expected the state of a training of 2 epochs, found one of 1; go on with"
    ):
        train(epochs=2, resume=True).run()


def test_the_save_of_another_architecture_is_refused(train, tmp_path):
    train(epochs=1).run()
    other = train(epochs=1, resume=True, channels=(4, 16))
    with pytest.raises(
        RuntimeError,
        match=r"epoch=0001\.pt: expected the state of this training, found another's: [\s\S]*size mismatch",
    ):
        other.run()


def test_a_save_that_lacks_an_object_is_refused(train, tmp_path):
    train(epochs=1).run()
    other = train(epochs=1, resume=True)
    other.state.objects["ema"] = other.network
    with pytest.raises(RuntimeError, match=r"epoch=0001\.pt: expected the state of this training.*'ema'"):
        other.run()


def test_an_error_while_saving_leaves_the_save_before_and_nothing_partial(train, tmp_path, monkeypatch):
    training = train(epochs=1).run()
    before = names(tmp_path / "saves")
    training.state.objects["unpicklable"] = type("Bad", (), {"state_dict": lambda self: {"x": lambda: None}})()
    training.trainer.state.epoch = 2
    with pytest.raises(Exception, match=r"[Pp]ickle|local object"):
        training.state(training.trainer)
    assert names(tmp_path / "saves") == before


def test_only_the_first_process_writes_and_clears(train, tmp_path):
    train(epochs=2).run()
    before = names(tmp_path / "saves")
    second = train(epochs=1)
    second.trainer.state.rank = 1
    second.state(second.trainer)
    second.state._restore(second.trainer)
    assert names(tmp_path / "saves") == before


def test_the_scale_of_mixed_precision_is_restored(train):
    first = train(epochs=1).run()
    first.trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    first.state(first.trainer)
    second = train(epochs=1, resume=True)
    second.trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    second.state._restore(second.trainer)
    assert second.trainer.scaler.get_scale() == 8.0


def test_two_trainings_do_not_share_a_folder(tmp_path, new_trainer):
    with FileLock(tmp_path / ".lock"):  # as another process holds it
        with pytest.raises(RuntimeError, match=f"{tmp_path}: expected no other training there, found one that runs"):
            Training(tmp_path, new_trainer, epochs=1).run()
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    Training(tmp_path, new_trainer, epochs=1).run()
    with FileLock(tmp_path / ".lock", blocking=False):  # given back
        pass


def test_after_a_failure_the_same_process_may_go_on(tmp_path, new_trainer):
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path, new_trainer, epochs=2, stop_after=1).run()
    assert Training(tmp_path, new_trainer, epochs=2, resume=True).run().epochs == [2]
