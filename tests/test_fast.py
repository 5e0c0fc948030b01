"Gradients by hand, in place: equal to autograd, for many shapes, and what is refused"
import subprocess, sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

from mnist_basics.checks import Diverged
from mnist_basics.data import sample_tensors
from mnist_basics.linear_model import DataLoader, mnist_loss, train_model
from mnist_basics.mlp import make_mlp, train_mlp
from mnist_basics.what_costs_time import blank_first, fast_net, give_back, train_fast

quick = settings(max_examples=60, deadline=None)

def some_net(k, hidden):
    return make_mlp(hidden, n_in=k) if hidden else nn.Linear(k, 1)

def some_batch(n, k, seed, blank=0.):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, k, generator=g)*(torch.rand(k, generator=g)>=blank)
    return x,torch.randint(0, 2, (n,1), generator=g).float()

def close(a, b, eps=1e-6):
    assert a.shape==b.shape
    assert (a-b).abs().max()<=eps, (a-b).abs().max()

SHAPES = dict(n=st.integers(1, 300), k=st.integers(1, 60), hidden=st.sampled_from([0, 1, 5, 16, 30, [7,3], [20,20,20]]),
    multiple=st.sampled_from([1, 4, 16]), seed=st.integers(0, 999))

@quick
@given(**SHAPES)
def test_gradients_are_those_of_autograd(n, k, hidden, multiple, seed):
    torch.manual_seed(seed)
    net,(x,y) = some_net(k, hidden),some_batch(n, k, seed)
    mnist_loss(net(x), y).backward()
    fast = fast_net(net, multiple=multiple)
    close(fast.scores(x), net(x).detach(), 1e-5)
    fast.backward(x, (1-2*y)/n)
    layers = [o for o in net.modules() if isinstance(o, nn.Linear)]
    for o,w,b in zip(layers, fast.grads[::2], fast.grads[1::2], strict=True):
        close(w[:o.in_features,:o.out_features].T, o.weight.grad)
        close(b[0,:o.out_features], o.bias.grad)
        assert not w[o.in_features:].any() and not w[:,o.out_features:].any() and not b[0,o.out_features:].any()

@quick
@given(**SHAPES, bs=st.integers(1, 128), mom=st.sampled_from([0., 0.9]), blank=st.sampled_from([0., 0.4, 1.]))
def test_weights_after_an_epoch_are_those_of_autograd(n, k, hidden, multiple, seed, bs, mom, blank):
    "With a short last batch, blank pixels and idle units"
    torch.manual_seed(seed)
    net,(x,y) = some_net(k, hidden),some_batch(n, k, seed, blank)
    order,seen = blank_first(x, multiple)
    assert sorted(order.tolist())==list(range(k)) and not x[:,order[:k-seen]].any()
    fast = fast_net(net, order, seen, multiple=multiple)
    given = x[:,order[k-seen:]]
    opt = torch.optim.SGD(net.parameters(), 0.05, momentum=mom)
    for i in range(0, n, bs):
        yb = y[i:i+bs]
        mnist_loss(net(x[i:i+bs]), yb).backward()
        opt.step()
        opt.zero_grad()
        fast.step(given[i:i+bs], (1-2*yb)/len(yb), 0.05, mom)
    other = some_net(k, hidden)
    give_back(fast, other, order)
    for a,b in zip(other.parameters(), net.parameters(), strict=True): close(a.detach(), b.detach())
    close(fast.scores(x[:,order]), net(x).detach(), 1e-5)

@pytest.fixture(scope='module')
def digits():
    "One 3 or 7 in ten"
    return [[o[::10] for o in sample_tensors(k)] for k in ('train','valid')]

@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('batch_size', [100, 256])
def test_train_fast_is_train_mlp(digits, shuffle, batch_size):
    args = dict(epochs=3, seed=7, shuffle=shuffle, batch_size=batch_size)
    ours,theirs = train_fast(digits, **args),train_mlp(digits, **args)
    assert ours.history==theirs.history and ours.classes==theirs.classes
    for a,b in zip(ours.params, theirs.params, strict=True): close(a.detach(), b.detach())

@pytest.mark.parametrize('mom', [0., 0.9])
def test_linear_model(digits, mom):
    ours = train_fast(digits, hidden=0, epochs=3, lr=1., mom=mom)
    torch.manual_seed(42)
    net = nn.Linear(784, 1)
    dls = [DataLoader((x.flatten(1), (y==3).float()[:,None]), 256) for x,y in digits]
    history = train_model(net, dls, mnist_loss, torch.optim.SGD(net.parameters(), 1., momentum=mom), 3)
    assert ours.history==history
    for a,b in zip(ours.params, net.parameters(), strict=True): close(a.detach(), b.detach())

def test_bfloat16_rounds_products_and_not_weights(digits):
    args = dict(epochs=2, shuffle=True)
    rough,exact = (train_fast(digits, precision=o, **args) for o in ('bfloat16','float32'))
    assert rough.precision=='bfloat16' and rough.params[0].dtype==torch.float32
    apart,moved = ((torch.cat([p.flatten() for p in o.params])-torch.cat([p.flatten() for p in exact.params])).norm()
                   for o in (rough, train_fast(digits, epochs=0)))
    assert 0<apart<0.1*moved

def test_what_cannot_be_trained(digits):
    for kwargs,words in ((dict(hidden=-1),'whole numbers above 0'), (dict(batch_size=0),'batch_size'), (dict(precision='half'),'precision')):
        with pytest.raises(ValueError, match=words): train_fast(digits, **kwargs)
    three = [(x, torch.arange(len(y))%3) for x,y in digits]
    with pytest.raises(ValueError, match='two digits'): train_fast(three)
    with pytest.raises(Diverged, match='lower lr') as e: train_fast(digits, lr=1e30, shuffle=True)
    assert isinstance(e.value.history, list)

def test_nothing_of_the_data_is_written_to(digits):
    before = [[o.clone() for o in pair] for pair in digits]
    train_fast(digits, epochs=1)
    for a,b in zip(before, digits): assert all(map(torch.equal, a, b))

def test_a_kept_model_is_read_without_what_takes_long_to_import():
    "PyTorch imports sympy for some operations on tensors without memory: longer than all the rest of a prediction"
    code = ("import sys, tempfile, torch\nfrom mnist_basics.ladder import ModelCache, Trained, rungs_for\n"
            "with tempfile.TemporaryDirectory() as d:\n"
            "    cache = ModelCache(d)\n"
            "    for digits in ((3,7), range(10)):\n"
            "        for o in rungs_for(digits):\n"
            "            if o.stage=='resnet18': continue\n"
            "            model = o.blank(list(digits), None)\n"
            "            for t in model.tensors().values(): t.zero_()\n"
            "            cache.save(Trained(o, model, 1., 42, 'cpu'), digits)\n"
            "            res = cache.load(o, 42, digits)\n"
            "            assert res is not None, o\n"
            "            res.model.predict(torch.rand(2,28,28))\n"
            "heavy = {'sympy','torchvision','torch._dynamo'} & set(sys.modules)\n"
            "assert not heavy, heavy\n")
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode==0, run.stderr
