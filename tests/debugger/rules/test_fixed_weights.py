"""Frozen layers are a mistake only if no line of the user's code may unfreeze them."""

import sys

import pytest

from gradlab.debugger.entry_point import examine_target
from gradlab.debugger.rules.fixed_weights import unfreezes

PROGRAM = """
import torch
from torch import nn

{imports}

def main():
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randint(0, 3, (64,))
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(40):
        {unfreeze}
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""
UNFREEZING = (
    "model[0].requires_grad_(epoch > 20)",
    "model[0].requires_grad_() if epoch == 20 else None",
    "model[0].weight.requires_grad = model[0].bias.requires_grad = epoch > 20",
)
FROZEN = ("", "model[0].require_grad = True", "model[0].weight.requires_grad = False")


def kinds_of(path, unfreeze, imports=""):
    path.write_text(PROGRAM.format(unfreeze=unfreeze, imports=imports))
    return [each.kind for each in examine_target(f"{path}:main")]


@pytest.mark.parametrize("unfreeze", UNFREEZING)
def test_a_layer_that_may_be_unfrozen_later_is_no_mistake(unfreeze, tmp_path):
    assert kinds_of(tmp_path / "train_unfreezing.py", unfreeze) == []


@pytest.mark.parametrize("unfreeze", FROZEN)
def test_a_layer_that_stays_frozen_is_found(unfreeze, tmp_path):
    assert kinds_of(tmp_path / "train_frozen.py", unfreeze) == ["frozen_layer"]


@pytest.mark.parametrize(("flag", "kinds"), [("late", []), ("False", ["frozen_layer"])])
def test_an_imported_module_may_unfreeze(flag, kinds, tmp_path, monkeypatch):
    helper = tmp_path / f"helper_{flag}.py"
    helper.write_text(f"def unfreeze(layer, late):\n    layer.requires_grad_({flag})\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    imports, unfreeze = f"from {helper.stem} import unfreeze", "unfreeze(model[0], epoch > 20)"
    assert kinds_of(tmp_path / f"train_{flag}.py", unfreeze, imports) == kinds


def test_a_relative_import_is_followed(tmp_path, monkeypatch):
    package = tmp_path / "unfreezing"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "free.py").write_text("def free(layer):\n    layer.requires_grad_()\n")
    (package / "fit.py").write_text("from .free import free\n")
    monkeypatch.syspath_prepend(tmp_path)
    import unfreezing.fit  # pyright: ignore[reportMissingImports]

    assert unfreezes([unfreezing.fit.__file__])
    assert not unfreezes([str(package / "__init__.py")])


def test_libraries_and_unreadable_files_unfreeze_nothing(tmp_path):
    invalid = tmp_path / "invalid.py"
    invalid.write_text("model.requires_grad_(")
    assert not unfreezes([str(invalid), "<stdin>", str(tmp_path / "gone.py"), pytest.__file__])
