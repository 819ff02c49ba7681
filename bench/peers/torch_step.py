"""What a user would run instead: the same SFT step in PyTorch (Debian's python3-torch).

The SmolLM2-135M shape, 4 x 512 tokens, fp32: forward, backward, clipping, AdamW. Prints one line of
JSON: tokens per second of the fastest and the median step, and peak memory. bench/step.sh sets the
environment in which it was seen to be fastest (threads, malloc that keeps memory, huge pages).
"""

import json
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

HIDDEN, LAYERS, HEADS, KV_HEADS, MLP, VOCAB = 576, 30, 9, 3, 1536, 49152
HEAD = HIDDEN // HEADS
BATCH, LENGTH = 4, 512


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):
    half = HEAD // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(), RmsNorm()
        self.q = nn.Linear(HIDDEN, HEADS * HEAD, bias=False)
        self.k = nn.Linear(HIDDEN, KV_HEADS * HEAD, bias=False)
        self.v = nn.Linear(HIDDEN, KV_HEADS * HEAD, bias=False)
        self.o = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.gate = nn.Linear(HIDDEN, MLP, bias=False)
        self.up = nn.Linear(HIDDEN, MLP, bias=False)
        self.down = nn.Linear(MLP, HIDDEN, bias=False)

    def forward(self, x, cos, sin, mask):
        h = self.norm1(x)
        q = rotate(self.q(h).view(BATCH, LENGTH, HEADS, HEAD).transpose(1, 2), cos, sin)
        k = rotate(self.k(h).view(BATCH, LENGTH, KV_HEADS, HEAD).transpose(1, 2), cos, sin)
        v = self.v(h).view(BATCH, LENGTH, KV_HEADS, HEAD).transpose(1, 2)
        k = k.repeat_interleave(HEADS // KV_HEADS, 1)
        v = v.repeat_interleave(HEADS // KV_HEADS, 1)
        weights = torch.softmax(q @ k.transpose(2, 3) * HEAD**-0.5 + mask, -1)
        x = x + self.o((weights @ v).transpose(1, 2).reshape(BATCH, LENGTH, HIDDEN))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, HIDDEN)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = RmsNorm()
        frequency = 10000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
        angle = torch.arange(LENGTH)[:, None] * torch.cat((frequency, frequency))
        self.cos, self.sin = angle.cos(), angle.sin()
        self.mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)

    def loss(self, ids, labels):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin, self.mask)
        logits = self.norm(x).view(-1, HIDDEN) @ self.embed.weight.t()
        return F.cross_entropy(logits, labels.view(-1))


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.manual_seed(7)
    model = Llama()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, foreach=True)
    seconds = []
    for step in range(steps + 1):  # the first one warms up
        ids = torch.randint(VOCAB, (BATCH, LENGTH))
        start = time.perf_counter()
        model.loss(ids, ids.roll(-1, 1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if step > 0:
            seconds.append(time.perf_counter() - start)
    tokens = BATCH * LENGTH
    print(json.dumps({
        "tokens_per_second_best": tokens / min(seconds),
        "tokens_per_second_median": tokens / statistics.median(seconds),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "threads": torch.get_num_threads(),
    }))


main()
