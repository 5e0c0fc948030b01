"""How much longer does an epoch of the linear model take through `train_epoch` than as a bare loop over tensor slices?

Both run on the 12,396 3s and 7s in batches of 256, from the same weights, and end with the same weights. The bare loop
has no checks, no `DataLoader` and no optimizer object. Runs take turns. For both orders the script prints the median
time of each and the median of the ratios of neighbouring runs. Target: at most 1.3.

    python bench/linear_model.py [REPEATS]
"""
import sys
from statistics import median
from time import perf_counter

import torch
from torch import nn

from mnist_basics.devices import default_device, set_seed
from mnist_basics.linear_model import BasicOptim, DataLoader, mnist_loss, three_or_seven, train_epoch

TARGET,BS,LR = 1.3,256,0.1

def bare_loss(preds, targs):
    probs = preds.sigmoid()
    return torch.where(targs==1, 1-probs, probs).mean()

def bare_epoch(model, x, y, params, generator=None):
    "The loop as one would write it for this one model; a permutation of the rows when there is a `generator`"
    order = None if generator is None else torch.randperm(len(x), generator=generator).to(x.device)
    total = 0.
    for i in range(0, len(x), BS):
        idx = slice(i, i+BS)
        if order is not None: idx = order[idx]
        xb,yb = x[idx],y[idx]
        loss = bare_loss(model(xb), yb)
        loss.backward()
        with torch.no_grad():
            for p in params:
                p -= p.grad*LR
                p.grad = None
        total += loss.item()*len(xb)
    return total/len(x)

def timed(func, *args):
    if torch.cuda.is_available(): torch.cuda.synchronize()
    start = perf_counter()
    res = func(*args)
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return perf_counter()-start,res

def compare(shuffle, x, y, repeats):
    "Times of the bare loop and of `train_epoch`, taking turns"
    set_seed(42)
    bare,ours = [nn.Linear(784, 1).to(x.device) for _ in range(2)]
    ours.load_state_dict(bare.state_dict())
    g1,g2 = [torch.Generator().manual_seed(42) if shuffle else None for _ in range(2)]
    dl = DataLoader((x,y), BS, shuffle=shuffle, generator=g2)
    params,opt = list(bare.parameters()),BasicOptim(ours.parameters(), LR)
    times = []
    for i in range(repeats+3):
        t1,l1 = timed(bare_epoch, bare, x, y, params, g1)
        t2,l2 = timed(train_epoch, ours, dl, mnist_loss, opt)
        assert abs(l1-l2)<1e-6, f"the two epochs differ: {l1} and {l2}"
        if i>=3: times.append((t1,t2))
    return times

def main(repeats=60):
    x,y = [o.to(default_device()) for o in three_or_seven('train')]
    print(f"{x.device.type}, torch {torch.__version__}, {torch.get_num_threads()} threads, {repeats} epochs each, batches of {BS}")
    worst = 0
    for name,shuffle in (('in order',False), ('shuffled',True)):
        times = compare(shuffle, x, y, repeats)
        ratio = median(b/a for a,b in times)
        worst = max(worst, ratio)
        print(f"{name}: bare loop {median(a for a,_ in times)*1e3:6.2f} ms, train_epoch {median(b for _,b in times)*1e3:6.2f} ms, ratio {ratio:.2f}")
    print(f"target {TARGET}: {'met' if worst<=TARGET else 'missed'}")

if __name__=='__main__': main(*map(int, sys.argv[1:]))
