"""A remedy takes the place of what it contradicts, as Hydra asks."""

import pytest

from gradlab.config.compose import compose
from gradlab.cure.overrides import command, replaced, searching, without
from gradlab.errors import SettingsError


@pytest.mark.parametrize(
    ("run", "by", "left"),
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
def test_replaced(run, by, left):
    kept = [run[each] if isinstance(each, int) else each for each in left]
    assert replaced(run, by) == [*kept, *by]


@pytest.mark.parametrize(
    "run",
    [
        ["optim=sgd", "optim.momentum=0.9", "optim.nesterov=x"][:2],
        ["clip=norm", "clip.max_norm=3", "+experiment=depth_activation"],
        ["model=resmlp", "model.branch_scale=0.5", "+experiment=sigmoid_ten_layers"],
        ["optim=rmsprop", "optim.alpha=0.9", "loss=focal", "loss.gamma=1"],
    ],
)
@pytest.mark.parametrize("by", ["optim=adam", "clip=adaptive", "model=resmlp", "loss=huber"])
def test_what_is_replaced_composes(run, by):
    compose("config", run)
    settings, _ = compose("config", replaced(run, [by]))
    key, _, value = by.partition("=")
    assert settings.flat[key] == value


def test_an_experiment_keeps_what_it_sets():
    run = ["+experiment=sigmoid_ten_layers", "model.init=normal"]
    settings, _ = compose("config", replaced(run, ["model.init=lsuv"]))
    assert (settings.model.depth, settings.model.init.name) == (10, "lsuv")


def test_a_mistake_is_told_by_the_nearest():
    with pytest.raises(SettingsError, match="did you mean adam"):
        replaced([], ["optim=adm"])
    with pytest.raises(SettingsError, match="optim is not an override"):
        replaced([], ["optim"])


def test_without():
    run = ["tracking=offline", "tracking.tags=[a]", "seed=1", "++tracking.mode=online"]
    assert without(run, "tracking") == ["seed=1"]


def test_a_command_is_quoted_for_a_shell():
    assert command(["optim.betas=[0.9, 0.99]"]) == "gradlab run 'optim.betas=[0.9, 0.99]'"
    assert searching([]) == []
    told = command(["seed=1"], ["file:///tmp/my own"])
    assert told == """gradlab run 'hydra.searchpath=['"'"'file:///tmp/my own'"'"']' seed=1"""
