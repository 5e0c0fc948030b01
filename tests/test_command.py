"What the command promises to a shell: exit codes, one line for an error, nothing overwritten, nothing half written, nothing trained twice."
import ast, json, os, random, re, signal, subprocess, sys, threading
from html.parser import HTMLParser
from pathlib import Path
import pytest
from mnist_basics.command import copy_notebooks, main, make_parser, notebook_names, series_folder
from mnist_basics.files import write_whole

CALL = [sys.executable, '-m', 'mnist_basics']
# The program, which listens to Ctrl-C even where the tests themselves run in the background
HEARS = [sys.executable, '-c', 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom mnist_basics.__main__ import main; raise SystemExit(main())']
STOPPED = 'mnist-basics: interrupted\n'
KEYS = ['stage', 'what', 'parameters', 'accuracy', 'per_class', 'seconds', 'seed', 'device', 'precision']
root = pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid()==0, reason='root may write everywhere')


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    "Models are kept in a folder of the test's own"
    folder = tmp_path_factory.mktemp('cache')
    monkeypatch.setenv('MNIST_BASICS_CACHE', str(folder))
    return folder


def start(*args, cwd):
    "The command in a process of its own"
    return subprocess.Popen([*HEARS, *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_loads_nothing_large(tmp_path):
    code = 'import sys; from mnist_basics.command import main; main(["--help"]); main(["predict", "--help"]); print(*sys.modules, file=sys.stderr)'
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 'usage: mnist-basics' in run.stdout
    assert not {o.split('.')[0] for o in run.stderr.split()} & {'torch', 'numpy', 'PIL', 'fastai', 'pandas', 'matplotlib', 'tqdm', 'fastcore'}


@pytest.mark.parametrize('args', [['--help'], ['--version'], ['notebooks', '--help']])
def test_help_and_version_end_well(args, capsys):
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert 'mnist-basics' in out and not err


@pytest.mark.parametrize('args,code,said', [
    (['--stages', 'liner_model'], 2, "did you mean 'linear_model'?"),
    (['--stages', ''], 2, 'there are baseline'),
    (['--stages', 'baseline,,linear_model'], 2, 'there are baseline'),
    (['--device', 'abacus'], 2, 'this machine has cpu'),
    (['--device', 'meta'], 2, 'this machine has cpu'),
    (['--seed', 'x'], 2, 'whole number'),
    (['--seed', '-1'], 2, 'whole number'),
    (['--seed', str(2**32)], 2, 'whole number'),
    (['--stage=baseline'], 2, '--stage'),
    (['--json'], 2, 'expected one argument'),
    (['predict'], 2, 'IMAGE'),
    (['predct', 'a.png'], 2, 'predct'),
    (['--seed', '1', 'data'], 2, '--seed does not go with data'),
    (['--json', 'a.json', 'notebooks', 'there'], 2, '--json does not go with notebooks'),
    (['data', '--digits', '3;7'], 2, 'names no digits'),
    (['--digits', '3'], 2, 'two digits or more'),
    (['--digits', '0-9', 'notebooks', 'there'], 2, '--digits does not go with notebooks'),
    (['--digits', '0-9', '--stages', 'mpl'], 2, "did you mean 'mlp'?"),
    (['draw', '--port', '70000'], 1, '65535'),
    (['data', '--digits', '7-3'], 2, 'names no digits'),
    (['notebooks'], 2, 'DEST'),
    (['predict', 'missing.png'], 1, 'missing.png'),
    (['predict', '.'], 1, 'folder'),
    (['predict', 'text.png'], 1, 'text.png'),
    (['predict', 'empty.png'], 1, 'empty.png'),
    (['predict', 'missing.png', '--device', 'abacus'], 2, 'abacus'),
    (['predict', 'missing.png', '--stages', 'x'], 2, 'unknown stage'),
    (['--json', '.'], 1, 'folder'),
    (['--json', 'nowhere/a.json'], 1, 'nowhere'),
    (['--report', 'text.png'], 1, 'text.png'),
    (['--report', 'text.png/below'], 1, 'text.png'),
    (['--report', 'mine'], 1, 'is no report'),
    (['--report', 'new', 'predict', 'text.png'], 2, '--report does not go with predict'),
    (['predict', 'text.png', '--report', 'new'], 2, '--report'),
    (['notebooks', 'text.png'], 1, 'text.png'),
    (['notebooks', 'text.png/below'], 1, 'text.png')])
def test_mistakes_get_one_line(args, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'text.png').write_text('this is no picture')
    (tmp_path/'empty.png').touch()
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'index.html').write_text('<h1>My own page</h1>')
    def never(*a, **kw): raise AssertionError('trained before everything was looked at')
    for o in 'train_rung', 'train_rungs', 'ready_rungs', 'climb': monkeypatch.setattr(f'mnist_basics.ladder.{o}', never)
    before = sorted(tmp_path.rglob('*'))
    assert main(args) == code
    out, err = capsys.readouterr()
    assert not out and err.startswith('mnist-basics: ') and err.count('\n') == 1 and said in err
    assert sorted(tmp_path.rglob('*')) == before


@root
def test_no_permission(tmp_path, capsys):
    locked = tmp_path/'locked'
    locked.mkdir()
    (locked/'three.png').write_bytes(b'x')
    (locked/'three.png').chmod(0)
    locked.chmod(0o500)
    for args in ['predict', locked/'three.png'], ['--json', locked/'a.json'], ['--report', locked/'report'], ['notebooks', locked/'series'], ['notebooks', locked]:
        assert main([str(o) for o in args]) == 1
        out, err = capsys.readouterr()
        assert not out and err.startswith('mnist-basics: ') and err.count('\n') == 1 and 'ermission' in err


def test_outside_the_checkout_with_no_home(tmp_path):
    "The ladder as JSON and nothing else, from an empty folder; the same as `climb` gives here"
    from mnist_basics.ladder import climb
    env = {**os.environ, 'HOME': str(tmp_path/'none'), 'FASTAI_HOME': str(tmp_path/'none')}
    stages = 'baseline,linear_model,mlp'
    run = subprocess.run([*CALL, '--json', '-', '--device', 'cpu', '--stages', stages], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, '')
    rungs = json.loads(run.stdout)
    for a, b in zip(rungs, climb(stages, device='cpu'), strict=True):
        assert list(a) == KEYS
        assert {k: v for k, v in a.items() if k not in ('seconds', 'per_class', 'accuracy')} == {k: v for k, v in b.items() if k not in ('seconds', 'per_class', 'accuracy')}
        assert a['accuracy'] == pytest.approx(b['accuracy'], abs=2e-3)
        assert set(a['per_class']) == {'3', '7'} and all(0 <= v <= 1 for v in [a['accuracy'], *a['per_class'].values()])
        assert a['seconds'] > 0 and isinstance(a['parameters'], int)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('end', ['interrupt', 'close'])
def test_stopped_early(end, tmp_path):
    "Ctrl-C, or a reader that has seen enough, ends the run and leaves the old result whole"
    target = tmp_path/'ladder.json'
    target.write_text('old')
    run = start('--json', target, '--device', 'cpu', cwd=tmp_path)
    assert run.stdout.readline().startswith('stage')
    if end=='interrupt': run.send_signal(signal.SIGINT)
    else: run.stdout.close()
    said = run.stderr.read()
    assert run.wait() == (130 if end=='interrupt' else 141)
    run.stderr.close()
    if end=='interrupt': run.stdout.close()
    assert said == (STOPPED if end=='interrupt' else '')
    assert target.read_text() == 'old' and os.listdir(tmp_path) == ['ladder.json']


def test_json_replaces_in_one_step(tmp_path, capsys):
    real, link = tmp_path/'real.json', tmp_path/'link.json'
    real.write_text('old')
    link.symlink_to(real)
    assert main(['--stages', 'baseline', '--device', 'cpu', '--json', str(link)]) == 0
    assert link.is_symlink() and json.loads(real.read_text())[0]['stage'] == 'baseline'
    assert sorted(os.listdir(tmp_path)) == ['link.json', 'real.json']
    assert '0.9514  0.9168  0.9854' in capsys.readouterr().out


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    old = tmp_path/'a.json'
    old.write_text('old')
    def full(*a): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError): write_whole(old, b'new')
    assert old.read_text() == 'old' and os.listdir(tmp_path) == ['a.json']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes here')
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path/'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # there before anybody writes
    write_whole(pipe, b'[]')
    assert os.read(reader, 9) == b'[]' and pipe.is_fifo()
    os.close(reader)


def test_predict_as_json(tmp_path, capsys):
    from PIL import Image
    from mnist_basics.data import mnist
    images, labels = mnist('valid', (3, 7))
    files = []
    for d in 3, 7:
        files.append(str(tmp_path/f'a {d}.png'))
        Image.fromarray(images[labels==d][0].numpy()).save(files[-1])
    assert main(['--device', 'cpu', '--stages', 'baseline,linear_model', '--digits', '3,7', 'predict', *files, '--json', '-']) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert not err and [o['file'] for o in rows] == files
    for o, digit in zip(rows, (3, 7)):
        assert list(o) == ['file', 'answer', 'sure', 'probability', 'reason', 'stages']
        assert o['answer'] == digit and o['sure'] is True and .8 <= o['probability'] <= 1 and o['reason'] == ''
        assert [v['stage'] for v in o['stages']] == ['baseline', 'linear_model', 'linear_model']
        for v in o['stages']:
            assert set(v) - {'distances'} == {'stage', 'what', 'digit', 'probabilities'}
            assert ('distances' in v) == (v['stage'] == 'baseline')
            assert v['digit'] == int(max(v['probabilities'], key=v['probabilities'].get))


def test_ten_digits(tmp_path, cache, capsys):
    "Without a word about digits, `predict` knows all ten, the ladder two"
    from PIL import Image
    from mnist_basics.data import mnist
    images, labels = mnist('valid')
    Image.fromarray(images[labels==0][0].numpy()).save(tmp_path/'zero.png')
    quick = ['--device', 'cpu', '--stages', 'baseline']
    assert main(['--digits', '0-9', *quick]) == 0
    head, row = capsys.readouterr().out.splitlines()[:2]
    assert head.split()[-3:] == ['worst', 'digit', 'seconds'] and '0.6685' in row and '5s 0.3262' in row
    assert [o.name for o in cache.iterdir()] == ['baseline-pixel-similarity-0123456789-42-cpu-float32.safetensors']
    assert main([*quick, 'predict', str(tmp_path/'zero.png'), '--json', str(tmp_path/'a.json')]) == 0
    out, err = capsys.readouterr()
    seen, = json.loads((tmp_path/'a.json').read_text())
    assert not err and 'zero.png: 0 (' in out and len(out.splitlines()) == 2
    assert seen['answer'] == 0 and seen['sure'] and not seen['reason'] and list(seen['stages'][0]['distances']) == [str(d) for d in range(10)]


def test_draw_serves_the_page(tmp_path):
    from urllib.request import urlopen
    run = start('draw', '--no-browser', cwd=tmp_path)
    with urlopen(run.stdout.readline().split()[0]) as page: assert '<title>Draw a digit' in page.read().decode()
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=60)[1] == '' and run.returncode == 0


def test_options_before_and_after_predict_agree():
    a, b = (make_parser().parse_args(o) for o in (['--seed', '7', 'predict', 'x'], ['predict', 'x', '--seed', '7']))
    assert vars(a) == vars(b)


# ---- what was trained is kept

ASK = ['--device', 'cpu', '--stages', 'baseline,linear_model', '--digits', '3,7']
KEPT = {f"{o}-37-42-cpu-float32.safetensors" for o in ('baseline-pixel-similarity', 'linear_model-linear-by-hand', 'linear_model-linear-shuffled')}


@pytest.fixture
def three(tmp_path):
    from PIL import Image
    from mnist_basics.data import mnist
    Image.fromarray(mnist('valid', (3, 7))[0][0].numpy()).save(tmp_path/'three.png')
    return str(tmp_path/'three.png')


@pytest.fixture
def trained(monkeypatch):
    "The rungs that are trained, in a list that grows"
    from mnist_basics import ladder
    train, names = ladder.train_rung, []
    def noted(rung, *args, **kwargs):
        names.append(rung.what)
        return train(rung, *args, **kwargs)
    monkeypatch.setattr(ladder, 'train_rung', noted)
    return names


def test_predict_trains_once(three, cache, trained, capsys):
    assert main([*ASK, 'predict', three]) == 0
    first = capsys.readouterr()
    assert len(trained) == 3 and {o.name for o in cache.iterdir()} == KEPT
    assert main([*ASK, 'predict', three]) == 0
    assert len(trained) == 3 and capsys.readouterr() == first and not first.err
    assert main([*ASK, '--seed', '7', 'predict', three]) == 0
    assert len(trained) == 6


def test_predict_uses_what_the_ladder_trained(three, cache, trained, capsys):
    assert main(ASK) == 0 and len(trained) == 3
    assert main([*ASK, 'predict', three]) == 0 and len(trained) == 3
    assert main(ASK) == 0 and len(trained) == 6
    assert not capsys.readouterr().err and {o.name for o in cache.iterdir()} == KEPT


def cut(raw): return raw[:len(raw)//2]
def flipped(raw): return raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]
def nothing(raw): return b''
def text(raw): return b'this is no model'
def other_shape(raw):
    import torch
    from safetensors.torch import save
    return save({'0': torch.zeros(785, 1), '1': torch.zeros(1)})
def nan(raw):
    import torch
    from safetensors.torch import save
    return save({'0': torch.full((784, 1), torch.nan), '1': torch.zeros(1)})
def other_seed(raw): return None


@pytest.mark.parametrize('harm', [cut, flipped, nothing, text, other_shape, nan, other_seed], ids=lambda f: f.__name__)
def test_a_damaged_model_is_trained_again(harm, three, cache, trained, capsys):
    assert main([*ASK, 'predict', three]) == 0
    first, file = capsys.readouterr().out, cache/'linear_model-linear-by-hand-37-42-cpu-float32.safetensors'
    if harm is other_seed:
        assert main([*ASK, '--seed', '7', 'predict', three]) == 0
        os.replace(cache/'linear_model-linear-by-hand-37-7-cpu-float32.safetensors', file)
    else: file.write_bytes(harm(file.read_bytes()))
    trained.clear()
    capsys.readouterr()
    assert main([*ASK, 'predict', three]) == 0
    out, err = capsys.readouterr()
    assert out == first and trained == ['linear, by hand']
    assert err.startswith('mnist-basics: ') and err.count('\n') == 1 and 'trained again' in err
    assert main([*ASK, 'predict', three]) == 0
    assert capsys.readouterr() == (first, '') and {o.name for o in cache.iterdir()} >= KEPT


def test_models_of_another_version_are_trained_again(three, trained, monkeypatch, capsys):
    from mnist_basics import ladder
    with monkeypatch.context() as m:
        m.setattr('mnist_basics.__version__', '0')
        assert main([*ASK, 'predict', three]) == 0
    assert not capsys.readouterr().err
    assert main([*ASK, 'predict', three]) == 0
    err = capsys.readouterr().err
    assert len(trained) == 6 and err.count('\n') == 1 and 'another version' in err
    assert main([*ASK, 'predict', three]) == 0
    assert len(trained) == 6 and not capsys.readouterr().err


def test_what_decides_a_result_decides_what_is_kept(monkeypatch):
    "Another seed, order of digits, device, arithmetic, setting or version is another model"
    from functools import partial
    from mnist_basics import ladder
    from mnist_basics.ladder import RUNGS, TEN_RUNGS, Trained, recipe, rungs_for
    rung = RUNGS[1]
    half = rungs_for((3, 7), 'bfloat16')[-1]
    assert half.precision == recipe(half)['precision'] == 'bfloat16' != recipe(RUNGS[-1])['precision']
    assert recipe(TEN_RUNGS[-1])['temperature'] == 0.4 and 'seed' not in recipe(TEN_RUNGS[-1])
    import torch
    from mnist_basics.models import Classifier
    kept = ladder.ModelCache()
    kept.save(Trained(rung, Classifier(torch.nn.Linear(784, 1), [3, 7], history=[.5]), 1., 42, 'cpu'))
    assert kept.load(rung).model.history == [.5]
    longer = rung._replace(train=partial(rung.train, epochs=22))
    others = dict(seed=43), dict(digits=(7, 3)), dict(device='meta'), dict(rung=RUNGS[2]), dict(rung=longer), dict(rung=rung._replace(precision='bfloat16'))
    assert not any(kept.load(**({'rung': rung} | o)) for o in others)
    monkeypatch.setattr('mnist_basics.__version__', '0')
    assert kept.load(rung) is None


def test_what_was_kept_comes_back_without_a_draw():
    import torch
    from mnist_basics.ladder import RUNGS, TEN_RUNGS
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for k, rungs in ((2, RUNGS), (10, TEN_RUNGS)):
        for o in rungs: assert o.blank(range(k), None).classes == list(range(k))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('where', ['a file', 'below a file', pytest.param('locked', marks=root)])
def test_a_cache_that_cannot_be_written_is_no_error(where, tmp_path, three, trained, monkeypatch, capsys):
    (tmp_path/'file').touch()
    (tmp_path/'locked').mkdir(mode=0o500)
    monkeypatch.setenv('MNIST_BASICS_CACHE', str(tmp_path/{'a file': 'file', 'below a file': 'file/below', 'locked': 'locked'}[where]))
    for args in [*ASK, 'predict', three], ASK:
        assert main(args) == 0
        out, err = capsys.readouterr()
        assert 'linear, shuffled' in out and err.startswith('mnist-basics: ') and err.count('\n') == 1 and 'MNIST_BASICS_CACHE' in err
    assert len(trained) == 6


def test_two_processes_at_once(three, cache, tmp_path):
    runs = [start(*ASK, 'predict', three, cwd=tmp_path) for _ in range(2)]
    (out, err), (out2, err2) = (o.communicate() for o in runs)
    assert [o.returncode for o in runs] == [0, 0] and out == out2 and not err + err2
    assert {o.name for o in cache.iterdir()} == KEPT


def test_reading_while_others_write(capsys):
    "Whoever loads meets a whole model, however often it is written meanwhile"
    from mnist_basics.data import digit_data
    from mnist_basics.ladder import ModelCache, RUNGS, train_rung
    model, kept = train_rung(RUNGS[0], digit_data(device='cpu')), ModelCache()
    kept.save(model)
    def write():
        for _ in range(40): ModelCache().save(model)
    writers = [threading.Thread(target=write) for _ in range(3)]
    for o in writers: o.start()
    while any(o.is_alive() for o in writers): assert kept.load(RUNGS[0], device='cpu').model.means.equal(model.model.means)
    for o in writers: o.join()
    assert len(list(kept.folder.iterdir())) == 1 and not capsys.readouterr().err


def test_the_cache_lies_where_the_system_wants_it(monkeypatch):
    from platformdirs import user_cache_path
    from mnist_basics.files import cache_folder
    monkeypatch.setenv('MNIST_BASICS_CACHE', '')
    assert cache_folder() == user_cache_path('mnist_basics', appauthor=False)
    monkeypatch.setenv('MNIST_BASICS_CACHE', '~/models')
    assert cache_folder() == Path.home()/'models'


# ---- many pictures, good and bad

@pytest.fixture
def pictures(tmp_path):
    "Five files: a 3, a blank one, a 7, one that is no picture, and none"
    from PIL import Image
    from mnist_basics.data import mnist
    images, labels = mnist('valid', (3, 7))
    for d, name in (3, 'a'), (7, 'c'): Image.fromarray(255-images[labels==d][0].numpy()).save(tmp_path/f'{name}.png')
    Image.new('L', (28, 28), 255).save(tmp_path/'b.png')
    (tmp_path/'d.png').write_text('this is no picture')
    return [str(tmp_path/f'{o}.png') for o in 'abcde']


def test_one_bad_picture_among_many(pictures, capsys):
    quick = [*ASK[:2], '--stages', 'baseline', '--digits', '3,7']
    assert main([*quick, 'predict', *pictures]) == 1
    out, err = capsys.readouterr()
    assert [o.split(':')[0] for o in out.splitlines()[::2]] == pictures[:3:2] and len(out.splitlines()) == 4
    assert all(o in line for o, line in zip([pictures[1], *pictures[3:]], err.splitlines(), strict=True))
    assert main([*quick, 'predict', *pictures, '--json', '-']) == 1
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [o['file'] for o in rows] == pictures and [o['answer'] for o in rows] == [3, None, 7, None, None]
    for o in rows:
        if o['answer'] is None: assert (o['sure'], o['probability'], o['stages']) == (False, None, []) and o['reason'] in err


def test_nothing_is_trained_for_bad_pictures_alone(pictures, trained, capsys):
    assert main([*ASK, 'predict', pictures[1], pictures[4], '--json', '-']) == 1
    assert not trained and [o['answer'] for o in json.loads(capsys.readouterr().out)] == [None, None]


def test_several_digits_are_answered_each(three, monkeypatch, capsys):
    "Whatever finds them: here the reader of pictures is told that there are two"
    from mnist_basics import pictures
    real = pictures.read_digits
    def twice(path):
        seen = real(path)
        return seen._replace(images=seen.images.repeat(2, 1, 1))
    monkeypatch.setattr(pictures, 'read_digits', twice)
    assert main([*ASK, 'predict', three, '--json', '-']) == 0
    row, = json.loads(capsys.readouterr().out)
    assert (row['answer'], row['sure'], row['stages']) == (None, False, [])
    said = ', '.join(str(o['answer']) for o in row['digits'])
    assert said in ('3, 3', '7, 7') and row['reason'] == f'2 digits: {said}' and all(len(o['stages']) == 3 for o in row['digits'])
    assert main([*ASK, 'predict', three]) == 0
    assert f'2 digits: {said}' in capsys.readouterr().out


def test_a_page_of_pictures(pictures, tmp_path, cache, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr('webbrowser.open', lambda url: shown.append(url) or True)
    quick = [*ASK[:2], '--stages', 'baseline', '--digits', '3,7', 'predict']
    for args, page in ([*pictures[:3], '--show', str(tmp_path/'p.html')], tmp_path/'p.html'), (['--show', *pictures[:3]], cache/'pictures.html'):
        assert main([*quick, *args]) == 1
        text = page.read_text(encoding='utf8')
        read = Page(text)
        assert not read.open and read.headings == ['h1', 'h2', 'h2', 'h2'] and len(read.alts) == 5 and all(read.alts)
        assert all(o.startswith('data:image/png;base64,') for o in read.addresses) and '<script' not in text
    assert shown == [page.as_uri()] and str(page) in capsys.readouterr().out
    assert main([*quick, pictures[0], '--show', str(tmp_path/'nowhere'/'p.html')]) == 1
    out, err = capsys.readouterr()
    assert not out and 'nowhere' in err


# ---- stopped at any moment

# Stops itself when the module of the given number begins to load, where `how` is "import"; or as Python ends, or in a rung
STOPS = """
import atexit, os, signal, sys, threading
how, number = sys.argv.pop(1), int(sys.argv.pop(1))
def stop(): os.kill(os.getpid(), signal.SIGINT)
class Late:
    def __del__(self, stop=stop): stop()
from mnist_basics.__main__ import leave, main
signal.signal(signal.SIGINT, leave)  # as `main` begins
if how == 'import':
    left = iter(range(number))
    sys.addaudithook(lambda event, args: event == 'import' and next(left, None) == number-1 and stop())
if how == 'exit': atexit.register(stop)
if how == 'thread': threading._register_atexit(stop)
if how == 'end': sys.late = Late()
if how in ('batch', 'swallowed', 'weird'):
    import torch
    forward, left = torch.nn.functional.linear, iter(range(number))
    def linear(*args):
        if next(left, None) == number-1:
            if how == 'batch': stop()
            if how == 'swallowed': sys.late = Late(); del sys.late
            if how == 'weird':
                try: stop()
                except KeyboardInterrupt: raise ImportError('a module could not be loaded') from None
        return forward(*args)
    torch.nn.functional.linear = linear
raise SystemExit(main())
"""


def stopped(how, number, cwd, *args):
    run = subprocess.run([sys.executable, '-c', STOPS, how, str(number), *args], cwd=cwd, capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize('number', [1, 3, 10, 30, 60, 100, 150, 220, 400, 700])
def test_stopped_while_it_is_loaded(number, tmp_path, cache):
    assert stopped('import', number, tmp_path, '--device', 'cpu', '--stages', 'baseline', '--json', 'a.json') == (130, '', STOPPED)
    assert not list(tmp_path.iterdir()) and not list(cache.iterdir())


@pytest.mark.parametrize('how', ['exit', 'thread', 'end'])
def test_stopped_when_all_is_done(how, tmp_path):
    code, out, err = stopped(how, 0, tmp_path, 'notebooks', 'here')
    assert (code, err.replace(STOPPED, '')) in [(0, ''), (130, '')] and 'copied' in out


@pytest.mark.parametrize('how,args', [('batch', ['--digits', '0-9', '--stages', 'linear_model', '--json', 'a.json', '--report', 'page']),
    ('batch', ['predict', 'three.png', '--stages', 'mlp', '--json', '-']),
    ('swallowed', ['--stages', 'mlp', '--json', 'a.json']), ('weird', ['--stages', 'mlp', '--json', 'a.json'])])
def test_stopped_while_it_trains(how, args, tmp_path, cache, three):
    "Nothing is written, and no model of half a training is kept"
    before = {'three.png'}
    code, out, err = stopped(how, 40, tmp_path, '--device', 'cpu', *args)
    assert code == 130 and err.endswith(STOPPED) and 'Traceback' not in err and out.count('\n') <= ('--json' in args and '-' not in args)
    assert set(os.listdir(tmp_path)) == before and not list(cache.iterdir())


def test_stopped_by_a_caller(tmp_path, monkeypatch, capsys):
    "`main` as a function: the code comes back, and Ctrl-C does again what it did"
    from mnist_basics import ladder
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def stop(*args, **kwargs): signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(ladder, 'train_rung', stop)
    try:
        assert main(['--device', 'cpu', '--stages', 'baseline', '--json', str(tmp_path/'a.json')]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and sys.unraisablehook is hook
    finally: signal.signal(signal.SIGINT, handler)
    out, err = capsys.readouterr()  # no more than the heading of the ladder
    assert out.startswith('stage ') and out.count('\n') == 1 and err == STOPPED and not os.listdir(tmp_path)


# ---- streams, paths, and what is around the command

needs_sh = pytest.mark.skipif(os.name != 'posix', reason='no such shell here')


def shell(line, cwd, **env):
    run = subprocess.run(['bash', '-c', line.replace('mb', f"'{sys.executable}' -m mnist_basics", 1)], cwd=cwd, capture_output=True, env={**os.environ, **env})
    return run.returncode, run.stdout.decode(errors='surrogateescape'), run.stderr.decode(errors='surrogateescape')


QUICK = 'mb --stages baseline --device cpu'


@needs_sh
@pytest.mark.parametrize('line,code,out,err', [
    ('mb notebooks here >&-', 0, '', ''),
    ('mb notebooks here 2>&-', 0, 'here: ', ''),
    ('mb notebooks here >&- 2>&-', 0, '', ''),
    ('mb notebooks here <&- >&- 2>&-', 0, '', ''),
    ('mb --stages bogus --json - 2>&-', 2, '', ''),
    ('mb --json 2>&-', 2, '', ''),
    ('mb notebooks here >/dev/full', 1, '', 'mnist-basics: standard output: No space left on device\n'),
    ('mb --help >/dev/full', 1, '', 'mnist-basics: standard output: No space left on device\n'),
    ('mb --stages bogus 2>/dev/full', 2, '', '')])
def test_closed_and_full_streams(line, code, out, err, tmp_path):
    if 'full' in line and not Path('/dev/full').exists(): pytest.skip('no /dev/full here')
    got = shell(line, tmp_path)
    assert got[0] == code and got[1].startswith(out) and bool(got[1]) == bool(out) and got[2] == err
    if 'here' in line and 'full' not in line: assert (tmp_path/'here'/'index.ipynb').read_bytes() == (series_folder()/'index.ipynb').read_bytes()


@needs_sh
@pytest.mark.parametrize('to', ['--json /dev/stdout | cat', '--json /dev/fd/3 3>&1 >/dev/null | cat', '--json >(cat >copy) >/dev/null; sleep .2; cat copy'])
def test_json_to_an_open_file(to, tmp_path):
    "Of the process, which has no name to be replaced"
    code, out, err = shell(f'{QUICK} {to}', tmp_path)
    assert not err and code == 0
    assert json.loads(out[out.index('['):])[0]['stage'] == 'baseline'


@needs_sh
def test_a_pipe_that_nobody_reads_is_refused(tmp_path, trained, capsys):
    os.mkfifo(tmp_path/'pipe')
    assert main(['--stages', 'baseline', '--device', 'cpu', '--json', str(tmp_path/'pipe')]) == 1
    out, err = capsys.readouterr()
    assert not out and not trained and str(tmp_path/'pipe') in err and err.count('\n') == 1


@needs_sh
def test_paths_that_are_no_text(tmp_path):
    "Come out as the bytes that they are"
    name = os.fsdecode(b'caf\xe9')
    try: (tmp_path/name).mkdir()
    except OSError: pytest.skip('names are text here')
    for env in {}, dict(PYTHONIOENCODING='ascii'), dict(PYTHONIOENCODING='latin-1'):
        code, out, err = shell(f"mb notebooks $'caf\\xe9/nb'", tmp_path, **env)
        assert code == 0 and out.startswith(f'{name}/nb: ')
    code, out, err = shell(f"mb predict $'\\xff.png' --device cpu --json -", tmp_path)
    assert (code, err) == (1, f"mnist-basics: {os.fsdecode(bytes([255]))}.png: there is no such file\n") and json.loads(out)[0]['file'] == '\udcff.png'


def test_as_wide_as_the_terminal(monkeypatch, capsys):
    for columns in 40, 60, 200:
        monkeypatch.setenv('COLUMNS', str(columns))
        for args in ['--help'], ['predict', '--help'], ['draw', '--help']:
            assert main(args) == 0
            assert max(map(len, capsys.readouterr().out.splitlines())) <= min(columns, 90)


def test_no_colours(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('NO_COLOR', '1')
    for args in ['--help'], ['--stages', 'x'], ['predict', 'none.png']:
        main(args)
        assert '\x1b' not in ''.join(capsys.readouterr())


def test_leaves_no_trace(three, tmp_path, capsys):
    import numpy as np, torch
    def drawn(): return random.random(), np.random.rand(), torch.rand(1).item()
    def around():
        return (dict(os.environ), [(id(o), o.errors) for o in (sys.stdout, sys.stderr)], set(threading.enumerate()), torch.get_num_threads(),
            os.getcwd(), sys.unraisablehook, [signal.getsignal(o) for o in (signal.SIGINT, signal.SIGTERM)], torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(), torch.is_grad_enabled())
    for args in ['predict', three, '--show', str(tmp_path/'p.html')], ['--report', str(tmp_path/'r')], ['--seed', 'x'], ['--help'], ['data'], ['predict', 'none.png']:
        before = around()
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        main([*ASK, *args] if args[0] in ('predict', '--report') and args[-1] != 'none.png' else args)
        seen = drawn()
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        assert seen == drawn(), args
        assert around() == before, args


def test_a_file_that_fails_takes_no_other_with_it(tmp_path, monkeypatch, capsys):
    "Report and JSON: each is written though the other is not, and the message names which"
    from mnist_basics import command, report
    for module, fails, other in (report, 'r/index.html', 'a.json'), (command, 'a.json', 'r/index.html'):
        folder = tmp_path/module.__name__
        folder.mkdir()
        monkeypatch.chdir(folder)
        def full(path, content): raise OSError(28, 'No space left on device', str(path))
        with monkeypatch.context() as m:
            m.setattr(module, 'write_whole', full)
            assert main(['--stages', 'baseline', '--device', 'cpu', '--json', 'a.json', '--report', 'r']) == 1
        out, err = capsys.readouterr()
        assert '0.9514' in out and err.count('\n') == 1 and err.endswith(f'{fails}: No space left on device\n')
        assert (folder/other).stat().st_size and not (folder/fails).exists()


# ---- what SECURITY.md promises

ROOT = Path(__file__).resolve().parent.parent


def test_each_promise_names_a_test():
    rows = [o for o in (ROOT/'SECURITY.md').read_text(encoding='utf8').splitlines() if o.startswith('| ') and not o.startswith('| promise')]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r'`(tests/\w+\.py)::(\w+)`', row)
        assert named, row
        for file, name in named: assert f'\ndef {name}(' in (ROOT/file).read_text(encoding='utf8'), f'{file} has no {name}'


def test_no_file_is_unpickled():
    "Only the judge of the exercises unpickles, and only what its own two processes say to each other"
    for path in (ROOT/'mnist_basics').glob('*.py'):
        for o in ast.walk(ast.parse(path.read_text(encoding='utf8'))):
            if isinstance(o, ast.Import): assert path.stem == 'judge' or not {a.name for a in o.names} & {'pickle', 'cloudpickle', 'shelve', 'marshal'}, path
            if isinstance(o, ast.ImportFrom): assert o.module not in ('pickle', 'cloudpickle', 'shelve', 'marshal'), path
            if not isinstance(o, ast.Call): continue
            called, settings = ast.unparse(o.func), {k.arg: ast.unparse(k.value) for k in o.keywords}
            if called == 'torch.load': assert settings.get('weights_only') == 'True', path
            if called in ('np.load', 'numpy.load', 'pd.read_pickle'): assert settings.get('allow_pickle', 'False') == 'False' and 'pickle' not in called, path
            assert settings.get('shell', 'False') == 'False' and called not in ('os.system', 'exec'), path


def test_nothing_is_sent(tmp_path, three, cache):
    code = """
import sys
def heard(event, args):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto', 'socket.sendmsg', 'urllib.Request'): raise SystemExit(f'{event} {args}')
sys.addaudithook(heard)
from mnist_basics.command import main
for args in sys.argv[1].split(';'):
    assert main(args.split()) == 0, args
"""
    quick = '--device cpu --stages baseline'
    asked = f'{quick} --report r --json a.json;predict three.png {quick} --show p.html;notebooks n'
    run = subprocess.run([sys.executable, '-c', code, asked], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, '') and (tmp_path/'r'/'index.html').exists()


# ---- the report

class Page(HTMLParser):
    "Tags that are open at the end, alt texts, headings, and addresses"
    VOID = {'meta', 'img', 'br'}

    def __init__(self, text):
        super().__init__()
        self.open, self.alts, self.headings, self.addresses = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID: self.open.append(tag)
        if tag == 'img': self.alts.append(attrs['alt'])
        if re.fullmatch('h[1-6]', tag): self.headings.append(tag)
        self.addresses += [v for k, v in attrs.items() if k in ('src', 'href')]

    def handle_endtag(self, tag): assert self.open.pop() == tag


def test_report(tmp_path, capsys):
    page = tmp_path/'new'/'report'/'index.html'
    for _ in range(2): assert main([*ASK, '--report', str(page.parent)]) == 0
    assert not capsys.readouterr().err and [o.name for o in page.parent.iterdir()] == ['index.html']
    text = page.read_text(encoding='utf-8')
    read = Page(text)
    assert not read.open and read.headings == ['h1', 'h2', 'h2', 'h2', 'h3', 'h3', 'h3']
    assert len(read.alts) == 2 + 3*12 and all(read.alts)
    assert all(o.startswith('data:image/png;base64,') for o in read.addresses) and 'url(' not in text and '@import' not in text and '<script' not in text
    assert '0.9514' in text and '926' in text and 'prefers-color-scheme: dark' in text


def test_report_without_epochs_or_mistakes(tmp_path, capsys):
    "A stage that learns nothing, and one that makes no mistake"
    import torch
    from mnist_basics.report import report_page
    from mnist_basics.data import Data
    from mnist_basics.ladder import Rung, Trained, measure
    from mnist_basics.models import DigitModel
    images, labels = torch.zeros(4, 28, 28), torch.tensor([3, 3, 7, 7])
    images[:2] = 1
    data = Data((images, labels), (images, labels))
    class Ink(DigitModel):
        def score_batch(self, xb): return torch.stack([xb[:, 0, 0], 1-xb[:, 0, 0]], 1)
        def tensors(self): return {}
    trained = [Trained(Rung('a & b', '<perfect>', None), Ink([3, 7]), .1, 42, 'cpu')]
    read = Page(report_page(trained, [measure(o, images, labels) for o in trained], data, 'a < b'))
    assert not read.open and len(read.alts) == 1 and '<perfect>' in read.alts[0]


def test_notebooks_of_the_reader_are_kept(tmp_path, capsys):
    dest = tmp_path/'new'/'series'
    assert main(['notebooks', str(dest)]) == 0
    names = notebook_names(series_folder())
    assert notebook_names(dest) == names and {'01_pixels.ipynb', 'workshop/02_files.ipynb'} < set(names)
    assert all((dest/o).read_bytes() == (series_folder()/o).read_bytes() for o in names)
    mine, gone = dest/names[0], dest/names[1]
    mine.write_text('my notes')
    gone.unlink()
    stamp = (dest/names[2]).stat().st_mtime_ns
    capsys.readouterr()
    assert main(['notebooks', str(dest)]) == 1
    out, err = capsys.readouterr()
    assert f'1 copied, {len(names)-2} unchanged, 1 kept' in out and names[0] in err and '--force' in err
    assert mine.read_text() == 'my notes' and gone.exists() and (dest/names[2]).stat().st_mtime_ns == stamp
    assert main(['notebooks', str(dest), '--force']) == 0
    assert mine.read_bytes() == (series_folder()/names[0]).read_bytes()
    assert notebook_names(dest) == names


def test_a_dangling_link_is_the_readers_too(tmp_path):
    source, dest = tmp_path/'source', tmp_path/'dest'
    for o in source, dest: o.mkdir()
    (source/'01_pixels.ipynb').write_text('as published')
    (dest/'01_pixels.ipynb').symlink_to(tmp_path/'elsewhere')
    assert copy_notebooks(dest, source=source) == {'01_pixels.ipynb': 'kept'}
    assert not (tmp_path/'elsewhere').exists()


def test_force_does_not_write_through_a_link(tmp_path, capsys):
    source, dest, elsewhere = tmp_path/'source', tmp_path/'dest', tmp_path/'elsewhere'
    for o in source/'workshop', dest, elsewhere: o.mkdir(parents=True)
    for o in 'a.ipynb', 'workshop/b.ipynb': (source/o).write_text('as published')
    (elsewhere/'mine').write_text('mine')
    (dest/'a.ipynb').symlink_to(elsewhere/'mine')
    assert copy_notebooks(dest, source=source)['a.ipynb'] == 'kept'
    assert copy_notebooks(dest, True, source=source)['a.ipynb'] == 'replaced'
    assert (elsewhere/'mine').read_text() == 'mine' and (dest/'a.ipynb').read_text() == 'as published' and not (dest/'a.ipynb').is_symlink()
    other = tmp_path/'other'
    other.mkdir()
    (other/'workshop').symlink_to(elsewhere)
    for force in False, True:
        with pytest.raises(FileExistsError, match='workshop is a link'): copy_notebooks(other, force, source=source)
    assert os.listdir(elsewhere) == ['mine']


@pytest.mark.parametrize('work, code, said', [
    ('return 0', 0, ''), ('return 3', 3, ''), ('raise SystemExit', 0, ''), ('raise SystemExit(2)', 2, ''),
    ('raise SystemExit("no luck")', 1, 'no luck\n'), ('raise ValueError("a fault")', 1, 'ValueError: a fault\n')])
def test_the_program_ends_as_its_work_does(work, code, said):
    "It ends without Python's own end: yet all is printed, what was registered is done, and the exit code is right"
    run = f'''
import atexit, mnist_basics.command
def main(argv):
    atexit.register(print, ', tidied up')
    print('at work', end='')
    {work}
mnist_basics.command.main = main
from mnist_basics.__main__ import program
raise SystemExit(program())'''
    p = subprocess.run([sys.executable, '-c', run], capture_output=True, text=True)
    assert (p.returncode, p.stdout) == (code, 'at work, tidied up\n')
    assert p.stderr.endswith(said) and bool(p.stderr) == bool(said)
