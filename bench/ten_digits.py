"""How good does a digit classifier get, and how fast, on all ten digits? The numbers behind the page on ten digits.

    python bench/ten_digits.py PART... [--json FILE]

Each part adds its results to FILE, with the command, the machine and the threads that made them:

changes  One change after the other, from a plain network to the recipe. Accuracy on the last 10,000 training images, which no
         network here learns from, for three seeds that are used for nothing else.
compare  In one run, taking turns: epochs of PyTorch's examples/mnist (written again from its settings), ten seeds of the small
         network for one epoch, three seeds of the recipe. All learn from 60,000 images and are measured on the 10,000 test
         images. Targets: the small network 99.15 % on average in a fifteenth of such an epoch, the recipe 99.5 % for each seed
         in two thirds of one. Seconds to 98, 99 and 99.5 %.
fastai   The same for one epoch of fastai's vision_learner with resnet18, from image files.
rungs    Test accuracy of the models without convolutions, five seeds each.
resnet18 `train_resnet18` on ten digits, one seed, and how it bears distorted images.
far      As far as we get: three seeds of a larger network for longer, and their ensemble.
"""
import argparse, json, platform, sys, time
from functools import partial
from pathlib import Path
from statistics import mean, median

import torch
import torch.nn.functional as F
from torch import nn
from mnist_basics.devices import default_device, set_seed
from mnist_basics.data import mnist
from mnist_basics.ten_digits import (EMA, FIVE_VIEWS, Turn, conv_block, make_cnn, robustness, train_best, train_digits,
                                     shift_images, train_hidden, train_small, train_softmax)

CHOOSE,EPOCHS,LAST = (100,101,102),14,'+ a fifth epoch'

def fractions(split):
    images,labels = mnist(split)
    return images.float()/255,labels

def parts(pair): return tuple(o[:50_000] for o in pair),tuple(o[50_000:] for o in pair)

def accuracy(model, pair): return round((model.predict(pair[0])==pair[1]).float().mean().item(), 4)

def timed(f, *args, **kwargs):
    "The result, seconds by the clock, and seconds of work: on a busy machine with one thread the second is the fairer"
    start,work = time.perf_counter(),time.process_time()
    res = f(*args, **kwargs)
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return res,round(time.perf_counter()-start, 1),round(time.process_time()-work, 1)

def say(*words): print(time.strftime('%H:%M:%S'), *words, flush=True)

def no_norm(n_out):
    def block(a, b, size=3, stride=1): return nn.Sequential(nn.Conv2d(a, b, size, stride), nn.ReLU())
    a,b,c = 16,20,48
    return nn.Sequential(block(1, a, 5, 2), block(a, b), nn.MaxPool2d(2), block(b, c), nn.Flatten(), nn.Linear(9*c, n_out))

def changes(seeds=CHOOSE, only=None):
    data = parts(fractions('train'))
    wide = partial(make_cnn, widths=(32,48,96))
    small = dict(make=make_cnn)
    rows = {'three convolutions, learning rate 0.001': dict(make=no_norm, lr=0.001, cycle=False),
            '+ batch norm': dict(small, lr=0.001, cycle=False),
            '+ one cycle up to 0.02': small,
            '+ label smoothing': dict(small, smoothing=0.1),
            '+ wider: 32, 48 and 96': dict(make=wide, smoothing=0.1),
            '+ four epochs': dict(make=wide, smoothing=0.1, epochs=4),
            '+ shifts by a pixel': dict(make=wide, smoothing=0.1, epochs=4, shift=1),
            LAST: dict(make=wide, smoothing=0.1, epochs=5, shift=1),
            'four epochs, shifts by two pixels': dict(make=wide, smoothing=0.1, epochs=4, shift=2),
            'four epochs, turned as well': dict(make=wide, smoothing=0.1, epochs=4, shift=1, cbs=[Turn(10.)]),
            'four epochs, weights averaged': dict(make=wide, smoothing=0.1, epochs=4, shift=1, cbs=[EMA(0.99)])}
    res,kept = {},[]
    for name,kwargs in rows.items():
        if only and name not in only: continue
        accs,works = [],[]
        for seed in seeds:
            model,_,work = timed(train_digits, data, seed=seed, **kwargs)
            accs.append(accuracy(model, data[1]))
            works.append(work)
            if name==LAST: kept.append(model)
        res[name] = dict(accuracy=accs, seconds=round(median(works), 1))
        say(f"{name:42} {mean(accs):.4f} {accs} {median(works):.1f} s")
        if name==LAST: res |= views_and_friends(kept, data[1], median(works))
    return res

def views_and_friends(models, valid, seconds):
    "Five views, an ensemble, and the temperature at which the loss is least"
    x,y = valid
    def logits(model, view): return torch.cat([model.net(shift_images(o, *view)[:,None]) for o in x.split(1000)])
    with torch.no_grad(): views = [torch.stack([logits(o, v) for v in FIVE_VIEWS]) for o in models]
    def probs(t): return [(o/t).softmax(2).mean(0) for o in views]
    def loss(t): return mean(F.nll_loss(p.log(), y).item() for p in probs(t))
    best = min((round(0.3+0.05*i, 2) for i in range(15)), key=loss)
    def share(p): return round((p.argmax(1)==y).float().mean().item(), 4)
    res = {'+ five views': dict(accuracy=[share(p) for p in probs(best)], seconds=round(seconds, 1), temperature=best),
           '+ three networks together': dict(accuracy=[share(torch.stack(probs(best)).mean(0))], seconds=round(len(models)*seconds, 1))}
    for k,o in res.items(): say(k, o)
    return res

class Example:
    "PyTorch's examples/mnist: its network, Adadelta at 1.0, times 0.7 after each epoch, batches of 64"
    def __init__(self, train, seed=1):
        set_seed(seed)
        self.x,self.y = (train[0][:,None]-0.1307)/0.3081,train[1]
        self.model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1)).to(default_device())
        self.opt = torch.optim.Adadelta(self.model.parameters(), lr=1.)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.opt, 1, gamma=0.7)
    def epoch(self):
        "Batches come out of memory here, which is faster than the image by image loading of the original"
        self.model.train()
        for idx in torch.randperm(len(self.x)).split(64):
            self.opt.zero_grad()
            F.nll_loss(self.model(self.x[idx]), self.y[idx]).backward()
            self.opt.step()
        self.schedule.step()
    @torch.no_grad()
    def accuracy(self, test):
        self.model.eval()
        preds = torch.cat([self.model((o[:,None]-0.1307)/0.3081).argmax(1) for o in test[0].split(1000)])
        return round((preds==test[1]).float().mean().item(), 4)

def compare(epochs=EPOCHS, small_seeds=range(10), best_seeds=range(3)):
    train,test = [tuple(o.to(default_device()) for o in fractions(s)) for s in ('train','valid')]
    few = tuple(o[:1000] for o in test) # what a trainer reports as its own history; the accuracies below are of all 10,000
    example,res = Example(train),{k: dict(accuracy=[], seconds=[], work=[]) for k in ('examples/mnist','a quarter of the images','small','best')}
    def note(name, seed, acc, secs, work):
        for k,v in zip(('accuracy','seconds','work'), (acc,secs,work)): res[name][k].append(v)
        say(f"{name:22} {seed:3} accuracy {acc:.4f} {secs:6.1f} s, work {work:6.1f} s")
    missed = []
    def ours(name, f, seed, pair=train):
        model,secs,work = timed(f, (pair,few), seed=seed)
        if name=='best': missed.append(model.predict(test[0])!=test[1])
        note(name, seed, accuracy(model, test), secs, work)
    small_seeds,best_seeds = list(small_seeds),list(best_seeds)
    for i in range(max(epochs, len(small_seeds), len(best_seeds))):
        if i<epochs:
            _,secs,work = timed(example.epoch)
            note('examples/mnist', i, example.accuracy(test), secs, work)
        if i<len(small_seeds): ours('small', train_small, small_seeds[i])
        if i<len(best_seeds):
            ours('a quarter of the images', train_small, best_seeds[i], tuple(o[:15_000] for o in train))
            ours('best', train_best, best_seeds[i])
    verdict(res)
    return res | {'missed by all': torch.stack(missed).all(0).nonzero()[:,0].tolist()}

def verdict(res):
    "Are the targets met?"
    for kind in ('seconds','work'):
        epoch = median(res['examples/mnist'][kind])
        for name,target in (('small',1/15),('best',2/3)):
            share = median(res[name][kind])/epoch
            say(f"{name}: {share:.3f} of an epoch of examples/mnist ({kind}), {'met' if share<=target else 'missed'}")
    a,b = mean(res['small']['accuracy']),min(res['best']['accuracy'])
    say(f"small: mean {a:.4f}, {'met' if a>=0.9915 else 'missed'}; best: least {b:.4f}, {'met' if b>=0.995 else 'missed'}")

def fastai():
    import warnings
    warnings.filterwarnings('ignore')
    from fastai.vision.all import F as losses, ImageDataLoaders, accuracy as share, vision_learner
    from mnist_basics.data import mnist_sample
    from torchvision.models import resnet18 as arch
    set_seed(0)
    dls = ImageDataLoaders.from_folder(mnist_sample(range(10)), num_workers=0)
    learn = vision_learner(dls, arch, pretrained=False, loss_func=losses.cross_entropy, metrics=share)
    with learn.no_bar(), learn.no_logging(): _,secs,work = timed(learn.fit_one_cycle, 1, 0.1)
    res = dict(accuracy=[round(float(learn.recorder.values[0][-1]), 4)], seconds=[secs], work=[work])
    say('fastai', res)
    return res

def rungs(seeds=range(5)):
    from mnist_basics.baseline import PixelSimilarity
    data,res = (fractions('train'),fractions('valid')),{}
    res['ideal'] = dict(accuracy=[accuracy(PixelSimilarity().fit(*data[0]), data[1])], parameters=0, seconds=0.3)
    for name,f in (('softmax',train_softmax),('hidden',train_hidden)):
        runs = [timed(f, data, seed=seed) for seed in seeds]
        res[name] = dict(accuracy=[accuracy(m, data[1]) for m,_,_ in runs], parameters=sum(o.numel() for o in runs[0][0].params),
                         seconds=median(w for _,_,w in runs))
        say(name, res[name])
    return res

def resnet18(seed=0):
    from mnist_basics.resnet18 import train_resnet18
    data = fractions('train'),fractions('valid')
    model,secs,work = timed(train_resnet18, (data[0], tuple(o[:256] for o in data[1])), seed=seed)
    res = dict(accuracy=[accuracy(model, data[1])], parameters=sum(o.numel() for o in model.params), seconds=work,
               robustness=robustness(model, data[1][0][:1000], data[1][1][:1000]))
    say('resnet18', res)
    return res

def train_far(data, seed):
    return train_digits(data, partial(make_cnn, widths=(64,96,160)), seed=seed, epochs=20, smoothing=0.1, shift=2, cbs=[Turn(10.)], views=FIVE_VIEWS)

def far(seeds=range(3)):
    "Single networks, and their ensemble"
    train,test = fractions('train'),fractions('valid')
    probs,accs,works = [],[],[]
    for seed in seeds:
        model,secs,work = timed(train_far, (train,tuple(o[:1000] for o in test)), seed)
        probs.append(model.probabilities(test[0]))
        accs.append(round((probs[-1].argmax(1)==test[1]).float().mean().item(), 4))
        works.append(work)
        together = torch.stack(probs).mean(0).argmax(1)
        say('far', seed, accs[-1], f'{secs} s, work {work} s, together', (together==test[1]).float().mean().item())
    wrong = (together!=test[1]).nonzero()[:,0]
    every = torch.stack([(p.argmax(1)!=test[1]) for p in probs]).all(0).nonzero()[:,0]
    return dict(accuracy=accs, seconds=works, together=round((together==test[1]).float().mean().item(), 4), wrong_together=wrong.tolist(),
                wrong_in_all=every.tolist())

PARTS = dict(changes=changes, compare=compare, fastai=fastai, rungs=rungs, resnet18=resnet18, far=far)

def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('part', nargs='+', choices=PARTS)
    args.add_argument('--json', help='file to add the figures to')
    args.add_argument('--epochs', type=int, default=EPOCHS, help='epochs of examples/mnist')
    args = args.parse_args()
    device = default_device()
    name = torch.cuda.get_device_name(device) if device.type=='cuda' else torch.cpu.get_capabilities().get('cpu_name', platform.machine())
    for part in args.part:
        res = PARTS[part](args.epochs) if part=='compare' else PARTS[part]()
        made = dict(command=f"python bench/ten_digits.py {part}"+(f' --epochs {args.epochs}' if part=='compare' else ''), device=name,
                    threads=torch.get_num_threads(), torch=torch.__version__, date=time.strftime('%Y-%m-%d'))
        if not args.json: continue
        file = Path(args.json)
        record = json.loads(file.read_text()) if file.exists() else {}
        record[part] = dict(made=made, results=res)
        file.write_text(json.dumps(record, indent=1)+"\n")

if __name__=='__main__': main()
