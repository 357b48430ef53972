# corpus: set=tuned mistake=none
"""A module and a trainer that does the rest: the optimiser is stepped with a closure."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 32), nn.Dropout(0.1), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch, _batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        return {"loss": loss, "size": len(x)}

    def validation_step(self, batch, _batch_idx):
        x, y = batch
        return (self.net(x).argmax(1) == y).float().mean()

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"},
        }


class Trainer:
    def __init__(self, max_epochs, gradient_clip_val=None):
        self.max_epochs = max_epochs
        self.gradient_clip_val = gradient_clip_val
        self.logged = []

    def closure(self, module, optimizer, batch, i):
        def run():
            output = module.training_step(batch, i)
            optimizer.zero_grad()
            output["loss"].backward()
            if self.gradient_clip_val is not None:
                nn.utils.clip_grad_norm_(module.parameters(), self.gradient_clip_val)
            self.logged.append(output["loss"].detach())
            return output["loss"]

        return run

    def validate(self, module, batches):
        module.eval()
        with torch.no_grad():
            scores = [module.validation_step(b, i) for i, b in enumerate(batches)]
        module.train()
        return torch.stack(scores).mean()

    def fit(self, module, train, val):
        configured = module.configure_optimizers()
        optimizer = configured["optimizer"]
        self.validate(module, val[:2])  # a sanity check before training
        for _ in range(self.max_epochs):
            for i, batch in enumerate(train):
                optimizer.step(self.closure(module, optimizer, batch, i))
            configured["lr_scheduler"]["scheduler"].step()
            print(f"accuracy {self.validate(module, val):.3f}")


def main():
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    batches = [(x[r], y[r]) for r in torch.randperm(len(x)).split(32)]
    trainer = Trainer(max_epochs=4, gradient_clip_val=1.0)
    trainer.fit(Module(), batches[4:], batches[:4])
    return [loss.item() for loss in trainer.logged]
