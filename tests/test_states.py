"""Whatever one does with a Learner, in whatever order: measuring leaves no trace, what is
resumed equals what never stopped, and files bring all of it back.

A few hundred steps in the suite; `MNIST_BASICS_STEPS=10000` takes as many as it says"""
import json, math, os, random
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine, initialize, invariant, precondition, rule)
from torch import nn

from mnist_basics.learner import (
    SGD, Adam, Callback, CancelBatchException, CancelEpochException, CancelFitException,
    EarlyStopping, GradientClip, Learner, OneCycle, SaveBest, load_learner)
from mnist_basics.linear_model import BasicOptim, DataLoader, batch_accuracy, mnist_loss
from mnist_basics.models import saved_info
from mnist_basics.outgrowing_one_machine import Checkpoint
from mnist_basics.ten_digits import EMA

STEPS = int(os.getenv('MNIST_BASICS_STEPS', 200))
PER_RUN = 20
TAKEN = []
OPTS = dict(sgd=SGD, momentum=lambda ps, lr: SGD(ps, lr, mom=0.9, wd=0.01), adam=Adam,
            basic=BasicOptim, adamw=torch.optim.AdamW)
KINDS = dict(best=SaveBest, early=lambda: EarlyStopping(patience=1), mean=lambda: EMA(0.6),
             clip=lambda: GradientClip(0.1), cycle=lambda: OneCycle(0.1))
some_kinds = st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=3)


def rows(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 4, generator=g), torch.randint(2, (n, 1), generator=g).float()


def net():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.2), nn.Linear(3, 1))


def make(opt):
    "A small learner; the order of its images and its dropout come from the random state"
    loaders = DataLoader(rows(12, 0), 4, shuffle=True), DataLoader(rows(7, 1), 3)
    learn = Learner(loaders, net(), mnist_loss, OPTS[opt], 0.05, batch_accuracy)
    learn.logger, learn.bar = None, False
    return learn


def random_now(): return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
def tensors(model): return {k: o.clone() for k, o in model.state_dict().items()}


def state(learn):
    "All of a learner that lasts, as text and tensors"
    known = getattr(learn.opt, 'state', {})
    opt = [repr(known.get(p)) for o in getattr(learn.opt, 'param_groups', []) for p in o['params']]
    r = learn.recorder
    record = json.dumps([list(r.names), r.values, r.lrs, r.losses, r.iters])
    return dict(opt=opt, record=record, interrupted=learn.interrupted, in_fit=learn.in_fit,
                modes=[o.training for o in learn.model.modules()],
                frozen=[o.requires_grad for o in learn.model.parameters()], **tensors(learn.model))


def same(a, b):
    assert a.keys() == b.keys()
    for k in a: assert a[k].equal(b[k]) if torch.is_tensor(a[k]) else a[k] == b[k], k


class Throw(Callback):
    "Raises `error` at an event of an epoch, or of one of its batches"
    order, in_lr_find = 95, False
    def __init__(self, event, epoch, i, error):
        self.thrown = False
        def throw():
            o = self.learn
            if (o.epoch, not self.thrown) != (epoch, True): return
            if event in IN_BATCHES and (o.iter, o.training) != (i, True): return
            self.thrown = True
            raise error
        setattr(self, event, throw)

class Witness(Callback):
    "Counts for itself what `EMA` and `SaveBest` are to make of the weights"
    order, in_lr_find = 65, False  # before `SaveBest`, and after the record
    def before_fit(self): self.mean, self.ends = None, []
    def after_step(self):
        now = tensors(self.learn.model)
        old = self.mean or now
        self.mean = {k: 0.6*old[k]+0.4*o for k, o in now.items()}

    def after_epoch(self):
        r = self.learn.recorder
        self.ends.append((r.values[-1][list(r.names).index('valid_loss')], tensors(self.learn.model)))

    def judge(self, learn, kinds):
        "After a training that no error has ended"
        now, known = tensors(learn.model), [o for o in self.ends if not math.isnan(o[0])]
        if 'best' in kinds and known: want = min(known, key=lambda o: o[0])[1]
        elif 'mean' in kinds and self.mean: want = self.mean
        else: return
        for k, o in now.items():
            if o.is_floating_point(): assert o.allclose(want[k], atol=1e-5), k

IN_BATCHES = ['before_batch', 'after_pred', 'after_loss', 'before_step', 'after_step', 'after_batch']
events = st.sampled_from(['before_epoch', 'before_train', 'before_validate', 'after_epoch', *IN_BATCHES])


class Training(RuleBasedStateMachine):
    """Two learners: all that measures is done to the first alone, all that trains to both

    They must stay equal to the last bit"""
    @initialize(opt=st.sampled_from(sorted(OPTS)), seed=st.integers(0, 99))
    def begin(self, opt, seed):
        torch.manual_seed(seed)
        self.a, self.fits, self.folder = make(opt), 0, next(FOLDERS)
        self.opt_name, self.b = opt, make(opt)
        self.b.model.load_state_dict(self.a.model.state_dict())

    def both(self, f):
        "Do the same to both, from the same random numbers on"
        before, res = torch.get_rng_state(), []
        for o in self.a, self.b:
            torch.set_rng_state(before)
            res.append(f(o))
            res.append(torch.get_rng_state().tolist())
        assert res[1] == res[3]
        return res[0]

    def measure(self, f):
        "`f` of the first learner, which leaves no trace"
        was, drawn = state(self.a), random_now()
        res = f(self.a)
        same(was, state(self.a))
        assert drawn == random_now()
        return res

    @rule(n=st.integers(0, 3), kinds=some_kinds, lr=st.sampled_from([0.01, 0.1, None]), reset=st.booleans())
    def fit(self, n, kinds, lr, reset):
        def fit(o):
            witness = Witness()
            o.fit(n, lr, [witness, *(KINDS[k]() for k in kinds)], reset)
            assert not o.interrupted and len(o.recorder.values) == n or 'early' in kinds
            witness.judge(o, kinds)
            if 'best' in kinds or not n or len(o.recorder.values) < n: return
            last, weights = witness.ends[-1]
            if 'mean' in kinds: assert all(v.allclose(witness.mean[k], atol=1e-5) for k, v in weights.items() if v.is_floating_point())
            assert o.validate(1)[0] == pytest.approx(last, rel=1e-4)  # what was measured is what there is
        if any(p.requires_grad for p in self.a.model.parameters()): self.both(fit)
        else:
            with pytest.raises(ValueError, match='want a gradient'): self.a.fit(n)

    @rule(i=st.integers(0, 1))
    def validate(self, i):
        res = self.measure(lambda o: o.validate(i))
        assert len(res) == 2 and all(map(math.isfinite, res))

    @rule(i=st.integers(0, 1))
    def preds(self, i):
        preds, targs = self.measure(lambda o: o.get_preds(i))
        assert preds.shape == targs.shape == (12 if i == 0 else 7, 1)
        if i == 1:
            was = self.a.model.training
            with torch.no_grad(): assert preds.allclose(self.a.model.eval()(rows(7, 1)[0]), atol=1e-6)
            self.a.model.train(was)

    @rule(seed=st.integers(0, 9))
    def predict(self, seed):
        place, probs = self.measure(lambda o: o.predict(rows(10, 2)[0][seed]))[1:]
        assert probs.argmax() == place and probs.sum().item() == pytest.approx(1)

    @precondition(lambda self: any(p.requires_grad for p in self.a.model.parameters()))
    @rule(n=st.integers(8, 30))
    def lr_find(self, n):
        def find(o):
            try: assert o.lr_find(num_it=n, show_plot=False).valley > 0
            except ValueError as e: assert 'exploded' in str(e)
        self.measure(find)

    @rule(i=st.sampled_from([0, 1, 4]))
    def freeze(self, i): self.both(lambda o: o.model[i].requires_grad_(False) and None)

    @rule()
    def unfreeze(self): self.both(lambda o: o.model.requires_grad_(True) and None)

    @rule()
    def new_head(self):
        def put(o): o.model[4] = nn.Linear(3, 1)
        self.both(put)

    @rule()
    def save(self):
        self.file = self.measure(lambda o: o.save(self.folder/'m.safetensors'))
        self.saved = state(self.a)
        again = load_learner(self.file, net())
        assert again.interrupted == self.a.interrupted == saved_info(self.file)['interrupted']
        for k, o in tensors(self.a.model).items(): assert again.model.state_dict()[k].equal(o)
        assert json.dumps(again.recorder.values) == json.dumps(list(self.a.recorder.values))

    @precondition(lambda self: hasattr(self, 'file'))
    @rule()
    def load(self):
        self.both(lambda o: o.load(self.file) and None)
        for k, o in tensors(self.a.model).items(): assert self.saved[k].equal(o)
        assert self.a.interrupted == self.saved['interrupted'] and self.a.opt is None

    @precondition(lambda self: any(p.requires_grad for p in self.a.model.parameters()))
    @rule(event=events, epoch=st.integers(0, 2), i=st.integers(0, 2), kinds=some_kinds,
          error=st.sampled_from([KeyboardInterrupt, CancelFitException, CancelEpochException, CancelBatchException, OSError]))
    def disturb(self, event, epoch, i, kinds, error):
        "Ctrl-C, a cancel exception or an accident at any moment"
        if error is CancelBatchException and event not in IN_BATCHES[:-1]: error = CancelFitException
        if error is CancelEpochException and event == 'after_epoch': error = CancelFitException
        def fit(o):
            throw = Throw(event, epoch, i, error())
            witness = Witness()
            try: o.fit(3, 0.05, [throw, witness, *(KINDS[k]() for k in kinds)])
            except OSError: assert error is OSError
            else: witness.judge(o, kinds)
            assert o.interrupted == (throw.thrown and error is KeyboardInterrupt)
            assert o.failed == (throw.thrown and error is OSError)
            return throw.thrown
        thrown = self.both(fit)
        if thrown and error in (CancelBatchException, CancelEpochException):
            assert len(self.a.recorder.values) == 3 or 'early' in kinds

    @precondition(lambda self: any(p.requires_grad for p in self.a.model.parameters()))
    @rule(event=events, epoch=st.integers(0, 3), i=st.integers(0, 2), kinds=some_kinds,
          error=st.sampled_from([KeyboardInterrupt, OSError]))
    def resume(self, event, epoch, i, kinds, error):
        "The first is stopped and goes on from a file, in a Learner of its own; the second never stops"
        self.fits += 1
        file, begin, a = self.folder/f'{self.fits}.pt', torch.get_rng_state(), self.a
        start, frozen = deepcopy(tensors(a.model)), [p.requires_grad for p in a.model.parameters()]
        def fit(o, *more): o.fit(4, 0.05, [*more, *(KINDS[k]() for k in kinds)], reset_opt=True)
        try: fit(a, Checkpoint(file), Throw(event, epoch, i, error()))
        except OSError: pass
        torch.set_rng_state(begin)
        if a.interrupted or a.failed:
            self.a = make(self.opt_name)
            if not file.exists(): self.a.model.load_state_dict(start)
            for p, o in zip(self.a.model.parameters(), frozen): p.requires_grad_(o)
            torch.set_rng_state(begin)
        else: # It was not stopped, and finds nothing left to do
            a.model.load_state_dict(start)
        fit(self.a, Checkpoint(file))
        drawn = torch.get_rng_state()
        torch.set_rng_state(begin)
        fit(self.b)
        early = 'early' in kinds and len(self.b.recorder.values) < 4
        if not early: assert drawn.equal(torch.get_rng_state())
        torch.set_rng_state(drawn)

    @invariant()
    def equal(self):
        TAKEN.append(1)
        if not hasattr(self, 'b'): return
        a, b = state(self.a), state(self.b)
        for o in a, b: o.pop('modes')
        same(a, b)

    @invariant()
    def whole(self):
        if not hasattr(self, 'a'): return
        a = self.a
        assert not a.in_fit and all(p.grad is None for p in a.model.parameters())
        assert all(o.isfinite().all() for o in a.model.state_dict().values())
        assert all(len(row) == len(a.recorder.names) for row in a.recorder.values)
        for cb in a.cbs: assert cb.learn is a


FOLDERS = iter(())


def test_any_order_of_things(tmp_path):
    global FOLDERS
    def folders():
        for i in range(10**9):
            (tmp_path/str(i)).mkdir()
            yield tmp_path/str(i)
    FOLDERS = folders()
    TAKEN.clear()
    from hypothesis.stateful import run_state_machine_as_test
    run_state_machine_as_test(Training, settings=settings(
        max_examples=STEPS*5//PER_RUN//4, stateful_step_count=PER_RUN, deadline=None,
        derandomize=STEPS == 200, suppress_health_check=list(HealthCheck), database=None))
    print(f'{len(TAKEN)} steps')
    assert len(TAKEN) >= STEPS
