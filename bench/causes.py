"""Which change earns what, on ten digits? One thing at a time, each rival with equal trials.

    python bench/causes.py [PART...] [--json bench/causes.json]

parts    Input scaling, batch norm and one cycle, each with and without: all eight networks.
sharing  The small convolutions; the same windows with weights of their own at each place;
         linear layers of as many parameters, and of many more. All else is equal.

Every network gets one epoch of the first 50,000 training images, label smoothing and
batches of 192. Its learning rate is the best of RATES by one seed; three other seeds, and
the 10,000 images that are left, measure it. No test image is looked at.
"""
import argparse, json, time
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from torch import nn
from bands import processor
from mnist_basics.data import mnist
from mnist_basics.metrics import accuracy
from mnist_basics.ten_digits import Normalize, train_digits

RATES = 0.001, 0.003, 0.01, 0.02, 0.05
CHOOSE, SEEDS = 200, (201, 202, 203)


class Local(nn.Module):
    "A convolution that doesn't share: each place has weights of its own"
    def __init__(self, n_in, n_out, size, stride, side):
        super().__init__()
        self.size, self.stride, self.places = size, stride, (side-size)//stride+1
        n = n_in*size**2
        bound = n**-0.5 # as nn.Conv2d's
        weights = torch.empty(self.places**2, n, n_out).uniform_(-bound, bound)
        self.weights = nn.Parameter(weights)
    def forward(self, x):
        windows = nn.functional.unfold(x, self.size, stride=self.stride)
        out = torch.bmm(windows.permute(2, 0, 1), self.weights)
        return out.permute(1, 2, 0).reshape(len(x), -1, self.places, self.places)


def small(n_out, scale=True, norm=True, local=False):
    "The small network of the page, or one that lacks something"
    def block(a, b, size, stride, side):
        conv = (Local(a, b, size, stride, side) if local else
                nn.Conv2d(a, b, size, stride, bias=not norm))
        return [conv, *[nn.BatchNorm2d(b)]*norm, nn.ReLU()]
    return nn.Sequential(*[Normalize()]*scale, *block(1, 16, 5, 2, 28),
        *block(16, 20, 3, 1, 12), nn.MaxPool2d(2), *block(20, 48, 3, 1, 5),
        nn.Flatten(), nn.Linear(432, n_out))


def flat(n_out, hidden):
    "Linear layers, scaled and normed as the small network is"
    sizes = [784, *hidden]
    layers = [[nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
              for a, b in zip(sizes, hidden)]
    return nn.Sequential(Normalize(), nn.Flatten(), *sum(layers, []),
                         nn.Linear(sizes[-1], n_out))


def parts():
    def name(scale, norm, cycle):
        has = [o for o, k in (('scaling', scale), ('batch norm', norm),
                              ('cycle', cycle)) if k]
        return ', '.join(has) or 'none of them'
    return {name(*o): dict(make=partial(small, scale=o[0], norm=o[1]), cycle=o[2])
            for o in product((False, True), repeat=3)}


def sharing():
    return {'shared windows': dict(make=small),
            'windows, not shared': dict(make=partial(small, local=True)),
            'linear, 20 hidden units': dict(make=partial(flat, hidden=[20])),
            'linear, two layers of 500': dict(make=partial(flat, hidden=[500, 500]))}


def measure(make, cycle=True):
    "Choose the rate, then measure; what was tried is part of the record"
    images, labels = mnist('train')
    images = images.float()/255
    train, valid = (images[:50_000], labels[:50_000]), (images[50_000:], labels[50_000:])
    def run(seed, lr):
        model = train_digits((train, valid), make, seed=seed, lr=lr, cycle=cycle,
                             smoothing=0.1)
        return round(accuracy(model.predict(valid[0]), valid[1]), 4)
    tried = {lr: run(CHOOSE, lr) for lr in RATES}
    lr = max(tried, key=tried.get)
    n = sum(o.numel() for o in make(10).parameters())
    return dict(parameters=n, lr=lr, accuracy=[run(o, lr) for o in SEEDS], tried=tried)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('part', nargs='*', default=['parts', 'sharing'])
    ap.add_argument('--json', type=Path)
    args = ap.parse_args()
    for part in args.part:
        res = {}
        for name, kwargs in dict(parts=parts, sharing=sharing)[part]().items():
            res[name] = o = measure(**kwargs)
            print(f"{name:30} {o['parameters']:8,}  rate {o['lr']:<6} "
                  f"{mean(o['accuracy']):.4f} {o['accuracy']}", flush=True)
        made = dict(command=f'python bench/causes.py {part}', date=time.strftime('%Y-%m-%d'),
                    torch=torch.__version__, threads=torch.get_num_threads(),
                    device=processor())
        if args.json:
            old = json.loads(args.json.read_text()) if args.json.exists() else {}
            record = old | {part: dict(made=made, results=res)}
            args.json.write_text(json.dumps(record, indent=1)+'\n')


if __name__ == '__main__': main()
