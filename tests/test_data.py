"What no lesson cell can show of mnist_basics.data: homes of every kind, files that others wrote."
import io, os, random, shutil, socket, subprocess, sys, warnings
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np
import pytest, torch
from PIL import Image
from mnist_basics import data
from mnist_basics.devices import set_seed
from mnist_basics.data import fastai_data_path, mnist, mnist_sample, to_mnist

DIGITS = (5,) # 6,313 pictures: the smallest set

@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'home'))
    return tmp_path/'home'

@pytest.fixture
def few(monkeypatch):
    "Only the first images, where a test writes many files and their number is of no matter"
    real = data.load_idx
    monkeypatch.setattr(data, 'load_idx', lambda name: real(name)[:3000])

def pictures(path): return {p.relative_to(path).as_posix(): p for p in path.rglob('*.png')}
def beside(path): return sorted(p.name for p in path.parent.iterdir() if p!=path)
def ours(path): return data._image_of(path.relative_to(path.parents[2]).as_posix())

def assert_complete(path):
    "All pictures are there and show what they should, looked at with Pillow"
    found, n = pictures(path), sum((data.load_idx(o[1])==5).sum() for o in data._FILES.values())
    assert len(found)==n
    for p in found.values(): assert np.array_equal(np.asarray(Image.open(p)), ours(p))
    assert len((path/'labels.csv').read_text().splitlines())==n+1

def test_damage_is_mended_and_nothing_else_touched(home, few):
    path = mnist_sample(DIGITS)
    names = sorted(pictures(path).values())
    names[0].unlink()
    names[1].write_bytes(b'')
    names[2].write_bytes(names[2].read_bytes()[:400])
    for p in (path/'valid'/'5').iterdir(): p.unlink()
    (path/'valid'/'5').rmdir()
    (path/'labels.csv').write_text('name,label\n')
    kept = [path/'models'/'mine.pth', path/'train'/'5'/'notes.txt', path/'export.pkl']
    for p in kept:
        p.parent.mkdir(exist_ok=True)
        p.write_bytes(b'mine')
    untouched = names[10].stat().st_mtime_ns
    assert mnist_sample(DIGITS)==path
    assert_complete(path)
    assert [p.read_bytes() for p in kept]==[b'mine']*3
    assert names[10].stat().st_mtime_ns==untouched
    swapped = names[3].read_bytes()
    names[4].write_bytes(swapped) # Another digit, of the right size
    mnist_sample(DIGITS)
    assert names[4].read_bytes()==swapped
    mnist_sample(DIGITS, verify=True)
    assert_complete(path)

def test_a_copy_that_another_program_packed_counts(home, monkeypatch):
    path = mnist_sample(DIGITS)
    rows = (path/'labels.csv').read_text().splitlines()
    random.Random(42).shuffle(rest := rows[1:])
    (path/'labels.csv').write_bytes(('\r\n'.join(rows[:1]+rest)+'\r\n').encode())
    found = sorted(pictures(path).values())
    for p in found: Image.open(p).save(p, optimize=True)
    theirs = {p: p.read_bytes() for p in found}
    assert len(set(map(len, theirs.values())))>100
    mnist_sample(DIGITS)
    assert {p: p.read_bytes() for p in found}==theirs
    assert beside(path)==['.mnist_basics_5.checked']
    with monkeypatch.context() as m: # From now on sizes are enough
        m.setattr(data, '_same_picture', lambda *args: pytest.fail('looked again'))
        mnist_sample(DIGITS)
    found[7].write_bytes(theirs[found[7]][:-30])
    mnist_sample(DIGITS)
    assert np.array_equal(np.asarray(Image.open(found[7])), ours(found[7]))
    assert all(p.read_bytes()==theirs[p] for p in found if p!=found[7])

@pytest.mark.parametrize('where', ['', 'below', 'below/that'])
def test_home_that_cannot_be_written(tmp_path, monkeypatch, where):
    (tmp_path/'file').write_text('not a folder')
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'file'/where))
    with pytest.raises(OSError, match='/file .is a file where a folder is needed.*set FASTAI_HOME'): mnist_sample(DIGITS)

def pipe(path): os.mkfifo(path)
def file(path): path.write_text('in the way')
def dangling(path): path.symlink_to('nowhere')

@pytest.mark.parametrize('kind', [file, dangling])
@pytest.mark.parametrize('where', ['data', 'data/mnist_basics_5', 'data/mnist_basics_5/train', 'data/mnist_basics_5/valid/5'])
def test_what_is_in_the_way_is_named(home, few, where, kind):
    (home/where).parent.mkdir(parents=True)
    kind(home/where)
    what = {file: 'a file where a folder is needed', dangling: 'a link that leads nowhere'}[kind]
    with pytest.raises(OSError, match=f'{where} .is {what}'): mnist_sample(DIGITS)
    assert not list(home.rglob('*.part'))

def test_what_stands_for_a_picture(home, few):
    path = mnist_sample(DIGITS)
    for n, put in (('valid/5/15.png', pipe), ('valid/5/23.png', dangling), ('labels.csv', pipe)):
        (path/n).unlink()
        put(path/n)
    mnist_sample(DIGITS)
    assert_complete(path)
    (path/'labels.csv').unlink()
    (path/'labels.csv').mkdir()
    with pytest.raises(OSError, match='labels.csv .is a folder, a file is needed'): mnist_sample(DIGITS)

def test_a_home_on_another_disk(home, few, tmp_path):
    path = mnist_sample(DIGITS)
    os.rename(path, tmp_path/'moved')
    path.symlink_to(tmp_path/'moved')
    (tmp_path/'moved'/'labels.csv').unlink()
    assert mnist_sample(DIGITS)==path and path.is_symlink() and beside(path)==[]
    assert_complete(path)

@pytest.mark.skipif(not Path('/dev/shm').is_dir(), reason='there is no second disk here')
def test_pictures_on_another_disk(home, few):
    path = mnist_sample(DIGITS)
    with TemporaryDirectory(dir='/dev/shm') as there:
        shutil.move(path/'valid', there)
        (path/'valid').symlink_to(Path(there)/'valid')
        next((path/'valid'/'5').iterdir()).unlink()
        mnist_sample(DIGITS)
        assert len(list(path.glob('*/5/*.png')))==len((path/'labels.csv').read_text().splitlines())-1
        assert (path/'valid').is_symlink()

READ_ONLY = """mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@" """
def read_only(folder, code):
    "What `code` prints where `folder` can't be written"
    if subprocess.run(['unshare', '-rm', 'bash', '-c', READ_ONLY, folder, 'true'], capture_output=True).returncode:
        pytest.skip('no folder can be mounted for reading only here')
    return subprocess.run(['unshare', '-rm', 'bash', '-c', READ_ONLY, folder, sys.executable, '-c', code], capture_output=True, text=True)

def test_a_whole_folder_need_not_be_writable(home):
    path = mnist_sample(DIGITS)
    a = path/'valid'/'5'/'15.png'
    Image.open(a).save(a, optimize=True) # Another size, so that a mark would be written
    (path.parent/'.mnist_basics_5.0123456789abcdef.part').mkdir()
    code = f"""from mnist_basics.data import mnist_sample
for _ in range(2): print(mnist_sample({DIGITS}))
import os; os.environ['FASTAI_HOME'] = {str(home/'none')!r}
try: mnist_sample({DIGITS})
except OSError as e: print(e)"""
    res = read_only(home, code)
    *paths, refused = res.stdout.splitlines()
    assert paths==[str(path)]*2 and refused.startswith(f'cannot read or write {home}/none (Read-only file system)')
    assert not res.stderr

def test_disk_full_leaves_nothing(home, monkeypatch):
    def full(image): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(data, 'png_bytes', full)
    with pytest.raises(OSError, match='No space left on device.*FASTAI_HOME'): mnist_sample(DIGITS)
    assert list((home/'data').iterdir())==[]

@pytest.fixture(scope='module')
def external():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from fastai.data import external
    return external

@pytest.mark.parametrize('ini', [None, 'data = elsewhere', 'data = /abs/olute', 'data = ~/tilde', 'archive = a\ndata = ../up'])
@pytest.mark.parametrize('start', ['{tmp}/home', '~/home', '{tmp}/a b/ü'])
def test_place_is_fastais(tmp_path, monkeypatch, external, ini, start):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    monkeypatch.setenv('FASTAI_HOME', start.format(tmp=tmp_path))
    if ini:
        folder = Path(start.format(tmp=tmp_path)).expanduser()
        folder.mkdir(parents=True)
        (folder/'config.ini').write_text(f'[DEFAULT]\n{ini}\n', encoding='utf8')
    external.fastai_cfg.cache_clear()
    assert fastai_data_path()==external.fastai_path('data')

def test_place_without_variable(tmp_path, monkeypatch, external):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    monkeypatch.delenv('FASTAI_HOME', raising=False)
    external.fastai_cfg.cache_clear()
    assert fastai_data_path()==external.fastai_path('data')==tmp_path/'.fastai'/'data'

def test_config_of_bytes(home):
    home.mkdir()
    (home/'config.ini').write_bytes(b'[DEFAULT]\ndata = \xff')
    with pytest.raises(ValueError, match='config.ini cannot be read'): mnist_sample(DIGITS)

def test_damaged_config(home):
    home.mkdir()
    (home/'config.ini').write_text('data = without a section')
    with pytest.raises(ValueError, match='config.ini cannot be read'): mnist_sample(DIGITS)

def test_fastai_finds_it_without_network(home, monkeypatch, external):
    path = mnist_sample()
    monkeypatch.setattr(socket, 'socket', lambda *args, **kwargs: pytest.fail('went to the network'))
    external.fastai_cfg.cache_clear()
    assert external.untar_data(external.URLs.MNIST_SAMPLE)==path
    assert sorted(p.name for p in path.iterdir())==['labels.csv', 'train', 'valid']
    from fastai.vision.data import ImageDataLoaders
    dls = ImageDataLoaders.from_folder(path, train='train', valid='valid', bs=8, num_workers=0, device='cpu')
    assert (len(dls.train_ds), len(dls.valid_ds), list(dls.vocab))==(12396, 2038, ['3','7'])
    xb,yb = dls.valid.one_batch()
    assert xb.shape==(8,3,28,28)

def test_seeds_are_fastais(external):
    from fastai.torch_core import set_seed as theirs
    def draw(): return random.random(), np.random.rand(), torch.rand(2).tolist()
    for seed in (0, 42, 2**32-1, 2**32+7):
        set_seed(seed)
        drawn = draw()
        theirs(seed)
        assert draw()==drawn

@pytest.fixture(scope='module')
def seven():
    image = 255-mnist('valid')[0][0].numpy()
    return Image.fromarray(image).resize((84,84), Image.Resampling.BOX)

def test_camera_orientations(seven):
    want = to_mnist(seven)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4} # Orientation to the `Transpose` that makes it
    for orientation,turn in turns.items():
        buf,exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        seven.transpose(Image.Transpose(turn)).save(buf, 'PNG', exif=exif)
        assert torch.equal(to_mnist(Image.open(buf)), want), orientation

@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'HSV', 'LAB', 'I', 'F', 'I;16', 'RGBa', 'La', 'PA'])
def test_pil_modes(seven, mode):
    if mode=='I;16': img = Image.fromarray(np.asarray(seven).astype(np.uint16)*257)
    elif mode=='La': img = seven.convert('LA').convert('La')
    elif mode=='RGBa': img = seven.convert('RGBA').convert('RGBa')
    elif mode=='PA': img = seven.convert('P').convert('PA')
    elif mode=='LAB':
        ImageCms = pytest.importorskip('PIL.ImageCms')
        img = ImageCms.profileToProfile(seven.convert('RGB'), ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'), outputMode='LAB')
    else: img = seven.convert(mode, dither=Image.Dither.NONE) if mode=='1' else seven.convert(mode)
    assert img.mode==mode
    got = to_mnist(img)
    assert got.shape==(28,28) and got.dtype==torch.float32 and got.max()==1
    assert (got-to_mnist(seven)).abs().mean()<0.03

@pytest.mark.filterwarnings('ignore::UserWarning') # Pillow's own, on damaged TIFF files
@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP'])
def test_damaged_files_only_raise_value_error(seven, tmp_path, kind):
    if not Image.registered_extensions().get('.'+kind.lower()): pytest.skip(f'Pillow was built without {kind}')
    buf = io.BytesIO()
    seven.save(buf, kind)
    raw,rng = buf.getvalue(), random.Random(42)
    for i in range(60):
        bad = bytearray(raw[:rng.randrange(len(raw))] if i%2 else raw)
        for _ in range(i%7): bad[rng.randrange(len(bad))] = rng.randrange(256)
        (tmp_path/'digit').write_bytes(bad)
        try: assert to_mnist(tmp_path/'digit').shape==(28,28)
        except ValueError as e: assert str(e)

def test_files_that_are_none(tmp_path):
    (tmp_path/'empty.png').write_bytes(b'')
    (tmp_path/'text.png').write_text('not a picture')
    with pytest.raises(ValueError, match='empty file'): to_mnist(tmp_path/'empty.png')
    with pytest.raises(ValueError, match='not a picture'): to_mnist(str(tmp_path/'text.png'))
    with pytest.raises(FileNotFoundError): to_mnist(tmp_path/'missing.png')

def test_bomb_is_refused_before_it_is_unpacked(tmp_path):
    Image.new('1', (30_000,30_000)).save(tmp_path/'bomb.png')
    assert (tmp_path/'bomb.png').stat().st_size<1_000_000
    with pytest.raises(ValueError, match='too large|too many'): to_mnist(tmp_path/'bomb.png')

@pytest.mark.parametrize('bad,says', [
    (np.zeros((0,5)), 'empty'), (np.zeros((28,28)), 'blank'), (np.full((28,28), np.inf), 'infinite'), (np.full((28,28), -1.), 'normalisation'),
    (np.full((28,28), 1e6), 'expected 0..1'), (np.zeros(784), 'one image'), (np.zeros((5,28,28)), 'one image'), (np.zeros((28,28), complex), 'numbers'),
    ([['a','b'],['c','d']], 'numbers'), (None, 'one image'), (torch.zeros(2,1,28,28), 'one image')])
def test_arrays_that_are_no_digit(bad, says):
    with pytest.raises(ValueError, match=says): to_mnist(bad)

@pytest.mark.parametrize('make', [
    lambda a: torch.tensor(a), lambda a: torch.tensor(a).bfloat16(), lambda a: torch.tensor(a)[None], lambda a: (a>0.5), lambda a: (a>0.5).astype(np.int64),
    lambda a: np.asfortranarray(a), lambda a: a[:,:,None].repeat(3, 2), lambda a: a.tolist(), lambda a: torch.tensor(a).requires_grad_(), lambda a: a*65535])
def test_arrays_of_every_kind(seven, make):
    a = np.asarray(seven)/255
    assert (to_mnist(make(a))-to_mnist(seven)).abs().mean()<0.03
