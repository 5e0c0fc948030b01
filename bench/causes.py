"""Which change earns what, on ten digits? One thing at a time, each rival with equal trials.

    python bench/causes.py [--json bench/causes.json]

The small network with and without input scaling, batch norm and one cycle: all eight.

Every network gets one epoch of the first 25,000 training images, label smoothing and
batches of 192. Its learning rate is the best of RATES by one seed; three other seeds
measure it. Both times the last 10,000 training images are asked. No test image is looked
at. A training that diverges counts as 0.
"""
import argparse, json, time
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from torch import nn
from bands import processor
from mnist_basics.checks import Diverged
from mnist_basics.data import mnist
from mnist_basics.metrics import accuracy
from mnist_basics.ten_digits import Normalize, train_digits

RATES = 0.001, 0.003, 0.01, 0.03
CHOOSE, SEEDS, IMAGES = 200, (201, 202, 203), 25_000


def small(n_out, scale=True, norm=True):
    "The small network of the page, or one that lacks something"
    def block(a, b, size, stride):
        conv = nn.Conv2d(a, b, size, stride, bias=not norm)
        return [conv, *[nn.BatchNorm2d(b)]*norm, nn.ReLU()]
    return nn.Sequential(*[Normalize()]*scale, *block(1, 16, 5, 2),
        *block(16, 20, 3, 1), nn.MaxPool2d(2), *block(20, 48, 3, 1),
        nn.Flatten(), nn.Linear(432, n_out))


def parts():
    def name(scale, norm, cycle):
        has = [o for o, k in (('scaling', scale), ('batch norm', norm),
                              ('cycle', cycle)) if k]
        return ', '.join(has) or 'none of them'
    return {name(*o): dict(make=partial(small, scale=o[0], norm=o[1]), cycle=o[2])
            for o in product((False, True), repeat=3)}


def measure(make, cycle):
    "Choose the rate, then measure; what was tried is part of the record"
    images, labels = mnist('train')
    images = images.float()/255
    train, valid = (images[:IMAGES], labels[:IMAGES]), (images[50_000:], labels[50_000:])
    def run(seed, lr):
        try: model = train_digits((train, valid), make, seed=seed, lr=lr, cycle=cycle,
                                  smoothing=0.1)
        except Diverged: return 0.
        return round(accuracy(model.predict(valid[0]), valid[1]), 4)
    tried = {lr: run(CHOOSE, lr) for lr in RATES}
    lr = max(tried, key=tried.get)
    n = sum(o.numel() for o in make(10).parameters())
    return dict(parameters=n, lr=lr, accuracy=[run(o, lr) for o in SEEDS], tried=tried)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--json', type=Path)
    args = ap.parse_args()
    res = {}
    for name, kwargs in parts().items():
        res[name] = o = measure(**kwargs)
        print(f"{name:30} {o['parameters']:8,}  rate {o['lr']:<6} "
              f"{mean(o['accuracy']):.4f} {o['accuracy']}", flush=True)
    made = dict(command='python bench/causes.py', date=time.strftime('%Y-%m-%d'),
                torch=torch.__version__, threads=torch.get_num_threads(),
                device=processor())
    if args.json:
        args.json.write_text(json.dumps(dict(made=made, results=res), indent=1)+'\n')


if __name__ == '__main__': main()
