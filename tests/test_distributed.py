"Training in several processes: the numbers of one, and what happens when a process dies. Each launch has its own time limit."
import os, pickle, re, signal, subprocess, sys, time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_basics.learner import SGD, Adam, Callback, DataLoaders, Learner
from mnist_basics.linear_model import BasicOptim, DataLoader, batch_accuracy
from mnist_basics.outgrowing_one_machine import Checkpoint, Distributed, _loopback_works, _said, main, my_part, run_processes, step_seconds, train_together

LIMIT = 150  # seconds; a launch takes about ten on two free cores
needs_loopback = pytest.mark.skipif(not _loopback_works(), reason='processes of this machine can not talk to each other')


# What runs in every process of `test_equals_a_single_process`: the same training alone and together, on random data in float64
TOGETHER = '''
import sys
from functools import partial
from pathlib import Path
import torch, torch.distributed as dist, torch.nn.functional as F
from torch import nn
from mnist_basics.devices import set_seed
from mnist_basics.learner import SGD, Adam, Callback, DataLoaders, EarlyStopping, GradientClip, Learner, SaveBest, StopOnNaN
from mnist_basics.linear_model import BasicOptim, DataLoader, batch_accuracy
from mnist_basics.outgrowing_one_machine import Distributed, process_group, rank_and_world

def data(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=g, dtype=torch.float64), torch.randint(3, (n,), generator=g)

def learner(n, bs, opt_func, cbs=(), norm=False):
    set_seed(1)
    parts = [nn.Linear(6, 5), *([nn.BatchNorm1d(5)] if norm else []), nn.ReLU(), nn.Linear(5, 3)]
    dls = DataLoaders(DataLoader(data(n), bs, shuffle=True), DataLoader(data(7, 1), 4))
    return Learner(dls, nn.Sequential(*parts).double(), F.cross_entropy, opt_func, 0.05, batch_accuracy, cbs)

def run(learn, epochs=3):
    with learn.no_logging(): learn.fit_one_cycle(epochs)
    return learn

class Seeds(Callback):
    "All that `Distributed` does in a process that is alone, written again"
    def before_train(self): set_seed(42+self.learn.epoch)

class Sizes(Callback):
    def before_fit(self): self.seen = []
    def before_pred(self): self.seen.append(len(self.learn.xb[0]))

def state(learn): return torch.cat([o.detach().flatten().double() for o in learn.model.state_dict().values()])
def test_same_everywhere(t):
    other = t.clone()
    dist.broadcast(other, 0)
    assert t.equal(other)

with process_group(60):
    rank,world = rank_and_world()
    assert world==int(sys.argv[1])
    momentum = partial(SGD, mom=0.9, wd=0.01)
    for n,bs,opt_func in ((12,4,SGD), (13,5,momentum), (13,5,Adam), (13,5,BasicOptim), (13,5,torch.optim.AdamW), (11,10,momentum), (9,64,momentum), (3,1,momentum)):
        alone = run(learner(n, bs, opt_func, Seeds()))
        sizes = Sizes()
        ours = run(learner(n, bs, opt_func, [Distributed(), sizes, GradientClip(1e9), StopOnNaN(2)]))
        assert torch.allclose(state(ours), state(alone), rtol=0, atol=1e-9), (n, bs, opt_func, (state(ours)-state(alone)).abs().max())
        a,b = (torch.tensor(o.recorder.values, dtype=torch.float64) for o in (ours,alone))
        assert a.shape==b.shape and torch.allclose(a, b, rtol=0, atol=1e-6), (a, b)
        assert torch.allclose(torch.tensor(ours.recorder.losses), torch.tensor(alone.recorder.losses), atol=1e-6)
        assert max(sizes.seen)<=max(1, -(-min(n, bs)//world), -(-4//world)), 'a process computes more than its part'
        assert type(ours.model) is nn.Sequential
        test_same_everywhere(state(ours))
        assert torch.allclose(torch.tensor(ours.validate()), torch.tensor(alone.validate()), atol=1e-6)
    normed = run(learner(16, 8, Adam, Distributed(), norm=True))
    test_same_everywhere(state(normed))
    assert not torch.allclose(state(normed), state(run(learner(16, 8, Adam, Seeds(), norm=True))), rtol=0, atol=1e-6)
    stopped = run(learner(12, 4, SGD, [Distributed(), EarlyStopping(min_delta=10.), SaveBest()]))
    assert len(stopped.recorder.values)==2
    bad = learner(12, 4, SGD, Distributed())
    bad.dls.train.generator = torch.Generator().manual_seed(rank)
    try: run(bad)
    except ValueError as e: assert 'different batches' in str(e)
    else: assert False, 'processes shuffled differently, and nobody said so'
    uneven = learner(12, 4, SGD, Distributed())
    uneven.dls.train = DataLoader(data(12+4*(rank==0)), 4)
    try: run(uneven)
    except ValueError as e: assert 'different batches' in str(e)
    else: assert False, 'processes had different numbers of batches, and nobody said so'
# The threads of the group end with it: one that lives on can bring the process down while Python ends
left = [o.read_text().strip() for o in Path('/proc/self/task').glob('*/comm')]
assert not any('gloo' in o for o in left), left
if rank==0: print('all equal')
'''


@needs_loopback
@pytest.mark.parametrize('world', [2,
    pytest.param(3, marks=pytest.mark.long('as with two, and half as long again'))])
def test_equals_a_single_process(world, tmp_path):
    (tmp_path/'together.py').write_text(TOGETHER)
    assert run_processes(world, tmp_path/'together.py', world, timeout=LIMIT) == 'all equal'


# What runs in every process of `test_killed_and_resumed`: time to be killed, after each epoch
SLOW = '''
import sys, time
from mnist_basics.learner import Callback
from mnist_basics.outgrowing_one_machine import process_group, train_together
class Rest(Callback):
    order = 90
    def after_epoch(self): time.sleep(float(sys.argv[2]))
with process_group(60): train_together(**{}, checkpoint=sys.argv[1], cbs=Rest())
'''


def workers(pid):
    "The processes that a `torchrun` of this process id has started, by rank; empty if they are not there yet"
    found = {}
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in task.read_text().split():
            try: m = re.search(rb'\0RANK=(\d+)\0', b'\0'+Path(f'/proc/{child}/environ').read_bytes())
            except OSError: continue
            if m: found[int(m[1])] = int(child)
    return found


def when(found, limit=LIMIT):
    "Wait until `found()` is true, and return it"
    end = time.monotonic()+limit
    while time.monotonic()<end:
        if res := found(): return res
        time.sleep(.02)
    raise AssertionError('it took too long')


def load(file): return torch.load(file, weights_only=True)


@needs_loopback
@pytest.mark.long('starts seven processes, and waits for epochs: a minute')
@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='finds the processes in /proc')
def test_killed_and_resumed(tmp_path, capsys):
    "kill -9 hits each of the processes in turn, at any moment after the first epoch; the end is that of a run without trouble"
    file, script, settings = tmp_path/'killed.pt', tmp_path/'slow.py', dict(epochs=10, images=1500, batch_size=250)
    script.write_text(SLOW.format(settings))
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', str(script), str(file), '0.3']
    for rank in 1, 0:
        before = load(file)['done'] if file.exists() else 0
        p = subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        try:
            when(lambda: p.poll() is not None or (file.exists() and load(file)['done'] > before))
            ours = workers(p.pid)
            assert sorted(ours) == [0, 1], p.communicate(timeout=LIMIT)
            os.kill(ours[rank], signal.SIGKILL)
            out, err = p.communicate(timeout=LIMIT)
        finally: p.kill()
        assert p.returncode == 1
        assert _said(err, 2) == f'process {rank} of 2 was killed by signal 9 (SIGKILL)'
        assert all(not Path(f'/proc/{o}').exists() for o in ours.values()), 'a process is left behind'
        assert before < load(file)['done'] < settings['epochs']
    run_processes(2, script, file, 0, timeout=LIMIT)
    resumed, whole = load(file), train_together(**settings)
    capsys.readouterr()
    assert resumed['done'] == settings['epochs'] == len(whole.recorder.values)
    assert torch.allclose(torch.tensor(resumed['values']), torch.tensor(whole.recorder.values), rtol=0, atol=1e-3)
    for k, v in whole.model.state_dict().items(): assert torch.allclose(resumed['model'][k], v, rtol=0, atol=1e-3), k


@needs_loopback
def test_a_failing_process_is_named(tmp_path):
    script = tmp_path/'fails.py'
    script.write_text("import os, sys, time\nif os.environ['RANK']=='1': sys.exit('no luck')\ntime.sleep(60)")
    with pytest.raises(RuntimeError, match='(?s)process 1 of 2 ended with exit code 1; all have ended.*no luck'): run_processes(2, script, timeout=LIMIT)
    script.write_text("import time\ntime.sleep(600)")
    with pytest.raises(RuntimeError, match='not done after 8 s'): run_processes(2, script, timeout=8)


# What runs in every process of the tests below: it takes a step now and then, until it is ended
ENDLESS = """
import sys, time
from pathlib import Path
import torch, torch.distributed as dist
from mnist_basics.outgrowing_one_machine import process_group, rank_and_world
with process_group(float(sys.argv[1])):
    while True:
        dist.all_reduce(torch.ones(1))
        Path(sys.argv[2], str(rank_and_world()[0])).touch()
        time.sleep(.05)
"""


@pytest.fixture
def endless(tmp_path):
    "A launch of two processes, once both are at work; what `started` gives has them by rank"
    (tmp_path/'endless.py').write_text(ENDLESS)
    launched, there = [], tmp_path/'there'
    there.mkdir()
    def start(timeout, *launcher):
        launch = [sys.executable, *(launcher or ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2')),
            str(tmp_path/'endless.py'), str(timeout), str(there)]
        p = subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        launched.append(p)
        when(lambda: p.poll() is not None or len(list(there.iterdir())) == 2)
        agent = children(p.pid)[0] if launcher else p.pid
        ours = workers(agent)
        launched.extend(ours.values())
        assert sorted(ours) == [0, 1], p.communicate(timeout=LIMIT)
        return p, agent, ours
    yield start
    for o in launched:
        try: os.kill(getattr(o, 'pid', o), signal.SIGKILL)
        except OSError: pass


def children(pid): return [int(o) for task in Path(f'/proc/{pid}/task').glob('*/children') for o in task.read_text().split()]


def gone(pid):
    "Has this process ended? Nobody may have asked for its exit code yet"
    try: return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] in 'ZX'
    except OSError: return True


needs_proc = pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='finds the processes in /proc')


@needs_loopback
@needs_proc
def test_a_stopped_process_ends_the_run(endless):
    "It is given up, woken and ended: nobody waits until `torchrun` loses patience and kills it"
    p, _, ours = endless(5)
    os.kill(ours[1], signal.SIGSTOP)
    out, err = p.communicate(timeout=LIMIT)
    assert p.returncode == 1 and 'process 0 has lost another one' in err and 'forcefully' not in err
    assert all(map(gone, ours.values()))


@needs_loopback
@needs_proc
def test_no_process_outlives_its_launcher(endless):
    p, _, ours = endless(300)
    p.kill()
    when(lambda: all(map(gone, ours.values())))


@needs_loopback
@needs_proc
def test_no_process_outlives_who_has_called(endless):
    "Nor does the launcher: neither where the caller is killed, nor where a process was stopped"
    call = 'import sys; from mnist_basics.outgrowing_one_machine import run_processes; run_processes(2, *sys.argv[1:])'
    p, agent, ours = endless(300, '-c', call)
    os.kill(ours[0], signal.SIGSTOP)
    p.kill()
    when(lambda: all(map(gone, [agent, *ours.values()])))


@needs_loopback
@needs_proc
def test_time_is_up_for_a_stopped_process_too(tmp_path):
    script = tmp_path/'stops.py'
    script.write_text("import os, signal, time\nif os.environ['RANK'] == '1': os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)")
    start = time.monotonic()
    with pytest.raises(RuntimeError, match='not done after 8 s'): run_processes(2, script, timeout=8)
    assert time.monotonic()-start < 8+30, 'it waited until `torchrun` lost patience'


def test_stopped_by_ctrl_c(tmp_path):
    "Alone: a word, the code of shells, and in the file the epochs that were done"
    file = tmp_path/'run.pt'
    code = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import runpy; runpy.run_module("mnist_basics.outgrowing_one_machine", run_name="__main__")'
    p = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', code, '--epochs', '500', '--images', '1000', '--checkpoint', str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    when(lambda: p.poll() is not None or file.exists())
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=LIMIT)
    assert p.returncode == 130 and err.endswith('mnist-basics: interrupted\n') and 'Traceback' not in err
    assert load(file)['done'] == len(load(file)['values']) > 0 and os.listdir(tmp_path) == ['run.pt']


def report(*ends): return ''.join(f'  host : a\n  rank      : {rank} (local_rank: {rank})\n  exitcode  : {code} (pid: 3)\n' for rank, code in ends)

@pytest.mark.parametrize('ends, said', [
    ([(0, 1)], 'process 0 of 3 ended with exit code 1'),
    ([(0, -15), (1, -9)], 'process 1 of 3 was killed by signal 9 (SIGKILL)'),
    ([(1, -9), (2, 1), (0, 1)], 'process 1 of 3 was killed by signal 9 (SIGKILL)'),  # torchrun saw all at once, and took the first
    ([(0, -15), (1, -15), (2, 3)], 'process 2 of 3 ended with exit code 3'),
    ([], 'the processes could not be started')])
def test_what_is_said_of_a_process_that_ended(ends, said):
    logged = 'E1128 api.py:994] failed (exitcode: 1) local_rank: 0 (pid: 7) of binary: python\n'  # by torchrun, before its report
    assert _said(report(*ends), 3) == _said(logged+report(*ends), 3) == said


def small(opt_func, cbs=(), bs=8):
    torch.manual_seed(3)
    x, y = torch.randn(20, 6), torch.randint(3, (20,))
    dls = DataLoaders(DataLoader((x, y), bs, shuffle=True), DataLoader((x, y), 9))
    return Learner(dls, nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)), F.cross_entropy, opt_func, 0.05, batch_accuracy, cbs)


def fit(learn, how='fit_one_cycle', epochs=5):
    with learn.no_logging(): getattr(learn, how)(epochs)
    return learn


class Fails(Callback):
    def __init__(self, epoch, when): self.epoch, self.when = epoch, when
    def before_batch(self):
        o = self.learn
        if (o.epoch, o.training, o.iter) == (self.epoch, *self.when): raise OSError('out of luck')


OPTS = dict(SGD=SGD, momentum=lambda ps, lr: SGD(ps, lr, mom=0.9, wd=0.1), Adam=Adam, BasicOptim=BasicOptim, AdamW=torch.optim.AdamW,
            torch_momentum=lambda ps, lr: torch.optim.SGD(ps, lr, momentum=0.9))

@pytest.mark.parametrize('how', ['fit', 'fit_one_cycle'])
@pytest.mark.parametrize('opt', OPTS)
def test_resumed_equals_uninterrupted(opt, how, tmp_path):
    whole = fit(small(OPTS[opt], Distributed()), how)
    file = tmp_path/'a'/'run.pt'
    for epoch, moment in ((0, (True, 1)), (1, (True, 0)), (3, (False, 1)), (4, (True, 2))):
        with pytest.raises(OSError, match='out of luck'): fit(small(OPTS[opt], [Distributed(), Checkpoint(file), Fails(epoch, moment)]), how)
        assert (load(file)['done'] if epoch else file.exists()) == epoch
    resumed = fit(small(OPTS[opt], [Distributed(), Checkpoint(file)]), how)
    for o in resumed, fit(small(OPTS[opt], [Distributed(), Checkpoint(file)]), how):  # the second finds nothing left to do
        for k, v in whole.model.state_dict().items(): assert o.model.state_dict()[k].equal(v), k
        assert o.recorder.values == whole.recorder.values and o.recorder.losses == whole.recorder.losses
        assert o.recorder.lrs == whole.recorder.lrs and o.recorder.iters == whole.recorder.iters


def test_other_settings_are_not_continued(tmp_path):
    file = tmp_path/'run.pt'
    fit(small(SGD, [Distributed(), Checkpoint(file, lr=1)]))
    before = file.read_bytes()
    with pytest.raises(ValueError, match='lr was 1, now 2'): fit(small(SGD, [Distributed(), Checkpoint(file, lr=2)]))
    with pytest.raises(ValueError, match='n_epoch was 5, now 6'): fit(small(SGD, [Distributed(), Checkpoint(file, lr=1)]), epochs=6)
    with pytest.raises(ValueError, match='seed was None, now 3'): fit(small(SGD, [Distributed(), Checkpoint(file, lr=1, seed=3)]))
    assert file.read_bytes() == before


@pytest.mark.parametrize('size', [0, 1, 100, -1])
def test_a_damaged_file_is_named(size, tmp_path):
    file = tmp_path/'run.pt'
    fit(small(SGD, [Distributed(), Checkpoint(file)]))
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match='run.pt is no whole checkpoint'): fit(small(SGD, [Distributed(), Checkpoint(file)]))


class Trap:
    def __init__(self, file): self.file = file
    def __reduce__(self): return open, (self.file, 'w')


def test_a_checkpoint_runs_nothing(tmp_path):
    file, ran = tmp_path/'run.pt', tmp_path/'ran'
    for save in torch.save, lambda o, f: f.write_bytes(pickle.dumps(o, 2)):
        save(dict(model=Trap(str(ran)), settings={}), file)
        with pytest.raises(ValueError, match='run.pt'): fit(small(SGD, [Distributed(), Checkpoint(file)]))
        assert not ran.exists()


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_write_that_fails_leaves_the_last_file(step, tmp_path, monkeypatch):
    file, calls = tmp_path/'run.pt', []
    real = getattr(os, step)
    def third_time_unlucky(*args):
        calls.append(args)
        if len(calls) == 3: raise OSError('disk full')
        return real(*args)
    monkeypatch.setattr(os, step, third_time_unlucky)
    with pytest.raises(OSError, match='disk full'): fit(small(Adam, [Distributed(), Checkpoint(file)]))
    assert load(file)['done'] == 2 and os.listdir(tmp_path) == ['run.pt']


def test_parts_are_the_batch():
    for n in range(30):
        for world in range(1, 10):
            parts = [range(n)[my_part(n, o, world)] for o in range(world)]
            assert [i for o in parts for i in o] == list(range(n))
            assert max(map(len, parts))-min(map(len, parts)) <= 1


def test_a_longer_ring_sends_no_more_than_twice_the_gradient():
    for p in range(2, 300, 7):
        compute, exchange = step_seconds(100, 1e6, 10**6, p, gflops=2., gbit=3., latency=0)
        assert compute == pytest.approx(.05/p)
        assert exchange == pytest.approx(2*(p-1)/p*8e6/3e9) and exchange < 2*8e6/3e9


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as e: main(['--help'])
    assert e.value.code == 0 and '--checkpoint' in capsys.readouterr().out
    with pytest.raises(SystemExit) as e: main(['--epochs', 'many'])
    assert e.value.code == 2
