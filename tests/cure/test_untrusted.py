"""Overrides in the folder of a run, which someone else may have written."""

import pytest

from gradlab.cure.examined_run import why_untrusted


@pytest.mark.parametrize(
    "override",
    [
        "data._target_=os.system",
        "+data={name: x, _target_: os.system}",
        "+optim._partial_=true",
        "+model.activation._args_=[1]",
        "train.steps=${oc.env:SECRET}",
        "hydra.searchpath=[file:///tmp/conf]",
        "hydra.searchpath=[pkg://evil]",
        "hydra/launcher=joblib",
        "+hydra.job.chdir=true",
        "model.activation=os.system",
        "model.activation='os.system'",
        "model.init=torch.load",
        "model.norm=subprocess.Popen",
        "model.activation=torch.nn.functional.importlib.import_module",
        "model.activation=torch.nn.modules.module.torch.load",
    ],
)
def test_an_override_that_can_run_code_or_read_secrets_is_not_trusted(override):
    assert why_untrusted(override) is not None


@pytest.mark.parametrize(
    "override",
    [
        "model.depth=10",
        "optim=adam",
        "+experiment=sigmoid_ten_layers",
        "model.activation=torch.nn.Sigmoid",
        "model.activation=torch.nn.functional.silu",
        "optim.betas=[0.9,0.99]",
        "~clip",
    ],
)
def test_an_override_that_chooses_or_sets_a_value_is_trusted(override):
    assert why_untrusted(override) is None
