# corpus: set=tuned mistake=clip_before_unscale
# why: scaler.unscale_ is missing: gradients 65,536 times too large are clipped to 1
"""Mixed precision with loss scaling, on whatever device there is."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MAX_NORM = 1.0


class AmpTrainer:
    def __init__(self, model, lr=0.05, device="cpu"):
        self.device = device
        self.model = model.to(device)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.scaler = torch.amp.GradScaler(device)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x, y):
        with torch.autocast(self.device, dtype=torch.bfloat16):
            return self.criterion(self.model(x), y)

    def backward(self, loss):
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()

    def update(self):
        # fixed: self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def run(self, loader, epochs):
        for epoch in range(epochs):
            running = 0.0
            for x, y in loader:
                loss = self.forward(x.to(self.device), y.to(self.device))
                self.backward(loss)
                self.update()
                running += loss.item()
            print(f"{epoch}: {running / len(loader):.4f}")


def main():
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(
        torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    )
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    AmpTrainer(model).run(DataLoader(data, batch_size=64, shuffle=True), epochs=3)
