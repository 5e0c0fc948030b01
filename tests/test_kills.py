"""Kills, races and flips: whatever becomes of a process or of a byte, what is read is whole and right.

A few of each always run; `MNIST_BASICS_LONG=1` runs 50 kills of each kind, 10 races and thousands of flips."""
import gzip, json, multiprocessing, os, random, shutil, socket, threading, time
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np
import pytest, torch
from mnist_basics import data, files
from mnist_basics.command import copy_notebooks
from mnist_basics.data import load_idx, mnist_sample
from mnist_basics.files import check_target, read_whole, write_whole
from mnist_basics.ladder import ModelCache, RUNGS, Trained
from mnist_basics.models import Classifier, load_model, read_model, save_model, saved_info
from mnist_basics.report import MARK, write_report

LONG = bool(os.getenv('MNIST_BASICS_LONG'))
posix = pytest.mark.skipif(os.name != 'posix', reason='no process can be killed, and no pipe made, as here')
DIGITS, ALL_IDX = (5,), data.load_idx
PLACES = 'disk', pytest.param('memory', marks=pytest.mark.skipif(not Path('/dev/shm').is_dir(), reason='no folder in memory here'))


def first_images(name): return ALL_IDX(name)[:60_000 if LONG else 3000]


@pytest.fixture(autouse=True)
def fewer(monkeypatch): monkeypatch.setattr(data, 'load_idx', first_images)


@pytest.fixture
def place(request, tmp_path):
    "A folder on a disk, or in memory"
    if request.param == 'disk': yield tmp_path
    else:
        with TemporaryDirectory(dir='/dev/shm') as folder: yield Path(folder)


# What is done again and again, by processes that are killed or race, and what must hold after it
class Pictures:
    "An empty home is filled"
    def prepare(self, folder): shutil.rmtree(folder/'home', ignore_errors=True)

    def work(self, folder, verify=False):
        os.environ['FASTAI_HOME'] = str(folder/'home')
        path = mnist_sample(DIGITS, verify=verify)
        self.listed(path)
        return path

    def listed(self, path):
        "All that there is at once, which is what a training would read"
        n = sum((first_images(o[1]) == DIGITS[0]).sum() for o in data._FILES.values())
        for _ in range(3): assert len(list(path.glob('*/5/*.png'))) == n

    def check(self, folder):
        path = self.work(folder, verify=True)
        assert not data._damaged(path, list(DIGITS), True)
        assert [o.name for o in path.parent.iterdir()] == [path.name]


class Repair(Pictures):
    "Pictures that are gone, cut short or others are mended, and nothing else is touched"
    def prepare(self, folder):
        path = super().work(folder)
        (path/'mine.pth').write_bytes(b'mine')
        found = random.sample(sorted(path.glob('*/5/*.png')), 90)
        for o in found[:30]: o.unlink()
        for o in found[30:60]: o.write_bytes(o.read_bytes()[:99])
        for o in found[60:]: o.write_bytes(found[-1].read_bytes())

    def work(self, folder, verify=True): return super().work(folder, verify)

    def check(self, folder):
        super().check(folder)
        assert (folder/'home'/'data'/'mnist_basics_5'/'mine.pth').read_bytes() == b'mine'


def weights(seed, n=784): return torch.rand(n, generator=torch.Generator().manual_seed(seed))


class Cache:
    "Models are kept in the cache"
    def prepare(self, folder): pass

    def model(self, seed):
        net = torch.nn.Linear(784, 1)
        with torch.no_grad(): net.weight.copy_(weights(seed)[None]), net.bias.zero_()
        return Trained(RUNGS[1], Classifier(net, [3, 7], history=[.5]), 1., 42, 'cpu')

    def work(self, folder):
        for i in range(8): ModelCache(folder/'cache').save(self.model(i % 2))

    def check(self, folder):
        self.right(ModelCache(folder/'cache'))
        if (folder/'cache').exists(): assert len(list((folder/'cache').iterdir())) <= 1

    def right(self, cache):
        got = cache.load(RUNGS[1])
        assert not cache.said
        assert got is None or got.model.net.weight[0].tolist() in [weights(o).tolist() for o in (0, 1)]


class Save:
    "A model is saved over another"
    def prepare(self, folder): pass
    def content(self, seed): return {'w': weights(seed, 300_000)}

    def work(self, folder):
        for i in range(8): save_model(folder/'new'/'m.safetensors', self.content(i % 2), i=i % 2)

    def check(self, folder):
        file = folder/'new'/'m.safetensors'
        if file.exists():
            saved = read_model(file)
            assert saved.tensors['w'].equal(self.content(saved.info['i'])['w'])
        save_model(file, self.content(0), i=0)
        assert list(file.parent.iterdir()) == [file]


class Report:
    "A report replaces another"
    def prepare(self, folder): pass
    def page(self, i): return MARK + 'ab'[i]*1_000_000

    def work(self, folder):
        for i in range(8): write_report(folder/'report', self.page(i % 2))

    def check(self, folder):
        page = folder/'report'/'index.html'
        if page.exists(): assert page.read_text() in map(self.page, (0, 1))
        write_report(folder/'report', self.page(0))
        assert list(page.parent.iterdir()) == [page]


class Notebooks:
    "Notebooks replace those of another version"
    def source(self, folder, i):
        there = folder/f'source{i}'
        (there/'workshop').mkdir(parents=True, exist_ok=True)
        for n in range(6): (there/('workshop' if n % 2 else '.')/f'{n}.ipynb').write_text(self.text(i))
        return there

    def text(self, i): return json.dumps(dict(cells='ab'[i]*300_000))
    def prepare(self, folder): self.source(folder, 0), self.source(folder, 1)

    def work(self, folder):
        for i in range(4): copy_notebooks(folder/'dest', True, folder/f'source{i % 2}')

    def check(self, folder):
        for o in (folder/'dest').rglob('[0-9].ipynb'): assert o.read_text() in map(self.text, (0, 1))
        copy_notebooks(folder/'dest', True, folder/'source0')
        assert sorted(o.name for o in (folder/'dest').rglob('*')) == [*(f'{n}.ipynb' for n in range(6)), 'workshop']


KINDS = {o.__name__: o for o in (Pictures, Repair, Cache, Save, Report, Notebooks)}
each_kind = pytest.mark.parametrize('kind', KINDS)


def child(kind, folder, pipe, gate=None):
    "What runs in another process: it says when it begins, and how long it took or what went wrong"
    data.load_idx = first_images
    torch.set_num_threads(1)
    pipe.send('begins')
    try:
        if gate: gate.wait()
        start = time.perf_counter()
        KINDS[kind]().work(folder)
        pipe.send(time.perf_counter()-start)
    except BaseException as e: pipe.send(f'{type(e).__name__}: {e}')


@pytest.fixture(scope='session')
def processes():
    "Starts processes from one that has imported all"
    mp = multiprocessing.get_context('forkserver')
    mp.set_forkserver_preload(['pytest', 'mnist_basics.ladder', 'mnist_basics.command', 'mnist_basics.report', __name__])
    def start(kind, folder, gate=None):
        here, there = mp.Pipe()
        p = mp.Process(target=child, args=(kind, folder, there, gate))
        p.start()
        there.close()
        assert here.recv() == 'begins'
        return p, here
    start.barrier = mp.Barrier
    return start


@posix
@each_kind
@pytest.mark.parametrize('place', PLACES if LONG else PLACES[1:], indirect=True)
def test_kills(kind, place, processes):
    "kill -9 at any moment: the next use finds all whole, and clears what was left"
    o, killed, rounds = KINDS[kind](), 0, 50 if LONG else 3
    o.prepare(place)
    p, said = processes(kind, place)
    seconds = said.recv()
    while killed < rounds:
        p.join()
        o.prepare(place)
        p, said = processes(kind, place)
        if not said.poll(random.uniform(0, seconds)): p.kill()
        p.join()
        if p.exitcode == -9: killed += 1
        else: seconds = said.recv()  # It was faster than the one before
        o.check(place)


@posix
@each_kind
@pytest.mark.parametrize('place', PLACES if LONG else PLACES[1:], indirect=True)
def test_races(kind, place, processes):
    "Eight at once: each finds all whole when it's done, and nothing is left"
    o, n = KINDS[kind](), 8 if LONG else 4
    for _ in range(10 if LONG else 1):
        o.prepare(place)
        gate = processes.barrier(n)
        crowd = []
        starters = [threading.Thread(target=lambda: crowd.append(processes(kind, place, gate))) for _ in range(n)]
        for t in starters: t.start()
        for t in starters: t.join()
        assert not [o for o in (said.recv() for _, said in crowd) if isinstance(o, str)]
        for p, _ in crowd: p.join()
        o.check(place)


@posix
def test_leftovers_of_many_kills(tmp_path, processes, capsys):
    "The next use clears them all at once, and leaves those of living processes alone"
    o, homes = Pictures(), tmp_path/'home'/'data'
    path = o.work(tmp_path)
    for i in range(5): shutil.copytree(path/'valid', homes/f'.{path.name}.{i:016x}.part')
    with files.locked(homes/f'.{path.name}.lock'):
        mnist_sample(DIGITS)
        assert len(list(homes.iterdir())) == 7
    mnist_sample(DIGITS)
    assert list(homes.iterdir()) == [path]
    folder = tmp_path/'cache'
    Cache().work(tmp_path)
    for i in range(5): (folder/f'.other.safetensors.{i:016x}.part').write_bytes(b'half')
    (folder/'.mine.part').write_bytes(b'of the user')
    with files._new_part(folder/'other.safetensors') as f:
        ModelCache(folder)
        assert sorted(o.name for o in folder.glob('.*')) == sorted(['.mine.part', Path(f.name).name])
    ModelCache(folder)
    assert [o.name for o in folder.glob('.*')] == ['.mine.part']


def test_without_locks(tmp_path, monkeypatch):
    "Where there are none, what may belong to a living process is left alone for an hour"
    def never(*args, **kwargs): raise OSError(37, 'No locks available')
    monkeypatch.setattr('filelock.FileLock.acquire', never)
    if files.fcntl: monkeypatch.setattr(files.fcntl, 'flock', never)
    path = Pictures().work(tmp_path)
    old, young = (path.with_name(f'.{path.name}.{i:016x}.part') for i in (1, 2))
    parts = [tmp_path/f'.a.json.{i:016x}.part' for i in (1, 2)]
    for o in old, young: o.mkdir()
    for o in parts: o.touch()
    for o in old, parts[0]: os.utime(o, (time.time()-7200,)*2)
    next(path.glob('*/5/*.png')).unlink()
    Pictures().work(tmp_path)
    write_whole(tmp_path/'a.json', b'1')
    assert sorted(path.parent.iterdir()) == [young, path] and not parts[0].exists() and parts[1].exists()


def test_writers_that_share_a_file(tmp_path):
    "Each reader meets what one of them wrote, and no writer disturbs another"
    file, errors, letters, n = tmp_path/'file', [], b'abcd', 300 if LONG else 20
    def write(o):
        try:
            for _ in range(n): write_whole(file, bytes([o])*100_000)
        except Exception as e: errors.append(e)
    write_whole(file, b'a'*100_000)
    writers = [threading.Thread(target=write, args=(o,)) for o in letters]
    for o in writers: o.start()
    while any(o.is_alive() for o in writers):
        found = read_whole(file)
        assert len(found) == 100_000 and len(set(found)) == 1
    for o in writers: o.join()
    assert not errors and list(tmp_path.iterdir()) == [file]


@posix
def test_targets(tmp_path, monkeypatch):
    "Every place that can't be written to is named before any work, and nothing is left of the trial"
    (tmp_path/'file').write_bytes(b'old')
    (tmp_path/'loop').symlink_to('loop')
    (tmp_path/'astray').symlink_to('none/file')
    os.mkfifo(tmp_path/'pipe')
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as s: s.bind('socket')
    before = sorted(tmp_path.iterdir())
    wrong = ['', 'file/', 'file/below', 'none/file', 'x'*256, 'x/'*3000+'x', 'loop', 'astray', 'pipe', 'socket', '.', '..', 'nul\0', '/dev/fd/999', '/proc/self/mem/x']
    for o in wrong:
        for path in (o, Path(o))[:1 if o in ('', 'file/') else 2]:
            for f in (check_target, lambda path: write_whole(path, b'new')):
                with pytest.raises(OSError) as e: f(path)
                assert e.value.filename == str(path) and e.value.strerror and '.part' not in str(e.value)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path/'file').read_bytes() == b'old'
    long = tmp_path/('é'*127)
    for o in (long, tmp_path/'file', b'bytes\xff', Path('new')):
        check_target(o)
        write_whole(o, b'new')
        assert read_whole(o) == b'new'


@posix
def test_links_pipes_and_permissions(tmp_path):
    "A link of one's own is followed, a pipe is written to, and who may read stays as it was"
    (tmp_path/'elsewhere').mkdir()
    (tmp_path/'a').symlink_to('b')
    (tmp_path/'b').symlink_to('elsewhere/file')
    for text in (b'1', b'2'):
        write_whole(tmp_path/'a', text)
        (tmp_path/'elsewhere'/'file').chmod(0o640)
    assert (tmp_path/'a').is_symlink() and (tmp_path/'b').is_symlink()
    assert (tmp_path/'elsewhere'/'file').read_bytes() == b'2'
    write_whole(tmp_path/'a', b'3')
    assert (tmp_path/'elsewhere'/'file').stat().st_mode & 0o777 == 0o640
    pipe = tmp_path/'pipe'
    os.mkfifo(pipe)
    with pytest.raises(OSError, match='nobody reads'): check_target(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    while True:
        try: check_target(pipe)
        except OSError: time.sleep(.01)  # The reader has not opened it yet
        else: break
    check_target(pipe)
    write_whole(pipe, b'x'*200_000)
    reader.join()
    assert got == [b'x'*200_000] and sorted(o.name for o in tmp_path.iterdir()) == ['a', 'b', 'elsewhere', 'pipe']


@posix
def test_nothing_is_planted(tmp_path, monkeypatch):
    "A link where the part would be is never written through: its name can't be guessed, and nothing may be there"
    (tmp_path/'victim').write_bytes(b'mine')
    names = iter(['0'*16, '1'*16])
    monkeypatch.setattr(files.secrets, 'token_hex', lambda n: next(names))
    (tmp_path/f'.a.{"0"*16}.part').symlink_to('victim')
    with pytest.raises(FileExistsError): write_whole(tmp_path/'a', b'theirs')
    write_whole(tmp_path/'a', b'theirs')
    assert (tmp_path/'victim').read_bytes() == b'mine' and (tmp_path/'a').read_bytes() == b'theirs'


@posix
def test_open_files_of_this_process(tmp_path):
    "/dev/stdout and its like are written to where they stand"
    r, w = os.pipe()
    for o in (f'/dev/fd/{w}', f'/proc/self/fd/{w}'):
        if not os.path.exists(o): continue
        check_target(o)
        write_whole(o, b'through')
        assert os.read(r, 99) == b'through'
    with pytest.raises(OSError, match='for reading only'): check_target(f'/dev/fd/{r}')
    with open(tmp_path/'log', 'wb') as f:
        f.write(b'before, ')
        f.flush()
        write_whole(f'/dev/fd/{f.fileno()}', b'between, ')
        f.write(b'after')
    assert (tmp_path/'log').read_bytes() == b'before, between, after'
    for o in (r, w): os.close(o)


def flips(raw, n):
    "`raw` with one bit flipped, in each byte of its beginning, and in `n` others"
    rng = random.Random(42)
    for i in [*range(min(len(raw), 700)), *(rng.randrange(len(raw)) for _ in range(n))]:
        yield raw[:i]+bytes([raw[i] ^ (1 << rng.randrange(8))])+raw[i+1:]


def mutations(raw, n):
    "`raw` cut short, grown, with pieces moved, blanked or drawn at random"
    rng = random.Random(43)
    for _ in range(n):
        i, j = sorted(rng.randrange(len(raw)) for _ in range(2))
        yield rng.choice([raw[:i], raw[i:], raw[:i]+raw[j:], raw[:j]+raw[i:], raw[:i]+bytes(j-i)+raw[j:],
                          raw[:i]+rng.randbytes(j-i)+raw[j:], raw[:i]+rng.randbytes(9)+raw[i:], rng.randbytes(j)])


def test_flips_in_models(tmp_path):
    "Another bit, another byte: a ValueError that names the file, or just what was saved"
    want = {'weight': weights(1, 500), 'steps': torch.arange(9), 'half': weights(2, 8).bfloat16()}
    file = save_model(tmp_path/'m.safetensors', want, digits=[3, 7], history=[.5, .75])
    raw, refused, n = file.read_bytes(), 0, 4000 if LONG else 150
    for o in (*flips(raw, n), *mutations(raw, n)):
        file.write_bytes(o)
        model = {k: torch.zeros_like(t) for k, t in want.items()}
        try:
            assert load_model(file, model) == saved_info(file) == dict(digits=[3, 7], history=[.5, .75])
            assert all(model[k].equal(t) for k, t in want.items())
        except ValueError as e:
            refused += 1
            assert str(e).startswith('m.safetensors ') and ': ' in str(e)
            assert not any(t.any() for t in model.values())
    assert refused > n


def test_flips_in_the_data(tmp_path, monkeypatch):
    "Pictures are mended, and the packed arrays are refused, unless they are just what they were"
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    path, rng = mnist_sample(DIGITS), random.Random(42)
    for o in path.glob('*/5/*.png'):
        raw = bytearray(o.read_bytes())
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        o.write_bytes(raw)
    mnist_sample(DIGITS, verify=True)
    assert not data._damaged(path, list(DIGITS), True)
    name, bare = 't10k-labels-idx1-ubyte', ALL_IDX.__wrapped__
    raw, want = (data.files('mnist_basics')/'idx'/f'{name}.gz').read_bytes(), ALL_IDX(name)
    n = 1000 if LONG else 50
    for o in (*list(flips(raw, n))[-n:], *mutations(raw, n), gzip.compress(b'\0\0\x08\1\0\0\0\1\0')):
        (tmp_path/f'{name}.gz').write_bytes(o)
        try: assert np.array_equal(bare(name, tmp_path), want)
        except ValueError as e: assert f'{name}.gz' in str(e)


def forged(file, info, tensors=None):
    "A file whose fingerprint is right, whatever it says"
    from mnist_basics.models import _fingerprint
    from safetensors.torch import save
    tensors = {'weight': torch.zeros(1, 784), 'bias': torch.zeros(1)} if tensors is None else tensors
    text = info if isinstance(info, str) else json.dumps(info)
    file.write_bytes(save(tensors, {'info': text, 'sha256': _fingerprint(tensors, text)}))


def odd_bytes(good):
    "Bytes that may stand in a file of `good`, by name"
    n = int.from_bytes(good[:8], 'little')
    head, rest = good[8:8+n], good[8+n:]
    def framed(text): return len(text).to_bytes(8, 'little')+text+rest
    return dict(nothing=b'', zeros=bytes(4000), text=b'this is no model', header_only=good[:8+n], half=good[:len(good)//2], more=good+b'\0',
                deep=framed(b'['*50_000), list=framed(b'[]'), number=framed(b'1'), null=framed(b'null'), bytes=framed(b'\xff'*99),
                huge=b'\xff'*8+good[8:], no_words=framed(head.replace(b'__metadata__', b'__metadatA__')), no_mark=framed(head.replace(b'sha256', b'sha255')),
                no_info=framed(head.replace(b'"info"', b'"inf0"')), dtype=framed(head.replace(b'"F32"', b'"I32"')), name=framed(head.replace(b'weight', b'weighs')),
                unknown_dtype=framed(head.replace(b'"F32"', b'"X32"')), pickle=b'\x80\x04K*.', zip=b'PK\x03\x04'+good)


INFOS = dict(list=[], number=7, deep='['*100_000, no_json='{', nothing={}, text='"text"')


def test_whatever_stands_in_a_model(tmp_path):
    file, net = tmp_path/'m.safetensors', torch.nn.Linear(784, 1)
    for name, raw in odd_bytes(save_model(file, net).read_bytes()).items():
        file.write_bytes(raw)
        for f in (saved_info, lambda o: load_model(o, net)):
            with pytest.raises(ValueError, match=r'^m.safetensors .*: (delete it|load it)'): f(file)
    for name in set(INFOS)-{'nothing'}:
        forged(file, INFOS[name])
        with pytest.raises(ValueError, match='^m.safetensors holds words'): load_model(file, net)
    file.unlink()
    file.mkdir()
    with pytest.raises(OSError, match='is a folder where a file is needed'): load_model(file, net)
    with pytest.raises(OSError, match='none'): saved_info(tmp_path/'none')


def test_a_header_makes_nothing(tmp_path, monkeypatch):
    "How large a model is to be, is believed only if the fingerprint is right"
    from mnist_basics import learner, mlp
    net = mlp.make_mlp(5)
    file = save_model(tmp_path/'m.safetensors', net, arch='mlp', args=dict(hidden=5))
    monkeypatch.setitem(learner.ARCHS, 'mlp', lambda **kwargs: pytest.fail(f'made a model of {kwargs}'))
    file.write_bytes(file.read_bytes().replace(b'hidden\\": 5', b'hidden\\":98'))
    with pytest.raises(ValueError, match='m.safetensors is damaged'): learner.load_learner(file)


def test_whatever_stands_in_a_learner(tmp_path):
    from mnist_basics.learner import load_learner
    from mnist_basics.mlp import make_mlp
    file, net = tmp_path/'m.safetensors', make_mlp(5)
    good, tensors = dict(arch='mlp', args=dict(hidden=5), classes=[3, 7], shape=[784], names=['epoch'], history=[[0]]), net.state_dict()
    for o in (dict(arch='none'), dict(arch=[]), dict(arch=None), dict(args=dict(hidden='x')), dict(args=dict(hiding=5)), dict(args=[5]), dict(args=dict(hidden=-5)), dict(args=dict(hidden=6)),
              dict(classes=7), dict(shape='x'), dict(names=7), dict(history=7), dict(history=[7]), dict(history=[['x']]), dict(history=[[[]]])):
        forged(file, good | o, tensors)
        with pytest.raises(ValueError, match='^m.safetensors.*: '): load_learner(file)
    forged(file, good, tensors)
    assert load_learner(file).classes == [3, 7]


def test_whatever_stands_in_a_checkpoint(tmp_path):
    "Not a bit of it may be another; what it says is used only if all of it fits"
    from mnist_basics.linear_model import DataLoader
    from mnist_basics.learner import DataLoaders, Learner
    from mnist_basics.outgrowing_one_machine import Checkpoint
    file, xy = tmp_path/'run.pt', (torch.rand(32, 4), torch.rand(32, 1))
    def train():
        torch.manual_seed(0)
        learn = Learner(DataLoaders(DataLoader(xy, 8), DataLoader(xy, 8)), torch.nn.Linear(4, 1), torch.nn.functional.mse_loss, cbs=Checkpoint(file))
        learn.logger, learn.bar = None, False
        learn.fit(2)
        return learn
    want = train().model.weight
    raw = file.read_bytes()
    torch.save([1, 2], tmp_path/'list')
    n = 300 if LONG else 40
    for o in (*list(flips(raw, n))[-n:], *mutations(raw, n), b'', b'text', files.unsealed(raw), files.sealed((tmp_path/'list').read_bytes())):
        if o == raw: continue
        file.write_bytes(o)
        with pytest.raises(ValueError, match=r'^run.pt .*: delete it'): train()
    file.write_bytes(raw)
    assert train().model.weight.equal(want)
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match='run.pt cannot be read, it is a folder'): train()


def test_whatever_stands_in_the_cache(tmp_path, capsys):
    "One line that says why it is trained again, and then it is kept anew"
    folder, good, rung = tmp_path/'cache', Cache().model(0), RUNGS[1]
    cache = ModelCache(folder)
    cache.save(good)
    file, = folder.iterdir()
    info, raw = saved_info(file), file.read_bytes()
    def refused(says='', kept=True):
        capsys.readouterr()
        assert ModelCache(folder).load(rung) is None
        err = capsys.readouterr().err
        assert err.startswith('mnist-basics: ') and err.count('\n') == 1 and 'trained again, because ' in err and says in err, err
        ModelCache(folder).save(good)
        if kept: assert ModelCache(folder).load(rung).model.net.weight.equal(good.model.net.weight)
    for o in odd_bytes(raw).values():
        file.write_bytes(o)
        refused(file.name)
    odd = [{k: v for k, v in info.items() if k != o} for o in ('history', 'seconds', 'device', 'arithmetic')]
    odd += [info | o for o in (dict(history=7), dict(history=['a']), dict(seconds='1'), dict(device=3), dict(arithmetic='int8'), dict(arithmetic=[]))]
    for o in odd:
        forged(file, o)
        refused(file.name)
    for o in INFOS.values():
        forged(file, o)
        refused()
    for o in ({}, {'weight': torch.zeros(1, 784)}, {'weight': torch.zeros(1, 784), 'bias': torch.zeros(2)},
              {'weight': torch.full((1, 784), torch.nan), 'bias': torch.zeros(1)}):
        forged(file, info, o)
        refused(file.name)
    file.unlink()
    file.symlink_to('nowhere')
    refused()
    file.unlink()
    if hasattr(os, 'mkfifo'):
        os.mkfifo(file)
        refused('is a pipe', kept=False)
        assert 'is a pipe that nobody reads' in capsys.readouterr().err
        file.unlink()
    file.mkdir()
    refused('is a folder', kept=False)
    assert 'is a folder' in capsys.readouterr().err
