"""How long does the same training take through fastai's Learner, through plain loops, and through ours?

Two runs of the chapter on its 12,396 3s and 7s, batches of 256, in order, with validation after every epoch: the network
(784-30-1, 40 epochs, lr 0.1) and the linear model (20 epochs, lr 1). Each is done by

- fastai's Learner on the chapter's own list of pairs, in fastai's DataLoader
- fastai's Learner on the fastest loader it takes: ours, which cuts slices from tensors
- a plain loop with torch's DataLoader on the list of pairs
- a bare loop over slices of tensors: no record, no metric but the right answers, no checks of its own
- our Learner, with all that it has by default, and a metric

All start from the same weights, and must end with the same accuracy. Epochs take turns: one of each before the next of any,
so that whatever else the machine does meets all alike. Printed for each: the median over rounds of the time for the whole run.
Targets, for medians of the ratios: the network at least 2.6 times as fast as fastai on pairs and at most 1.05 times the bare
loop, the linear model at least 3.5 times as fast as fastai on pairs (a step of it is so short that any call shows).

    python bench/learner.py [--rounds N] [--json FILE]
"""
import argparse, json, platform, time, warnings
from copy import deepcopy
from statistics import median

import torch
from torch import nn

from mnist_basics.devices import set_seed
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import DataLoader, batch_accuracy, mnist_loss, right_answers, three_or_seven
from mnist_basics.mlp import make_mlp

warnings.filterwarnings('ignore')
import fastai.callback.progress, fastai.data.core, fastai.learner, fastai.optimizer

BS = 256
RUNS = {'network': (lambda: make_mlp(30), 40, 0.1, 2.6), 'linear model': (lambda: nn.Linear(784, 1), 20, 1., 3.5)}
PAIRS,SLICES,TORCH,BARE,OURS = names = ('fastai, list of pairs', 'fastai, slices', "torch's DataLoader", 'bare loop, slices', 'our Learner')

def bare_batches(x, y):
    for i in range(0, len(x), BS): yield x[i:i+BS],y[i:i+BS]

def loop(model, batches, lr):
    "The training loop as one would write it by hand; `batches` gives those of 'train' or 'valid'"
    params = list(model.parameters())
    def epoch():
        model.train()
        for xb,yb in batches('train'):
            mnist_loss(model(xb), yb).backward()
            with torch.no_grad():
                for p in params:
                    p -= p.grad*lr
                    p.grad = None
        model.eval()
        with torch.no_grad():
            right = [right_answers(model(xb), yb).sum() for xb,yb in batches('valid')]
        return sum(right).item()
    return epoch

def fit(learner, lr):
    "One epoch by a Learner; the second `fit` goes on where the first has ended"
    def epoch():
        with learner.no_bar(), learner.no_logging(): learner.fit(1, lr)
        return round(learner.recorder.values[-1][-1]*len(DATA['valid'][0]))
    return epoch

def contenders(start, lr):
    "A function for each that trains and validates one epoch and returns the number of right answers"
    pairs = {k: list(zip(*o)) for k,o in DATA.items()}
    slices = [DataLoader(o, BS) for o in DATA.values()]
    torch_dls = {k: torch.utils.data.DataLoader(o, BS) for k,o in pairs.items()}
    def fast(dls): return fastai.learner.Learner(dls, deepcopy(start), loss_func=mnist_loss, opt_func=fastai.optimizer.SGD, metrics=batch_accuracy)
    made = {PAIRS: fit(fast(fastai.data.core.DataLoaders(*(fastai.data.core.DataLoader(o, batch_size=BS) for o in pairs.values()))), lr),
            SLICES: fit(fast(fastai.data.core.DataLoaders(*slices)), lr),
            TORCH: loop(deepcopy(start), lambda k: torch_dls[k], lr),
            BARE: loop(deepcopy(start), lambda k: bare_batches(*DATA[k]), lr),
            OURS: fit(Learner(DataLoaders(*slices), deepcopy(start), mnist_loss, metrics=batch_accuracy), lr)}
    return {k: made[k] for k in names}

def measure(make, epochs, lr, rounds):
    "Seconds of each contender in each round"
    times = {k: [] for k in names}
    for i in range(rounds):
        set_seed(42)
        runs,spent = contenders(make(), lr),dict.fromkeys(names, 0.)
        for _ in range(epochs):
            right = {}
            for k in sorted(runs, key=lambda _: torch.rand(()).item()):
                start = time.perf_counter()
                right[k] = runs[k]()
                spent[k] += time.perf_counter()-start
        assert max(right.values())-min(right.values())<=1, f'the runs differ: {right}'
        for k,v in spent.items(): times[k].append(v)
    return times

def report(name, times, target):
    "Print medians and ratios; return them"
    def ratio(k): return median(a/b for a,b in zip(times[k], times[OURS]))
    print(name)
    for k in names: print(f"    {k:24} {median(times[k]):7.3f} s   {ratio(k):5.2f} times ours")
    bare = median(b/a for a,b in zip(times[BARE], times[OURS]))
    targets = [(f'at least {target} times as fast as fastai on pairs', ratio(PAIRS), ratio(PAIRS)>=target)]
    if name=='network': targets.append(('at most 1.05 times the bare loop', bare, bare<=1.05))
    for text,value,met in targets: print(f"    {text}: {value:.2f}, {'met' if met else 'missed'}")
    return dict(seconds={k: round(median(v), 4) for k,v in times.items()}, ours_to_bare=round(bare, 3), pairs_to_ours=round(ratio(PAIRS), 2))

def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--rounds', type=int, default=5, help='whole runs of each')
    args.add_argument('--json', help='file to write the figures to')
    args = args.parse_args()
    name = torch.cpu.get_capabilities().get('cpu_name', platform.machine())
    record = dict(device=name, threads=torch.get_num_threads(), torch=torch.__version__, date=time.strftime('%Y-%m-%d'), rounds=args.rounds)
    print(', '.join(f'{k} {v}' for k,v in record.items()))
    for name,(make,epochs,lr,target) in RUNS.items(): record[name] = report(name, measure(make, epochs, lr, args.rounds), target)
    if args.json:
        with open(args.json, 'w') as f: json.dump(record, f, indent=1)

if __name__=='__main__':
    DATA = {k: three_or_seven(k) for k in ('train','valid')}
    main()
