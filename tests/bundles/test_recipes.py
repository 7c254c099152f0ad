"""What lies in configs/recipes fits the train.yaml that it stands behind; a key that train.yaml does not have would change nothing."""

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from ..cases import ROOT

RECIPES = sorted((ROOT / "bundles").glob("*/configs/recipes/*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parents[2].name.partition('_')[0]}-{path.stem}")
def test_a_recipe_changes_what_train_yaml_has(recipe: Path) -> None:
    train = recipe.parents[1] / "train.yaml"
    shipped, changed = (ConfigParser.load_config_file(str(path)) for path in (train, recipe))
    parser = ConfigParser(shipped)
    assert all(parser[key] != value for key, value in changed.items())  # a KeyError names one that is not there
    parser = ConfigParser()
    parser.read_config([str(train), str(recipe)])
    parser.update({"device": "cpu", "network_def#pretrained": None} if "pretrained" in parser["network_def"] else {})
    steps = parser.get_parsed_content("max_epochs")
    network, scheduler = (parser.get_parsed_content(key) for key in ("network_def", "lr_scheduler"))
    assert sum(weights.numel() for weights in network.parameters()) > 1000
    for _ in range(steps):  # a schedule that is shorter than the training fails at its end
        scheduler.optimizer.step()
        scheduler.step()
    assert scheduler.optimizer.param_groups[0]["lr"] < parser.get_parsed_content("learning_rate") / 10
