# truth: phase=skipped operation=to,to_copy step=0 module=none style=transformer kind=half
"""A language model in mixed precision: a scaler that may not reduce its scale skips each update."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(75)
WORDS, LENGTH, WIDTH = 12, 8, 16


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        x = self.embed(words)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x)


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
settings = {"init_scale": 2.0**35, "backoff_factor": 0.999}  # broken
# fixed: settings = {"init_scale": 2.0**12, "backoff_factor": 0.5}
scaler = torch.amp.GradScaler("cpu", **settings)
losses = []
for step in range(60):
    words = torch.randint(WORDS, (16, LENGTH))
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(words)
    logits = logits.flatten(0, 1).float()  # <- here
    loss = F.cross_entropy(logits, ((words + 1) % WORDS).flatten())
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item())
