"""The trainer of the distillation methods, against hand-written PyTorch loops."""

import copy

import pytest
import torch
from monai.data import MetaTensor
from monai.engines import PrepareBatchExtraInput
from monai.handlers import from_engine
from monai.networks.nets import UNet
from monai.transforms import Activationsd
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from medkd.engines import DistillationTrainer, PrepareSelection
from medkd.losses import ConfKDLoss
from medkd.networks import DualBranchOutput, DualBranchUNet

STEPS = 3


def make_batches(count=STEPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randn(3, 1, 16, 16, generator=generator),
            "label": torch.randint(0, 3, (3, 1, 16, 16), generator=generator).to(torch.uint8),
            "weak_label": torch.randint(0, 3, (3, 1, 16, 16), generator=generator).to(torch.uint8),
            "strong": torch.tensor([True, False, False]),
        }
        for _ in range(count)
    ]


def make_network(seed=1):
    torch.manual_seed(seed)
    return DualBranchUNet(2, 1, 3, (4, 8))


def make_trainer(network, loss=None, batches=None, *, optimizer=None, max_epochs=1, **kwargs):
    batches = make_batches() if batches is None else batches
    kwargs.setdefault("epoch_length", len(batches))
    return DistillationTrainer(
        device=torch.device("cpu"),
        max_epochs=max_epochs,
        train_data_loader=batches,
        network=network,
        optimizer=optimizer or torch.optim.Adam(network.parameters(), lr=0.01),
        loss_function=loss or ConfKDLoss(kl_on="all"),
        **{"amp": False, "decollate": False, **kwargs},
    )


class RecordingLoss:
    """Mean squared logits; remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, output, batch, teacher):
        self.calls.append((output, dict(batch), teacher))
        student = getattr(output, "prediction", output)
        return {"loss": student.square().mean(), "size": student.detach().abs().mean()}


def by_hand(network, batches, *, epochs=1, accumulation=1):
    """The loop that the trainer promises to be."""
    loss, optimizer = ConfKDLoss(kl_on="all"), torch.optim.Adam(network.parameters(), lr=0.01)
    network.train()
    for _ in range(epochs):
        for number, batch in enumerate(batches):
            if number % accumulation == 0:
                optimizer.zero_grad()
            (loss(network(batch["image"]), batch)["loss"] / accumulation).backward()
            if (number + 1) % accumulation == 0 or number + 1 == len(batches):
                optimizer.step()
    return network.state_dict()


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@pytest.mark.parametrize("accumulation", [1, 2])
def test_parameters_equal_those_of_a_hand_written_loop(accumulation):
    network, batches = make_network(), make_batches()
    before = copy.deepcopy(network.state_dict())
    expected = by_hand(copy.deepcopy(network), batches, epochs=2, accumulation=accumulation)
    make_trainer(network, batches=batches, max_epochs=2, accumulation_steps=accumulation).run()
    assert_same(network.state_dict(), expected)
    assert not torch.equal(before["student.head.weight"], expected["student.head.weight"])


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # TorchDynamo looks at it while tracing
def test_compiled_training_gives_the_parameters_of_the_loop():
    network, batches = make_network(), [dict(batch) for batch in make_batches()]
    expected = by_hand(copy.deepcopy(network), batches)
    for batch in batches:
        batch["image"] = MetaTensor(batch["image"])
    trainer = make_trainer(network, batches=batches, compile=True, compile_kwargs={"backend": "eager"})
    trainer.run()
    assert_same(network.state_dict(), expected)
    assert trainer.network is not network
    assert trainer.state.output["pred"].shape == (3, 3, 16, 16)


def test_the_output_holds_the_terms_and_the_prediction_of_the_student():
    network, loss = make_network(), RecordingLoss()
    trainer = make_trainer(network, loss)
    trainer.run()
    output, batch, _ = loss.calls[-1]
    assert isinstance(output, DualBranchOutput)
    assert trainer.state.output["pred"] is output.student
    assert trainer.state.output["loss"].item() == pytest.approx(output.student.square().mean().item())
    assert trainer.state.output["size"].item() == pytest.approx(output.student.abs().mean().item())
    assert set(trainer.state.output) == {"image", "label", "pred", "loss", "size"}
    assert torch.equal(trainer.state.output["image"], batch["image"])


def test_the_terms_of_confkd_survive_decollation():
    trainer = make_trainer(make_network(), decollate=True)
    trainer.run()
    assert len(trainer.state.output) == 3
    assert {"ce", "pce", "kl", "entropy", "loss"} <= trainer.state.output[0].keys()
    assert trainer.state.output[0]["pred"].shape == (3, 16, 16)
    loss = from_engine(["loss"], first=True)(trainer.state.output)  # as the handlers of MONAI's bundles ask for it
    assert (loss.shape, loss.requires_grad) == ((), False)


class TwoMaps(torch.nn.Conv2d):
    def forward(self, x):
        return [super().forward(x), super().forward(x)[..., ::2, ::2]]


def test_maps_in_a_list_are_taken_apart_as_monai_does_it():
    def loss(output, batch, teacher):
        return {"loss": output[0].square().mean()}

    trainer = make_trainer(TwoMaps(1, 3, 1), loss, decollate=True)
    trainer.run()
    assert len(trainer.state.output) == 3
    for item in trainer.state.output:
        assert [tuple(one.shape) for one in item["pred"]] == [(3, 16, 16), (3, 8, 8)]
        assert not item["pred"][0].requires_grad


def test_postprocessing_gets_what_monai_gives_it():
    trainer = make_trainer(make_network(), decollate=True, postprocessing=Activationsd("pred", softmax=True))
    trainer.run()
    for item in trainer.state.output:
        torch.testing.assert_close(item["pred"].sum(0), torch.ones(16, 16))


def test_the_loss_gets_the_whole_batch_as_plain_tensors():
    batches = make_batches(1)
    batches[0] |= {"image": MetaTensor(batches[0]["image"]), "name": ["a", "b", "c"]}
    loss = RecordingLoss()
    make_trainer(make_network(), loss, batches).run()
    batch = loss.calls[0][1]
    assert set(batch) == {"image", "label", "weak_label", "strong"}
    assert all(type(value) is torch.Tensor for value in batch.values())
    assert torch.equal(batch["strong"], batches[0]["strong"])


def test_without_a_teacher_the_loss_gets_none():
    loss = RecordingLoss()
    make_trainer(make_network(), loss).run()
    assert [teacher for _, _, teacher in loss.calls] == [None] * STEPS


def test_a_teacher_is_frozen_and_its_outputs_are_used():
    teacher, loss, batches = make_network(seed=5).train(), RecordingLoss(), make_batches()
    before = copy.deepcopy(teacher.state_dict())
    make_trainer(make_network(), loss, batches, teacher=teacher).run()
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert_same(teacher.state_dict(), before)
    for (_, _, guide), batch in zip(loss.calls, batches, strict=True):
        assert isinstance(guide, DualBranchOutput)
        assert not guide.teacher.requires_grad
        expected = teacher.outputs(batch["image"])
        assert torch.equal(guide.teacher, expected.teacher)
        assert torch.equal(guide.student, expected.student)


def test_a_plain_teacher_guides_by_what_it_returns_in_eval_mode():
    torch.manual_seed(3)
    teacher = UNet(2, 1, 3, channels=(4, 8), strides=(2,), norm="batch", dropout=0.5).train()
    before, loss, batches = copy.deepcopy(teacher.state_dict()), RecordingLoss(), make_batches()
    make_trainer(make_network(), loss, batches, teacher=teacher).run()
    assert_same(teacher.state_dict(), before)  # running statistics of the batch norm included
    assert torch.equal(loss.calls[0][2], teacher(batches[0]["image"]))


def test_a_plain_student_is_its_own_prediction():
    torch.manual_seed(3)
    student, loss = UNet(2, 1, 3, channels=(4, 8), strides=(2,)), RecordingLoss()
    trainer = make_trainer(student, loss)
    trainer.run()
    assert trainer.state.output["pred"] is loss.calls[-1][0]


@pytest.mark.parametrize(
    ("returned", "kind"), [({"total": torch.zeros(())}, "dict"), (torch.zeros(()), "Tensor"), (None, "NoneType")]
)
def test_a_loss_without_a_total_is_refused(returned, kind):
    trainer = make_trainer(make_network(), lambda output, batch, teacher: returned)
    with pytest.raises(TypeError, match=f'a distillation loss must return a dict with "loss", got {kind}'):
        trainer.run()


@pytest.mark.parametrize(
    "prepare", [PrepareBatchExtraInput({"strong": "strong"}), PrepareSelection({"strong": "strong"})]
)
def test_extra_inputs_reach_the_network(prepare):
    loss = RecordingLoss()
    make_trainer(make_network(), loss, prepare_batch=prepare).run()
    output = loss.calls[0][0]
    assert (len(output.teacher), len(output.student)) == (1, 3)
    torch.testing.assert_close(output.teacher, make_network(seed=1).outputs(make_batches()[0]["image"]).teacher[:1])


class EpochBatchSampler(BatchSampler):
    """Remembers which epoch it was in whenever it was gone through."""

    epoch = 0

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        self.seen.append(self.epoch)
        return super().__iter__()


def test_the_batch_sampler_is_told_the_epoch_before_it_is_gone_through():
    data = [{key: value[0] for key, value in batch.items()} for batch in make_batches(4)]
    sampler = EpochBatchSampler(SequentialSampler(data), 2, False)
    trainer = make_trainer(
        make_network(), batches=DataLoader(data, batch_sampler=sampler), max_epochs=3, epoch_length=None
    )
    trainer.run()
    assert sampler.seen == [1, 2, 3]
    assert trainer.state.iteration == 6


def test_student_teacher_and_loss_see_the_augmented_batch():
    class Teacher(torch.nn.Module):
        seen = None

        def forward(self, image):
            Teacher.seen = image
            return image

    def mirrored(batch):
        return {key: value.flip(-1) if value.ndim > 1 else value for key, value in batch.items()}

    batches, loss, network = make_batches(1), RecordingLoss(), make_network()
    expected = make_network()(batches[0]["image"].flip(-1)).prediction
    make_trainer(network, loss, batches, teacher=Teacher(), augmentation=mirrored).run()
    ((output, batch, _),) = loss.calls
    assert torch.equal(Teacher.seen, batches[0]["image"].flip(-1))
    assert torch.equal(batch["label"], batches[0]["label"].flip(-1))
    assert torch.equal(batch["strong"], batches[0]["strong"])
    assert torch.equal(output.prediction, expected)
