"""How much faster is an epoch of `train_resnet18` than the fastai call with the same network, head, optimizer, schedule and batch size?

Three questions, on the 12,396 3s and 7s in batches of 64:

1. What does each setting buy? A few training steps of every variant, taking turns: fastai from image files, then one setting more
   in each row. Printed: median milliseconds a step, and how many times as fast as fastai each row is.
2. Whole epochs, with validation: `fit_one_cycle(1, 0.1)` and `train_resnet18`, the latter also in float32 and at fastai's rate,
   taking turns, from five seeds. Printed: seconds and validation accuracy of each. Targets: at least twice as fast in the middle, a mean
   accuracy at most 0.2 points below fastai's, and never under 0.994.
3. How far do runs lie apart, at fastai's rate and at ours? Accuracies of `train_resnet18` from seeds that the second question doesn't use.

    python bench/resnet18.py [--steps N] [--seeds N] [--spread N] [--json FILE]

`--seeds 0` leaves the epochs out, `--steps 0` the steps, `--spread 0` the third. With `--json` the figures are also written to FILE,
where they replace those of the parts that ran.
"""
import argparse, json, platform, time, warnings
from functools import partial
from pathlib import Path
from statistics import mean, median

import torch
from mnist_basics.devices import default_device, has_bf16, set_seed
from mnist_basics.data import mnist_sample, sample_tensors
from mnist_basics.resnet18 import make_adamw, make_resnet18, set_one_cycle, small_convs, train_batch, train_resnet18

warnings.filterwarnings('ignore')
from fastai.optimizer import Adam
from fastai.torch_core import norm_bias_params
from fastai.vision.all import F, ImageDataLoaders, accuracy, vision_learner
from torchvision.models import resnet18

SPEED,LOSS,FLOOR = 2.,0.002,0.994

def make_learner():
    dls = ImageDataLoaders.from_folder(mnist_sample(), num_workers=0)
    return vision_learner(dls, resnet18, pretrained=False, loss_func=F.cross_entropy, metrics=accuracy)

def clock(device):
    if device.type=='cuda': torch.cuda.synchronize()
    return time.perf_counter()

class FromFiles:
    "Steps of a fastai Learner, as its training loop does them, but for its callbacks"
    def __init__(self, device):
        self.learn = make_learner()
        self.learn.create_opt()
        self.learn.model.train()
        self.batches = iter(self.learn.dls.train)
    def step(self):
        xb,yb = (o.as_subclass(torch.Tensor) for o in next(self.batches))
        self.learn.loss_func(self.learn.model(xb), yb).backward()
        self.learn.opt.step()
        self.learn.opt.zero_grad()

class InMemory:
    "Steps on images in memory, with some of the settings"
    def __init__(self, device, fused=False, small=False, bf16=False, channels_last=False):
        x,y = sample_tensors('train')
        model = make_resnet18().to(device).train()
        if small: small_convs(model)
        if channels_last: model.to(memory_format=torch.channels_last)
        self.x,self.y = x.to(device)[:,None],(y==7).long().to(device)
        self.model,self.bf16,self.channels = model,bf16,1 if small else 3
        self.opt = make_adamw(model) if fused else self.fastai_adam(model)
        if fused: set_one_cycle(self.opt, 0.1, 0.1)
    def fastai_adam(self, model):
        opt = Adam(list(model.parameters()), lr=0.01)
        for p in norm_bias_params(model): opt.state[p] = {'do_wd':False}
        return opt
    def step(self):
        idx = torch.randperm(len(self.x))[:64].to(self.x.device)
        train_batch(self.model, self.x[idx].expand(-1,self.channels,-1,-1), self.y[idx], self.opt, self.bf16)

def steps(n, device):
    "Median milliseconds a step of each variant, taking turns in rounds of three steps, the first of which doesn't count"
    bf16 = has_bf16(device)
    settings = {'fastai, from image files': None, '+ images in memory': {}, '+ fused optimizer': dict(fused=True),
                '+ what meets the image': dict(fused=True, small=True), '+ bfloat16': dict(fused=True, small=True, bf16=bf16),
                '+ channels last': dict(fused=True, small=True, bf16=bf16, channels_last=True)}
    set_seed(42)
    runs = {k: FromFiles(device) if o is None else InMemory(device, **o) for k,o in settings.items()}
    times = {k: [] for k in runs}
    for i in range(-(-n//2)+1):
        for k,run in runs.items():
            for j in range(3):
                start = clock(device)
                run.step()
                if i and j: times[k].append(clock(device)-start)
    return {k: 1000*median(v) for k,v in times.items()}

def fastai_epoch(seed, device):
    set_seed(seed)
    learn = make_learner()
    start = clock(device)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 0.1)
    return clock(device)-start,float(learn.recorder.values[0][-1])

def our_epoch(seed, device, **kwargs):
    data = [sample_tensors(o) for o in ('train','valid')]
    start = clock(device)
    res = train_resnet18(data, device=device, seed=seed, **kwargs)
    return clock(device)-start,res.history[-1]

def epochs(n, device):
    "Seconds and accuracies of whole epochs from `n` seeds"
    runs = {'fastai': fastai_epoch, 'train_resnet18': our_epoch, 'in bfloat16': partial(our_epoch, precision='bfloat16'),
        "in bfloat16, at fastai's rate": partial(our_epoch, precision='bfloat16', lr=0.1)}
    res = {k: [] for k in runs}
    for seed in range(n):
        for k,run in runs.items():
            res[k].append(run(seed, device))
            print(f"seed {seed}: {k:24} {res[k][-1][0]:6.1f} s, accuracy {res[k][-1][1]:.4f}", flush=True)
    return {k: dict(seconds=[round(s, 1) for s,_ in v], accuracy=[round(a, 4) for _,a in v]) for k,v in res.items()}

def spread(n, device):
    "Accuracies at two rates from `n` other seeds"
    res = {f'lr {lr:g}': [round(our_epoch(seed, device, lr=lr, precision='bfloat16')[1], 4) for seed in range(100, 100+n)] for lr in (0.1,0.01)}
    for k,o in res.items(): print(f"{k:8} mean {mean(o):.4f}, least {min(o):.4f}: {o}")
    return res

def verdict(res):
    "Are the targets met?"
    theirs,ours = res['fastai'],res['train_resnet18']
    ratio = median(a/b for a,b in zip(theirs['seconds'], ours['seconds']))
    lost,worst = mean(theirs['accuracy'])-mean(ours['accuracy']),min(ours['accuracy'])
    for k,o in res.items(): print(f"{k:24} median {median(o['seconds']):6.1f} s, accuracy mean {mean(o['accuracy']):.4f}, least {min(o['accuracy']):.4f}")
    for name,value,met in ((f'at least {SPEED:g} times as fast', f'{ratio:.2f}', ratio>=SPEED),
                           (f'mean accuracy at most {LOSS:g} lower', f'{lost:+.4f}', lost<=LOSS), (f'never under {FLOOR:g}', f'{worst:.4f}', worst>=FLOOR)):
        print(f"{name}: {value}, {'met' if met else 'missed'}")

def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--steps', type=int, default=30, help='steps of each variant')
    args.add_argument('--seeds', type=int, default=5, help='seeds of whole epochs')
    args.add_argument('--spread', type=int, default=8, help='more seeds, for the spread at two rates')
    args.add_argument('--json', help='file to write the figures to')
    args = args.parse_args()
    device = default_device()
    name = torch.cuda.get_device_name(device) if device.type=='cuda' else platform.processor() or platform.machine()
    record = dict(device=name, threads=torch.get_num_threads(), torch=torch.__version__, date=time.strftime('%Y-%m-%d'))
    print(', '.join(f'{k} {v}' for k,v in record.items()))
    if args.steps:
        record['milliseconds'] = {k: round(v, 1) for k,v in steps(args.steps, device).items()}
        for k,v in record['milliseconds'].items(): print(f"{k:26} {v:7.1f} ms a step, {record['milliseconds']['fastai, from image files']/v:5.2f} times as fast")
    if args.seeds:
        record['epochs'] = epochs(args.seeds, device)
        verdict(record['epochs'])
    if args.spread: record['spread'] = spread(args.spread, device)
    if args.json:
        file = Path(args.json)
        if file.exists(): record = json.loads(file.read_text()) | record
        file.write_text(json.dumps(record, indent=1))

if __name__=='__main__': main()
