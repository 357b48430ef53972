# corpus: set=unseen mistake=unscaled_inputs also=learning_rate
# why: the scaled columns are made and not used
"""House prices by district: a regression on census-like columns."""

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def districts(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    income = rng.gamma(4.0, 1.0, n)
    age = rng.uniform(1, 52, n)
    rooms = rng.normal(5.4, 1.0, n)
    population = rng.lognormal(7.0, 0.6, n)
    latitude = rng.uniform(32, 42, n)
    longitude = rng.uniform(-124, -114, n)
    X = np.stack([income, age, rooms, population, latitude, longitude], 1)
    price = 0.45 * income + 0.01 * age + 0.2 * np.sin(latitude) - 0.0001 * population
    return X, price + rng.normal(0, 0.1, n)


def loader_of(X, y, shuffle):
    data = TensorDataset(
        torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    )
    return DataLoader(data, batch_size=64, shuffle=shuffle)


def main():
    torch.manual_seed(0)
    X, y = districts()
    X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
    scaler = StandardScaler()
    X_train_scaled = scaler.fit_transform(X_train)
    X_val_scaled = scaler.transform(X_val)
    mean, std = y_train.mean(), y_train.std()
    # fixed: train = loader_of(X_train_scaled, (y_train - mean) / std, shuffle=True)
    train = loader_of(X_train, (y_train - mean) / std, shuffle=True)  # broken
    val = loader_of(X_val_scaled, (y_val - mean) / std, shuffle=False)
    print(f"features {X_train_scaled.shape[1]}, batches {len(train)}")

    model = nn.Sequential(
        nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    criterion = nn.MSELoss()
    losses = []
    for epoch in range(6):
        for x, target in train:
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            error = np.mean([criterion(model(x), target).item() for x, target in val])
        print(f"epoch {epoch}: validation {error:.3g}")
    return losses
