"The judge of the exercises: right functions pass, wrong ones fail with a sentence of their own, and nothing gets out of bounds."
import json, math, os, re, signal, subprocess, sys, threading, time, warnings
from pathlib import Path
import pytest
import torch
import torch.nn.functional as F
from mnist_basics import baseline, linear_model, mlp, sgd_quadratic, ten_digits
from mnist_basics.exercises import _draw, _text, check, names, task
from mnist_basics.learner import Callback

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {'double_odds', 'corner', 'l1', 'rmse', 'is_3', 'relu', 'sigmoid', 'sgd_step', 'mnist_loss', 'batch_accuracy', 'softmax'}


def said(capsys, name, f, **kwargs):
    "The verdict and the one sentence that `check` prints"
    capsys.readouterr()
    right = check(name, f, **kwargs)
    out, err = capsys.readouterr()
    assert right is True or right is False
    assert out.count('\n') == 1 and out.endswith('\n') and not err, (out, err)
    assert out.startswith('Right: ' if right else 'Not yet: '), out
    return right, out.strip()


# ---- functions that are right

class Losses(Callback):
    def before_train(self): self.fresh = self.learn.epoch == 0
    def before_fit(self): self.losses = []
    def after_loss(self):
        if self.learn.training: self.losses += [self.learn.loss]


def loop_matmul(a, b):
    out = torch.zeros(a.shape[0], b.shape[1])
    for i in range(a.shape[0]):
        for j in range(b.shape[1]): out[i, j] = (a[i]*b[:, j]).sum()
    return out


def loop_train(f, params, batches, lr, epochs):
    w = params.detach().clone().requires_grad_()
    opt = torch.optim.SGD([w], lr=lr)
    for _ in range(epochs):
        for xb, yb in batches:
            opt.zero_grad()
            f(w, xb, yb).backward()
            opt.step()
    return w


def data_train(f, params, batches, lr, epochs):
    for _ in range(epochs):
        for xb, yb in batches:
            f(params, xb, yb).backward()
            params.data -= params.grad.data*lr
            params.grad.zero_()
    return params


def autograd_fresh(f, params):
    p = params.detach().clone().requires_grad_()
    f(p).backward()
    return p.grad


def count_epoch(batches):
    right = n = 0
    for preds, targs in batches:
        right += int(((preds.sigmoid() > 0.5) == targs).sum())
        n += len(preds)
    return right/n


def shapes_from_the_end(a, b):
    out = []
    for i in range(1, max(len(a), len(b))+1):
        x, y = (o[-i] if i <= len(o) else 1 for o in (a, b))
        if x != y and x != 1 and y != 1: return None
        out.insert(0, max(x, y))
    return tuple(out)


RIGHT = {
    'corner': [lambda t: t[1:, 1:], lambda t: t[-2:, -2:], lambda t: t[1:3, 1:3].clone()],
    'double_odds': [lambda xs: [x*2 for x in xs if x % 2 == 1], lambda xs: [2*x for x in xs if x % 2], lambda xs: list(map(lambda x: x*2, filter(lambda x: x % 2 != 0, xs)))],
    'ideal': [lambda images: (torch.stack(images).float()/255).mean(0), lambda images: sum(o.float() for o in images)/len(images)/255],
    'l1': [lambda a, b: (a-b).abs().mean(), F.l1_loss, lambda a, b: (b-a).abs().mean().item(), lambda a, b: (a-b).abs().sum()/a.numel()],
    'rmse': [lambda a, b: ((a-b)**2).mean().sqrt(), lambda a, b: F.mse_loss(a, b)**0.5, sgd_quadratic.rmse],
    'sum_shape': [shapes_from_the_end],
    'is_3': [baseline.is_3, lambda x, m3, m7: (x-m3).abs().mean((-1, -2)) < (x-m7).abs().mean((-1, -2)), lambda x, m3, m7: (x-m7).abs().sum((-2, -1)) > (x-m3).abs().sum((-2, -1))],
    'slope': [lambda f, x: (f(x+1e-3)-f(x))/1e-3, lambda f, x: (f(x+1e-5)-f(x-1e-5))/2e-5, lambda f, x: (f(x)-f(x-1e-4))/1e-4],
    'gradient': [autograd_fresh, lambda f, params: torch.autograd.grad(f(params), params)[0]],
    'sgd_step': [sgd_quadratic.sgd_step, lambda params, grads, lr: params-grads*lr, lambda params, grads, lr: params.clone().sub_(lr*grads)],
    'dataset': [lambda x, y: list(zip(x, y)), lambda x, y: [(a, b) for a, b in zip(x, y)], lambda x, y: [(x[i], y[i]) for i in range(len(y))]],
    'matmul': [loop_matmul, torch.matmul, lambda a, b: a @ b, lambda a, b: torch.einsum('ik,kj->ij', a, b)],
    'init_params': [lambda size, std: (torch.randn(size)*std).requires_grad_(), linear_model.init_params, lambda size, std: torch.nn.Parameter(torch.randn(*size).mul(std))],
    'batches': [lambda items, size: [items[i:i+size] for i in range(0, len(items), size)]],
    'sigmoid': [torch.sigmoid, lambda x: 1/(1+torch.exp(-x)), lambda x: (x/2).tanh()/2+0.5],
    'mnist_loss': [linear_model.mnist_loss, lambda preds, targs: (preds.sigmoid()-targs).abs().mean(), lambda preds, targs: torch.where(targs == 1, 1-preds.sigmoid(), preds.sigmoid()).mean()],
    'batch_accuracy': [linear_model.batch_accuracy, lambda preds, targs: ((preds > 0) == targs).float().mean(), lambda preds, targs: ((preds.sigmoid() > 0.5).float() == targs).float().mean().item()],
    'epoch_accuracy': [count_epoch],
    'train': [loop_train, data_train],
    'relu': [F.relu, torch.nn.ReLU(), lambda x: x.max(torch.tensor(0.)), lambda x: torch.where(x > 0, x, 0.), lambda x: x*(x > 0)],
    'mlp': [mlp.simple_net, lambda x, w1, b1, w2, b2: F.relu(x@w1+b1)@w2+b2],
    'TrainLosses': [Losses],
    'one_hot': [lambda labels, n: F.one_hot(labels, n).float(), lambda labels, n: torch.eye(n)[labels], lambda labels, n: (torch.arange(n) == labels[:, None])*1.],
    'softmax': [lambda preds: preds.softmax(1), lambda preds: ten_digits.log_softmax(preds).exp(), lambda preds: F.softmax(preds, dim=-1), lambda preds: preds.exp()/preds.exp().sum(dim=1, keepdim=True), lambda preds: preds.log_softmax(1).exp()],
    'cross_entropy': [F.cross_entropy, ten_digits.cross_entropy, torch.nn.CrossEntropyLoss(), lambda preds, labels: (preds.logsumexp(1)-preds.gather(1, labels[:, None])[:, 0]).mean()],
    'digit_accuracy': [lambda preds, labels: (preds.argmax(1) == labels).float().mean(), lambda preds, labels: (preds.argmax(-1) == labels).sum().item()/len(labels), ten_digits.accuracy]}


# ---- functions that are wrong, each with a word that its sentence must hold

def no_return(*args): sum(1 for _ in args)


def in_place_zero(f, params, batches, lr, epochs):
    for _ in range(epochs):
        for xb, yb in batches:
            f(params, xb, yb).backward()
            params.data -= lr*params.grad
    return params


def moves_the_gradient(f, params, batches, lr, epochs):
    for _ in range(epochs):
        for xb, yb in batches:
            params.grad = None
            f(params, xb, yb).backward()
            params.grad.data += lr*params.grad.data
    return params


def one_epoch(f, params, batches, lr, epochs): return loop_train(f, params, batches, lr, 1)


def uphill(f, params, batches, lr, epochs):
    for _ in range(epochs):
        for xb, yb in batches:
            params = (params + lr*torch.autograd.grad(f(params, xb, yb), params)[0]).detach().requires_grad_()
    return params


def returns_early(batches):
    for preds, targs in batches: return ((preds > 0) == (targs == 1)).float().mean()


def mean_of_means(batches): return torch.stack([((p > 0) == (t == 1)).float().mean() for p, t in batches]).mean()


class BothLoaders(Callback):
    def before_fit(self): self.losses = []
    def after_batch(self): self.losses.append(self.learn.loss)


class NeverEmptied(Callback):
    def __init__(self): self.losses = []
    def after_backward(self): self.losses.append(self.learn.loss.item())


class Shared(Callback):
    losses = []
    def after_backward(self): self.losses.append(self.learn.loss.item())


class PerEpoch(Callback):
    def before_train(self): self.losses = []
    def after_batch(self):
        if self.learn.training: self.losses.append(self.learn.loss.item())


class Silent(Callback):
    def after_batch(self): pass


class Last(Callback):
    def after_backward(self): self.losses = [self.learn.loss.item()]


WRONG = {
    'corner': [
        (lambda t: t[2:, 2:], 'count from 0'),
        (lambda t: t[1:2, 1:2], 'not included'),
        (lambda t: t[:2, :2], 'top left'),
        (lambda t: t[1:][1:], 'second pair of brackets'),
        (lambda t: t[1:, 1:].tolist(), 'a tensor, not a list'),
        (lambda t: t[1:, 1:].float()/2+t[1:, 1:].float()/2 if t.dtype == torch.int64 else t[1:, 1:], 'whole numbers')],
    'double_odds': [
        (lambda xs: [x ^ 2 for x in xs if x % 2 == 1], 'XOR'),
        (lambda xs: [i*2 for i in xs if i % 2 == 0], 'even numbers'),
        (lambda xs: [x**2 for x in xs if x % 2], 'power'),
        (no_return, '`return` missing'),
        (lambda xs: (x*2 for x in xs if x % 2), 'a list, not a generator'),
        (lambda xs: tuple(x*2 for x in xs if x % 2), 'a list, not a tuple'),
        (lambda xs: [x*2 for x in xs if x % 2 == 1 and x > 0], '-3'),
        (lambda xs: sorted(x*2 for x in xs if x % 2), 'should give'),
        (lambda xs: list({x*2: 0 for x in xs if x % 2}), '[7, 7]')],
    'ideal': [
        (lambda images: torch.stack(images).float().mean(0), 'up to 255'),
        (lambda images: sum(images)/len(images)/255, 'uint8'),
        (lambda images: (torch.stack(images)/255).mean(), 'all pixels'),
        (lambda images: torch.stack(images).mean(0)/255, 'no mean'),
        (lambda images: images[0]/255, 'should give')],
    'l1': [
        (lambda a, b: (a-b).mean(), 'cancel'),
        (lambda a, b: abs((a-b).mean()), 'before the mean'),
        (lambda a, b: (a-b).abs().sum(), 'the sum'),
        (lambda a, b: (a.abs()-b.abs()).abs().mean(), '-'),
        (no_return, '`return` missing'),
        (lambda a, b: ((a-b)**2).mean().sqrt(), 'root mean squared'),
        (lambda a, b: (a-b).abs(), '`mean` is missing'),
        (lambda a: a.abs().mean(), 'called as l1(a, b)')],
    'rmse': [
        (lambda a, b: ((a-b)**2).sqrt(), 'without `mean`'),
        (lambda a, b: ((a-b)**2).mean(), 'root is missing'),
        (lambda a, b: ((a-b)**2).sqrt().mean(), 'after the mean'),
        (lambda a, b: ((a-b)**2).sum().sqrt(), 'root of the sum'),
        (no_return, '`return` missing'),
        (lambda a, b: math.sqrt((a-b)**2), 'raises')],
    'sum_shape': [
        (lambda a, b: max(a, b, key=len), 'longer one'),
        (lambda a, b: a if a == b else None, 'should give'),
        (lambda a, b: tuple(torch.broadcast_shapes(a, b)), 'raises RuntimeError'),
        (lambda a, b: list(shapes_from_the_end(a, b) or ()), 'a tuple, not a list'),
        (lambda a, b: shapes_from_the_end(a, b) or (), 'should give None')],
    'is_3': [
        (lambda x, m3, m7: (x-m3).abs().mean((-1, -2)) > (x-m7).abs().mean((-1, -2)), 'other way round'),
        (lambda x, m3, m7: (x-m3).mean((-1, -2)) < (x-m7).mean((-1, -2)), 'cancel'),
        (lambda x, m3, m7: (x-m3).abs().mean() < (x-m7).abs().mean(), 'one answer for all'),
        (lambda x, m3, m7: (x-m3).abs().mean((1, 2)) < (x-m7).abs().mean((1, 2)), 'count from the end'),
        (lambda x, m3, m7: True if (x-m3).abs().mean((-1, -2)) < (x-m7).abs().mean((-1, -2)) else False, '`if`'),
        (lambda x, m3, m7: ((x-m3).abs().mean((-1, -2)) < (x-m7).abs().mean((-1, -2))).float(), 'True and False')],
    'slope': [
        (lambda f, x: f(x+1e-4)-f(x), 'divide it by the run'),
        (lambda f, x: (f(x+1e-4)-f(x-1e-4))/1e-4, 'two steps'),
        (lambda f, x: (f(x)-f(x+1e-4))/1e-4, 'sign'),
        (lambda f, x: f(x+1)-f(x), 'step of 1'),
        (lambda f, x: 2*x, 'should give'),
        (lambda f, x: (f(x+1e-17)-f(x))/1e-17, 'should give')],
    'gradient': [
        (lambda f, params: (f(params).backward(), params.grad)[1], 'adds to the gradient'),
        (lambda f, params: f(params), 'value of `f`'),
        (lambda f, params: f(params).backward(), '`return` missing'),
        (lambda f, params: params.grad, 'should give')],
    'sgd_step': [
        (lambda params, grads, lr: params+lr*grads, 'uphill'),
        (lambda params, grads, lr: params-grads, 'rate is missing'),
        (lambda params, grads, lr: grads+lr*grads, 'changes the gradient'),
        (lambda params, grads, lr: params.sub_(lr*grads), 'changes its argument params'),
        (lambda params, grads, lr: lr*grads, 'only the step'),
        (no_return, '`return` missing')],
    'dataset': [
        (lambda x, y: zip(x, y), 'only once'),
        (lambda x, y: [(x, y)], 'one pair'),
        (lambda x, y: list(map(list, zip(x, y))), 'should be tuples'),
        (lambda x, y: list(zip(y, x)), 'input comes first'),
        (lambda x, y: (x, y), 'a list, not a tuple')],
    'matmul': [
        (lambda a, b: a*b, 'item by item'),
        (lambda a, b: b @ a, 'order matters'),
        (lambda a, b: a @ b.T, 'not rows'),
        (lambda a, b: (a[:, :, None]*b[None]).sum(0), 'wrong axis'),
        (lambda a, b: (a @ b).tolist(), 'a tensor, not a list')],
    'init_params': [
        (lambda size, std: torch.randn(size, requires_grad=True)*std, 'comes last'),
        (lambda size, std: torch.randn(size)*std, 'without `requires_grad_()`'),
        (lambda size, std: (torch.rand(size)*std).requires_grad_(), '`rand`'),
        (lambda size, std: torch.randn(size).requires_grad_(), 'not used'),
        (lambda size, std: torch.randn(size[::-1]).requires_grad_(), 'should give'),
        (lambda size, std: (torch.manual_seed(42), (torch.randn(size)*std).requires_grad_())[1], 'a seed inside'),
        (lambda size, std: (torch.rand(size)*std*12**0.5-std*3**0.5).requires_grad_(), 'normally distributed')],
    'batches': [
        (lambda items, size: [items[i:i+size] for i in range(0, len(items)-size+1, size)], 'lost'),
        (lambda items, size: [items[i:i+size] for i in range(len(items))], 'overlap'),
        (lambda items, size: [items[i::size] for i in range(size)], 'not of batches'),
        (lambda items, size: [items[i:size] for i in range(0, len(items), size)], '`i+size`'),
        (lambda items, size: (items[i:i+size] for i in range(0, len(items), size)), 'a list, not a generator')],
    'sigmoid': [
        (lambda x: 1/(1+torch.exp(x)), 'sign'),
        (torch.tanh, 'between -1 and 1'),
        (lambda x: -1/(1+torch.exp(-x)), 'asymptotes'),
        (lambda x: 1/(1+math.exp(-x)), '`math.exp`'),
        (lambda x: x.exp()/(1+x.exp()), 'NaN'),
        (lambda x: 1/1+torch.exp(-x), 'brackets')],
    'mnist_loss': [
        (lambda preds, targs: torch.where(targs == 1, 1-preds, preds).mean(), 'sigmoid is missing'),
        (lambda preds, targs: torch.where(targs == 1, preds.sigmoid(), 1-preds.sigmoid()).mean(), 'other way round'),
        (lambda preds, targs: (preds.sigmoid()-targs).abs().sum(), 'the sum'),
        (lambda preds, targs: (preds.sigmoid()-targs.squeeze()).abs().mean(), 'each with each'),
        (lambda preds, targs: (preds.sigmoid()-targs).abs().mean().item(), '`item()`'),
        (lambda preds, targs: (preds.sigmoid()-targs).abs(), '`mean` is missing'),
        (no_return, '`return` missing')],
    'batch_accuracy': [
        (lambda preds, targs: ((preds > 0.5).float() == targs).float().mean(), 'scores and not probabilities'),
        (lambda preds, targs: ((preds > 0) == targs.squeeze(1)).float().mean(), 'each with each'),
        (lambda preds, targs: ((preds > 0) == targs).sum(), 'counts'),
        (lambda preds, targs: ((preds >= 0) == targs).float().mean(), '0.'),
        (lambda preds, targs: 1-((preds > 0) == targs).float().mean(), 'wrong answers'),
        (lambda preds, targs: (preds.argmax(1)[:, None] == targs).float().mean(), 'should give'),
        (lambda preds, targs: ((preds > 0) == targs).float(), 'shape')],
    'epoch_accuracy': [
        (mean_of_means, 'mean of means'),
        (returns_early, 'inside the loop'),
        (lambda batches: ((batches[-1][0] > 0) == batches[-1][1]).float().mean(), 'last batch'),
        (lambda batches: sum(((p > 0) == t).sum().item() for p, t in batches), 'number of images')],
    'train': [
        (in_place_zero, 'pile up'),
        (moves_the_gradient, 'not their gradient'),
        (one_epoch, 'loop over epochs'),
        (uphill, 'uphill'),
        (lambda f, params, batches, lr, epochs: loop_train(f, params, batches[:1], lr, epochs), 'first batch'),
        (lambda f, params, batches, lr, epochs: None if loop_train(f, params, batches, lr, epochs).sum() else None, '`return` missing'),
        (lambda f, params, batches, lr, epochs: loop_train(f, params, batches, lr, epochs+1), 'should give')],
    'relu': [
        (torch.abs, 'absolute value'),
        (lambda x: x.clamp(max=0), 'keeps the negative'),
        (lambda x: (x > 0).float(), 'unit step'),
        (lambda x: max(x, 0), '`if`'),
        (lambda x: x[x > 0], 'drops'),
        (F.leaky_relu, 'a little less'),
        (F.relu6, 'should give'),
        (lambda x: x, 'should give')],
    'mlp': [
        (lambda x, w1, b1, w2, b2: x@w1@w2+b1@w2+b2, 'two linear layers are one'),
        (lambda x, w1, b1, w2, b2: F.relu(F.relu(x@w1+b1)@w2+b2), 'after the last layer'),
        (lambda x, w1, b1, w2, b2: F.relu(x@w1)@w2+b2, 'first bias'),
        (lambda x, w1, b1, w2, b2: torch.sigmoid(x@w1+b1)@w2+b2, 'sigmoid'),
        (lambda x, w1, b1, w2, b2: F.relu(x@w1+b1), 'hidden layer')],
    'TrainLosses': [
        (BothLoaders, 'validation loader'),
        (NeverEmptied, '`before_fit`'),
        (PerEpoch, 'each epoch'),
        (Last, 'only the last'),
        (Silent, "no attribute 'losses'")],
    'one_hot': [
        (lambda labels, n: F.one_hot(labels, n), 'fractions'),
        (lambda labels, n: F.one_hot(labels).float(), '`n` columns'),
        (lambda labels, n: torch.eye(n)[:, labels], 'on its side'),
        (lambda labels, n: torch.arange(n) == labels[:, None], 'True and False'),
        (lambda labels, n: torch.eye(n)[labels-1], 'count from 0')],
    'softmax': [
        (lambda preds: preds.exp()/preds.exp().sum(), 'not of everything'),
        (lambda preds: preds.softmax(0), 'adds up columns'),
        (lambda preds: preds/preds.sum(1, keepdim=True), 'without `exp`'),
        (torch.sigmoid, 'sigmoid'),
        (lambda preds: preds.log_softmax(1), 'logarithms'),
        (lambda preds: preds.exp()/preds.exp().sum(1), '`keepdim=True`')],
    'cross_entropy': [
        (lambda preds, labels: -F.cross_entropy(preds, labels), 'minus is missing'),
        (lambda preds, labels: F.cross_entropy(preds, labels, reduction='sum'), 'the sum'),
        (lambda preds, labels: F.cross_entropy(preds.softmax(1), labels), 'softmax twice'),
        (lambda preds, labels: F.nll_loss((preds.exp()/preds.exp().sum(1, keepdim=True)).log(), labels), 'exp(1000)'),
        (lambda preds, labels: F.nll_loss(preds, labels), 'softmax is missing'),
        (lambda preds, labels: F.cross_entropy(preds, labels).item(), '`item()`')],
    'digit_accuracy': [
        (lambda preds, labels: (preds.max(1).values == labels).float().mean(), 'not the score itself'),
        (lambda preds, labels: (preds.argmax(1, keepdim=True) == labels).float().mean(), 'each answer is compared with each'),
        (lambda preds, labels: (preds.argmax(1) == labels).sum(), 'counts'),
        (lambda preds, labels: (preds.argmax(1) == labels).float(), 'shape'),
        (lambda preds, labels: (preds.argmin(1) == labels).float().mean(), 'lowest')]}


def test_names_and_tasks():
    assert REQUIRED <= set(names()) and len(names()) >= 20
    assert set(RIGHT) == set(WRONG) == set(names())
    assert all(task(o).startswith(f'{o}(') and len(task(o)) > 40 for o in names())


@pytest.mark.parametrize('name, near', [('l2', 'l1'), ('ReLU', 'relu'), ('soft_max', 'softmax'), ('double_odd', 'double_odds'), ('quicksort', 'names()'), (3, 'names()')])
def test_an_unknown_name_is_an_error_with_near_matches(name, near):
    for call in (lambda: check(name, len), lambda: task(name)):
        with pytest.raises(ValueError, match=re.escape(near)): call()


@pytest.mark.parametrize('name', names())
def test_right_functions_pass(name, capsys):
    for i, f in enumerate(RIGHT[name]): assert said(capsys, name, f)[0], (i, said(capsys, name, f))


@pytest.mark.parametrize('name', names())
def test_wrong_functions_fail_each_in_its_own_words(name, capsys):
    sentences = []
    for f, word in WRONG[name]:
        right, sentence = said(capsys, name, f)
        assert not right and word in sentence, (word, sentence)
        assert 'should give' in sentence or word.startswith('changes'), sentence
        assert said(capsys, name, f) == (right, sentence), 'another verdict the second time'
        sentences.append(sentence)
    assert len(set(sentences)) == len(sentences) >= 3


# ---- the inputs

@pytest.mark.parametrize('name', names())
def test_inputs_are_few_different_and_short_first(name):
    texts = [_text(o) for o in _draw(name)]
    assert 8 <= len(set(texts)) == len(texts) <= 30
    assert sorted(map(len, texts)) == [len(o) for o in texts]


def test_inputs_hold_what_separates():
    def numbers(name, i=0): return torch.cat([o[i].flatten() for o in _draw(name)])
    for name in ('relu', 'sigmoid', 'softmax', 'batch_accuracy'):
        x = numbers(name)
        assert x.min() < -6 and x.max() > 6 and (x == 0).any(), name
    assert any(len(set(xs)) < len(xs) for xs, in _draw('double_odds'))
    rests = {len(items) % size for items, size in _draw('batches') if len(items) > size}
    assert 0 in rests and len(rests) > 1
    a, b = numbers('l1'), numbers('l1', 1)
    assert (a == b).any() and (a*b < 0).any()


ALL_DRAWN = '[_text(o) for name in names() for o in _draw(name)]'
ELSEWHERE = f"""
import random, sys
sys.modules['hypothesis'] = None
import torch
from mnist_basics.exercises import _draw, _text, names
torch.manual_seed(1)
random.seed(1)
print({ALL_DRAWN})
"""


def test_inputs_are_the_same_in_another_process_and_need_no_hypothesis():
    run = subprocess.run([sys.executable, '-c', ELSEWHERE], capture_output=True, text=True)
    assert run.stdout == f'{eval(ALL_DRAWN)}\n', run.stderr


# ---- functions that misbehave

class Odd:
    def __eq__(self, other): return True
    def __repr__(self): raise RuntimeError('no picture of me')
    def __bool__(self): raise RuntimeError('neither yes nor no')


class AlwaysEqual(list):
    def __eq__(self, other): return True


def deep(xs): return deep(xs)
def generator_without_end(xs):
    while True: yield 1
def knot(xs):
    out = []
    out.append(out)
    return out
def raises(error):
    def f(xs): raise error
    return f
class Unprintable(Exception):
    def __str__(self): raise RuntimeError('and no words')


@pytest.mark.parametrize('f, word', [
    (raises(SystemExit(3)), 'SystemExit'), (raises(KeyboardInterrupt()), 'KeyboardInterrupt'), (raises(GeneratorExit()), 'GeneratorExit'), (raises(ZeroDivisionError('by zero')), 'by zero'), (raises(NotImplementedError()), 'nothing is written'),
    (raises(Unprintable()), 'Unprintable'), (raises(MemoryError()), 'memory'), (deep, 'without an end'), (lambda xs: [0]*10**12, 'memory'), (lambda xs: torch.ones(10**12), 'memory'), (lambda xs: sys.exit(), 'SystemExit'),
    (lambda xs: Odd(), 'not an Odd'), (lambda xs: AlwaysEqual(), 'not an AlwaysEqual'), (lambda xs: [Odd()]*len(xs), 'should'), (generator_without_end, 'generator'), (knot, 'should give'), (lambda xs: float('nan'), 'not a float'),
    (lambda xs: torch.zeros(3, device='meta'), 'not a tensor'), (lambda xs: [True if x == 1 else 2*x for x in xs if x % 2], 'item 0'), (lambda xs: 'x'*10**7, 'not a str'), (lambda: [], 'called as double_odds(xs)'), (lambda xs, ys: [], 'called as'),
    (lambda xs: xs.clear() or [], 'should give'),
    (lambda xs: [x*2 for x in [xs.pop(0) for _ in list(xs)] if x % 2], 'changes its argument xs')])
def test_misbehaviour_is_only_a_wrong_answer(f, word, capsys):
    right, sentence = said(capsys, 'double_odds', f)
    assert not right and word in sentence and len(sentence) < 400, sentence


@pytest.mark.parametrize('f', [3, None, 'double_odds', [2, 6], torch.ones(2)])
def test_what_is_no_function(f, capsys):
    right, sentence = said(capsys, 'double_odds', f)
    assert not right and 'without brackets' in sentence


def test_what_is_not_written_yet(capsys):
    def bare(xs): pass
    def documented(xs):
        "Twice each odd number"
    def dots(xs): ...
    def constant(xs): return 5
    for f in (bare, documented, dots): assert 'write its body' in said(capsys, 'double_odds', f)[1]
    assert 'write its body' not in said(capsys, 'double_odds', constant)[1]


def test_changed_arguments(capsys):
    assert 'changes its argument a:' in said(capsys, 'l1', lambda a, b: a.sub_(b).abs().mean())[1]
    assert 'changes its argument b:' in said(capsys, 'rmse', lambda a, b: b.sub_(a).pow(2).mean().sqrt())[1]
    assert 'changes its argument mean3:' in said(capsys, 'is_3', lambda x, m3, m7: m3.sub_(x).abs().mean((-1, -2)) < (x-m7).abs().mean((-1, -2)))[1]


def test_chance_and_memory(capsys):
    kept = []
    def by_chance(a, b): return torch.rand(())
    def keeps(a, b):
        kept.append((a-b).abs().mean())
        return sum(kept)
    for f in (by_chance, keeps): assert 'asked again' in said(capsys, 'l1', f)[1]
    assert 'asked again' in said(capsys, 'TrainLosses', Shared)[1]


def busy(xs):
    while True: pass
def growing(xs):
    for x in xs: xs.append(x)
    return xs
def doubling(xs):
    while True: xs = xs+xs
def stubborn(xs):
    while True:
        try: time.sleep(0.001)
        except BaseException: pass
def asleep(xs): time.sleep(60)
def chatty(xs):
    while True: print('still here')
def hash_of_nothing(xs):
    while any(True for _ in range(10**9)) or xs: hash(1)


@pytest.mark.parametrize('f', [busy, growing, doubling, stubborn, asleep, chatty, hash_of_nothing], ids=lambda f: f.__name__)
def test_nothing_runs_for_ever(f, capsys):
    before = threading.active_count()
    right, sentence = said(capsys, 'double_odds', f, seconds=0.3)
    assert not right and ('not finished after 0.3 seconds' in sentence or 'memory' in sentence), sentence
    if f in (asleep, stubborn): return
    while threading.active_count() > before: time.sleep(0.02)  # its thread ends


def test_a_loop_without_end_anywhere(capsys):
    class Loop(list):
        def __len__(self):
            while True: pass
    assert not said(capsys, 'double_odds', lambda xs: Loop([1]), seconds=0.3)[0]


def test_works_in_another_thread(capsys):
    box = []
    def run(): box.extend([check('double_odds', busy, seconds=0.3), check('double_odds', RIGHT['double_odds'][0])])
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert box == [False, True]


def test_leaves_no_trace(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    before, grad = torch.get_rng_state(), torch.is_grad_enabled()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        for name in ('init_params', 'train', 'is_3'): assert said(capsys, name, RIGHT[name][0])[0]
    assert torch.equal(torch.get_rng_state(), before) and torch.is_grad_enabled() == grad and not seen
    assert not list(tmp_path.iterdir())
    if sys.platform == 'linux':
        import resource
        limits = resource.getrlimit(resource.RLIMIT_AS)
        check('double_odds', busy, seconds=0.2)
        assert resource.getrlimit(resource.RLIMIT_AS) == limits


# ---- a learner's session

SESSION = '''
import os, signal, sys, threading, time
from mnist_basics.exercises import check, names, task
assert 'hypothesis' not in sys.modules
print(len(names()), task('relu'))

def relu(x): return abs(x)

check('relu', relu)

def relu(x):
    while x.sum() < 1e9: pass

check('relu', relu, seconds=0.5)

def relu(x): raise SystemExit

check('relu', relu)
check('rellu', relu)

def relu(x): return x.clamp(min=0)

check('relu', relu)
print(os.listdir('.'))
'''
CTRL_C = '''
def relu(x):
    while True: pass

threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
check('relu', relu, seconds=60)
time.sleep(1)
print('threads:', threading.active_count())
'''


def test_a_session_at_the_prompt(tmp_path):
    hear = dict(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) if os.name=='posix' else {} # in the background too
    run = subprocess.run([sys.executable, '-i', '-q'], input=SESSION + CTRL_C, cwd=tmp_path, capture_output=True, text=True, timeout=120, **hear)
    said = run.stdout
    assert run.returncode == 0, run.stderr
    for o in ('26 relu(x)', 'absolute value', 'not finished after 0.5 seconds', 'raises SystemExit', 'Right: relu', '[]', 'threads: 1\n'): assert o in said, said + run.stderr
    assert said.count('False') == 3 and said.count('True') == 1
    assert "did you mean 'relu'" in run.stderr and run.stderr.count('KeyboardInterrupt') == 1


def test_a_session_in_jupyter(tmp_path):
    nbformat, client = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    parts = re.split(r'\n(?=def |check\(|print)', SESSION.replace("check('rellu', relu)\n", ''))
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(o) for o in parts])
    client.NotebookClient(nb, timeout=120, resources={'metadata': {'path': str(tmp_path)}}).execute()
    said = ''.join(o.get('text', '') or o.get('data', {}).get('text/plain', '') for c in nb.cells for o in c.get('outputs', []))
    for o in ('26 relu(x)', 'absolute value', 'not finished after 0.5 seconds', 'raises SystemExit', 'Right: relu'): assert o in said, said
    assert said.count('False') == 3 and said.count('True') == 1 and 'Traceback' not in said


# ---- the page

def test_the_page_has_an_empty_cell_and_a_folded_solution_for_each():
    cells = [c for c in json.loads((ROOT/'nbs'/'12_exercises.ipynb').read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    text = [''.join(c['source']) for c in cells]
    out = [''.join(''.join(o.get('text', '')) for o in c['outputs']) for c in cells]
    for name in names():
        empty = next(i for i, o in enumerate(text) if f"\ncheck('{name}', {name});" in o)
        assert out[empty].startswith('Not yet: ') and text[empty+1].startswith('#| code-fold: true\n#| code-summary: "A solution"\n')
        assert f"\nassert check('{name}', {name})" in text[empty+1] and out[empty+1].startswith('Right: ')
        assert cells[empty+1]['metadata'] == {'cellView': 'form', 'jupyter': {'source_hidden': True}}
