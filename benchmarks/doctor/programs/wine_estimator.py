# corpus: set=unseen mistake=layer_replaced also=missing_parameters
# why: fit() makes a head for three classes; the optimiser of __init__ holds the one for two
"""An estimator in the manner of scikit-learn: the classes are known only when fit() is called."""

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


class MLPEstimator(ClassifierMixin, BaseEstimator):
    def __init__(self, n_features, hidden=24, lr=0.02, epochs=20, seed=0):
        self.n_features, self.hidden, self.lr, self.epochs = n_features, hidden, lr, epochs
        self.seed = seed
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(n_features, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.opt = torch.optim.Adam(self.net.parameters(), lr=lr)

    def _adapt_head(self, n_classes):
        if self.net[-1].out_features != n_classes:
            self.net[-1] = nn.Linear(self.hidden, n_classes)

    def fit(self, X, y):
        self.classes_ = sorted(set(y.tolist()))
        self._adapt_head(len(self.classes_))
        # fixed: self.opt = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        X, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
        criterion = nn.CrossEntropyLoss()
        self.loss_curve_ = []
        for _ in range(self.epochs):
            for rows in torch.randperm(len(X)).split(32):
                self.opt.zero_grad()
                loss = criterion(self.net(X[rows]), y[rows])
                loss.backward()
                self.opt.step()
                self.loss_curve_.append(loss.item())
        return self

    @torch.no_grad()
    def predict(self, X):
        return self.net(torch.as_tensor(X, dtype=torch.float32)).argmax(1).numpy()


def main():
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    scaler = StandardScaler().fit(X_train)
    estimator = MLPEstimator(X.shape[1]).fit(scaler.transform(X_train), y_train)
    print("test accuracy", (estimator.predict(scaler.transform(X_test)) == y_test).mean())
    return estimator.loss_curve_
