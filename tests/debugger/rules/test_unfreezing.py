"""Layers that are frozen: a mistake only if no line of the user's could set them free later."""

import sys

import pytest

from gradlab.debugger.rules.unfreezing import thaws
from gradlab.debugger.targets.entry_point import examined

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
        {thaw}
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""
THAWS = (
    "model[0].requires_grad_(epoch > 20)",
    "model[0].requires_grad_() if epoch == 20 else None",
    "model[0].weight.requires_grad = model[0].bias.requires_grad = epoch > 20",
)
NO_THAWS = ("", "model[0].require_grad = True", "model[0].weight.requires_grad = False")


def said_of(path, thaw, imports=""):
    path.write_text(PROGRAM.format(thaw=thaw, imports=imports))
    return [each.kind for each in examined(f"{path}:main")]


@pytest.mark.parametrize("thaw", THAWS)
def test_what_may_thaw_later_is_left_in_peace(thaw, tmp_path):
    assert said_of(tmp_path / "train_thawing.py", thaw) == []


@pytest.mark.parametrize("thaw", NO_THAWS)
def test_what_never_thaws_is_found(thaw, tmp_path):
    assert said_of(tmp_path / "train_frozen.py", thaw) == ["frozen_layer"]


@pytest.mark.parametrize(("given", "kinds"), [("late", []), ("False", ["frozen_layer"])])
def test_a_thaw_in_an_imported_module_is_seen(given, kinds, tmp_path, monkeypatch):
    helper = tmp_path / f"helper_{given}.py"
    helper.write_text(f"def thaw(layer, late):\n    layer.requires_grad_({given})\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    imports, thaw = f"from {helper.stem} import thaw", "thaw(model[0], epoch > 20)"
    assert said_of(tmp_path / f"train_{given}.py", thaw, imports) == kinds


def test_a_relative_import_is_followed(tmp_path, monkeypatch):
    package = tmp_path / "thawing"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "free.py").write_text("def free(layer):\n    layer.requires_grad_()\n")
    (package / "fit.py").write_text("from .free import free\n")
    monkeypatch.syspath_prepend(tmp_path)
    import thawing.fit  # pyright: ignore[reportMissingImports]

    assert thaws([thawing.fit.__file__])
    assert not thaws([str(package / "__init__.py")])


def test_libraries_and_what_cannot_be_read_free_nothing(tmp_path):
    torn = tmp_path / "torn.py"
    torn.write_text("model.requires_grad_(")
    assert not thaws([str(torn), "<stdin>", str(tmp_path / "gone.py"), pytest.__file__])
