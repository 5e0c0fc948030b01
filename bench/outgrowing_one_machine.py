"""What one process computes, and what talking to another one costs: the figures behind nbs/17_outgrowing_one_machine.ipynb

Two questions, with one thread a process, each answered by the best of many calls, so that other programs disturb little:

1. How many operations does training do in a second of processor time, for the network of two layers and for resnet18, in batches
   of 256? (GFLOP/s; operations counted by PyTorch)
2. How long does an all-reduce between two processes of this machine take, of a single number and of 32 MB? (microseconds; Gbit/s)

    python bench/outgrowing_one_machine.py [--calls N] [--json FILE]

With `--json` the figures are also written to FILE.
"""
import argparse, json, platform, sys, time
from datetime import date
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mnist_basics.devices import set_seed
from mnist_basics.mlp import make_mlp
from mnist_basics.outgrowing_one_machine import process_group, rank_and_world, run_processes
from mnist_basics.resnet18 import make_resnet18

NETWORKS = {'two layers': (lambda: make_mlp(30, n_out=10), (28*28,)), 'resnet18': (lambda: make_resnet18(10), (3,28,28))}
BATCH = 256

def prepare(name):
    "A function that does one step of training"
    set_seed(42)
    make,shape = NETWORKS[name]
    model,x,y = make(),torch.rand(BATCH, *shape),torch.randint(10, (BATCH,))
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    def step():
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
    return step

def best(f, calls, clock):
    "Seconds of the fastest of `calls` calls, after a first one"
    def once():
        start = clock()
        f()
        return clock()-start
    return min([once() for _ in range(calls+1)][1:])

def gflops(name, calls):
    step = prepare(name)
    with FlopCounterMode(display=False) as counter: step()
    return counter.get_total_flops()/best(step, calls, time.process_time)/1e9

def worker(calls):
    "What each of two processes does; the first prints"
    with process_group():
        one,many = torch.zeros(1),torch.zeros(8_000_000)
        res = [best(lambda: dist.all_reduce(o), n, time.perf_counter) for o,n in ((one,100*calls),(many,calls))]
        if rank_and_world()[0]==0: print(json.dumps(res))

def measure(calls):
    one,many = json.loads(run_processes(2, __file__, '--calls', calls, '--worker'))
    return {'command': 'python bench/outgrowing_one_machine.py', 'date': str(date.today()), 'torch': torch.__version__, 'threads': 1,
            'device': torch.cpu.get_capabilities().get('cpu_name', platform.machine()),
            'GFLOP/s': {k: round(gflops(k, calls*(100 if k=='two layers' else 1)), 1) for k in NETWORKS},
            'all-reduce': {'one number, microseconds': round(one*1e6), '32 MB, Gbit/s': round(32e6*8/many/1e9, 1)}}

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--calls', type=int, default=20, help='steps of resnet18; the small ones are called a hundred times as often')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.worker: sys.exit(worker(args.calls))
    res = measure(args.calls)
    print(json.dumps(res, indent=1))
    if args.json: args.json.write_text(json.dumps(res, indent=1)+'\n')
