"""From fastai's call to the limit of the machine: what does each thing cost that training does besides its products?

The chapter's network (784-30-1, batches of 256, in order, lr 0.1) and the linear model (lr 1) on the 12,396 3s and 7s, an epoch at a
time, each with validation. Each stage changes one thing of the one before it:

    fastai, image files     the next stage, and the least time of opening a PNG file, for each image
    fastai, list of pairs   the chapter's own: a list of `(image, target)`
    fastai, slices          batches are slices of two tensors
    our Learner             the same, by the `Learner` of the series
    bare loop               no record, no callbacks; the book's loss
    fused optimizer         `torch.optim.SGD(fused=True)`: one call for all parameters
    compiled                the model and the loss by `torch.compile` (`--compile`)
    gradients by hand       the chain rule as the lesson writes it, with new tensors in each step
    in place                `FastNet`: the same into memory that is kept, all parameters in one row
    idle units              32 hidden units, of which two do nothing
    no blank pixels         only the pixels that have ink in some image: this is `train_fast`
    the limit               the matrix products of the last stage, and nothing else
    images read             each batch read once, and nothing else

All take turns, with one thread and with two. A clock is looked at in each batch, and what counts is the least time that a stage
ever took from one full batch to the next, times their number; the start, the last batch of training and the batches of validation
likewise. So what else the machine does meanwhile is left out as far as can be: a short step meets a quiet moment more easily than
a long one, so on a busy machine go on for longer. The record, one entry a machine, says that it is made of such minima. Targets: `train_fast` at least 6.5 times as fast as fastai on
pairs and at most 1.5 times the limit, on two threads; our Learner at most 1.05 times the bare loop, on one and on two.

    python bench/costs.py [--seconds N] [--threads N ...] [--compile] [--only NAME ...] [--json FILE] [--kept FILE]

With `--kept`, the least times go into a file, and a later run on this machine goes on from there.
"""
import argparse, json, random, time, warnings
from copy import deepcopy
from pathlib import Path

import fastai, numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from bands import processor
from mnist_basics.data import mnist_sample
from mnist_basics.devices import set_seed
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import DataLoader, batch_accuracy, mnist_loss, right_answers, three_or_seven
from mnist_basics.mlp import make_mlp
from mnist_basics.what_costs_time import blank_first, fast_net

warnings.filterwarnings('ignore')
import fastai.callback.progress, fastai.data.core, fastai.learner, fastai.optimizer

BS = 256
MODELS = {'network': (lambda: make_mlp(30), 0.1), 'linear model': (lambda: nn.Linear(784, 1), 1.)}
STAGES = ('fastai, image files','fastai, list of pairs','fastai, slices','our Learner','bare loop','fused optimizer','compiled',
          'gradients by hand','in place','idle units','no blank pixels','the limit','images read')

class Clock:
    "Times since `start`, one at each `tick`"
    def start(self): self.times = [time.perf_counter()]
    def tick(self): self.times.append(time.perf_counter())
    def loss(self, preds, targs):
        self.tick()
        return mnist_loss(preds, targs)

def open_file(path):
    "An image as the list of pairs has it, from its PNG file"
    return torch.from_numpy(np.array(Image.open(path))).float().div_(255).view(-1)

def batches(split):
    x,y = DATA[split]
    for i in range(0, len(x), BS): yield x[i:i+BS],y[i:i+BS]

def by_fastai(clock, net, lr, data):
    dls = fastai.data.core.DataLoaders(*(fastai.data.core.DataLoader(o, batch_size=BS) if isinstance(o, list) else o for o in data))
    return fit(fastai.learner.Learner(dls, net, loss_func=clock.loss, opt_func=fastai.optimizer.SGD, metrics=batch_accuracy), lr)

def fit(learner, lr):
    def epoch():
        with learner.no_bar(), learner.no_logging(): learner.fit(1, lr)
        return round(learner.recorder.values[-1][-1]*len(DATA['valid'][0]))
    return epoch

def bare(clock, net, lr, fused=False, compiled=False):
    params = list(net.parameters())
    opt = torch.optim.SGD(params, lr, fused=True) if fused else None
    def loss(xb, yb): return clock.loss(net(xb), yb)
    if compiled:
        inner = torch.compile(lambda xb,yb: F.l1_loss(net(xb).sigmoid(), yb))
        def loss(xb, yb):
            clock.tick()
            return inner(xb, yb)
    def epoch():
        net.train()
        for xb,yb in batches('train'):
            loss(xb, yb).backward()
            if fused:
                opt.step()
                opt.zero_grad()
            else:
                with torch.no_grad():
                    for p in params:
                        p -= p.grad*lr
                        p.grad = None
        return validated(clock, net)
    return epoch

@torch.no_grad()
def validated(clock, net):
    net.eval()
    right = []
    for xb,yb in batches('valid'):
        clock.tick()
        right.append(right_answers(net(xb), yb).sum())
    return sum(right).item()

def by_hand(clock, net, lr):
    "The lesson's own lines, for either model"
    *first,last = [o for o in net.modules() if isinstance(o, nn.Linear)]
    @torch.no_grad()
    def step(xb, yb):
        clock.tick()
        acts = first[0](xb).relu() if first else xb
        p = last(acts).sigmoid()
        g_scores = torch.where(yb==1, -1, 1)*p*(1-p)/len(xb)
        if first:
            g_sums = g_scores@last.weight*(acts>0)
            first[0].weight -= g_sums.T@xb*lr
            first[0].bias -= g_sums.sum(0)*lr
        last.weight -= g_scores.T@acts*lr
        last.bias -= g_scores.sum(0)*lr
    def epoch():
        for xb,yb in batches('train'): step(xb, yb)
        return validated(clock, net)
    return epoch

def prepared(net, blank, multiple):
    "A `FastNet` of `net`, its batches with their signs, and its validation images"
    (x,y),(valid_x,_) = DATA['train'],DATA['valid']
    order,seen = blank_first(x) if blank else (torch.arange(784),784)
    x = x.index_select(1, order[784-seen:])
    return fast_net(net, order, seen, multiple=multiple),[(xb, (1-2*yb)/len(yb)) for xb,yb in DataLoader((x,y), BS)],valid_x.index_select(1, order)

def in_place(clock, net, lr, blank=False, multiple=1):
    fast,kept,valid_x = prepared(net, blank, multiple)
    def epoch():
        for xb,signs in kept:
            clock.tick()
            fast.step(xb, signs, lr)
        clock.tick()
        return right_answers(fast.scores(valid_x), DATA['valid'][1]).sum().item()
    return epoch

def limit(clock, net, lr):
    "The products of the first layer alone: scores, gradients of its weights, and the scores in validation"
    fast,kept,valid_x = prepared(net, True, 16)
    w,h = fast.params[0],fast.params[0].shape[1]
    seen,grad,slopes = w[-kept[0][0].shape[1]:],torch.empty(kept[0][0].shape[1], h),torch.randn(BS, h)
    out,room = torch.empty(BS, h),torch.empty(len(valid_x), h)
    def epoch():
        for xb,_ in kept:
            clock.tick()
            torch.mm(xb, seen, out=out if len(xb)==BS else out[:len(xb)])
            torch.mm(xb.T, slopes[:len(xb)], out=grad)
        clock.tick()
        torch.mm(valid_x, w, out=room)
    return epoch

def read(clock, net, lr):
    def epoch():
        for split in DATA:
            for xb,_ in batches(split):
                clock.tick()
                xb.sum()
    return epoch

def stages(clock, make, lr, compiled):
    "Name to a function that does one epoch and returns the number of right answers, if it has any"
    set_seed(42)
    start = make()
    def net(): return deepcopy(start)
    tensors = [DataLoader(o, BS) for o in DATA.values()]
    res = {'fastai, list of pairs': by_fastai(clock, net(), lr, [list(zip(*o)) for o in DATA.values()]),
           'fastai, slices': by_fastai(clock, net(), lr, tensors),
           'our Learner': fit(Learner(DataLoaders(*tensors), net(), clock.loss, metrics=batch_accuracy), lr),
           'bare loop': bare(clock, net(), lr),
           'fused optimizer': bare(clock, net(), lr, fused=True)}
    if compiled: res['compiled'] = bare(clock, net(), lr, fused=True, compiled=True)
    return res | {'gradients by hand': by_hand(clock, net(), lr),
        'in place': in_place(clock, net(), lr),
        'idle units': in_place(clock, net(), lr, multiple=16),
        'no blank pixels': in_place(clock, net(), lr, blank=True, multiple=16),
        'the limit': limit(clock, net(), lr), 'images read': read(clock, net(), lr)}

def measure(seconds, threads, compiled, only, best, keep):
    "Least times between ticks, by model, threads and stage: added to `best`, which holds those of earlier runs, and given to `keep`"
    clock,runs = Clock(),{}
    for model,(make,lr) in MODELS.items():
        runs |= {(model,k): f for k,f in stages(clock, make, lr, compiled and model=='network').items() if not only or k in only}
    paths = sorted(mnist_sample().glob('train/*/*.png'))
    end,rounds,right = time.time()+seconds,0,{}
    while time.time()<end:
        for n in threads:
            torch.set_num_threads(n)
            for key in random.sample(list(runs), len(runs)):
                clock.start()
                answers = runs[key]()
                clock.tick()
                right.setdefault(key, answers)
                times = np.diff(clock.times)
                name = f'{key[0]}, {n}'
                old = best.setdefault(name, {}).get(key[1])
                best[name][key[1]] = times if old is None else np.minimum(old, times)
            clock.start()
            for path in random.sample(paths, 50):
                open_file(path)
                clock.tick()
            name = f'network, {n}'
            old = best[name].get('a file', np.array([np.inf]))
            best[name]['a file'] = np.minimum(old, np.diff(clock.times).min())
        rounds += 1
        keep()
    for model in MODELS:
        counts = [v for (m,_),v in right.items() if m==model and v is not None]
        assert not counts or max(counts)-min(counts)<=2, f'the stages of the {model} differ: {right}'
    return rounds

def epoch_seconds(least):
    "Seconds of an epoch, given the least time between each two ticks: all full batches take what the quickest took"
    least,n = np.asarray(least),len(DATA['train'][0])//BS
    start,full,turn,valid,end = np.split(least, [1, 1+n, 2+n, len(least)-1]) if len(least)>3+n else (*np.split(least, [1, 1+n]), least[:0], least[:0])
    return sum(o.min()*len(o) for o in (start,full,turn,valid,end) if len(o))

def report(milliseconds):
    "Print the table, and which targets are met"
    for name,row in milliseconds.items():
        print(name, 'thread' if name.endswith('1') else 'threads')
        if not {'fastai, list of pairs','our Learner','bare loop','the limit'} <= row.keys():
            print(row)
            continue
        pairs,least = row['fastai, list of pairs'],row['the limit']
        for k,v in row.items(): print(f'    {k:24}{v:9.2f} ms an epoch {pairs/v:7.2f} times as fast as fastai on pairs {v/least:7.2f} times the limit')
        print(f"    our Learner {row['our Learner']/row['bare loop']:.3f} times the bare loop, target 1.05")
    row = milliseconds.get('network, 2', {})
    if not {'fastai, list of pairs','no blank pixels','the limit'} <= row.keys(): return
    fast,over = row['fastai, list of pairs']/row['no blank pixels'],row['no blank pixels']/row['the limit']
    print(f"train_fast {fast:.2f} times as fast as fastai, target 6.5: {'met' if fast>=6.5 else 'missed'}")
    print(f"train_fast {over:.2f} times the limit, target 1.5: {'met' if over<=1.5 else 'missed'}")

def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--seconds', type=float, default=60, help='how long to go on')
    args.add_argument('--threads', type=int, nargs='+', default=[1,2], help='how many, one after the other')
    args.add_argument('--compile', action='store_true', help='the compiled stage, too')
    args.add_argument('--only', nargs='+', choices=STAGES, help='stages that take turns (default: all)')
    args.add_argument('--json', type=Path, help='the record')
    args.add_argument('--kept', type=Path, help='file for the least times of each batch, to go on from in another run')
    args = args.parse_args()
    best = {}
    if args.kept and args.kept.exists(): best = {k: {s: np.array(t) for s,t in o.items()} for k,o in json.loads(args.kept.read_text()).items()}
    def keep():
        if args.kept: args.kept.write_text(json.dumps({k: {s: t.tolist() for s,t in o.items()} for k,o in best.items()}))
    rounds = measure(args.seconds, args.threads, args.compile, args.only, best, keep)
    n = sum(len(y) for _,y in DATA.values())
    for o in best.values():
        if {'a file','fastai, list of pairs'} <= o.keys(): o['fastai, image files'] = [epoch_seconds(o['fastai, list of pairs'])+n*o['a file'][0]]
    milliseconds = {k: {s: round(epoch_seconds(best[k][s])*1000, 3) for s in STAGES if s in best[k]} for k in sorted(best)}
    print(f'{rounds} rounds')
    report(milliseconds)
    if not args.json: return
    machines = json.loads(args.json.read_text()) if args.json.exists() else []
    here = dict(processor=processor(), torch=torch.__version__, fastai=fastai.__version__)
    def is_here(o): return all(o[k]==v for k,v in here.items())
    before = next((o['milliseconds'] for o in machines if is_here(o)), {})
    now = {k: v for k,v in milliseconds.items() if int(k[-1]) in args.threads}
    others = [o for o in machines if not is_here(o)]
    here |= dict(date=time.strftime('%Y-%m-%d'), how='milliseconds an epoch, from the least times of a batch over interleaved runs', milliseconds=before|now)
    args.json.write_text(json.dumps([*others,here], indent=1)+'\n')

DATA = {k: three_or_seven(k) for k in ('train','valid')}
if __name__=='__main__': main()
