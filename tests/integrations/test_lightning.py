"""The callback in a real Lightning Trainer: accumulation, clipping, validation, exceptions."""

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import gradlab
from gradlab.results.nullable import numpy_floats
from tests.monitor.loops import batches, loss_of, mlp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the imports of Lightning
    pl = pytest.importorskip("pytorch_lightning", reason="pip install pytorch-lightning")
    from gradlab.integrations.lightning import Watch

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning


class Module(pl.LightningModule):
    def __init__(self, fails=False):
        super().__init__()
        self.net, self.fails = mlp(), fails

    def training_step(self, batch, index):
        if self.fails and index == 2:
            raise ZeroDivisionError
        return loss_of(self.net, batch)

    def validation_step(self, batch, index):
        loss_of(self.net, batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module, callbacks, folder, data=None, **kwargs):
    data = data or batches(4)
    whole = TensorDataset(*(torch.cat(parts) for parts in zip(*data, strict=True)))
    loader = DataLoader(whole, len(data[0][1]))
    trainer = pl.Trainer(
        max_epochs=1, callbacks=callbacks, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        default_root_dir=folder, use_distributed_sampler=False, **kwargs,
    )  # fmt: skip
    trainer.fit(module, loader, loader)


def test_the_record_equals_a_plain_loop(tmp_path):
    watch, module = Watch(), Module()
    fit(module, [watch], tmp_path)
    plain = mlp()
    optimizer = torch.optim.SGD(plain.parameters(), 0.1)
    with gradlab.watch(plain, optimizer) as monitor:
        for batch in batches(4):
            optimizer.zero_grad()
            loss_of(plain, batch).backward()
            optimizer.step()
    numbers = numpy_floats(watch.monitor.frame()).select_dtypes("float64")
    np.testing.assert_allclose(
        numbers, numpy_floats(monitor.frame()).select_dtypes("float64"), rtol=1e-6
    )
    np.testing.assert_allclose(watch.monitor.steps()["loss"], monitor.steps()["loss"], rtol=1e-6)
    assert watch.monitor.modules == ["net.0", "net.3", "net.5"]
    for a, b in zip(module.net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulation_and_clipping(tmp_path):
    watch, plain = Watch(), Watch()
    fit(Module(), [plain], tmp_path, accumulate_grad_batches=2)
    fit(Module(), [watch], tmp_path, accumulate_grad_batches=2, gradient_clip_val=1e-2)
    assert len(watch.monitor.steps()) == 2
    first, unclipped = watch.monitor.steps().iloc[0], plain.monitor.steps().iloc[0]
    assert first["clip_factor"] * first["grad_norm"] == pytest.approx(1e-2, rel=1e-3)
    assert first["grad_norm"] == pytest.approx(unclipped["grad_norm"], rel=1e-6)


def test_after_an_exception_the_model_is_no_longer_watched(tmp_path):
    watch, module = Watch(), Module(fails=True)
    with pytest.raises(ZeroDivisionError):
        fit(module, [watch], tmp_path)
    assert len(watch.monitor.steps()) == 2
    with gradlab.watch(module):
        pass
