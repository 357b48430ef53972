# corpus: set=tuned mistake=kept_graph named=graph_used_twice
# why: the state brings the graph of the last batch with it
# crashes: backward through the graph a second time
"""A character model whose hidden state is carried from one piece of text to the next."""

import torch
from torch import nn

TEXT = "the quick brown fox jumps over the lazy dog and then sleeps in the sun. " * 40
CHARS = sorted(set(TEXT))


class CharRNN(nn.Module):
    def __init__(self, vocab, dim=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.rnn = nn.GRU(dim, dim)
        self.head = nn.Linear(dim, vocab)
        self.state = None

    def forward(self, tokens):
        # fixed: out, state = self.rnn(self.embed(tokens), self.state)
        # fixed: self.state = state.detach()
        out, self.state = self.rnn(self.embed(tokens), self.state)  # broken
        return self.head(out)


def pieces(bptt=16, batch=8):
    ids = torch.tensor([CHARS.index(c) for c in TEXT])
    columns = ids[: len(ids) // batch * batch].view(batch, -1).t()
    for i in range(0, len(columns) - 1 - bptt, bptt):
        yield columns[i : i + bptt], columns[i + 1 : i + 1 + bptt]


def step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    logits = model(x)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss.item()


def practice():
    torch.manual_seed(0)
    model = CharRNN(len(CHARS))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return step, model, optimizer, list(pieces())
