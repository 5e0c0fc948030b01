"""Training that is interrupted, skipped, resumed or wrong: it says so, and what is kept
is right; and whoever measures changes nothing"""
import json, math, random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from torch import nn

from mnist_basics.checks import Diverged
from mnist_basics.learner import (
    SGD, Adam, Callback, CancelBatchException, CancelEpochException, CancelFitException,
    EarlyStopping, GradientClip, Learner, LRFinder, MixedPrecision, OneCycle, Recorder,
    SaveBest, StopOnNaN, ToDevice, load_learner, lower_is_better)
from mnist_basics.linear_model import (
    BasicOptim, DataLoader, batch_accuracy, mnist_loss, train_linear)
from mnist_basics.mlp import train_mlp
from mnist_basics.models import saved_info
from mnist_basics.outgrowing_one_machine import Checkpoint
from mnist_basics.resnet18 import train_resnet18
from mnist_basics.sgd_quadratic import rmse
from mnist_basics.ten_digits import (
    EMA, make_flat, train_best, train_digits, train_hidden, train_small, train_softmax)

pytestmark = pytest.mark.filterwarnings('ignore')
quick = settings(max_examples=30, deadline=None, derandomize=True,
                 suppress_health_check=list(HealthCheck))


def rows(n=20, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=g), torch.randint(2, (n, 1), generator=g).float()


def net(): return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(),
                                nn.Dropout(0.3), nn.Linear(5, 1))


def small(cbs=(), model=None, opt_func=Adam, shuffle=True, seed=0, loss=mnist_loss, **kwargs):
    torch.manual_seed(seed)
    dls = DataLoader(rows(), 4, shuffle), DataLoader(rows(11, 1), 4)
    kwargs.setdefault('metrics', batch_accuracy)
    learn = Learner(dls, model or net(), loss, opt_func, 0.05, cbs=cbs, **kwargs)
    learn.logger, learn.bar = None, False
    return learn


def weights(learn): return [o.clone() for o in learn.model.state_dict().values()]
def equal(a, b): return all(x.equal(y) for x, y in zip(a, b, strict=True))


def remembered(opt):
    "All that an optimizer keeps for its parameters, as text"
    state = getattr(opt, 'state', {})
    return [repr(state.get(p)) for o in getattr(opt, 'param_groups', []) for p in o['params']]


def everything(learn):
    "All that measuring must leave as it is"
    r = learn.recorder
    return (weights(learn), [o.training for o in learn.model.modules()],
            remembered(learn.opt), learn.opt, learn.hypers,
            (list(r.values), list(r.lrs), list(r.losses), list(r.iters), list(r.names)),
            random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(),
            learn.interrupted, learn.in_fit, learn.epoch, learn.n_epoch, learn.cbs)


def test_unchanged(before, after):
    for a, b in zip(before, after, strict=True):
        assert equal(a, b) if isinstance(a, list) and a and torch.is_tensor(a[0]) else a == b

test_unchanged.__test__ = False


class At(Callback):
    "Does something once, at one place of one epoch"
    order = 45
    def __init__(self, event, f, epoch=0, i=None, training=True):
        def once(cb=self):
            o = self.learn
            here = (o.epoch, o.training) == (epoch, training) and i in (None, o.iter)
            if here and not self.done:
                self.done = True
                f()
        self.done = False
        setattr(self, event, once)


def throw(e):
    def f(): raise e
    return f


MEASURING = {
    'validate': lambda o: o.validate(), 'on the training set': lambda o: o.validate(0),
    'get_preds': lambda o: o.get_preds(), 'predict': lambda o: o.predict(torch.ones(6)/2),
    'summary': lambda o: o.summary(), 'lr_find': lambda o: o.lr_find(show_plot=False),
    'one that shuffles': lambda o: o.validate(dl=DataLoader(rows(), 4, True)),
    "PyTorch's": lambda o: o.validate(
        dl=torch.utils.data.DataLoader(list(zip(*rows())), 4, shuffle=True)),
    'save': lambda o: o.save('/dev/null')}

@pytest.mark.parametrize('what', MEASURING)
@pytest.mark.parametrize('when', ['before', 'between', 'in the middle', 'after Ctrl-C'])
def test_measuring_changes_nothing(what, when):
    ema, seen = EMA(0.5), []
    cbs = [ema, SaveBest(), EarlyStopping(patience=9), GradientClip()]
    learn, twin = small(cbs), small([EMA(0.5), SaveBest(), EarlyStopping(patience=9), GradientClip()])
    def measure():
        before = everything(learn)
        MEASURING[what](learn)
        test_unchanged(before, everything(learn))
        seen.append(what)
    if when == 'before': measure()
    if when == 'in the middle': learn.add_cbs(At('after_batch', measure, 2, 2))
    state = torch.get_rng_state()
    for o in learn, twin:
        torch.set_rng_state(state)
        if when == 'after Ctrl-C': o.fit(3, cbs=At('after_step', throw(KeyboardInterrupt()), 1, 2))
        else: o.fit(3)
    if when != 'in the middle': measure()
    for o in learn, twin:
        torch.set_rng_state(state)
        o.fit(2)
    assert seen and equal(weights(learn), weights(twin))
    assert learn.recorder.values == twin.recorder.values
    assert learn.recorder.losses == twin.recorder.losses


def test_measuring_leaves_generators_and_modes_alone():
    own = torch.Generator().manual_seed(3)
    dl = DataLoader(rows(), 4, True, own)
    learn, before = small(), own.get_state()
    learn.dls = dl, dl
    learn.model[1].eval()
    learn.validate(), learn.get_preds(0), learn.lr_find(show_plot=False)
    assert own.get_state().equal(before)
    assert [o.training for o in learn.model] == [True, False, True, True, True]


def test_saving_draws_nothing(tmp_path):
    learn = small(model=nn.Linear(6, 1))
    before = torch.get_rng_state()
    learn.save(tmp_path/'m.safetensors', arch='linear', in_features=6, out_features=1)
    assert torch.get_rng_state().equal(before)


def test_a_search_that_is_stopped_is_none():
    learn = small()
    before = everything(learn)
    stop = At('after_loss', throw(KeyboardInterrupt()), 1, 2)
    learn.add_cbs(stop)
    with pytest.raises(KeyboardInterrupt): learn.lr_find(show_plot=False)
    learn.remove_cbs(stop)
    test_unchanged(before[:-1], everything(learn)[:-1])


class Steps(Callback):
    "The mean that `EMA` should find, computed beside it; and how often it was put in place"
    order, in_lr_find = -1, False
    def __init__(self, decay): self.decay = decay
    def before_fit(self): self.mean = None
    def after_step(self):
        now = [o.clone() for o in self.learn.model.state_dict().values() if o.is_floating_point()]
        d = self.decay
        self.mean = now if self.mean is None else [d*m+(1-d)*o for m, o in zip(self.mean, now)]


ENDS = {'as planned': lambda: [], 'by Ctrl-C': lambda: At('before_batch', throw(KeyboardInterrupt()), 1, 2),
        'by Ctrl-C, measuring': lambda: At('before_batch', throw(KeyboardInterrupt()), 2, 1, False),
        'by a callback': lambda: At('after_batch', throw(CancelFitException()), 1, 1),
        'after an epoch': lambda: At('after_epoch', throw(CancelFitException()), 1, training=False),
        'with a last epoch cut short': lambda: At('before_batch', throw(CancelEpochException()), 2, 3),
        'with a last batch skipped': lambda: At('before_step', throw(CancelBatchException()), 2, 4)}

@pytest.mark.parametrize('end', ENDS)
def test_an_average_is_put_in_place_once(end):
    placed, count = [], EMA(0.5)
    steps, put = Steps(0.5), count.place
    def place():
        before = count.placed
        put()
        if count.placed and not before: placed.append(1)
    count.place = place
    learn = small([count, steps, ENDS[end]()] if end != 'as planned' else [count, steps])
    learn.fit(3)
    assert placed == [1]
    now = [o for o in learn.model.state_dict().values() if o.is_floating_point()]
    for a, b in zip(now, steps.mean, strict=True): torch.testing.assert_close(a, b)
    learn.model[0].weight.data.zero_()
    learn.validate(), learn.get_preds(), learn.predict(torch.rand(6))
    assert not learn.model[0].weight.any() and placed == [1]


def test_an_average_of_nothing_and_after_an_error():
    learn = small(EMA())
    before = weights(learn)
    learn.fit(0)
    assert equal(weights(learn), before)
    class NoSteps(Callback):
        def before_backward(self): raise CancelBatchException
    learn.fit(1, cbs=NoSteps())
    seen = []
    broken = At('before_batch', lambda: seen.append(weights(learn)) or throw(OSError())(), 1, 1)
    with pytest.raises(OSError): learn.fit(2, cbs=broken)
    assert equal(weights(learn), seen[0]) # Neither the average, nor anything else


def test_a_cancelled_epoch_has_a_row_of_nan(capsys):
    for event, training in (('before_batch', True), ('before_validate', False)):
        skip = At(event, throw(CancelEpochException()), 1, training=training)
        learn = small([skip, SaveBest(), EarlyStopping(patience=3)])
        learn.logger = print
        learn.fit(3)
        shapes = [[math.isfinite(v) for v in row] for row in learn.recorder.values]
        assert shapes == [[True]*3, [False]*3, [True]*3]
        assert len(capsys.readouterr().out.splitlines()) == 4
        import matplotlib
        matplotlib.use('agg')
        learn.recorder.plot_loss()
        learn.recorder.plot_metric()


def test_epochs_that_were_skipped_are_not_waited_for():
    class Every(Callback):
        def before_train(self):
            if self.learn.epoch in (1, 2, 3): raise CancelEpochException
    learn = small([Every(), EarlyStopping(patience=2)], model=nn.Linear(6, 1))
    learn.fit(9, 0.)
    assert len(learn.recorder.values) == 6 # One that is best, three skipped, two not better


def test_batches_that_were_skipped_are_not_counted():
    class Half(Callback):
        def after_pred(self):
            if not self.learn.training and self.learn.iter: raise CancelBatchException
    learn = small()
    full = learn.get_preds(dl=[next(iter(learn.dls[1]))])
    learn.add_cbs(Half())
    preds, targs = learn.get_preds()
    assert preds.equal(full[0]) and targs.equal(full[1])
    class All(Callback):
        def before_pred(self): raise CancelBatchException
    learn.fit(1, cbs=All())
    assert all(map(math.isnan, learn.recorder.values[0])) and not learn.recorder.losses
    learn.add_cbs(All())
    with pytest.raises(ValueError, match='no scores'): learn.get_preds()
    assert all(map(math.isnan, learn.validate()))


def test_an_error_after_skipping_names_its_epoch():
    poison = At('before_pred', lambda: setattr(learn, 'xb', [learn.xb[0]*math.nan]), 0, 2)
    learn = small([poison, At('after_batch', throw(CancelEpochException()), 0, 3)])
    with pytest.raises(Diverged, match='in epoch 0, batch 2'): learn.fit(2)


@pytest.mark.parametrize('end', [KeyboardInterrupt(), CancelFitException()])
def test_what_has_diverged_is_not_kept_by_stopping(end):
    poison = At('before_pred', lambda: setattr(learn, 'xb', [learn.xb[0]*math.nan]), 0, 1)
    learn = small([poison, At('after_batch', throw(end), 0, 3)])
    with pytest.raises(Diverged, match='batch 1'): learn.fit(1)
    assert all(o.isfinite().all() for o in weights(learn))


class Ends(Callback):
    def __init__(self, name, seen, fails=''): self.name, self.seen, self.fails = name, seen, fails
    def before_fit(self):
        if self.fails == 'begin': raise KeyError('mine')
        self.ready = True
    def after_fit(self):
        assert self.ready
        self.seen.append(self.name)
        if self.fails == 'end': raise OSError('later')


def test_who_has_not_begun_is_not_cleaned_up():
    seen = []
    learn = small([Ends('a', seen), Ends('b', seen, 'begin'), Ends('c', seen)])
    with pytest.raises(KeyError, match='mine'): learn.fit(1)
    assert seen == ['a'] and not learn.in_fit


def test_the_first_error_is_the_one_that_is_seen():
    seen = []
    learn = small([Ends('a', seen, 'end'), Ends('b', seen, 'end'), Ends('c', seen)])
    broken = At('after_loss', throw(ZeroDivisionError('first')), 0, 2)
    with pytest.raises(ZeroDivisionError, match='first') as e: learn.fit(1, cbs=broken)
    assert seen == ['a', 'b', 'c'] and len(e.value.__notes__) == 2
    with pytest.raises(OSError, match='later'): learn.fit(1)
    assert seen == ['a', 'b', 'c']*2


def test_an_error_brings_no_old_weights_back():
    best, seen = SaveBest(), []
    learn = small([best])
    learn.fit(2)
    for epoch in (0, 1):
        broken = At('before_batch', lambda: seen.append(weights(learn)) or throw(OSError())(), epoch, 3)
        with pytest.raises(OSError): learn.fit(3, cbs=broken)
        assert equal(weights(learn), seen[-1])
    class Early(Callback):
        order = 60
        def before_fit(self): raise OSError
    before = weights(learn)
    with pytest.raises(OSError): learn.fit(3, cbs=Early())
    assert equal(weights(learn), before)


def test_ctrl_c_is_told_and_kept(tmp_path, capsys):
    best = SaveBest(tmp_path/'best.safetensors')
    learn = small([best], model=nn.Linear(6, 1))
    learn.fit(3, cbs=At('after_step', throw(KeyboardInterrupt()), 1, 2))
    err = capsys.readouterr().err
    assert 'Ctrl-C in epoch 1, batch 2' in err and err.count('\n') == 1
    assert learn.interrupted and not learn.model.training and len(learn.recorder.values) == 1
    files = best.file, learn.save(tmp_path/'m.safetensors', arch='linear', in_features=6, out_features=1)
    for file in files:
        assert saved_info(file)['interrupted']
        again = load_learner(file, nn.Linear(6, 1))
        assert again.interrupted and 'was interrupted' in capsys.readouterr().out
        assert saved_info(again.save(tmp_path/'copy.safetensors'))['interrupted']
    learn.fit(1)
    assert not learn.interrupted
    for file in (best.file, learn.save(tmp_path/'m.safetensors')):
        assert not saved_info(file)['interrupted'] and not load_learner(file, nn.Linear(6, 1)).interrupted
    assert capsys.readouterr() == ('', '')


def test_the_best_of_a_training_that_was_killed_says_so(tmp_path):
    best = SaveBest(tmp_path/'best.safetensors')
    with pytest.raises(OSError): small(best).fit(3, cbs=At('after_step', throw(OSError()), 1, 2))
    assert saved_info(best.file)['interrupted']


@pytest.mark.skipif(torch.__version__.startswith('2.6.'), reason='no exporter that works')
def test_onnx_says_that_it_was_interrupted(tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    learn = small(model=nn.Linear(6, 1))
    learn.fit(1, cbs=At('after_step', throw(KeyboardInterrupt()), 0, 2))
    capsys.readouterr()
    file = learn.export_onnx(tmp_path/'new'/'folder'/'m.onnx')
    props = {o.key: o.value for o in onnx.load(file).metadata_props}
    assert props['interrupted'] == 'true' and 'was interrupted' in capsys.readouterr().err


@pytest.fixture(scope='module')
def images():
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 28, 28, generator=g), torch.arange(60) % 2*4+3
    return (x, y), (x, y)


TRAINERS = [train_linear, train_mlp, train_resnet18, train_softmax, train_hidden, train_small, train_best]
fast = dict(batch_size=15)

@pytest.mark.parametrize('train', TRAINERS, ids=lambda o: o.__name__)
def test_no_epoch_is_a_model_that_has_learned_nothing(train, images):
    model = train(images, epochs=0, **fast)
    assert model.history == [] and model.predict(images[0][0]).shape == (60,)


@pytest.mark.parametrize('train', TRAINERS, ids=lambda o: o.__name__)
def test_no_trainer_keeps_what_ctrl_c_has_stopped(train, images, monkeypatch, capsys):
    calls = []
    def stop(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3: raise KeyboardInterrupt
        return backward(self, *args, **kwargs)
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, 'backward', stop)
    with pytest.raises(KeyboardInterrupt): train(images, epochs=2, **fast)
    assert capsys.readouterr().out == ''


def test_the_trainer_of_many_processes_stops_too(monkeypatch):
    from mnist_basics import outgrowing_one_machine as many
    few = lambda split: (torch.zeros(40, 28, 28).byte(), torch.arange(40) % 10)
    monkeypatch.setattr(many, 'mnist', few)
    assert many.train_together(epochs=0, images=40, batch_size=10).recorder.values == []
    with pytest.raises(KeyboardInterrupt):
        many.train_together(1, 10, images=40, cbs=At('after_step', throw(KeyboardInterrupt()), 0, 1))


def kinds():
    return dict(best=[SaveBest()], accuracy=[SaveBest(monitor='batch_accuracy')], early=[EarlyStopping(patience=2)],
        both=[SaveBest(), EarlyStopping(patience=1)], mean=[EMA(0.7)], mean_best=[EMA(0.7), SaveBest()],
        clip=[GradientClip(0.1)], half=[MixedPrecision()], nan=[StopOnNaN(2)], skip=[Skip()])


class Skip(Callback):
    "Loses an epoch"
    def before_batch(self):
        if self.learn.training and (self.learn.epoch, self.learn.iter) == (2, 1): raise CancelEpochException


@pytest.mark.parametrize('how', ['fit', 'fit_one_cycle'])
@pytest.mark.parametrize('kind', kinds())
def test_resumed_is_as_if_it_had_never_stopped(kind, how, tmp_path):
    file = tmp_path/'c.pt'
    def run(o, *cbs): getattr(o, how)(5, np.float64(0.2), cbs=[*kinds()[kind], *cbs])
    whole = small()
    run(whole)
    drawn, killed = torch.rand(3), 0
    for epoch, event in ((0, 'after_step'), (1, 'before_validate'), (2, 'before_batch'), (3, 'after_epoch'), (4, 'after_loss')):
        learn = small(seed=0)
        kill = At(event, throw(OSError('killed')), epoch, training=event not in ('before_validate', 'after_epoch'))
        kill.order = 95
        try: run(learn, Checkpoint(file), kill)
        except OSError: killed += 1
    learn = small(seed=0)
    run(learn, Checkpoint(file))
    assert killed >= 2 and equal(weights(learn), weights(whole))
    a, b = learn.recorder, whole.recorder
    assert json.dumps(a.values) == json.dumps(b.values) and a.losses == b.losses
    assert a.lrs == b.lrs and a.iters == b.iters and torch.rand(3).equal(drawn)


@pytest.mark.parametrize('own', ['torch', 'ours'])
def test_resumed_with_generators_of_ones_own(own, tmp_path):
    def make():
        o, g = small(Checkpoint(tmp_path/f'{own}{len(made)}.pt')), torch.Generator().manual_seed(5)
        dl = DataLoader(rows(), 4, True, g) if own == 'ours' else torch.utils.data.DataLoader(
            list(zip(*rows())), 4, shuffle=True, generator=g)
        o.dls = dl, o.dls[1]
        return o
    made = []
    whole = make()
    whole.fit(4)
    made.append(1)
    with pytest.raises(OSError): make().fit(4, cbs=At('after_step', throw(OSError()), 2, 1))
    resumed = make()
    resumed.fit(4)
    assert equal(weights(resumed), weights(whole)) and resumed.recorder.values == whole.recorder.values


def test_the_best_file_of_a_resumed_training(tmp_path):
    def run(name, *cbs):
        learn = small([SaveBest(tmp_path/name), *cbs])
        learn.fit(5, 0.4)
        return learn
    whole = run('whole.safetensors')
    kill = At('after_epoch', throw(OSError()), 3, training=False)
    kill.order = 95
    with pytest.raises(OSError): run('best.safetensors', Checkpoint(tmp_path/'c.pt'), kill)
    run('best.safetensors', Checkpoint(tmp_path/'c.pt'))
    a, b = (small().load(tmp_path/o) for o in ('best.safetensors', 'whole.safetensors'))
    assert equal(weights(a), weights(b)) and equal(weights(a), weights(whole))
    assert a.recorder.values == b.recorder.values == whole.recorder.values


@pytest.mark.parametrize('opt', [SGD, Adam, BasicOptim, torch.optim.Adam])
def test_a_resumed_optimizer_has_the_rates_of_one_that_never_stopped(opt, tmp_path):
    "Also if nothing was left to do, and the next training keeps the optimizer"
    def trained():
        learn = small([OneCycle(0.1), Checkpoint(tmp_path/'c.pt')], opt_func=opt)
        learn.fit(2)
        return [{k: v for k, v in o.items() if k in ('lr', 'mom', 'betas')} for o in getattr(learn.opt, 'param_groups', [vars(learn.opt)])]
    assert trained() == trained()


def test_another_rate_is_another_training(tmp_path):
    small(Checkpoint(tmp_path/'c.pt')).fit(2, lr=0.1)
    with pytest.raises(ValueError, match='lr was 0.1, now 0.2'): small(Checkpoint(tmp_path/'c.pt')).fit(2, lr=0.2)


def test_no_checkpoint_is_continued_with_other_callbacks(tmp_path):
    small(Checkpoint(tmp_path/'c.pt')).fit(2)
    with pytest.raises(ValueError, match='callbacks was .* now .*SaveBest'):
        small([Checkpoint(tmp_path/'c.pt'), SaveBest()]).fit(2)


@pytest.mark.parametrize('content', [[1, 2], {}, {'model': 3}, 7, 'text', {'settings': {}, 'done': 'x'}])
def test_other_files_are_no_checkpoints(content, tmp_path):
    from mnist_basics.files import sealed
    file = tmp_path/'c.pt'
    torch.save(content, file)
    file.write_bytes(sealed(file.read_bytes()))
    learn = small(Checkpoint(file))
    before = weights(learn)
    with pytest.raises(ValueError, match='c.pt is no checkpoint of a training: delete it'): learn.fit(1)
    assert equal(weights(learn), before)


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path):
    small(Checkpoint(tmp_path/'c.pt')).fit(1)
    learn = small(Checkpoint(tmp_path/'c.pt'), model=nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 1)))
    before = weights(learn)
    with pytest.raises(ValueError, match='c.pt is of another training'): learn.fit(1)
    assert equal(weights(learn), before)


@pytest.mark.parametrize('opt_func', [SGD, partial(SGD, mom=0.9), Adam, BasicOptim, torch.optim.AdamW])
@pytest.mark.parametrize('change', ['unfreeze', 'head', 'model', 'opt_func'])
def test_an_optimizer_keeps_up_with_its_model(change, opt_func):
    learn = small(opt_func=opt_func)
    learn.model[0].requires_grad_(False)
    frozen = learn.model[0].weight.clone()
    learn.fit(2)
    assert learn.model[0].weight.equal(frozen)
    kept = remembered(learn.opt)
    if change == 'unfreeze': learn.model[0].requires_grad_(True)
    if change == 'head': learn.model[4] = nn.Linear(5, 1)
    if change == 'model': learn.model = net()
    if change == 'opt_func': learn.opt_func = partial(SGD, mom=0.5)
    before = {k: o.clone() for k, o in learn.model.named_parameters() if o.requires_grad}
    seen = []
    class Look(Callback):
        def before_step(self): seen or seen.append(remembered(self.learn.opt))
    learn.fit(1, 0.5, cbs=Look())
    for k, o in learn.model.named_parameters():
        assert k not in before or k == '0.bias' or not o.equal(before[k]), k
    if change == 'unfreeze' and opt_func is Adam: assert seen[0][2:] == kept # It goes on with what it knew
    if change == 'opt_func': assert learn.opt.param_groups[0]['mom'] == 0.5


def test_freezing_again_forgets_nothing():
    learn = small()
    learn.fit(1)
    opt = learn.opt
    learn.model[0].requires_grad_(False)
    learn.fit(1)
    learn.model[0].requires_grad_(True)
    learn.fit(1)
    assert learn.opt is opt
    learn.model.requires_grad_(False)
    with pytest.raises(ValueError, match='no parameters that want a gradient'): learn.fit(1)


def test_an_optimizer_of_something_else():
    for make in (SGD, BasicOptim, torch.optim.SGD):
        learn = small()
        learn.opt = make(nn.Linear(2, 2).parameters(), lr=0.1)
        with pytest.raises(ValueError, match='holds no parameter of the model'): learn.fit(1)
        learn.opt = make(learn.model[4].parameters(), lr=0.1)
        before = learn.model[0].weight.clone()
        learn.fit(1)
        assert learn.model[0].weight.equal(before) # It is what it was chosen to be


x, y = rows(8)
NOTHING = {
    'no targets': ([x[:4], x[4:]], 'no targets'), 'tuples of one': ([(x,)], 'no targets'),
    'dicts': ([dict(image=x, label=y)], r"dict with \['image', 'label'\]")}

@pytest.mark.parametrize('kind', NOTHING)
@pytest.mark.parametrize('where', [0, 1])
def test_loaders_that_teach_nothing(kind, where):
    dl, words = NOTHING[kind]
    learn = small()
    learn.dls = [dl if i == where else [(x, y)] for i in range(2)]
    with pytest.raises(ValueError, match=words): learn.fit(1)
    with pytest.raises(ValueError, match=words): learn.validate(where)


@pytest.mark.parametrize('dls', [None, DataLoader((x, y), 4), [[(x, y)]], {'train': [(x, y)]}, ([(x, y)], None)])
def test_loaders_that_are_no_pair(dls):
    learn = small()
    learn.dls = dls
    with pytest.raises(ValueError, match='no data' if dls is None else 'a pair of loaders'): learn.fit(1)


def count(preds, targs): return ((preds > 0) == (targs == 1)).float().mean()

LOSSES = {
    'a metric': (count, 'no gradient'), 'detached': (lambda p, t: F.mse_loss(p.detach(), t), 'no gradient'),
    'beside the model': (lambda p, t: F.mse_loss(other*p.detach(), t), "doesn't depend"),
    'many numbers': (partial(F.mse_loss, reduction='none'), r'a tensor \[4, 1\]'),
    'a number': (lambda p, t: 1.5, 'gave float')}
other = torch.ones(1, requires_grad=True)

@pytest.mark.parametrize('kind', LOSSES)
def test_losses_that_teach_nothing(kind):
    loss, words = LOSSES[kind]
    learn = small(loss=loss, metrics=())
    before = weights(learn)[0]
    with pytest.raises(ValueError, match=words): learn.fit(1)
    assert weights(learn)[0].equal(before)


def test_a_loss_that_is_taken_away():
    learn = small()
    learn.fit(1)
    learn.loss_func = None
    with pytest.raises(ValueError, match='needs a loss'): learn.fit(1)
    with pytest.raises(ValueError, match='needs a loss'): learn.validate()
    assert learn.get_preds()[0].shape == (11, 1)


def test_no_callback_serves_two_masters():
    clip = GradientClip(1e-6)
    a, b, own = small(clip, opt_func=SGD), small(clip, opt_func=SGD), small(GradientClip(1e-6), opt_func=SGD)
    for o in a, own:
        torch.manual_seed(1)
        o.fit(2, 1.)
    assert equal(weights(a), weights(own)) and clip.learn is a
    b.validate()
    assert clip.learn is b
    with pytest.raises(ValueError, match='serves a Learner that is training'):
        a.fit(1, cbs=At('after_loss', lambda: b.fit(1)))


def test_classes_in_place_of_objects():
    learn = small([GradientClip, EMA], loss=nn.MSELoss, metrics=nn.L1Loss)
    assert isinstance(learn.loss_func, nn.MSELoss) and isinstance(learn.metrics[0], nn.L1Loss)
    learn.fit(1, cbs=SaveBest)
    with pytest.raises(ValueError, match='the class Linear: make one'): Learner(None, nn.Linear)
    with pytest.raises(ValueError, match='pass what makes an optimizer'):
        small(opt_func=torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.))
    with pytest.raises(ValueError, match="'accuracy' can't be"): small(metrics=['accuracy'])
    with pytest.raises(ValueError, match='expected a Callback, got str'): small('EMA')
    with pytest.raises(ValueError, match='expected a Callback, got function'): small(count)


@pytest.mark.parametrize('kind', [StopOnNaN, Recorder, MixedPrecision, EMA, ToDevice])
def test_two_are_one_too_many(kind):
    with pytest.raises(ValueError, match=f'two {kind.__name__} are one too many'): small([kind(), kind()])
    learn = small(kind())
    last = kind()
    learn.add_cbs(last)
    assert [o for o in learn.cbs if isinstance(o, kind)] == [last]


def test_the_same_one_twice():
    cb = GradientClip()
    with pytest.raises(ValueError, match='there twice'): small([cb, cb])
    with pytest.raises(ValueError, match='there twice'): small(cb).fit(1, cbs=cb)


def test_trainers_take_the_place_of_a_default(images):
    seen = []
    class Look(Callback):
        def before_fit(self): seen.append([o.every for o in self.learn.cbs if isinstance(o, StopOnNaN)])
    train_softmax(images, epochs=1, cbs=[Look()], **fast)
    train_softmax(images, epochs=1, cbs=[Look(), StopOnNaN(3)], **fast)
    assert seen == [[100], [3]]


def test_fitting_backwards_or_twice_at_once():
    with pytest.raises(ValueError, match='n_epoch is -1'): small().fit(-1)
    learn = small()
    with pytest.raises(ValueError, match='training already'):
        learn.fit(1, cbs=At('after_loss', lambda: learn.fit(1)))
    learn.fit(0)
    assert learn.recorder.values == [] and not learn.model.training


KINDS = [torch.float32, torch.int64, torch.uint8, torch.int32, torch.bool]

@quick
@given(scores=st.sampled_from([(4,), (4, 1), (4, 3), (4, 4), (4, 3, 2)]),
       targs=st.sampled_from([(4,), (4, 1), (1, 4), (4, 4), (3,), (1,), (4, 3), (4, 3, 2), (4, 2)]), kind=st.sampled_from(KINDS))
def test_targets_are_never_broadcast(scores, targs, kind):
    fine = targs == scores if kind == torch.float32 else len(scores) > 1 and scores[1] > 1 and targs == scores[:1]+scores[2:]
    class Given(nn.Module):
        w = nn.Parameter(torch.zeros(1))
        def forward(self, x): return x*self.w
    Given.w = None
    model = nn.Module()
    model.w = nn.Parameter(torch.ones(1))
    model.forward = lambda x: x*model.w
    batch = torch.rand(scores), torch.ones(targs).to(kind)
    learn = Learner(([batch],)*2, model, lambda p, t: p.mean())
    learn.logger = None
    if fine: return learn.fit(1)
    with pytest.raises(ValueError, match='scores are .* targets .*'): learn.fit(1)


def test_later_batches_are_looked_at_too():
    learn = small()
    learn.dls = [(x[:4], y[:4]), (x[4:], y[4:, 0])], learn.dls[1]
    with pytest.raises(ValueError, match='unsqueeze'): learn.fit(1)


def margin_loss(preds, targs): return preds.mean() # The name says one thing
def error_rate(preds, targs): return preds.mean()
def half_off(preds, targs): return preds.mean()


def test_what_is_better_is_known_or_asked_for():
    for o in (rmse, F.l1_loss, partial(F.huber_loss, delta=2.), nn.L1Loss(), mnist_loss): assert lower_is_better(o) is True
    assert lower_is_better(batch_accuracy) is False
    for o in (margin_loss, error_rate, half_off, lambda p, t: 0): assert lower_is_better(o) is None
    half_off.lower_is_better = False
    assert lower_is_better(partial(half_off)) is False
    for o in (margin_loss, error_rate):
        for cb in (SaveBest(monitor=o.__name__), EarlyStopping(o.__name__)):
            with pytest.raises(ValueError, match='Say `lower=True`'): small(cb, metrics=o).fit(1)
    assert Learner(None, net(), error_rate).loss_func is error_rate
    small(SaveBest(monitor='error_rate'), loss=error_rate, metrics=error_rate).fit(1)


@pytest.mark.parametrize('lower', [True, False])
@pytest.mark.parametrize('said', ['by the metric', 'when asked'])
def test_the_best_epoch_by_a_metric(lower, said):
    marks = [3., 5., 1., 4., 2.]
    def mark(preds, targs): return marks[learn.epoch]
    if said == 'by the metric': mark.lower_is_better = lower
    asked = lower if said == 'when asked' else None
    seen = []
    class Look(Callback):
        def after_epoch(self): seen.append(weights(self.learn))
    best = SaveBest(monitor='mark', lower=asked)
    learn = small([best, Look()], metrics=mark)
    learn.fit(5)
    wanted = marks.index(min(marks) if lower else max(marks))
    assert best.epoch == wanted and equal(weights(learn), seen[wanted])
    learn = small(EarlyStopping('mark', lower=asked), metrics=mark)
    learn.fit(5)
    assert len(learn.recorder.values) == (2 if lower else 3)


def test_rmse_is_an_error():
    for cb, n in ((SaveBest(monitor='rmse'), 6), (EarlyStopping('rmse'), 6)):
        learn = small(cb, model=nn.Linear(6, 1), opt_func=SGD, loss=F.mse_loss, metrics=rmse, shuffle=False)
        learn.fit(n, 0.05)
        column = [o[-1] for o in learn.recorder.values]
        assert column == sorted(column, reverse=True) and len(column) == n
        assert learn.validate()[-1] == pytest.approx(column[-1])


def test_names_of_metrics(capsys):
    class Distance:
        def __call__(self, preds, targs): return (preds-targs).abs().mean()
    metrics = [nn.L1Loss(), lambda p, t: p.mean(), lambda p, t: t.mean(), Distance(),
               partial(F.l1_loss), partial(partial(F.huber_loss), delta=2.), partial(nn.MSELoss())]
    learn = small(metrics=metrics)
    learn.fit(1)
    names = ['L1Loss', '<lambda>', '<lambda>_2', 'Distance', 'l1_loss', 'huber_loss', 'MSELoss']
    assert learn.recorder.names[2:] == names
    assert learn.recorder.values[0][2] == pytest.approx(learn.recorder.values[0][6])


def test_names_are_text_in_a_table(monkeypatch):
    import mnist_basics.learner as module
    pages = []
    class Place:
        def update(self, data, raw): pages.append(data['text/html'])
    monkeypatch.setattr(module, '_live_output', Place)
    def metric(preds, targs): return 1.
    metric.__name__ = '<b>&"'
    learn = small(metrics=[lambda p, t: p.mean(), metric])
    learn.logger = print
    learn.fit(2)
    assert len(pages) == 2
    assert '<td>&lt;lambda&gt;</td><td>&lt;b&gt;&amp;&quot;</td>' in pages[-1]


@pytest.mark.parametrize('classes', [np.array([3, 7]), torch.tensor([3, 7]), [np.int64(3), np.int64(7)],
                                     (np.str_('3'), '7'), [torch.tensor(3), 7]])
def test_a_trained_model_can_be_saved(classes, tmp_path):
    skip = At('before_batch', throw(CancelEpochException()), 1)
    infinite = lambda p, t: torch.tensor(math.inf)
    learn = small(skip, classes=classes, metrics=infinite)
    learn.fit(3)
    learn.classes = classes
    file = learn.save(tmp_path/'a'/'new'/'m.safetensors')
    json.loads(json.dumps(saved_info(file), allow_nan=False))
    again = load_learner(file, net())
    assert json.dumps(again.recorder.values) == json.dumps(learn.recorder.values)
    assert list(map(str, again.classes)) == ['3', '7'] and type(again.classes[0]) in (int, str)
    assert again.predict(torch.rand(6))[0] in again.classes


def test_what_makes_a_model_may_be_numpys(tmp_path):
    learn = small(model=nn.Linear(6, 1))
    args = dict(in_features=np.int64(6), out_features=np.int32(1))
    assert load_learner(learn.save(tmp_path/'m.safetensors', arch='linear', **args)).model.weight.shape == (1, 6)


def test_saved_without_data_or_record(tmp_path):
    learn = Learner(None, net())
    again = load_learner(learn.save(tmp_path/'m.safetensors'), net())
    with pytest.raises(ValueError, match='no data'): again.predict(torch.rand(6))
    bare = small()
    bare.remove_cbs(Callback)
    bare.save(tmp_path/'m.safetensors')
    with pytest.raises(ValueError, match='no Recorder'): bare.validate()


def test_a_loaded_learner_measures(tmp_path):
    learn = small()
    learn.fit(2)
    file = learn.save(tmp_path/'m.safetensors')
    again = load_learner(file, net())
    for ask in (again.validate, again.get_preds, lambda: again.fit(1), lambda: again.lr_find()):
        with pytest.raises(ValueError, match='this Learner has no data'): ask()
    with pytest.raises(ValueError, match='needs a loss'): again.validate(dl=learn.dls[1])
    preds, targs = again.get_preds(dl=learn.dls[1])
    assert preds.equal(learn.get_preds()[0]) and targs.equal(rows(11, 1)[1])
    ready = load_learner(file, net(), dls=learn.dls, loss_func=mnist_loss, metrics=batch_accuracy)
    assert ready.validate() == learn.validate() == learn.recorder.values[-1][1:]
    import matplotlib
    matplotlib.use('agg')
    ready.recorder.plot_loss()
    ready.logger = None
    ready.fit(1)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self): return iter(zip(*rows()))

class Unsaid:
    def __iter__(self): return iter(DataLoader(rows(), 4))
    def __len__(self): raise NotImplementedError

@pytest.mark.parametrize('dl', [torch.utils.data.DataLoader(Stream(), 4), Unsaid()], ids=['stream', 'unsaid'])
def test_loaders_without_a_length(dl):
    learn = small()
    learn.dls = dl, dl
    learn.fit(1)
    assert learn.validate() == pytest.approx(learn.recorder.values[0][1:])
    assert learn.lr_find(show_plot=False).valley > 0
    with pytest.raises(ValueError, match='__len__'): learn.fit_one_cycle(1)


def test_our_loader_takes_a_stream():
    for ds in (Stream(), zip(*rows())):
        dl = DataLoader(ds, 8)
        assert len(dl) == 3 and torch.cat([o for o, _ in dl]).equal(rows()[0])


def test_scores_in_a_row():
    class Flat(nn.Sequential):
        def forward(self, x): return super().forward(x)[:, 0]
    xs, ys = rows(12)
    dls = [(xs, ys[:, 0])], [(xs, ys[:, 0])]
    torch.manual_seed(0)
    flat, column = (Learner(o, m, mnist_loss, metrics=batch_accuracy, classes=['a', 'b'])
        for o, m in ((dls, Flat(nn.Linear(6, 1))), (([(xs, ys)],)*2, nn.Linear(6, 1))))
    column.model.load_state_dict({k[2:]: v for k, v in flat.model.state_dict().items()})
    assert flat.get_preds()[0].equal(column.get_preds()[0][:, 0]) and flat.validate() == column.validate()
    for row in xs:
        a, b = flat.predict(row.sigmoid()), column.predict(row.sigmoid())
        assert a[:2] == b[:2] and a[2].equal(b[2])


def test_results_of_scores_in_a_row(monkeypatch):
    import mnist_basics.learner as module
    titles = []
    monkeypatch.setattr(module, 'show_images', lambda images, t, **k: titles.append(t))
    images, targs = torch.rand(5, 4, 4), torch.tensor([1., 0, 1, 1, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    column = Learner(([], [(images, targs[:, None])]), model, classes=['a', 'b'])
    column.show_results()
    flat = Learner(([], [(images, targs)]), nn.Sequential(model, nn.Flatten(0)), classes=['a', 'b'])
    flat.show_results()
    assert titles[0] == titles[1] and [o[0] for o in titles[0]] == list('abaab')


def test_pictures_with_a_palette():
    torch.manual_seed(0)
    gray = (torch.rand(5, 5)*255).byte().numpy()
    img = Image.fromarray(gray)
    palette = img.convert('P', palette=Image.Palette.ADAPTIVE, colors=256)
    order = np.random.default_rng(0).permutation(256) # So that indices say nothing
    shuffled = Image.fromarray(order.astype(np.uint8)[gray], 'P')
    table = np.zeros((256, 3), np.uint8)
    table[order] = np.arange(256)[:, None]
    shuffled.putpalette(table.tobytes())
    for shape in ([1, 5, 5], [5, 5], [25], [3, 5, 5]):
        model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
        learn = Learner(None, model)
        learn.shape = shape
        want = learn.predict(gray)[2]
        for same in (img, palette, shuffled, img.convert('RGB'), img.convert('RGBA')):
            torch.testing.assert_close(learn.predict(same)[2], want, rtol=0, atol=0.02)


def test_colours_are_kept_where_the_model_sees_them():
    torch.manual_seed(0)
    rgb = (torch.rand(4, 4, 3)*255).byte().numpy()
    learn = Learner(None, nn.Sequential(nn.Flatten(), nn.Linear(48, 2)))
    learn.shape = [3, 4, 4]
    assert learn.predict(Image.fromarray(rgb))[2].equal(learn.predict(torch.tensor(rgb).permute(2, 0, 1))[2])


def test_too_few_batches_to_find_a_rate():
    learn = small()
    with pytest.raises(ValueError, match='3 batches are too few .*num_it'): learn.lr_find(num_it=3, show_plot=False)
    learn.dls = [(x, y)], [(x, y)]
    assert 1e-7 < learn.lr_find(show_plot=False).valley < 10
    with pytest.raises(ValueError, match='exploded: begin with a lower'): learn.lr_find(start_lr=1e30, end_lr=1e38, show_plot=False)


def test_losses_below_zero_do_not_explode():
    learn = small(loss=lambda p, t: mnist_loss(p, t)-1., metrics=())
    assert 1e-7 < learn.lr_find(show_plot=False).valley < 10


def test_a_batch_of_one_and_batch_norm():
    learn = small()
    learn.dls = DataLoader(rows(9), 4), learn.dls[1]
    with pytest.raises(ValueError, match='drop_last=True'): learn.fit(1)
    learn.dls = DataLoader(rows(9), 4, drop_last=True), learn.dls[1]
    learn.fit(1)


@pytest.mark.parametrize('monitor', [SaveBest, EarlyStopping])
def test_a_missing_column_is_found_before_training(monitor):
    learn = small(monitor(monitor='acc'))
    before = weights(learn)
    with pytest.raises(ValueError, match="no column 'acc'"): learn.fit(1)
    assert equal(weights(learn), before)


def test_callbacks_that_judge_sit_out_a_search(tmp_path):
    cbs = SaveBest(tmp_path/'best.safetensors'), EarlyStopping(), EMA(), OneCycle(1.), Checkpoint(tmp_path/'c.pt')
    learn = small(cbs)
    learn.lr_find(show_plot=False)
    assert not list(tmp_path.iterdir()) and not hasattr(cbs[0], 'kept') and not hasattr(cbs[2], 'mean')
    learn.fit(2)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_finder_is_a_recorder_that_takes_its_place():
    learn = small()
    finder = LRFinder(1e-3, 1., 7)
    learn.fit(2, cbs=finder)
    assert len(finder.lrs) == 7 and learn.recorder.lrs == ()
