"Pictures as people take them: what is read, what is refused and why, and which files are not opened."
import os, subprocess, sys, warnings
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageDraw
from mnist_basics.data import mnist, to_mnist
from mnist_basics.draw import read_weights, verdict
from mnist_basics.pictures import components, read_digits, read_image

X, Y = (o.numpy() for o in mnist('valid'))
MODELS = read_weights()


def on_paper(i=0, side=180, size=(320, 280), at=(60, 40), paper=235, ink=40):
    "Test digit `i` on a sheet"
    sheet = Image.new('L', size, paper)
    mark = Image.fromarray(X[i]).resize((side, side), Image.Resampling.BICUBIC)
    sheet.paste(Image.new('L', mark.size, ink), at, mark)
    return sheet


@torch.no_grad()
def said(image):
    "Digits that the page's network reads with certainty; None where it is unsure or nothing is found"
    images = read_digits(image).images
    if not len(images): return None
    probs = MODELS.nets['ten'](images[:, None]).softmax(1).tolist()
    seen = [verdict(x, dict(enumerate(p)), MODELS) for x, p in zip(images, probs)]
    return [o.answer for o in seen] if all(o.sure for o in seen) else None


def lit(image, light): return (np.asarray(image)*light).clip(0, 255).astype(np.uint8)


def with_lines(image, every=56, ink=150, width=2):
    draw = ImageDraw.Draw(image)
    for y in range(20, image.height, every): draw.line((0, y, image.width, y), ink, width)
    return image


def with_frame(image, inset, width):
    ImageDraw.Draw(image).rectangle((inset, inset, image.width-1-inset, image.height-1-inset), outline=30, width=width)
    return image


def on_table(image, tone, angle):
    table = Image.new('L', (image.width+200, image.height+160), tone)
    mask = Image.new('L', image.size, 255).rotate(angle, expand=True)
    table.paste(image.rotate(angle, Image.Resampling.BICUBIC, expand=True), (90, 70), mask)
    return table


y, x = np.mgrid[:280, :320]
PAPERS = dict(
    shadow=lambda o: lit(o, np.where(x+.4*y > 220, .75, 1)), falling=lambda o: lit(o, np.linspace(1, .5, 320)),
    dim=lambda o: lit(o, np.linspace(.4, .3, 280)[:, None]), ruled=with_lines, frame=lambda o: with_frame(o, 9, 3), edge=lambda o: with_frame(o, 0, 2),
    table=lambda o: on_table(o, 60, 0), askew=lambda o: on_table(o, 90, 6), chalk=lambda o: 255-np.asarray(o),
    grain=lambda o: (np.asarray(o)+np.random.default_rng(0).normal(0, 8, (280, 320))).clip(0, 255).astype(np.uint8),
    slip=lambda o: lit(o, np.where((x > 40) & (x < 260) & (y > 20) & (y < 240), .86, 1)))


@pytest.mark.parametrize('paper', PAPERS)
def test_paper_does_not_change_the_digit(paper):
    for i in range(10):
        plain = said(on_paper(i))
        if plain is None: continue
        assert said(PAPERS[paper](on_paper(i))) in (plain, None), (paper, i)
    right = [said(PAPERS[paper](on_paper(i))) == [Y[i]] for i in range(10)]
    assert np.mean(right) >= .7, right


@pytest.mark.parametrize('sigma', [0, 4, 8, 12])
def test_blank_paper_is_blank(sigma):
    sheet = 200+np.random.default_rng(0).normal(0, sigma, (300, 400))
    for light in (1, np.linspace(1, .6, 400)): assert 'blank' in read_digits((sheet*light).clip(0, 255).astype(np.uint8)).reason


def test_true_reasons():
    assert 'only lines' in read_digits(with_lines(Image.new('L', (320, 280), 235))).reason
    assert 'too faint' in read_digits(on_paper(paper=200, ink=190)).reason
    speck = Image.new('L', (400, 300), 240)
    speck.paste(20, (200, 150, 203, 153))
    assert 'too small' in read_digits(speck).reason


def test_several_digits_from_left_to_right():
    sheet = Image.new('L', (600, 250), 235)
    for k in range(3): sheet.paste(on_paper(k, 180, (190, 230), (5, 20)), (10+190*k, 10))
    images, reason = read_digits(sheet)
    assert len(images) == 3 and not reason
    for k, image in enumerate(images): assert (image-to_mnist(on_paper(k))).abs().mean() < .03
    with pytest.raises(ValueError, match='3 digits'): to_mnist(sheet)


@pytest.mark.parametrize('shape', ['rectangle', 'ellipse'])
@pytest.mark.parametrize('half', [40, 60, 90])
def test_a_black_shape_is_one_piece(shape, half):
    "Wider than any stroke, and neither paper nor two slivers"
    sheet = Image.new('L', (320, 280), 230)
    getattr(ImageDraw.Draw(sheet), shape)((160-half, 140-half, 160+half, 140+half), fill=40)
    images, reason = read_digits(sheet)
    assert len(images) == 1 and not reason and images[0][14, 14] > .9
    assert said(sheet) is None


@pytest.mark.parametrize('zoom', [1, 4, 8])
def test_a_fat_digit_is_no_sheet_on_a_table(zoom):
    "The heaviest test images: their holes are no ink"
    heaviest = np.argsort(-X[(Y == 8) | (Y == 0)].mean((1, 2)))[:12]
    for image in X[(Y == 8) | (Y == 0)][heaviest]:
        images = read_digits(np.kron(image, np.ones((zoom, zoom), np.uint8))).images
        assert len(images) == 1 and (images[0]-torch.tensor(image)/255).abs().mean() < .08


def test_crumbs_are_left_out():
    clean, dirty = on_paper(), on_paper()
    for at in ((5, 5), (300, 20), (20, 260)): dirty.paste(60, (*at, at[0]+4, at[1]+4))
    assert (to_mnist(dirty)-to_mnist(clean)).abs().max() < .05


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1., 16., 255., 1023., 4095., 16383., 65535.]), st.booleans(), st.integers(60, 500), st.integers(0, 9))
def test_ranges_polarity_and_size(top, light, side, i):
    a = np.asarray(on_paper(i, size=(side, side), side=int(.6*side), at=(side//5, side//6), paper=255, ink=0))/255
    if light: a = 1-a
    assert (to_mnist(a*top)-to_mnist(a)).abs().max() < 1e-3


def test_tight_crops():
    got = []
    for i in range(20):
        rows, cols = np.nonzero(X[i].any(1))[0], np.nonzero(X[i].any(0))[0]
        got.append((read_digits(X[i][rows[0]:rows[-1]+1, cols[0]:cols[-1]+1]).images-torch.tensor(X[i])/255).abs().mean() < .03)
    assert np.mean(got) >= .9


# ---- files

def test_what_is_no_picture_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path/'pipe')
    (tmp_path/'film').touch()
    os.truncate(tmp_path/'film', 8 << 30)
    (tmp_path/'film').open('r+b').write(b'\x1aE\xdf\xa3')
    for name, word in (('pipe', 'pipe'), ('film', 'not a picture')): assert word in read_digits(tmp_path/name).reason
    assert 'device' in read_digits('/dev/zero').reason
    with pytest.raises(IsADirectoryError): read_digits(tmp_path)
    with pytest.raises(FileNotFoundError): read_digits(tmp_path/'missing.png')


@pytest.mark.parametrize('name,start', [('HEIC', b'\0\0\0\x18ftypheic'), ('PDF', b'%PDF-1.7'), ('SVG', b'<?xml version="1.0"?>\n<svg>')])
def test_kinds_that_need_converting(tmp_path, name, start):
    (tmp_path/'a').write_bytes(start+bytes(100))
    reason = read_digits(tmp_path/'a').reason
    assert f'is {name}, not read here: ' in reason and '\n' not in reason


def test_a_missing_program_is_no_damage(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin
    on_paper().save(tmp_path/'a.eps', 'EPS')
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', False)
    reason = read_digits(tmp_path/'a.eps').reason
    assert 'Ghostscript' in reason and 'damaged' not in reason


def test_no_warning_of_a_library(tmp_path):
    Image.new('1', (12000, 9000)).save(tmp_path/'large.png')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert 'too large' in read_digits(tmp_path/'large.png').reason


@pytest.mark.skipif(sys.platform != 'linux', reason='measured by /proc')
@pytest.mark.parametrize('size,mode', [((4472, 4472), 'RGBA'), ((10000, 10000), 'L')])
def test_memory_for_the_largest_pictures(tmp_path, size, mode):
    picture = on_paper(size=(500, 500)).resize(size).convert(mode)
    file = tmp_path/('a.png' if mode == 'RGBA' else 'a.jpg')
    picture.save(file)
    code = f'''
import re
from mnist_basics.pictures import read_digits
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])/1024
before = peak()
assert len(read_digits({str(file)!r}).images) == 1
print(peak()-before)'''
    assert float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout) < 250


def test_a_large_picture_becomes_a_small_one():
    gray = read_image(on_paper(size=(1500, 1100)))
    assert max(gray.shape) == 500 and gray.dtype == np.float32


def drawn(lines, side=300, width=16):
    "Closed lines with points in 0..1 on a sheet"
    sheet = Image.new('L', (side, side), 235)
    for o in lines: ImageDraw.Draw(sheet).line([(side*x, side*y) for x, y in [*o, *o[:2]]], 40, width, joint='curve')
    return sheet


t = np.linspace(0, 2*np.pi, 60)
THINGS = dict(
    house=[[(.5, .2), (.75, .45), (.72, .8), (.28, .8), (.25, .45)]], tent=[[(.5, .2), (.8, .8), (.2, .8)]], box=[[(.25, .25), (.75, .3), (.72, .75), (.22, .7)]],
    kite=[[(.5, .15), (.75, .45), (.5, .85), (.25, .45)]], heart=[list(zip(.5+.018*16*np.sin(t)**3, .5-.018*(13*np.cos(t)-5*np.cos(2*t)-2*np.cos(3*t)-np.cos(4*t))))],
    star=[[(.5+.35*np.sin(o), .5-.35*np.cos(o)) for o in np.arange(5)*4*np.pi/5]], window=[[(.2, .2), (.8, .2), (.8, .8), (.2, .8)], [(.5, .2), (.5, .8)], [(.2, .5), (.8, .5)]])


def test_things_that_people_draw_are_no_digits():
    believed = [(name, width) for name, o in THINGS.items() for width in (8, 16, 26) if said(drawn(o, width=width)) is not None]
    assert len(believed) <= 2, believed


def test_digits_of_few_pixels():
    few = [Image.fromarray(255-o[4:24, 4:24]).resize((9, 9), Image.Resampling.BOX).resize((180, 180), Image.Resampling.BICUBIC) for o in X[:80]]
    seen = [said(np.pad(np.asarray(o), 30, constant_values=255)) for o in few]
    assert sum(a == [b] for a, b in zip(seen, Y.tolist())) >= 72
    assert sum(a is not None and a != [b] for a, b in zip(seen, Y.tolist())) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 2**31))
def test_pieces_hang_together(h, w, seed):
    mask = np.random.default_rng(seed).random((h, w)) < .45
    labels, n = components(mask)
    assert ((labels > 0) == mask).all() and set(np.unique(labels[mask])) == set(range(1, n+1))
    todo, seen = list(zip(*np.nonzero(mask))), set()
    count = 0
    for at in todo:  # by flooding, as a second opinion
        if at in seen: continue
        count += 1
        stack = [at]
        while stack:
            a, b = stack.pop()
            if (a, b) in seen or not (0 <= a < h and 0 <= b < w) or not mask[a, b]: continue
            assert labels[a, b] == count
            seen.add((a, b))
            stack += [(a+i, b+j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert count == n
