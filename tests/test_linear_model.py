"Properties of the training loop and the loader that would need too many cases for a page"
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

from mnist_basics.checks import Diverged
from mnist_basics.linear_model import BasicOptim, DataLoader, mnist_loss, train_epoch, train_model, validate_epoch

quick = settings(max_examples=60, deadline=None)

def to_digit(preds, targs): return F.cross_entropy(preds, targs)
LOSSES = {'mnist': (mnist_loss,1), 'mse': (F.mse_loss,1), 'bce': (F.binary_cross_entropy_with_logits,1), 'ten': (to_digit,10)}
MODELS = {'linear': lambda k,c: nn.Linear(k, c), 'net': lambda k,c: nn.Sequential(nn.Linear(k, 5), nn.ReLU(), nn.Linear(5, c))}

def some_data(n, k, classes, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, k, generator=g)
    if classes>1: return x,torch.randint(0, classes, (n,), generator=g)
    return x,torch.randint(0, 2, (n,1), generator=g).float()

@quick
@given(n=st.integers(1, 40), k=st.integers(1, 12), bs=st.integers(1, 45), lr=st.floats(0, 0.05), seed=st.integers(0, 999),
       loss=st.sampled_from(sorted(LOSSES)), model=st.sampled_from(sorted(MODELS)), opt=st.sampled_from([BasicOptim, torch.optim.SGD]))
def test_train_epoch_is_a_bare_loop(n, k, bs, lr, seed, loss, model, opt):
    loss_func,c = LOSSES[loss]
    x,y = some_data(n, k, c, seed)
    torch.manual_seed(seed)
    ours = MODELS[model](k, c).double()
    bare,x = deepcopy(ours),x.double()
    if c==1: y = y.double()
    train_epoch(ours, DataLoader((x,y), bs), loss_func, opt(ours.parameters(), lr))
    for i in range(0, n, bs):
        res = loss_func(bare(x[i:i+bs]), y[i:i+bs])
        res.backward()
        with torch.no_grad():
            for p in bare.parameters():
                p -= lr*p.grad
                p.grad = None
    for a,b in zip(ours.parameters(), bare.parameters(), strict=True):
        assert a.shape==b.shape and torch.allclose(a, b, rtol=0, atol=1e-6)

@quick
@given(n=st.integers(0, 40), bs=st.integers(1, 45), shuffle=st.booleans(), kind=st.sampled_from(['range', 'pair', 'pairs', 'tensor', 'named']))
def test_loader_gives_each_item_once(n, bs, shuffle, kind):
    x,y = torch.arange(n*3.).view(n, 3),torch.arange(n).view(n, 1)
    ds = dict(range=range(n), pair=(x,y), pairs=list(zip(x, y)), tensor=x, named=[(i, str(i)) for i in range(n)])[kind]
    dl = DataLoader(ds, bs, shuffle=shuffle)
    batches = list(dl)
    assert len(dl)==len(batches)
    sizes = [len(b[0]) if isinstance(b, tuple) else len(b) for b in batches]
    assert sum(sizes)==n and all(s==bs for s in sizes[:-1])
    seen = []
    for b in batches:
        if kind in ('pair','pairs'):
            assert torch.equal(b[0], x[b[1][:,0]])
            seen += b[1][:,0].tolist()
        elif kind=='named':
            assert [str(i) for i in b[0].tolist()]==list(b[1])
            seen += b[0].tolist()
        else: seen += (b[:,0]/3).long().tolist() if kind=='tensor' else b.tolist()
    assert sorted(seen)==list(range(n))
    if not shuffle: assert seen==list(range(n))

@quick
@given(n=st.integers(1, 40), bs=st.integers(1, 45), c=st.sampled_from([1, 10]), seed=st.integers(0, 999))
def test_validate_epoch_counts(n, bs, c, seed):
    x,y = some_data(n, c, c, seed)
    answers = [int(row.argmax()) if c>1 else int(row[0]>0) for row in x]
    assert validate_epoch(lambda xb: xb, DataLoader((x,y), bs))==sum(a==int(t) for a,t in zip(answers, y.flatten()))/n

@quick
@given(n=st.integers(1, 40), bs=st.integers(1, 45), shuffle=st.booleans())
def test_what_makes_no_full_batch_is_left_out(n, bs, shuffle):
    if n<bs:
        with pytest.raises(ValueError, match='smaller batch_size'): DataLoader(range(n), bs, drop_last=True)
        return
    batches = list(dl := DataLoader(range(n), bs, shuffle, drop_last=True))
    assert [len(b) for b in batches]==[bs]*(n//bs) and len(dl)==n//bs
    assert len(torch.cat(batches).unique())==n//bs*bs

def test_generator_repeats_and_moves_on():
    a,b = [DataLoader(range(50), 50, shuffle=True, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    first = next(iter(a)).tolist()
    assert first==next(iter(b)).tolist() and first!=next(iter(a)).tolist()

@pytest.mark.parametrize('ds', [[(torch.ones(2), torch.ones(1), 'a')]*3, [(torch.ones(2), torch.ones(1), torch.ones(1))]*3])
def test_triples_stay_triples(ds):
    batches = list(DataLoader(ds, 2))
    assert [len(b) for b in batches]==[3,3] and [len(b[0]) for b in batches]==[2,1]

def test_modules_know_when_they_train():
    class Noted(nn.Linear):
        def forward(self, xb):
            modes.append(self.training)
            return super().forward(xb)
    modes,model = [],Noted(3, 1)
    dl = DataLoader(some_data(4, 3, 1, 0), 2)
    train_model(model, (dl,dl), mnist_loss, BasicOptim(model.parameters(), 0.1), 2)
    assert modes==[True,True,False,False]*2

def test_leftover_gradients_do_not_leak():
    x,y = some_data(8, 3, 1, 0)
    a = nn.Linear(3, 1)
    b = deepcopy(a)
    for p in a.parameters(): p.grad = torch.full_like(p, 100.)
    for m in (a,b): train_epoch(m, DataLoader((x,y), 4), mnist_loss, BasicOptim(m.parameters(), 0.1))
    assert torch.equal(a.weight, b.weight)

class Nameless(BasicOptim):
    "An optimizer that keeps its learning rate to itself"
    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.rate = self.__dict__.pop('lr')
    @torch.no_grad()
    def step(self):
        for p in self.params: p -= p.grad*self.rate

def fastai_sgd(params, lr):
    from fastai.optimizer import SGD
    return SGD(params, lr=lr)

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('opt,lr', [(BasicOptim,'0.25'), (torch.optim.SGD,'0.25'), (fastai_sgd,'0.25'), (Nameless,'unknown')])
def test_no_step_after_a_loss_that_is_not_finite(opt, lr, bad):
    x,y = some_data(12, 3, 1, 0)
    a = nn.Linear(3, 1)
    b = deepcopy(a)
    seen = []
    def loss_func(preds, targs):
        seen.append(len(preds))
        loss = mnist_loss(preds, targs)
        return loss if len(seen)<3 else loss+bad
    with pytest.raises(Diverged, match=f'the loss is {bad} at lr={lr}'):
        train_epoch(a, DataLoader((x,y), 4), loss_func, opt(a.parameters(), lr=0.25))
    train_epoch(b, DataLoader((x[:8],y[:8]), 4), mnist_loss, BasicOptim(b.parameters(), 0.25))
    assert torch.allclose(a.weight, b.weight, rtol=0, atol=1e-7) and torch.isfinite(a.weight).all()
