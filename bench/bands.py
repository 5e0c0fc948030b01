"""How far does a trained figure stray? Every stage, over seeds, arithmetics and threads.

    python bench/bands.py --json bench/bands.json          # make the record, or go on with it
    python bench/bands.py --json bench/bands.json --only '18 layers'  # one rung
    python bench/bands.py --json bench/bands.json --table  # only print what it holds

Each pair of arithmetic and threads gets processes of its own, as both are decided when
PyTorch starts. Runs that the record holds already are left out, so it can be stopped and
continued, and another machine adds its own.
"""
import argparse, json, os, platform, subprocess, sys, time
from pathlib import Path
from statistics import mean

OLDEST = dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41', MKL_CBWR='COMPATIBLE')
ARITHMETICS = {'float32': {}, 'bfloat16': {}, 'oldest': OLDEST}
SEEDS = 42, 1, 2, 3, 4
PAIR, TEN = (3, 7), tuple(range(10))


def processor():
    "The name of this machine's processor"
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [o.partition(':')[2].strip() for o in lines if o.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def train(digits, what, seed, arithmetic):
    "Train and measure one rung in this process"
    import torch
    from mnist_basics.data import digit_data
    from mnist_basics.ladder import measure, rungs_for, train_rung
    precision = 'bfloat16' if arithmetic == 'bfloat16' else 'float32'
    rung = next(o for o in rungs_for(digits, precision) if o.what == what)
    data = digit_data(digits, torch.device('cpu'))
    row = measure(train_rung(rung, data, seed), *data.valid)
    return dict(digits=len(digits), what=what, arithmetic=arithmetic, threads=torch.get_num_threads(), seed=seed,
                accuracy=round(row['accuracy'], 5), per_class=[round(o, 4) for o in row['per_class'].values()])


def jobs(fast, only=None):
    "All runs of the record, quick rungs first, the oldest arithmetic last"
    from mnist_basics.ladder import RUNGS, TEN_RUNGS
    rungs = [(d, o) for d, r in ((PAIR, RUNGS), (TEN, TEN_RUNGS)) for o in r if not o.asked and only in (None, o.what)]
    slow = 'oldest', '18 layers', 'best recipe'
    todo = [(digits, o.what, arithmetic, threads) for digits, o in rungs for arithmetic in ARITHMETICS for threads in (1, 2)
            if (arithmetic != 'bfloat16' or fast and o.fast) and (o.stage != 'baseline' or threads == 1)]
    return sorted(todo, key=lambda o: sum(k in o for k in slow))


def key(o): return tuple(o[k] for k in ('digits', 'what', 'arithmetic', 'threads', 'seed'))


def load(path): return json.loads(path.read_text()) if path.exists() else []


def save(path, machines):
    "One line a run, so that a change is a line in the diff"
    parts = []
    for m in machines:
        head = json.dumps({k: v for k, v in m.items() if k != 'runs'})[:-1]
        parts.append(head + ', "runs": [\n  ' + ',\n  '.join(map(json.dumps, m['runs'])) + ']}')
    path.write_text('[' + ',\n'.join(parts) + ']\n')


def table(machines):
    "Mean, least and most of each rung, over all runs"
    rows = {}
    for m in machines:
        for o in m['runs']: rows.setdefault((o['digits'], o['what']), []).append(o['accuracy'])
    return {k: dict(runs=len(a), mean=round(mean(a), 4), least=min(a), most=max(a))
            for k, a in rows.items()}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--json', type=Path, required=True, help='the record')
    args.add_argument('--only', help='a rung, such as "18 layers"; all without')
    args.add_argument('--table', action='store_true', help='print the record and leave')
    args.add_argument('--job', help=argparse.SUPPRESS)
    args = args.parse_args()
    if args.job:
        digits, what, arithmetic, seeds = json.loads(args.job)
        for seed in seeds: print(json.dumps(train(tuple(digits), what, seed, arithmetic)), flush=True)
        return
    machines = load(args.json)
    if not args.table:
        import torch
        from mnist_basics.devices import has_bf16
        fast, name = has_bf16(torch.device('cpu')), processor()
        here = next((m for m in machines if m['processor'] == name and m['torch'] == torch.__version__), None)
        if here is None:
            here = dict(processor=name, bfloat16=fast, torch=torch.__version__, date=time.strftime('%Y-%m-%d'), runs=[])
            machines.append(here)
        for digits, what, arithmetic, threads in jobs(fast, args.only):
            done = {key(o) for o in here['runs']}
            seeds = [s for s in (SEEDS[:1] if what == 'pixel similarity' else SEEDS) if (len(digits), what, arithmetic, threads, s) not in done]
            if not seeds: continue
            env = {**os.environ, **ARITHMETICS[arithmetic], 'OMP_NUM_THREADS': str(threads)}
            job = json.dumps([digits, what, arithmetic, seeds])
            start = time.perf_counter()
            run = subprocess.Popen([sys.executable, __file__, '--json', args.json, '--job', job], env=env, stdout=subprocess.PIPE, text=True)
            for line in run.stdout:
                here['runs'].append(json.loads(line))
                save(args.json, machines)
            if run.wait(): sys.exit(f'{job} failed')
            print(f'{what}, {len(digits)} digits, {arithmetic}, {threads} threads: {(time.perf_counter()-start)/len(seeds):.1f} s a seed', flush=True)
    for (d, what), v in table(machines).items():
        print(f"{d:2} digits, {what:20} {v['runs']:4} runs  mean {v['mean']:.4f}  "
              f"{v['least']:.4f} to {v['most']:.4f}")


if __name__ == '__main__': main()
