"""The weights of every epoch are those of MONAI's handler, bit for bit."""

from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events
from monai.handlers import ParamSchedulerHandler

from medkd.handlers import RampUp


def weights(attach, epochs):
    """What the loss has in each epoch."""
    loss, seen = SimpleNamespace(kl_weight=1.0, entropy_weight=0.1), []
    trainer = Engine(lambda engine, batch: seen.append((loss.kl_weight, loss.entropy_weight)))
    attach(loss, trainer)
    trainer.run([0], max_epochs=epochs)
    return seen


def by_monai(loss, trainer, ramp):
    for name in ("kl_weight", "entropy_weight"):
        ParamSchedulerHandler(
            parameter_setter=lambda value, name=name: setattr(loss, name, value),
            value_calculator="linear",
            vc_kwargs={
                "initial_value": 0.0,
                "step_constant": 0,
                "step_max_value": ramp,
                "max_value": getattr(loss, name),
            },
            epoch_level=True,
            event=Events.EPOCH_STARTED,
        ).attach(trainer)


@pytest.mark.parametrize("ramp", [1, 3, 7, 80])
def test_weights_rise_as_with_monai(ramp):
    given = {"kl_weight": 1.0, "entropy_weight": 0.1}
    found = weights(lambda loss, trainer: RampUp(loss, given, epochs=ramp).attach(trainer), 9)
    assert found == weights(lambda loss, trainer: by_monai(loss, trainer, ramp), 9)
    if ramp < 9:
        assert found[-1] == (1.0, 0.1)
