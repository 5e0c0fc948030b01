"The protocol: whatever was trained, it takes the same images, refuses the same, and answers in the same form"
import inspect

import pytest
import torch

from mnist_basics.checks import Diverged
from mnist_basics.data import sample_tensors
from mnist_basics.ladder import RUNGS, TEN_RUNGS
from mnist_basics.models import DigitModel, load_model, save_model, saved_info

KINDS = {f'{len(rungs)} rungs, {o.what}': (o, digits) for rungs, digits in ((RUNGS, (3, 7)), (TEN_RUNGS, tuple(range(10)))) for o in rungs}
each_kind = pytest.mark.parametrize('rung,digits', KINDS.values(), ids=KINDS)


@pytest.fixture(scope='module')
def images(): return sample_tensors('valid')[0][::300]


def random_model(rung, digits):
    "A model of the kind that `rung` trains, with numbers that say something"
    model, g = rung.blank(digits, None), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for k, t in model.tensors().items():
            if t.is_floating_point(): t.copy_(torch.rand(t.shape, generator=g)*.1 + ('var' in k))
            else: t.zero_()
    return model


@each_kind
def test_models_answer_alike(rung, digits, images):
    model = random_model(rung, digits)
    assert isinstance(model, DigitModel) and model.classes == list(digits) and model.precision == 'float32' and model.history == []
    scores, probs, preds = model.scores(images), model.probabilities(images), model.predict(images)
    assert scores.shape == probs.shape == (len(images), len(digits)) and scores.dtype == torch.float32
    torch.testing.assert_close(probs.sum(1), torch.ones(len(images)))
    assert preds.dtype == torch.int64 and torch.equal(preds, torch.tensor(digits)[scores.argmax(1)])
    assert torch.equal(model.opinion(images)['probabilities'], probs)
    whole = (images*255).round().byte()
    for same in (images.flatten(1), images.double(), whole, whole.int(), whole.flatten(1)):
        torch.testing.assert_close(model.scores(same), scores, rtol=1e-4, atol=1e-4)
    assert model.scores(images[:0]).shape == (0, len(digits)) and model.predict(images[:0]).tolist() == []


@each_kind
def test_models_refuse_alike(rung, digits, images):
    model = random_model(rung, digits)
    wrong = {'image\\[None\\]': images[0], 'got shape': images[:, :9], 'NaN': images/0, 'as_tensor': images.numpy(), 'fractions from 0 to 1': images*255}
    for ask in (model.scores, model.probabilities, model.predict, model.opinion):
        for words, o in wrong.items():
            with pytest.raises(ValueError, match=words): ask(o)


@each_kind
def test_models_come_back_from_files(rung, digits, images, tmp_path):
    model, again = random_model(rung, digits), rung.blank(digits, None)
    file = save_model(tmp_path/'m.safetensors', model, what=rung.what)
    assert load_model(file, again) == saved_info(file) == {'what': rung.what}
    assert torch.equal(again.scores(images), model.scores(images))


@each_kind
def test_trainers_are_called_alike(rung, digits):
    train = getattr(rung.train, 'func', rung.train)
    params = inspect.signature(train).parameters
    assert next(iter(params)) == 'data' and params['data'].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(o.kind in (o.KEYWORD_ONLY, o.VAR_KEYWORD) for k, o in params.items() if k != 'data')
    if 'kwargs' not in params: assert {'seed', 'device', 'precision'} <= params.keys()


@pytest.mark.parametrize('rung', [o for o in RUNGS[1:4]] + [TEN_RUNGS[1], TEN_RUNGS[4]], ids=lambda o: o.what)
def test_one_error_for_losses_that_explode(rung):
    data = [tuple(t[::20].contiguous() for t in sample_tensors(o)) for o in ('train', 'valid')]
    kwargs = dict(lr=1e39) if rung in RUNGS else dict(lr=1e30, epochs=3)
    with pytest.raises(Diverged, match='Try a lower lr'): rung.train(data, batch_size=32, **kwargs)
