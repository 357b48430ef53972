# corpus: set=unseen mistake=undivided_accumulation also=learning_rate
# why: the argument is used to count, and not to divide
"""A trainer with arguments in a dataclass, and large batches in small pieces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import nn


@dataclass
class TrainingArguments:
    per_device_batch_size: int = 16
    gradient_accumulation_steps: int = 8
    learning_rate: float = 0.4
    num_train_epochs: int = 5
    seed: int = 0


class Trainer:
    def __init__(self, model, args: TrainingArguments, dataset):
        self.model, self.args, self.dataset = model, args, dataset
        self.optimizer = torch.optim.SGD(model.parameters(), args.learning_rate, momentum=0.9)
        self.log_history = []

    def micro_batches(self):
        x, y = self.dataset
        rows = torch.randperm(len(x)).split(self.args.per_device_batch_size)
        whole = len(rows) // self.args.gradient_accumulation_steps
        for i in rows[: whole * self.args.gradient_accumulation_steps]:
            yield x[i], y[i]

    def training_step(self, inputs, labels):
        self.model.train()
        loss = nn.functional.cross_entropy(self.model(inputs), labels)
        # fixed: (loss / self.args.gradient_accumulation_steps).backward()
        loss.backward()  # broken
        return loss.detach()

    def train(self):
        every = self.args.gradient_accumulation_steps
        for _ in range(self.args.num_train_epochs):
            tr_loss = torch.tensor(0.0)
            for step, (inputs, labels) in enumerate(self.micro_batches(), start=1):
                tr_loss += self.training_step(inputs, labels)
                if step % every == 0:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    self.log_history.append(tr_loss.item() / every)
                    tr_loss.zero_()


def main():
    args = TrainingArguments()
    torch.manual_seed(args.seed)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    dataset = (x, torch.tensor(digits.target))
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    trainer = Trainer(model, args, dataset)
    trainer.train()
    return trainer.log_history
