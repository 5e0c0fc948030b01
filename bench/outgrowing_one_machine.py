"""What one process computes, and what the exchange of gradients costs: the figures behind nbs/17_outgrowing_one_machine.ipynb

Three questions, with one thread a process, each answered by the best of several rounds:

1. How many operations a second does training do, for the network of two layers and for resnet18? (GFLOP/s, counted by PyTorch)
2. How long does an all-reduce between two processes of this machine take: a single number, and 32 MB? (microseconds; Gbit/s)
3. How many times as fast as one process are two, each with half of a batch of 256? This needs two free cores.

    python bench/outgrowing_one_machine.py [--rounds N] [--json FILE]

With `--json` the figures are also written to FILE.
"""
import argparse, json, platform, sys, time
from datetime import date
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from mnist_basics.data import set_seed
from mnist_basics.mlp import make_mlp
from mnist_basics.outgrowing_one_machine import process_group, rank_and_world, run_processes
from mnist_basics.resnet18 import make_resnet18

NETWORKS = {'two layers': (lambda: make_mlp(30, n_out=10), (28*28,)), 'resnet18': (lambda: make_resnet18(10), (3,28,28))}
BATCH = 256

def step(model, opt, x, y):
    F.cross_entropy(model(x), y).backward()
    opt.step()
    opt.zero_grad()

def prepare(name, n):
    set_seed(42)
    make,shape = NETWORKS[name]
    model = make()
    if rank_and_world()[1]>1: model = DistributedDataParallel(model)
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    x,y = torch.rand(n, *shape),torch.randint(10, (n,))
    return lambda: step(model, opt, x, y)

def best(f, rounds, times):
    "Seconds of one call: the best of `rounds` rounds of `times` calls"
    f()
    def once():
        if rank_and_world()[1]>1: dist.barrier()
        start = time.perf_counter()
        for _ in range(times): f()
        return (time.perf_counter()-start)/times
    return min(once() for _ in range(rounds))

def train_times(rounds):
    "Seconds of a step for each network, with our part of the batch"
    world = rank_and_world()[1]
    return {k: best(prepare(k, BATCH//world), rounds, 50 if k=='two layers' else 1) for k in NETWORKS}

def flops(name):
    with FlopCounterMode(display=False) as counter: prepare(name, BATCH)()
    return counter.get_total_flops()

def worker(rounds):
    "What each of two processes does; the first prints"
    with process_group():
        one,many = torch.zeros(1),torch.zeros(8_000_000)
        res = dict(steps=train_times(rounds), one=best(lambda: dist.all_reduce(one), rounds, 100), many=best(lambda: dist.all_reduce(many), rounds, 2))
        if rank_and_world()[0]==0: print(json.dumps(res))

def measure(rounds):
    alone = train_times(rounds)
    two = json.loads(run_processes(2, __file__, '--rounds', rounds, '--worker'))
    return {'command': 'python bench/outgrowing_one_machine.py', 'device': torch.cpu.get_capabilities().get('cpu_name', platform.machine()), 'threads': 1, 'torch': torch.__version__,
            'date': str(date.today()),
            'gflops': {k: round(flops(k)/s/1e9, 1) for k,s in alone.items()},
            'all-reduce': {'one number, microseconds': round(two['one']*1e6), '32 MB, Gbit/s': round(32e6*8/two['many']/1e9, 1)},
            'two processes': {k: round(s/two['steps'][k], 2) for k,s in alone.items()}}

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--json', type=Path)
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.worker: sys.exit(worker(args.rounds))
    res = measure(args.rounds)
    print(json.dumps(res, indent=1))
    if args.json: args.json.write_text(json.dumps(res, indent=1)+'\n')
