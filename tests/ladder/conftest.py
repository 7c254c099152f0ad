"""A bundle that takes no time: its training writes a number, its evaluation makes scores of it."""

import pytest

_TRAIN = r"""
imports:
- $import pathlib
- $import ignite
- $import os
- $import time
- $import torch
bundle_root: .
dataset_dir: none
output_dir: $@bundle_root + '/eval'
run_name: none
resume: false
progress: true
seed: 0
gain: 0.5
max_epochs: 1
# A training waits while there is a file `wait`, and kills the processes whose group `kill` names in its second epoch.
wait: $pathlib.Path(@bundle_root + '/../../wait')
kill: $pathlib.Path(@bundle_root + '/kill')
stop: "$lambda epoch: time.sleep(600 * @wait.exists()) or (epoch == 2 and @kill.exists() and os.killpg(int(@kill.read_text()), 9))"
process_function: "$lambda engine, batch: (@stop(engine.state.epoch), engine.state.metrics.update(loss=1 / engine.state.epoch))"
trainer: {_target_: ignite.engine.Engine, process_function: '@process_function'}
handlers: []
initialize:
- $pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)
- $pathlib.Path(@bundle_root + '/models').mkdir(parents=True, exist_ok=True)
run:
- $list(map(lambda handler, trainer=@trainer:handler.attach(trainer), @handlers))
- $@trainer.run([0], max_epochs=@max_epochs)
- $print('training with', @gain)
- $pathlib.Path(@bundle_root + '/models/model.pt').write_text(str(@gain))
"""
_EVALUATE = r"""
run:
- >-
  $pathlib.Path(@output_dir + '/cases.csv').write_text('case,patient,branch,class,dice\n'
  + 'a_ED,a,student,lv,{0}\na_ES,a,student,lv,{1}\nb_ED,b,student,lv,{2}\nb_ED,b,teacher,lv,0.0\n'.format(@gain, @gain
  + 0.2, @gain + 0.01 * @seed))
"""
_TRACKING = r"""
handlers_id:
  trainer: {id: trainer, handlers: handlers}
configs:
  experiment_name: fake
  tracking_uri: none
  trainer:
    _target_: medkd.handlers.tracking.TrackingHandler
    tracking_uri: '@tracking_uri'
    experiment_name: '@experiment_name'
    run_name: '@run_name'
    offline_dir: '@output_dir'
    config_file: '@save_execute_config'
    iteration_log: false
    close_on_complete: true
"""
_LADDER = r"""
rungs:
  low: {gain: 0.3}
  middle:
  high: {gain: 0.7}
  broken: {gain: "$[][0]"}
claims:
  high: [low, broken]
  broken: [low]
selections:
  good: [low, middle, high]
  pair: [low, high]
"""


@pytest.fixture(scope="session")
def fake_bundle(tmp_path_factory):
    """The bundle's folder."""
    bundle = tmp_path_factory.mktemp("bundles") / "fake_bundle"
    configs = bundle / "configs"
    configs.mkdir(parents=True)
    files = {"train": _TRAIN, "evaluate": _EVALUATE, "tracking": _TRACKING, "ladder": _LADDER}
    for name, content in files.items():
        (configs / f"{name}.yaml").write_text(content)
    (configs / "metadata.json").write_text('{"version": "0.1.0"}')
    return bundle
