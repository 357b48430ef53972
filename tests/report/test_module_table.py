"""Modules of watched networks by depth: one row each, or one row per block in large networks."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import gradlab
from gradlab.report.layer_profile import profile_over_seeds
from gradlab.report.module_table import average_blocks, block_name, broken_chains, module_table
from gradlab.report.reduce import reduce_folder
from gradlab.sinks import Parquet


def recorded(folder, blocks):
    """Watch a network of `blocks` blocks with three linear maps, and a head, for two steps."""
    torch.manual_seed(0)
    h = nn.ModuleList(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))) for _ in range(blocks))
    model = nn.ModuleDict({"h": h, "head": nn.Linear(4, 2)})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer, sinks=Parquet(folder)) as monitor:
        for _ in range(2):
            x = torch.randn(8, 4)
            for block in h:
                x = x + 0.1 * block(x)
            optimizer.zero_grad()
            model["head"](x).square().mean().backward()
            optimizer.step()
    return monitor.frame()


def table_of(folder):
    runs, reduced = reduce_folder(folder)
    return module_table(runs, reduced.layers)


def test_a_small_network_has_a_row_per_module(tmp_path):
    frame = recorded(tmp_path, 2)
    table = table_of(tmp_path)
    assert table["modules"].tolist() == frame["module"][:7].tolist()
    assert table["layers"].tolist() == [str(i) for i in range(1, 8)]
    logs = np.log10(frame.pivot(index="step", columns="position", values="delta_norm"))
    expected = (logs.mean() - logs.mean()[7]).to_numpy()
    np.testing.assert_allclose(table["delta"], expected, atol=0.006)


def test_a_large_network_has_a_row_per_block(tmp_path):
    frame = recorded(tmp_path, 100)
    table = table_of(tmp_path)
    assert len(frame["module"].unique()) == 301
    assert len(table) == 101
    assert table["modules"][1] == "h.1 (3 modules)"
    assert table["layers"].tolist()[-2:] == ["298-300", "301"]
    logs = np.log10(frame.pivot(index="step", columns="position", values="delta_norm")).mean()
    assert table["weakest"][0] == pytest.approx(logs[[1, 2, 3]].min() - logs[301], abs=0.006)


def test_a_large_network_is_drawn_by_block(tmp_path):
    frame = recorded(tmp_path, 100)
    runs, reduced = reduce_folder(tmp_path)
    blocks = average_blocks(runs, reduced.layers)
    assert blocks["position"].tolist() == [*np.repeat(np.arange(2.0, 300.0, 3.0), 3), 301.0]
    drawn = profile_over_seeds(blocks, [], "delta_norm")
    logs = np.log10(frame.pivot(index="step", columns="position", values="delta_norm")).mean()
    assert len(drawn) == 101
    first = drawn.iloc[0]
    assert first["mean"] == pytest.approx(logs[[1, 2, 3]].mean())
    assert [first["low"], first["high"]] == pytest.approx([logs[[1, 2, 3]].min(), logs[:3].max()])
    recorded(tmp_path / "few", 2)
    few, reduced = reduce_folder(tmp_path / "few")
    assert average_blocks(few, reduced.layers)["position"].tolist() == list(range(1, 8))


def test_networks_of_gradlab_are_not_in_the_table(tmp_path):
    recorded(tmp_path, 2)
    info = tmp_path / "run.json"
    info.write_text(info.read_text().replace('"watched": true', '"watched": false'))
    assert table_of(tmp_path).empty


@pytest.mark.parametrize(
    ("module", "block"),
    [("h.3.mlp.c_fc", "h.3"), ("a.b", "a.b"), ("layer2.11.conv1", "layer2.11"), ("0", "0")],
)
def test_a_block_ends_at_the_first_number(module, block):
    assert block_name(module) == block


def test_a_network_without_all_factors_has_no_chain(tmp_path):
    recorded(tmp_path / "residual", 2)  # without activations between its maps
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(plain.parameters(), 0.1)
    with gradlab.watch(plain, optimizer, sinks=Parquet(tmp_path / "plain")):
        plain(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    runs, reduced = reduce_folder(tmp_path)
    assert broken_chains(runs, reduced.layers) == {"residual"}


def test_a_module_without_a_signal_is_not_counted_as_infinite(tmp_path):
    class Scale(torch.nn.Module):
        """Uses the weight of `inner` without calling `inner`."""

        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 3)

        def forward(self, x):
            return torch.nn.functional.linear(x, self.inner.weight)

    model = torch.nn.Sequential(torch.nn.Linear(4, 3), Scale(), torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with gradlab.watch(model, optimizer) as monitor:
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.randn(5, 4)).square().mean().backward()
                optimizer.step()
        monitor.report(tmp_path)
    silent = monitor.frame().groupby("module")["delta_norm"].count()
    assert silent["1.inner"] == 0
    _, reduced = reduce_folder(tmp_path)
    assert (reduced.layers["delta_norm_inf"] == 0).all()
    assert reduced.runs["decades"].notna().all()
    assert reduced.layers["delta_norm"].isna().sum() == 1
