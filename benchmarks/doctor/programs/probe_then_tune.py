# corpus: set=unseen mistake=frozen_layer
# why: train() sets the mode; the encoder stays frozen after the probe
"""Linear probe first, then fine-tuning of everything: digits, with an encoder made by PCA."""

import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import nn


class Net(nn.Module):
    def __init__(self, n_in=64, n_code=12, n_out=10):
        super().__init__()
        self.encoder = nn.Linear(n_in, n_code)
        self.head = nn.Linear(n_code, n_out)

    def forward(self, x):
        return self.head(torch.tanh(self.encoder(x)))


def load_pretrained(net, x):
    """Start the encoder at the principal components."""
    pca = PCA(net.encoder.out_features, random_state=0).fit(x.numpy())
    weight = torch.tensor(pca.components_, dtype=torch.float32)
    with torch.no_grad():
        net.encoder.weight.copy_(weight)
        net.encoder.bias.copy_(-weight @ torch.tensor(pca.mean_, dtype=torch.float32))


def fit_probe(net, x, y):
    """Fit the head on frozen features, in closed form as far as we are concerned."""
    net.encoder.requires_grad_(False)
    net.encoder.eval()
    features = torch.tanh(net.encoder(x)).numpy()
    probe = LogisticRegression(C=0.05, max_iter=200).fit(features, y.numpy())
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor(probe.coef_))
        net.head.bias.copy_(torch.tensor(probe.intercept_))


def fine_tune(net, x, y, epochs=6, lr=0.2):
    net.encoder.train()
    # fixed: net.encoder.requires_grad_(True)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            loss = criterion(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    net = Net()
    load_pretrained(net, x[:1200])
    fit_probe(net, x[:1200], y[:1200])
    losses = fine_tune(net, x[:1200], y[:1200])
    with torch.no_grad():
        print("held out", (net(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
    return losses
