"""The trainer of every distillation method: MONAI's supervised trainer, a teacher, and losses that see whole batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer, default_prepare_batch
from monai.engines.utils import IterationEvents
from monai.transforms import Decollated
from monai.utils.enums import CommonKeys
from torch import Tensor, nn

from medkd.engines.finite import FiniteLoss
from medkd.transforms.batches import SEED

__all__ = ["DistillationTrainer"]

DistillationLoss = Callable[[Any, Mapping[str, Tensor], Any], dict[str, Tensor]]


class DistillationTrainer(SupervisedTrainer):
    """``SupervisedTrainer`` for losses of the form ``loss(output, batch, teacher) -> {"loss": …, terms …}``.

    Automatic mixed precision, gradient accumulation, ``torch.compile``, inferers, metrics and handlers are those of
    MONAI. ``engine.state.output`` holds ``image``, ``label``, ``pred`` (the student's prediction), ``loss`` and the
    loss's terms. If the batch sampler of the data loader has ``set_epoch``, it is told the epoch.

    A step never waits for the device: flags of images stay on the CPU, and scalars of the output on the device. A loss that is no
    number ends the training (``FiniteLoss``).

    Args:
        network: the student; the only network that is optimised, the only one to wrap in DDP.
        loss_function: called with the network's output, the batch and the teacher's output; returns at least
            ``"loss"``. The batch's tensors are on the device but for its flags (bool ``[B]``): what is chosen by a flag
            on the CPU makes nobody wait.
        teacher: a frozen network that guides the student, or ``None`` where the network is its own teacher. It is
            put into eval mode and runs without gradients; its ``outputs`` method is used if it has one.
        augmentation: random transforms of the whole batch, on the device; student and teacher see what it gives. MONAI's, of one
            image each, belong into the dataset.
        kwargs: all other arguments of ``monai.engines.SupervisedTrainer``; ``optim_set_to_none`` (as in PyTorch) and
            ``non_blocking`` are true by default.

    Raises:
        TypeError: during training, if the loss does not return a mapping with ``"loss"``.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss_function: DistillationLoss,
        teacher: nn.Module | None = None,
        augmentation: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.augmentation = augmentation
        self.distillation_loss = loss_function
        self.teacher = teacher
        self._batch: dict[str, Tensor] = {}
        self._prepare_image = kwargs.pop("prepare_batch", default_prepare_batch)
        self._postprocessing = kwargs.get("postprocessing")
        kwargs.setdefault("optim_set_to_none", True)  # PyTorch's default; filling gradients with zeros takes time
        kwargs.setdefault("non_blocking", True)  # else the host waits for all that the device still has to do
        super().__init__(network=network, loss_function=self._compute_loss, prepare_batch=self._prepare, **kwargs)
        self.add_event_handler(Events.STARTED, self._freeze_teacher)
        FiniteLoss().attach(self)
        batch_sampler = getattr(self.data_loader, "batch_sampler", None)
        set_epoch = getattr(batch_sampler, "set_epoch", None)
        if set_epoch is not None:
            self.add_event_handler(Events.EPOCH_STARTED, lambda engine: set_epoch(engine.state.epoch))

    def _freeze_teacher(self) -> None:
        """Not before the training starts: the same run may train the teacher first."""
        if self.teacher is not None:
            self.teacher.requires_grad_(False).eval()

    def _prepare(self, batch: dict[str, Any], device: Any, non_blocking: bool, **kwargs: Any) -> Any:
        """Move the whole batch to the device as plain tensors: metadata costs time in every operation of a step."""
        self._batch = {
            key: value if key == SEED or _is_flag(value) else _plain(value).to(device, non_blocking=non_blocking)
            for key, value in batch.items()
            if isinstance(value, Tensor)
        }
        if self.augmentation is not None:
            self._batch = self.augmentation(self._batch)
        return self._prepare_image(self._batch, device, non_blocking, **kwargs)

    def _compute_loss(self, output: Any, label: Tensor) -> Tensor:
        """What MONAI's iteration calls with the network's output; leaves the terms in ``engine.state.output``."""
        terms = self.distillation_loss(output, self._batch, self._guide(self.state.output[CommonKeys.IMAGE]))
        if not isinstance(terms, Mapping) or "loss" not in terms:
            raise TypeError(f'a distillation loss must return a dict with "loss", got {type(terms).__name__}')
        loss = terms["loss"]
        self.state.output.update({name: term for name, term in terms.items() if name != "loss"})
        self.state.output[CommonKeys.PRED] = getattr(output, "prediction", output)
        return loss

    def _register_decollate(self) -> None:
        """MONAI's would read every scalar from the device, and take apart a batch that only postprocessing needs."""
        if self._postprocessing is not None:
            super()._register_decollate()  # type: ignore[no-untyped-call]
        else:
            self.add_event_handler(IterationEvents.MODEL_COMPLETED, _split_output)

    @torch.no_grad()
    def _guide(self, image: Tensor) -> Any:
        """The teacher's output, or ``None``."""
        if self.teacher is None:
            return None
        return self.inferer(image, getattr(self.teacher, "outputs", self.teacher))


def _plain(value: Tensor) -> Tensor:
    return value.as_tensor() if isinstance(value, MetaTensor) else value


def _is_flag(value: Tensor) -> bool:
    """One truth value per image."""
    return value.dtype == torch.bool and value.ndim == 1


def _split_output(engine: Any) -> None:
    """A dict per image, as MONAI's decollation makes it, but for the scalars: they stay tensors, of every image alike."""
    if not all(isinstance(value, (Tensor, int, float)) for value in engine.state.output.values()):
        engine.state.output = Decollated(keys=None)(engine.state.output)  # maps in a list, for example
        return
    output = {key: value.detach() if isinstance(value, Tensor) else value for key, value in engine.state.output.items()}
    count = len(output[CommonKeys.IMAGE])
    batched = {key for key, value in output.items() if isinstance(value, Tensor) and value.ndim and len(value) == count}
    engine.state.output = [
        {key: value[number] if key in batched else value for key, value in output.items()} for number in range(count)
    ]
