# corpus: set=unseen mistake=none
"""A variational autoencoder: sums over pixels and codes, divided by the number of images."""

import logging
import warnings

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


class VAE(pl.LightningModule):
    def __init__(self, code=6, lr=5e-3):
        super().__init__()
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, 48), nn.ReLU(), nn.Linear(48, 64))
        self.history = []

    def training_step(self, x, batch_idx):
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
        rebuilt = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
        loss = (rebuilt + divergence) / len(x)
        self.history.append(loss.item())
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def main():
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    pl.seed_everything(0, verbose=False)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model = VAE()
    trainer = pl.Trainer(
        max_epochs=5,
        accelerator="cpu",
        gradient_clip_val=100.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(x, batch_size=64, shuffle=True))
    return model.history
