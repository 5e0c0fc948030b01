"Properties of the Learner that would need too many cases, or another process, for a page"
import inspect, json, os, re, signal, subprocess, sys, textwrap, time, traceback
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn

from mnist_basics.learner import (ARCHS, Adam, Callback, CancelBatchException, CancelEpochException, CancelFitException, DataLoaders, EarlyStopping,
    GradientClip, Learner, MixedPrecision, OneCycle, ProgressCallback, Recorder, SGD, SaveBest, StopOnNaN, ToDevice, load_learner)
from mnist_basics.linear_model import BasicOptim, DataLoader, batch_accuracy, mnist_loss
from mnist_basics.mlp import make_mlp

pytestmark = pytest.mark.filterwarnings('ignore')
quick = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

class Image(nn.Module):
    def forward(self, x): return x.view(-1, 1, 4, 4)

# smooth nets: where a ReLU's input is 0 but for rounding, one flip makes two runs differ
NETS = {'linear': lambda c: nn.Linear(16, c), 'net': lambda c: nn.Sequential(nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, c)),
        'conv': lambda c: nn.Sequential(Image(), nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, c))}
OPTS = {'SGD': (SGD, {}), 'momentum': (SGD, dict(mom=0.9, wd=0.1)), 'l2': (SGD, dict(mom=0.5, wd=0.1, decouple_wd=False)), 'Adam': (Adam, {})}

def some_data(n, c, seed, k=16):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, k, generator=g)
    return x,torch.randint(0, c, (n,), generator=g) if c>1 else torch.randint(0, 2, (n,1), generator=g).float()

def numbers(rows): return torch.tensor([[float(v) for v in row] for row in rows])

def quiet(learn, f):
    with learn.no_logging(): f()
    return learn

def small(n=20, c=1, seed=0, bs=4, cbs=(), **kwargs):
    torch.manual_seed(seed)
    loss = mnist_loss if c==1 else F.cross_entropy
    return Learner(DataLoaders(*(DataLoader(some_data(n, c, seed+i), bs) for i in range(2))), NETS['linear'](c), loss, metrics=batch_accuracy, cbs=cbs, **kwargs)

@quick
@given(n=st.integers(4, 40), valid=st.integers(2, 20), bs=st.integers(2, 15), c=st.sampled_from([1, 3]), net=st.sampled_from(sorted(NETS)), opt=st.sampled_from(sorted(OPTS)),
       lr=st.floats(1e-3, 0.05), cycle=st.booleans(), epochs=st.integers(1, 3), seed=st.integers(0, 999))
def test_same_as_fastai(n, valid, bs, c, net, opt, lr, cycle, epochs, seed):
    import fastai.callback.progress, fastai.callback.schedule, fastai.data.core, fastai.learner, fastai.optimizer
    if net=='conv' and n%bs==1: n += 1 # batch norm needs two images
    torch.manual_seed(seed)
    start,(ours,kwargs) = NETS[net](c),OPTS[opt]
    loss = mnist_loss if c==1 else F.cross_entropy
    dls = DataLoader(some_data(n, c, seed), bs),DataLoader(some_data(valid, c, seed+1), bs)
    theirs = getattr(fastai.optimizer, ours.__name__)
    a = fastai.learner.Learner(fastai.data.core.DataLoaders(*dls), deepcopy(start), loss_func=loss, opt_func=partial(theirs, **kwargs), metrics=batch_accuracy)
    b = Learner(DataLoaders(*dls), deepcopy(start), loss, opt_func=partial(ours, **kwargs), metrics=batch_accuracy)
    for o in (a,b):
        with o.no_bar(), o.no_logging(): o.fit_one_cycle(epochs, lr) if cycle else o.fit(epochs, lr)
    ta,tb = numbers(a.recorder.values),numbers(b.recorder.values)
    assert ta.shape==tb.shape==(epochs,3)
    assert (ta-tb).abs().max()<1e-5
    assert [float(o) for o in a.recorder.lrs]==pytest.approx(b.recorder.lrs, abs=1e-8)
    assert [float(o) for o in a.recorder.losses]==pytest.approx(b.recorder.losses, abs=1e-5)
    for p,q in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True):
        assert p.shape==q.shape and torch.allclose(p.float(), q.float(), rtol=0, atol=1e-4)

@quick
@given(kind=st.sampled_from(['sgd', 'adamw', 'adam']), lr=st.floats(1e-4, 0.1), mom=st.sampled_from([0., 0.5, 0.9]), wd=st.sampled_from([0., 0.01, 0.3]), seed=st.integers(0, 999))
def test_optimizers_are_torchs(kind, lr, mom, wd, seed):
    torch.manual_seed(seed)
    ours,theirs = ([t.clone().requires_grad_() for t in ts] for ts in [[torch.randn(3, 4).double(), torch.randn(5).double(), torch.ones(2).double()]]*2)
    if kind=='sgd': a,b = SGD(ours, lr, mom=mom, wd=wd, decouple_wd=False),torch.optim.SGD(theirs, lr, momentum=mom, weight_decay=wd)
    else: a,b = Adam(ours, lr, wd=wd, decouple_wd=kind=='adamw'),dict(adamw=torch.optim.AdamW, adam=torch.optim.Adam)[kind](theirs, lr, betas=(0.9,0.99), eps=1e-5, weight_decay=wd)
    for _ in range(100):
        for p,q in zip(ours[:2], theirs[:2]): # the third never gets a gradient
            g = torch.randn_like(p)
            p.grad,q.grad = g.clone(),g.clone()
        for o in (a,b): o.step()
    for p,q in zip(ours, theirs): assert torch.allclose(p, q, rtol=0, atol=1e-6)
    assert torch.equal(ours[2], torch.ones(2).double())

@quick
@given(n=st.integers(1, 30), bs=st.integers(1, 32), seed=st.integers(0, 99))
def test_metrics_count_images(n, bs, seed):
    x,y = some_data(n, 1, seed)
    learn = Learner((DataLoader((x,y), bs),)*2, nn.Linear(16, 1), mnist_loss, metrics=[batch_accuracy, partial(F.l1_loss)])
    loss,acc,dist = learn.validate()
    preds,targs = learn.get_preds()
    assert torch.equal(targs, y)
    assert acc==pytest.approx(((preds>0)==(y==1)).float().mean().item(), abs=1e-6)
    assert loss==pytest.approx(mnist_loss(preds, y).item(), abs=1e-5) and dist==pytest.approx(F.l1_loss(preds, y).item(), abs=1e-5)

@pytest.mark.parametrize('event', ['before_fit','before_epoch','before_train','before_batch','after_pred','after_loss','after_backward','before_step','after_step','after_batch','before_validate','after_validate','after_epoch','after_fit'])
def test_a_failing_callback_is_seen_as_it_is(event):
    class Broken(Callback): pass
    def fail(self): raise KeyError('mine')
    setattr(Broken, event, fail)
    learn = small(cbs=Broken())
    with pytest.raises(KeyError) as e, learn.no_logging(): learn.fit(2, 0.1)
    last = traceback.extract_tb(e.tb)[-1]
    assert last.name=='fail' and last.filename==__file__ and e.value.args==('mine',)
    learn.remove_cbs(Broken)
    with learn.no_logging(): learn.fit(1, 0.1)
    assert len(learn.recorder.values)==1 and not torch.is_grad_enabled()==False

def test_unused_events_cost_nothing():
    learn = small()
    learn.remove_cbs(Callback)
    assert not any(learn.handlers.values()) and not learn.cbs
    learn.fit(1, 0.1)

@pytest.mark.parametrize('cancel,at,rows,steps', [(CancelBatchException,'after_loss',2,8), (CancelEpochException,'before_batch',2,7), (CancelFitException,'before_batch',1,6)])
def test_cancel(cancel, at, rows, steps):
    class Cancel(Callback): pass
    def leave(self):
        if self.learn.training and (self.learn.epoch,self.learn.iter)==(1,2): raise cancel
        if cancel is CancelBatchException and self.learn.training and (self.learn.epoch,self.learn.iter)==(1,3): raise cancel
    setattr(Cancel, at, leave)
    class Steps(Callback):
        n = 0
        def after_step(self): self.n += 1
        def after_fit(self): self.ended = True
    count = Steps()
    learn = small(cbs=[Cancel(),count])
    if cancel is CancelFitException: steps += 1
    with learn.no_logging(): learn.fit(2, 0.1)
    assert len(learn.recorder.values)==rows and count.n==steps and count.ended

def test_order_and_names():
    seen = []
    class Late(Callback):
        order = 9
        def before_fit(self): seen.append('late')
    class Early(Callback):
        order = -9
        def before_fit(self): seen.append('early')
    small(cbs=[Late(),Early()])('before_fit')
    assert seen==['early','late']
    class Wrong(Callback):
        def after_bacth(self): pass
    with pytest.raises(ValueError, match='after_bacth'): small(cbs=Wrong())

@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('epoch,i', [(0,0), (0,3), (1,0), (2,4)])
@pytest.mark.parametrize('every', [1, 2, 25])
def test_bad_loss_stops_and_keeps_good_weights(bad, epoch, i, every):
    states = []
    class Spoil(Callback):
        order = 41
        def before_batch(self):
            o = self.learn
            if o.training: states.append(o.model.weight.detach().clone())
            if o.training and (o.epoch,o.iter)==(epoch,i): o.yb,o.xb = o.yb,(o.xb[0]*bad,)
    learn = small(lr=0.25, cbs=Spoil())
    learn.remove_cbs(StopOnNaN)
    learn.add_cbs(StopOnNaN(every))
    learn.loss_func = lambda preds, targs: F.mse_loss(preds, targs)
    with pytest.raises(ValueError, match=rf'in epoch {epoch}, batch {i}, at lr=0.25') as e, learn.no_logging(): learn.fit(3)
    assert torch.isfinite(learn.model.weight).all() and len(learn.recorder.values)==epoch
    assert any(torch.equal(learn.model.weight, o) for o in states) 
    if every==1: assert torch.equal(learn.model.weight, states[max(0, epoch*5+i-1)])
    learn.remove_cbs(Spoil)
    quiet(learn, lambda: learn.fit(1, 0.01))
    assert len(learn.recorder.values)==1

CTRL_C = '''
import sys, time, torch
from torch import nn
from mnist_basics.learner import Callback, Learner
from mnist_basics.linear_model import mnist_loss, batch_accuracy
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
class Slow(Callback):
    def after_batch(self):
        if self.learn.epoch==1: print('now', flush=True); time.sleep(0.05)
data = [(torch.rand(4, 3), torch.ones(4, 1))]*20
learn = Learner((data, data), nn.Linear(3, 1), mnist_loss, metrics=batch_accuracy, cbs=Slow())
learn.fit(3, 0.1)
print('rows', len(learn.recorder.values), learn.model.training, learn.model(torch.rand(2, 3)).shape[0])
'''

@pytest.mark.skipif(os.name=='nt', reason='signals')
def test_ctrl_c():
    run = subprocess.Popen([sys.executable, '-c', CTRL_C], stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if line.startswith('now'): break
    run.send_signal(signal.SIGINT)
    rest = run.communicate(timeout=60)[0]
    assert 'Ctrl-C in epoch 1' in rest and rest.strip().endswith('rows 1 False 2') and run.returncode==0

def test_lines_in_a_log_and_silence(capsys):
    learn = small()
    learn.fit(2, 0.1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()==['epoch','train_loss','valid_loss','batch_accuracy'] and len(lines)==3
    assert [float(v) for v in lines[2].split()[1:]]==pytest.approx(learn.recorder.values[1], abs=1e-6)
    assert len({len(o) for o in lines})==1
    with learn.no_bar(): learn.fit(1, 0.1)
    assert len(capsys.readouterr().out.splitlines())==2
    with learn.no_logging(): learn.fit(1, 0.1)
    assert capsys.readouterr()==('','')

def test_a_table_in_a_notebook():
    client = pytest.importorskip('nbclient')
    import nbformat
    code = '''import torch
from torch import nn
from mnist_basics.learner import Learner
data = [(torch.rand(4, 3), torch.ones(4, 1))]*3
Learner((data, data), nn.Linear(3, 1), nn.MSELoss()).fit(2, 0.1)'''
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client.NotebookClient(nb, timeout=120, kernel_name='python3').execute()
    html = [o['data']['text/html'] for o in nb.cells[0].outputs if 'text/html' in o.get('data', {})]
    assert len(html)==1 and html[0].count('<tr>')==3 and 'valid_loss' in html[0]

@pytest.mark.parametrize('kind', ['Parameterless','frozen','loss'])
def test_nothing_to_train(kind):
    model = nn.Identity() if kind=='Parameterless' else nn.Linear(16, 1).requires_grad_(kind!='frozen')
    learn = Learner(small().dls, model, None if kind=='loss' else mnist_loss)
    with pytest.raises(ValueError, match='needs a loss' if kind=='loss' else 'no parameters'): learn.fit(1)

def test_empty_or_used_up():
    learn = small()
    batches = list(learn.dls[0])
    for dls in (([],batches), (batches,[])):
        with pytest.raises(ValueError, match='no batch'): quiet(Learner(dls, nn.Linear(16, 1), mnist_loss), lambda: None).validate(dl=[])
        with pytest.raises(ValueError, match='no batch'): Learner(dls, nn.Linear(16, 1), mnist_loss).fit(1)
    with pytest.raises(ValueError, match='used up'): Learner((iter(batches),batches), nn.Linear(16, 1), mnist_loss).fit(2)

@pytest.mark.parametrize('targ,text', [(torch.ones(4), 'unsqueeze'), (torch.ones(4, 1).long(), 'float'), (torch.ones(3, 1), 'each item')])
def test_targets_that_do_not_fit(targ, text):
    for where in range(2):
        good = [(torch.rand(4, 16), torch.ones(4, 1))]
        dls = [good,good]
        dls[where] = [(torch.rand(4, 16), targ)]
        with pytest.raises(ValueError, match=text): quiet(Learner(dls, nn.Linear(16, 1), F.mse_loss), lambda: None).fit(1)

def test_device_that_is_not_there():
    for device in ('nowhere', 'cuda:99'):
        with pytest.raises(ValueError, match='no device'): small(device=device)

def test_early_stopping_and_best(tmp_path):
    learn = small(cbs=[SaveBest(tmp_path/'best.safetensors'), EarlyStopping(patience=2)])
    with learn.no_logging(): learn.fit(30, 5.)
    losses = [row[1] for row in learn.recorder.values]
    best = min(range(len(losses)), key=losses.__getitem__)
    assert learn.validate()[0]==pytest.approx(losses[best], abs=1e-6)
    assert len(losses)==30 or len(losses)==best+3
    assert load_learner(tmp_path/'best.safetensors', nn.Linear(16, 1)).model.weight.equal(learn.model.weight)

@pytest.mark.parametrize('name,args,shape', [('linear',dict(in_features=784, out_features=1),[784]), ('mlp',dict(hidden=[9,5], n_out=10),[784]), ('resnet18',dict(n_out=2),[3,28,28])])
def test_by_name_in_a_fresh_process(name, args, shape, tmp_path):
    learn = Learner(([],[(torch.rand(2, *shape), torch.zeros(2))]), ARCHS[name](**args), classes=['a','b'] if name!='mlp' else None)
    file = learn.save(tmp_path/'m.safetensors', arch=name, **args)
    image = torch.rand(28, 28)
    torch.save(image, tmp_path/'image.pt')
    code = f'''import torch
from mnist_basics.learner import load_learner
name,place,probs = load_learner({str(file)!r}).predict(torch.load({str(tmp_path/'image.pt')!r}))
print(name, place, probs.tolist())'''
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split(maxsplit=2)
    ours,place,probs = learn.predict(image)
    assert said[:2]==[str(ours),str(place)] and json.loads(said[2])==pytest.approx(probs.tolist(), abs=1e-5)
    assert [o.name for o in tmp_path.glob('m*')]==['m.safetensors']

def test_a_failed_load_changes_nothing(tmp_path):
    learn,other = small(),small(c=3)
    quiet(learn, lambda: learn.fit(1, 0.1))
    file = other.save(tmp_path/'other.safetensors')
    before,values = deepcopy(learn.model.state_dict()),learn.recorder.values
    with pytest.raises(ValueError, match='of another model'): learn.load(file)
    assert all(torch.equal(a, b) for a,b in zip(before.values(), learn.model.state_dict().values())) and learn.recorder.values is values

def test_not_finite_is_not_saved(tmp_path):
    learn = small()
    good = learn.save(tmp_path/'m.safetensors').read_bytes()
    with torch.no_grad(): learn.model.weight[0,0] = float('nan')
    with pytest.raises(ValueError, match='nothing was saved'): learn.save(tmp_path/'m.safetensors')
    assert (tmp_path/'m.safetensors').read_bytes()==good

@pytest.mark.skipif(torch.__version__.startswith('2.6.'),
    reason='the ONNX exporter of torch 2.6 agrees with no onnxscript that we have tried')
def test_onnx(tmp_path):
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    model = NETS['conv'](3)
    learn = Learner(([],[(torch.rand(4, 16), torch.zeros(4).long())]), model, F.cross_entropy)
    session = ort.InferenceSession(learn.export_onnx(tmp_path/'m.onnx'))
    assert 'interrupted' not in session.get_modelmeta().custom_metadata_map
    for n in (1, 7):
        x = torch.rand(n, 16)
        found = torch.tensor(session.run(None, {'images': x.numpy()})[0])
        assert found.shape==(n,3) and torch.allclose(found, model.eval()(x), atol=1e-5)

def test_lr_find_leaves_no_trace():
    learn = small()
    quiet(learn, lambda: learn.fit(1, 0.1))
    before,opt,values = deepcopy(learn.model.state_dict()),learn.opt,learn.recorder.values
    found = learn.lr_find(show_plot=False)
    assert 1e-7<found.valley<10 and learn.opt is opt and learn.recorder.values is values
    assert all(torch.equal(a, b) for a,b in zip(before.values(), learn.model.state_dict().values()))

def test_mixed_precision_is_put_away_after_an_error():
    class Broken(Callback):
        def after_batch(self): raise RuntimeError('mine')
    learn = small(cbs=[MixedPrecision(),Broken()])
    with pytest.raises(RuntimeError, match='mine'), learn.no_logging(): learn.fit(1, 0.1)
    assert 'forward' not in vars(learn.model) and learn.model(torch.rand(1, 16)).dtype==torch.float32

def test_import_without_fastai():
    code = "import sys; from mnist_basics.learner import Learner; sys.exit(any(m.split('.')[0] in ('fastai','matplotlib','IPython','pandas','onnx') for m in sys.modules))"
    assert subprocess.run([sys.executable, '-c', code]).returncode==0

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu():
    cpu,gpu = small(),small(device='cuda')
    for o in (cpu,gpu): quiet(o, lambda: o.fit(3, 0.1))
    assert next(gpu.model.parameters()).is_cuda and gpu.get_preds()[0].device.type=='cpu'
    assert (numbers(cpu.recorder.values)-numbers(gpu.recorder.values)).abs().max()<1e-5

def test_one_cycle_needs_a_length():
    class Endless:
        def __iter__(self): return iter([(torch.rand(4, 16), torch.ones(4, 1))])
    learn = Learner((Endless(),Endless()), nn.Linear(16, 1), mnist_loss)
    with pytest.raises(ValueError, match='__len__'): learn.fit_one_cycle(1, 0.1)
    with learn.no_logging(): learn.fit(1, 0.1)
    assert len(learn.recorder.values)==1
