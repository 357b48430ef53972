# corpus: set=unseen mistake=kept_graph
# why: every loss of the epoch is kept with its graph
"""A LightningModule that averages its losses at the end of each epoch."""

import logging
import warnings

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Iris(pl.LightningModule):
    def __init__(self, hidden=16, lr=0.02):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        self.lr = lr
        self.training_step_outputs = []
        self.epoch_means = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        # fixed: self.training_step_outputs.append(loss.detach())
        self.training_step_outputs.append(loss)  # broken
        return loss

    def on_train_epoch_end(self):
        self.epoch_means.append(torch.stack(self.training_step_outputs).mean().item())
        self.training_step_outputs.clear()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main():
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    pl.seed_everything(0, verbose=False)
    x, y = load_iris(return_X_y=True)
    data = TensorDataset(torch.tensor(scale(x), dtype=torch.float32), torch.tensor(y))
    model = Iris()
    trainer = pl.Trainer(
        max_epochs=10,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(data, batch_size=10, shuffle=True))
    return model.epoch_means
