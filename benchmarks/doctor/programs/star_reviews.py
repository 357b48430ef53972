# corpus: set=unseen mistake=shifted_labels
# why: stars count from 1, the list of words from 0; the number of outputs hides it
"""Stars of short reviews, from a bag of words."""

import random

import torch
from torch import nn

LEVELS = ["awful", "poor", "fair", "good", "superb"]
WORDS = {
    1: ["broken", "refund", "terrible", "waste", "never"],
    2: ["slow", "cheap", "noisy", "disappointed", "weak"],
    3: ["okay", "average", "usual", "works", "plain"],
    4: ["nice", "solid", "quick", "happy", "useful"],
    5: ["perfect", "love", "brilliant", "best", "amazing"],
}
FILLER = ["the", "a", "it", "is", "was", "with", "and", "this", "product", "i", "after", "my", "of"]


def write_review(rng):
    stars = rng.randint(1, 5)
    words = rng.choices(FILLER, k=6) + rng.choices(WORDS[stars], k=2)
    words += rng.choices(WORDS[rng.randint(1, 5)], k=1)
    return words, stars


class BagOfWords(nn.Module):
    def __init__(self, vocabulary, classes):
        super().__init__()
        self.embed = nn.EmbeddingBag(vocabulary, 16, mode="mean")
        self.out = nn.Linear(16, classes)

    def forward(self, ids):
        return self.out(torch.relu(self.embed(ids)))


def main():
    torch.manual_seed(0)
    rng = random.Random(0)
    reviews = [write_review(rng) for _ in range(1200)]
    index = {w: i for i, w in enumerate(FILLER + [w for ws in WORDS.values() for w in ws])}
    ids = torch.tensor([[index[w] for w in words] for words, _ in reviews])
    # fixed: label = torch.tensor([stars - 1 for _, stars in reviews])
    label = torch.tensor([stars for _, stars in reviews])  # broken
    model = BagOfWords(len(index), int(label.max()) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        for rows in torch.randperm(1000).split(50):
            loss = nn.functional.cross_entropy(model(ids[rows]), label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        guesses = model(ids[1000:]).argmax(1).tolist()
    named = [
        LEVELS[min(g, 4)] == LEVELS[s - 1]
        for g, (_, s) in zip(guesses, reviews[1000:], strict=True)
    ]
    print(f"reviews given the right word: {sum(named) / len(named):.1%}")
    return losses
