"""New overrides replace the earlier overrides that contradict them."""

import pytest

from gradlab.config.compose import compose
from gradlab.cure.examined_run import (
    command_line,
    replace_overrides,
    search_path_override,
    without_group,
)
from gradlab.errors import SettingsError


@pytest.mark.parametrize(
    ("run", "new", "remaining"),
    [
        (["model.init=normal"], ["model.init=lsuv"], []),
        (["optim=sgd", "optim.momentum=0.9", "optim.lr=50"], ["optim=adam"], []),
        (["optim=adam", "optim.eps=1e-3", "optim.lr=1"], ["optim=adamw"], ["optim.eps=1e-3"]),
        (["optim=sgd", "optim.lr=50"], ["optim.lr=5"], ["optim=sgd"]),
        (["++optim.lr=50"], ["optim.lr=5"], []),
        (["clip=norm", "clip.max_norm=3"], ["clip=value"], []),
        (["clip=norm", "clip.max_norm=3"], ["clip=layer"], ["clip.max_norm=3"]),
        (["model=mlp", "model.depth=9", "model.norm=rms"], ["model=resmlp"], [1, 2]),
        (["model=resmlp", "model.branch_scale=2", "model.depth=9"], ["model=mlp"], [2]),
        (["loss=focal", "loss.gamma=1", "loss.scale=2"], ["loss=mse"], ["loss.scale=2"]),
        (["optim=sgd", "~optim.momentum"], ["clip=norm"], [0, 1]),
        (["+experiment=depth_activation", "clip=none"], ["clip=norm"], [0]),
        (["model.depth=3", "seed=7"], ["loss.scale=1024", "optim.lr=1e-4"], [0, 1]),
        (["model.activation='sigmoid'"], ["model.activation='relu'"], []),
    ],
)
def test_contradicted_overrides_are_removed(run, new, remaining):
    remaining = [run[each] if isinstance(each, int) else each for each in remaining]
    assert replace_overrides(run, new) == [*remaining, *new]


@pytest.mark.parametrize(
    "run",
    [
        ["optim=sgd", "optim.momentum=0.9", "optim.nesterov=x"][:2],
        ["clip=norm", "clip.max_norm=3", "+experiment=depth_activation"],
        ["model=resmlp", "model.branch_scale=0.5", "+experiment=sigmoid_ten_layers"],
        ["optim=rmsprop", "optim.alpha=0.9", "loss=focal", "loss.gamma=1"],
    ],
)
@pytest.mark.parametrize("new", ["optim=adam", "clip=adaptive", "model=resmlp", "loss=huber"])
def test_the_result_composes(run, new):
    compose("config", run)
    settings, _ = compose("config", replace_overrides(run, [new]))
    key, _, value = new.partition("=")
    assert settings.flat[key] == value


def test_the_settings_of_an_experiment_remain():
    run = ["+experiment=sigmoid_ten_layers", "model.init=normal"]
    settings, _ = compose("config", replace_overrides(run, ["model.init=lsuv"]))
    assert (settings.model.depth, settings.model.init.name) == (10, "lsuv")


def test_an_invalid_override_is_reported_with_the_nearest_choice():
    with pytest.raises(SettingsError, match="did you mean adam"):
        replace_overrides([], ["optim=adm"])
    with pytest.raises(SettingsError, match="optim is not an override"):
        replace_overrides([], ["optim"])


def test_without_group():
    run = ["tracking=offline", "tracking.tags=[a]", "seed=1", "++tracking.mode=online"]
    assert without_group(run, "tracking") == ["seed=1"]


def test_a_command_is_quoted_for_a_shell():
    assert command_line(["optim.betas=[0.9, 0.99]"]) == "gradlab run 'optim.betas=[0.9, 0.99]'"
    assert search_path_override([]) == []
    line = command_line(["seed=1"], ["file:///tmp/my own"])
    assert line == """gradlab run 'hydra.searchpath=['"'"'file:///tmp/my own'"'"']' seed=1"""
