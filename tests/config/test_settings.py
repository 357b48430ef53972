"""Settings: refused configurations, their messages, and the hash of a run."""

import pytest

from gradlab.config.ranges import DTYPES
from gradlab.config.settings import check_data, from_config
from gradlab.errors import SettingsError
from tests.configs import config, settings


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"model__activation": "sigmiod"},
            "model.activation=sigmiod is not a choice; did you mean sigmoid",
        ),
        ({"model__init": "xaviernormal"}, "did you mean xavier_normal"),
        ({"model__norm": "batchnorm"}, "did you mean batch?"),
        ({"model__norm_position": "befor"}, "model.norm_position=befor: .* did you mean before"),
        ({"model__depth": -1}, "model.depth=-1: expected a whole number of at least 0"),
        ({"model__depth": 2.5}, "model.depth=2.5: expected a whole number"),
        ({"model__depth": True}, "model.depth=True: expected a whole number"),
        ({"model__width": 0}, "model.width=0: expected a whole number of at least 1"),
        ({"model__init_gain": -1.0}, "model.init_gain=-1.0: expected a number above 0, or null"),
        ({"model__init": "zeros", "model__init_gain": 2.0}, "model.init=zeros has no gain"),
        ({"model__depht": 3}, "model.depht is not a key; did you mean model.depth"),
        ({"train__dtype": "float23"}, "did you mean float32"),
        ({"train__device": "gpu"}, "train.device=gpu: expected cpu, cuda"),
        ({"train__steps": 0}, "train.steps=0: expected a whole number of at least 1"),
        ({"train__batch_size": 1, "model__norm": "batch"}, "train.batch_size of at least 2"),
        ({"record__every": 0}, "record.every=0"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**31}, "seed=2147483648"),
        ({"optim__lr": 0}, "optim.lr=0: expected a number above 0"),
        ({"optim__lr": float("nan")}, "optim.lr=nan: expected a number above 0"),
        ({"optim__lr": "fast"}, "optim.lr=fast: expected a number"),
        ({"optim__momentum": 1.0}, "optim.momentum=1.0: expected a number from 0 to below 1"),
        ({"optim": "adam", "optim__betas": [0.9]}, "optim.betas=.*: expected two numbers"),
        ({"loss__scale": None}, "loss.scale=null: expected a number above 0"),
        ({"clip": "norm", "clip__max_norm": -1}, "clip.max_norm=-1"),
        ({"clip__max_norm": 1}, "clip.max_norm is not a key"),
        ({"model__activation": "torch.nn.NoSuch"}, "torch.nn.NoSuch cannot be imported"),
        ({"model__activation": None}, "model.activation=null: expected a name"),
        ({"model__activation": "torch.nn.Tanhshrin"}, "did you mean torch.nn.Tanhshrink?"),
        (
            {"model___target_": "os.system"},
            "model._target_=os.system: expected gradlab.models.feedforward",
        ),
        ({"loss__tasks": 3}, r"loss.tasks=3: expected \['classification'\]"),
        ({"optim__lr": 1e300}, r"optim.lr=1e\+300: expected .* at most 3.402823466e\+38"),
        ({"optim__lr": 10**400}, "expected a number above 0, of at most 3.4"),
        ({"optim__weight_decay": 1e39}, "of at least 0, of at most 3.4"),
        ({"loss__scale": 10**39}, "of at most 3.4"),
        ({"clip": "value", "clip__max_value": 1e300}, "of at most 3.4"),
        ({"model__init_gain": 10**400}, "or null, of at most 1.797693135"),
        ({"train__steps": 2**31}, "train.steps=2147483648: .* of at most 2147483647"),
        ({"model__depth": 10**20}, "of at most 2147483647"),
        (
            {"tracking": ["wandb"], "tracking__wandb__mode": "onlin"},
            "one of .*; did you mean online",
        ),
        (
            {"tracking": ["wandb"], "tracking__wandb__tags": [1]},
            r"tags=\[1\]: expected a list of names",
        ),
        (
            {"tracking": ["wandb"], "tracking__wandb__entity": 3},
            "entity=3: expected a name, or null",
        ),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_the_key(overrides, words):
    with pytest.raises(SettingsError, match=words) as caught:
        settings(**overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_group_is_named():
    content = config()
    del content["loss"]
    with pytest.raises(
        SettingsError, match="loss is missing; choose from bce, binary_focal, cross"
    ):
        from_config(content)


def test_a_value_in_the_place_of_a_section_is_named():
    content = config()
    content["train"] = 3
    with pytest.raises(SettingsError, match="train is a section"):
        from_config(content)


def test_data_that_do_not_fit_the_run_are_refused():
    run = settings(train__batch_size=100)
    check_data(run, 100, "classification")
    with pytest.raises(SettingsError, match="larger than the data: digits has 99"):
        check_data(run, 99, "classification")
    with pytest.raises(SettingsError, match="cross_entropy is for classification"):
        check_data(run, 100, "regression")


def test_any_torch_module_can_be_an_activation():
    run = settings(model__activation="torch.nn.Mish")
    assert run.model.activation.call().__class__.__name__ == "Mish"


def test_the_flat_configuration_has_the_choice_under_the_groups_name():
    flat = settings(clip="norm").flat
    assert flat["clip"] == "norm"
    assert flat["clip.max_norm"] == 1.0
    assert flat["model"] == "mlp"
    assert flat["model.depth"] == 5
    assert not any("_target_" in key for key in flat)


def test_the_hash_depends_only_on_settings_that_change_results():
    base = settings().config_hash
    assert settings().config_hash == base
    assert settings(tracking=["wandb"]).config_hash == base
    for change in ({"seed": 1}, {"model__depth": 6}, {"clip": "norm"}, {"optim__lr": 0.2}):
        assert settings(**change).config_hash != base


def test_a_whole_number_becomes_a_float_where_one_is_expected():
    whole = settings(optim="adam", optim__lr=1, optim__betas=[0, 0.9], model__init_gain=2)
    values = [whole.optim.params["lr"], *whole.optim.params["betas"], whole.model.init_gain]
    assert [type(value) for value in values] == [float] * 4
    same = settings(optim="adam", optim__lr=1.0, optim__betas=[0.0, 0.9], model__init_gain=2.0)
    assert whole.config_hash == same.config_hash
    assert type(whole.train.steps) is int


def test_settings_that_may_differ_within_a_stack():
    base = settings().stackable()
    for change in (
        {"seed": 1},
        {"clip": "norm"},
        {"model__init": "lsuv"},
        {"model__init_gain": 2.0},
        {"optim__lr": 0.3},
        {"sweep__resume": True},
    ):
        assert settings(**change).stackable() == base
    for change in ({"model__width": 3}, {"loss": "mse"}, {"train__dtype": "float64"}):
        assert settings(**change).stackable() != base


def test_every_dtype_exists_in_torch():
    import torch

    for name in DTYPES:
        assert isinstance(getattr(torch, name), torch.dtype)
