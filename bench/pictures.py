"""What is made of pictures as people take them: right, unsure, or sure and wrong?

Digits of MNIST on made-up paper (noise, light, shadow, ruling, squares, frames, tables, pens, crumbs), several digits in one
picture, and pictures without any (blank paper, shapes, scribbles, letters). Each kind is shown to two networks, that of the
command (the recipe of ten digits) and that of the drawing page, in two ways: as the package reads pictures now, and by the
former rule (paper is the median of the picture's edge, ink is all that differs, sure from a probability of 0.8).

The rules were tuned on pictures of `--part tune`: seed A, training digits, its own fonts. What is reported is `--part measure`:
seed B, MNIST's test digits, other fonts. scikit-learn's 8x8 digits, scaled up, are the one real set from elsewhere: no network
was trained on them, but `other_hands` was drawn, and the limits were chosen, with their doubted ones in sight. For each kind
the shares of: right and sure, unsure, sure and wrong, refused; and of right answers, sure or not. Then, for each step of the
way from picture to ink, what its kinds come to without it; for real digits, what another rule for the same networks makes of
them; and last, for the guard, what some kinds come to if one thing that it learns from is left out, each guard trained for two
epochs.

    python bench/pictures.py [--part measure] [--n 200] [--kinds a,b] [--guards] [--weights FILE] [--json FILE]

`--weights` is a state dict of the recipe's network; without, it is trained first.
"""
import argparse, io, json, re, time
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bands import processor
from mnist_basics import pictures as reading
from mnist_basics.data import digit_data, mnist
from mnist_basics.draw import Distort, draw_strokes, letter, mixture, read_weights, shape, train_guard, verdict
from mnist_basics.pictures import crop_ink, place_ink, read_digits, read_image
from mnist_basics.ten_digits import FIVE_VIEWS, DigitClassifier, make_best, train_best

PARTS = dict(tune=(11, 'train'), measure=(2024, 'valid'))  # seed, and whose digits
ODD = 'ACEFGHJKLMNPQRTUVWXYacdefhkmnprtuvwxy'  # letters that no digit looks like

# ---- One digit on paper

def blown_up(few):
    "Eight by eight numbers of 0..16 as black on white, 160 by 160 and a margin"
    img = Image.fromarray(255-(few*255/16).astype(np.uint8)).resize((160,160), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(img), 20, constant_values=255)

def stamp(digit, side, ink=1.):
    "A digit [28,28] in 0..255 cut to its box and scaled so that its longer side is `side`, in 0..1"
    rows,cols = np.nonzero(digit.any(1))[0],np.nonzero(digit.any(0))[0]
    box = Image.fromarray(digit[rows[0]:rows[-1]+1, cols[0]:cols[-1]+1])
    zoom = side/max(box.size)
    size = [max(1, round(o*zoom)) for o in box.size]
    return np.asarray(box.resize(size, Image.Resampling.BICUBIC), np.float64)/255*ink

def lay(ink, mark, top, left):
    "Put `mark` on the sheet of ink at a place, the darker wins; what sticks out is cut off"
    h,w = ink.shape
    t,l,b,r = max(top,0),max(left,0),min(top+mark.shape[0],h),min(left+mark.shape[1],w)
    if b>t and r>l: ink[t:b,l:r] = np.maximum(ink[t:b,l:r], mark[t-top:b-top,l-left:r-left])

def layout(rng, digit, low=.35, high=.7, size=None):
    "A sheet of ink, 0..1, with one digit somewhere on it, and the digit's box"
    h,w = size or rng.integers(200, 420, 2)
    mark = stamp(digit, rng.uniform(low, high)*min(h,w))
    edge = .06*min(h,w)
    top,left = (int(rng.uniform(edge, max(edge, n-o-edge))) for n,o in zip((h,w), mark.shape))
    ink = np.zeros((h,w))
    lay(ink, mark, top, left)
    return ink,(top,left,*mark.shape)

def shades(rng): return rng.uniform(.75, .97),rng.uniform(.08, .35)  # paper and ink

def printed(ink, paper, dark, rng, noise=.01, blur=None):
    "Ink, 0..1, on paper (a number or a field) as bytes"
    img = paper*(1-ink)+dark*ink*(paper if np.ndim(paper) else 1)
    img = img+rng.normal(0, noise, ink.shape)
    img = Image.fromarray((img.clip(0, 1)*255).round().astype(np.uint8))
    return np.asarray(img.filter(ImageFilter.GaussianBlur(blur)) if blur else img)

def ramp(rng, h, w):
    "A field that goes from 0 to 1 across the picture in some direction"
    a = rng.uniform(0, 2*np.pi)
    y,x = np.mgrid[:h,:w]
    field = np.cos(a)*x/w+np.sin(a)*y/h
    return (field-field.min())/np.ptp(field)

def plain(rng, digit):
    ink,_ = layout(rng, digit)
    return printed(ink, *shades(rng), rng)

def noisy(rng, digit):
    ink,_ = layout(rng, digit)
    return printed(ink, *shades(rng), rng, rng.uniform(.02, .06), .6)

def falling(rng, digit):
    ink,_ = layout(rng, digit)
    paper,dark = shades(rng)
    return printed(ink, paper*(1-rng.uniform(.3, .6)*ramp(rng, *ink.shape)), dark, rng)

def shadow(rng, digit):
    ink,_ = layout(rng, digit)
    paper,dark = shades(rng)
    field = ramp(rng, *ink.shape)
    edge,soft = rng.uniform(.3, .7),rng.choice([.002, .02])
    return printed(ink, paper*(1-rng.uniform(.15, .35)/(1+np.exp(-((field-edge)/soft).clip(-50, 50)))), dark, rng)

def patch(rng, digit):
    ink,(t,l,h,w) = layout(rng, digit, .35, .55)
    paper,dark = shades(rng)
    field = np.full(ink.shape, paper)
    m = [int(rng.uniform(.08, .3)*max(h,w)) for _ in range(4)]
    field[max(0,t-m[0]):t+h+m[1], max(0,l-m[2]):l+w+m[3]] *= 1-rng.uniform(.1, .22)
    return printed(ink, field, dark, rng)

def lines(rng, shape, across=False, strength=None):
    "Ink of a ruling: lines at even distances, here and there a little slanted"
    h,w = shape
    gap,thick = rng.uniform(.12, .3)*min(h,w),int(rng.integers(1, 4))
    sheet = Image.new('L', (w,h))
    draw = ImageDraw.Draw(sheet)
    slope = rng.choice([0, 0, rng.uniform(-.03, .03)])
    for y in np.arange(rng.uniform(0, gap)-.03*w, h+.03*w, gap): draw.line((0, y, w, y+slope*w), 255, thick)
    if across:
        for x in np.arange(rng.uniform(0, gap)-.03*h, w+.03*h, gap): draw.line((x, 0, x-slope*h, h), 255, thick)
    return np.asarray(sheet)/255*(strength or rng.uniform(.15, .8))

def ruled(rng, digit):
    ink,_ = layout(rng, digit)
    return printed(np.maximum(ink, lines(rng, ink.shape)), *shades(rng), rng)

def squared(rng, digit):
    ink,_ = layout(rng, digit)
    return printed(np.maximum(ink, lines(rng, ink.shape, True, rng.uniform(.15, .5))), *shades(rng), rng)

def frame(rng, digit):
    ink,_ = layout(rng, digit, .3, .6)
    h,w = ink.shape
    thick = int(rng.integers(1, 6))
    at = rng.choice([0, rng.uniform(.01, .06)])*min(h,w)
    for side in range(4):
        if rng.random()<.1: continue
        box = [at,at,w-1-at,h-1-at]
        if side<2: box[2-2*side] = box[2*side]+(thick-1)*(1-2*side) if side==0 else box[2]-thick+1
        else: box[1 if side==3 else 3] = box[3]-thick+1 if side==3 else box[1]+thick-1
        l,t,r,b = (int(o) for o in box)
        ink[t:b+1,l:r+1] = np.maximum(ink[t:b+1,l:r+1], rng.uniform(.6, 1))
    return printed(ink, *shades(rng), rng)

def boxed(rng, digit):
    "A cell of a form, cut a little too large: its lines along some edges, now and then touched by the digit"
    side = int(rng.integers(60, 140))
    mark = stamp(digit, rng.uniform(.6, .85)*side)
    ink = np.zeros((side, side))
    lay(ink, mark, *(int((side-o)/2+rng.normal(0, .04*side)) for o in mark.shape))
    thick = int(rng.integers(1, max(2, side//25)+1))
    for turn in range(4):
        if rng.random()<.7:
            at = int(rng.uniform(0, .08)*side)
            ink = np.rot90(ink, turn).copy()
            ink[at:at+thick] = np.maximum(ink[at:at+thick], rng.uniform(.5, 1))
            ink = np.rot90(ink, -turn).copy()
    return printed(ink, *shades(rng), rng)

def table(rng, digit):
    "A sheet of paper on a darker table, lying a little askew"
    sheet = Image.fromarray(plain(rng, digit))
    w,h = sheet.size
    margin = [int(rng.uniform(.05, .3)*max(w,h)) for _ in range(4)]
    tone = rng.uniform(.1, .5)
    size = w+margin[0]+margin[1],h+margin[2]+margin[3]
    ground = Image.new('L', size, int(255*tone))
    angle = rng.choice([0, rng.uniform(-8, 8)])
    mask = Image.new('L', sheet.size, 255).rotate(angle, Image.Resampling.BICUBIC, expand=True)
    ground.paste(sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True), (margin[0],margin[2]), mask)
    return np.asarray(ground)

def crumbs(rng, digit):
    ink,(t,l,h,w) = layout(rng, digit)
    for _ in range(rng.integers(2, 12)):
        y,x = rng.uniform(0, ink.shape[0]),rng.uniform(0, ink.shape[1])
        yy,xx = np.mgrid[:ink.shape[0],:ink.shape[1]]
        r = rng.uniform(.004, .02)*min(ink.shape)
        ink = np.maximum(ink, ((yy-y)**2+(xx-x)**2<r*r)*rng.uniform(.4, 1))
    return printed(ink, *shades(rng), rng)

def small(rng, digit):
    ink,_ = layout(rng, digit, .1, .18)
    return printed(ink, *shades(rng), rng)

def tight(rng, digit):
    mark = stamp(digit, rng.uniform(20, 200))
    return printed(mark, *shades(rng), rng, .005)

def chalk(rng, digit):
    ink,_ = layout(rng, digit)
    dark,light = rng.uniform(.05, .3),rng.uniform(.75, 1)
    return printed(ink, dark, light, rng, .015)

def pens(rng, digit):
    "Hairlines and felt pens: the strokes made thinner or thicker by up to 60 %"
    side = int(rng.integers(160, 300))
    mark = Image.fromarray((np.pad(stamp(digit, side*.6), side//6)*255).astype(np.uint8))
    size = 2*int(rng.uniform(.01, .03)*side)+1
    mark = mark.filter((ImageFilter.MinFilter if rng.random()<.5 else ImageFilter.MaxFilter)(size))
    return printed(np.asarray(mark)/255, *shades(rng), rng)

def photo(rng, digit):
    "A bit of everything: falling light, noise, a slip of paper, crumbs and a JPEG"
    ink,_ = layout(rng, digit, .25, .6)
    paper,dark = shades(rng)
    field = paper*(1-rng.uniform(.1, .4)*ramp(rng, *ink.shape))
    if rng.random()<.5: ink = np.maximum(ink, lines(rng, ink.shape, False, rng.uniform(.15, .35)))
    img = Image.fromarray(printed(ink, field, dark, rng, rng.uniform(.01, .03), 1))
    out = io.BytesIO()
    img.save(out, 'JPEG', quality=int(rng.integers(40, 90)))
    return np.asarray(Image.open(out))

def coarse(rng, digit):
    "A bitmap of 32 rows, counted in blocks of 4 by 4, and blown up: what came of a digit in the days of few pixels"
    mark = stamp(digit, 32)
    wide = max(mark.shape[1], round(min(32, mark.shape[1]*rng.uniform(1, 1.4))))
    mark = np.asarray(Image.fromarray(mark).resize((wide, mark.shape[0]), Image.Resampling.BICUBIC))>.5
    sheet = np.zeros((32,32))
    lay(sheet, mark*1., (32-mark.shape[0])//2, (32-wide)//2)
    return blown_up(sheet.reshape(8, 4, 8, 4).sum((1,3)))

DIGITS = {o.__name__: o for o in (plain, noisy, falling, shadow, patch, ruled, squared, frame, boxed, table, crumbs, small,
                                  tight, chalk, pens, photo, coarse)}

# ---- Several digits

def row_of(rng, digits, gap):
    "Digits in a row; `gap` is the space between, as part of their height, below 0 where they touch"
    side = int(rng.uniform(80, 160))
    marks = [stamp(o, side*rng.uniform(.9, 1.1)) for o in digits]
    w = int(sum(o.shape[1] for o in marks)+side*(len(marks)+1))
    ink,x = np.zeros((int(2*side), w)),.5*side
    for o in marks:
        lay(ink, o, int((ink.shape[0]-o.shape[0])/2+rng.normal(0, .04*side)), int(x))
        x += o.shape[1]+gap*side
    return printed(ink[:, :int(x+.5*side)], *shades(rng), rng)

def apart(rng, digits): return row_of(rng, digits, rng.uniform(.25, .6))
def touching(rng, digits): return row_of(rng, digits, rng.uniform(-.12, -.03))
SEVERAL = {o.__name__: o for o in (apart, touching)}

# ---- No digit

def blank(rng): return printed(np.zeros(rng.integers(150, 400, 2)), shades(rng)[0], 0, rng, rng.uniform(4, 12)/255)

def blank_light(rng):
    shape = rng.integers(150, 400, 2)
    return printed(np.zeros(shape), shades(rng)[0]*(1-rng.uniform(.2, .6)*ramp(rng, *shape)), 0, rng, rng.uniform(2, 8)/255)

def blank_ruled(rng):
    shape = rng.integers(150, 400, 2)
    return printed(lines(rng, shape, rng.random()<.5), *shades(rng), rng)

def shapes(rng):
    "A box, a cross, an arrow, a star, a heart, a triangle, stripes, a house"
    s = 400
    sheet = Image.new('L', (s,s))
    draw,pen = ImageDraw.Draw(sheet),int(rng.uniform(14, 40))
    a,b = rng.uniform(.15, .3)*s,rng.uniform(.7, .85)*s
    m,kind = (a+b)/2,rng.integers(8)
    def path(*points, close=False):
        pts = [tuple(o) for o in points]
        draw.line(pts+pts[:1]*close, 255, pen, joint='curve')
        for x,y in pts: draw.ellipse((x-pen/2,y-pen/2,x+pen/2,y+pen/2), fill=255)
    if kind==0: draw.rectangle((a,a,b,rng.uniform(.6, .85)*s), fill=255)
    elif kind==1: path((a,a), (b,b)); path((a,b), (b,a))
    elif kind==2: path((a,m), (b,m)); path((m,a), (b,m), (m,b))
    elif kind==3:
        t = np.arange(5)*4*np.pi/5-np.pi/2
        path(*zip(m+(b-a)/2*np.cos(t), m+(b-a)/2*np.sin(t)), close=True)
    elif kind==4:
        t = np.linspace(0, 2*np.pi, 40)
        x,y = 16*np.sin(t)**3,-(13*np.cos(t)-5*np.cos(2*t)-2*np.cos(3*t)-np.cos(4*t))
        path(*zip(m+x*(b-a)/36, m+y*(b-a)/36), close=True)
    elif kind==5: path((m,a), (b,b), (a,b), close=True)
    elif kind==6:
        for y in np.linspace(a, b, rng.integers(3, 6)): path((a,y), (b,y))
    else: path((a,m), (m,a), (b,m)); path((a*1.1,m), (a*1.1,b), (b*.95,b), (b*.95,m))
    sheet = sheet.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC)
    return printed(np.asarray(sheet)/255, *shades(rng), rng)

def scribble(rng): return draw_strokes([rng.uniform(.05, .95, (rng.integers(12, 30), 2)).tolist()])

def fonts(part):
    "Fonts for letters: matplotlib brings some; tuning and measuring have different ones"
    from matplotlib import get_data_path
    ttf = Path(get_data_path())/'fonts'/'ttf'
    names = ('DejaVuSans','DejaVuSans-Oblique','DejaVuSansMono-Bold','STIXGeneral','cmmi10') if part=='tune' else \
            ('DejaVuSerif','DejaVuSerif-Italic','STIXGeneralItalic','cmr10','cmss10','cmtt10')
    return [ttf/f'{o}.ttf' for o in names]

def letters(rng, part='measure'):
    face = ImageFont.truetype(str(rng.choice(fonts(part))), int(rng.integers(120, 220)))
    sheet = Image.new('L', (320,320))
    ImageDraw.Draw(sheet).text((160,160), str(rng.choice(list(ODD))), 255, face, anchor='mm', stroke_width=int(rng.integers(0, 6)))
    sheet = sheet.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC)
    return printed(np.asarray(sheet)/255, *shades(rng), rng)

NONE = {o.__name__: o for o in (blank, blank_light, blank_ruled, shapes, scribble, letters)}

def eights():
    "scikit-learn's 1,797 digits of 8 by 8, 0..16, scaled up as a user would, and what they are"
    from sklearn.datasets import load_digits
    data = load_digits()
    return [(blown_up(o), (int(y),)) for o,y in zip(data.images, data.target)]

def pictures(kind, part, n):
    "`n` pictures of a kind with the digits that they show"
    if kind=='eights': return eights()[:9*n]
    seed,digits = PARTS[part]
    x,y = (o.numpy() for o in mnist(digits))
    if kind in ('untouched','as_given'): return [(o, (int(t),)) for o,t in zip(x[:50*n], y[:50*n])]
    rng,res = np.random.default_rng([seed, *kind.encode()]),[]
    for _ in range(n):
        if kind in DIGITS:
            i = rng.integers(len(x))
            res.append((DIGITS[kind](rng, x[i]), (int(y[i]),)))
        elif kind in SEVERAL:
            at = rng.integers(len(x), size=rng.integers(2, 4))
            res.append((SEVERAL[kind](rng, x[at]), tuple(y[at].tolist())))
        else: res.append((NONE[kind](rng, part) if kind=='letters' else NONE[kind](rng), ()))
    return res

# The last two are MNIST's own images, read like any picture, and as they are
KINDS = [*DIGITS, *SEVERAL, *NONE, 'eights', 'untouched', 'as_given']


# ---- What is made of them

def former(image):
    "The digit by the first version's rule: paper is the median of the edge, ink all that differs; None for blank paper"
    gray = read_image(image)
    edge = np.concatenate([gray[0], gray[-1], gray[:,0], gray[:,-1]])
    paper = np.median(edge)
    noise,ink = np.median(abs(edge-paper)),gray-paper
    if (ink**3).sum()<0: ink = -ink
    if ink.max()<max(0.1, 5*noise): return []
    return [place_ink(crop_ink(np.where(ink<=min(6*noise, ink.max()/2), 0, ink)))]

def outcome(said, truth):
    "right, unsure, wrong or refused, by the digit and the certainty of each answer about one picture"
    if not said: return 'refused'
    if not all(sure for _,sure in said): return 'unsure'
    return 'right' if tuple(d for d,_ in said)==truth else 'wrong'

def tally(read, truths, network, believe):
    "The share of each outcome, and of right answers, sure or not, for the images that were read in some pictures"
    flat = [x for o in read for x in o]
    probs = iter(network(torch.stack(flat)) if flat else ())
    row = dict(right=0, unsure=0, wrong=0, refused=0, answered=0)
    for images,truth in zip(read, truths):
        said = [believe(x, next(probs)) for x in images]
        row[outcome(said, truth)] += 1
        row['answered'] += bool(said) and tuple(d for d,_ in said)==truth
    return {k: round(v/len(read), 4) for k,v in row.items()}

def by_former(x, p): return int(p.argmax()),bool(p.max()>=.8)

def by_verdict(models): return lambda x,p: verdict(x, dict(enumerate(p.tolist())), models)[:2]

def by_agreement(models):
    "Another rule for the same two networks: both must give the digit enough, the one 0.4 and the guard 0.45"
    @torch.no_grad()
    def believe(x, p):
        first,guard = int(p.argmax()),models.nets['guard'](x[None,None]).softmax(1)[0]
        return first,bool(p[first]>=.4 and guard[first]>=.45)
    return believe

def read_now(image): return list(read_digits(image).images)

def measure(kind, part, n, networks, models, ways=('former','now')):
    "For each way of reading and each network, the share of each outcome"
    shown,truths = zip(*pictures(kind, part, n))
    read,believe = dict(former=former, now=read_now),dict(former=by_former, now=by_verdict(models))
    if kind=='as_given': read = dict.fromkeys(ways, lambda o: [torch.from_numpy(o).float()/255])
    seen = {o: [read[o](image) for image in shown] for o in ways}
    return {o: {name: tally(seen[o], truths, f, believe[o]) for name,f in networks.items()} for o in ways}

# What stands in for a step of `find_digits` that is left out, and the kinds that the step is for
STEPS = dict(on_sheet=(lambda gray: gray, ('table',)), even_light=(lambda gray: gray, ('falling',)),
             paper_field=(lambda gray: np.full(gray.shape, np.median(np.concatenate([gray[[0,-1]].ravel(), gray[:,[0,-1]].ravel()]))),
                          ('shadow','patch')),
             drop_lines=(lambda mask, thick: (mask,False), ('ruled','squared')), drop_frames=(lambda mask: mask, ('frame','boxed')),
             group_strokes=(lambda labels, n, ink: [list(range(1, n+1))], ('apart','crumbs')))

def without(step, part, n, networks, models):
    "What is made of a step's kinds if it is left out"
    kept,(stand_in,kinds) = getattr(reading, step),STEPS[step]
    setattr(reading, step, stand_in)
    try: return {o: measure(o, part, n, networks, models, ways=('now',))['now'] for o in kinds}
    finally: setattr(reading, step, kept)

# What a guard can learn from, one thing left out; and the kinds that it is asked about
GUARDS = {'nothing':{}, 'letters':dict(kinds=(shape,mixture)), 'shapes':dict(kinds=(letter,mixture)),
          'mixtures':dict(kinds=(letter,shape)), 'coarse digits':dict(cbs=[Distort(coarse=0)]), 'other hands':dict(hands=0)}
ASKED = 'letters','shapes','scribble','touching','pens','coarse','eights','untouched'

def agreeing(part, n, network, models):
    "What becomes of real digits by the other rule"
    res = {}
    for kind in ('eights','as_given'):
        shown,truths = zip(*pictures(kind, part, n))
        seen = [[torch.from_numpy(o).float()/255] if kind=='as_given' else read_now(o) for o in shown]
        res[kind] = tally(seen, truths, network, by_agreement(models))
    return res

def guards(part, n, network, models):
    "For each thing that a guard does without: what becomes of the kinds that are asked"
    shown = {o: tuple(zip(*pictures(o, part, n))) for o in ASKED}
    seen = {o: ([read_now(image) for image in images],truths) for o,(images,truths) in shown.items()}
    for name,kw in GUARDS.items():
        nets = models.nets | dict(guard=train_guard(epochs=2, n=8000, **kw).eval())
        believe = by_verdict(models._replace(nets=nets))
        yield name,{o: tally(read, truths, network, believe) for o,(read,truths) in seen.items()}

def recipe(weights):
    "The best network of the command, from a file or trained"
    if weights is None: return train_best(digit_data(range(10), 'cpu'))
    net = make_best(10)
    net.load_state_dict(torch.load(weights))
    return DigitClassifier(net.eval(), tuple(range(10)), (), FIVE_VIEWS, 0.4)

def keep(path, record):
    "The record as a file, a line for each way of reading"
    if not path: return
    text = json.dumps(record, indent=1)
    text = re.sub(r': \{[^{}]*"answered[^{}]*\}', lambda m: ' '.join(m[0].split()), text)
    Path(path).write_text(text+'\n', encoding='utf8')

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--part', choices=PARTS, default='measure')
    parser.add_argument('--n', type=int, default=200)
    parser.add_argument('--kinds', default=','.join(KINDS))
    parser.add_argument('--guards', action='store_true', help='train six guards, too: about fifteen minutes')
    parser.add_argument('--weights')
    parser.add_argument('--json')
    opts = parser.parse_args()
    models,best = read_weights(),recipe(opts.weights)
    @torch.no_grad()
    def page(x): return models.nets['ten'](x[:,None]).softmax(1)
    networks = dict(recipe=best.probabilities, page=page)
    record = dict(part=opts.part, n=opts.n, processor=processor(), threads=torch.get_num_threads(), torch=torch.__version__,
                  numpy=np.__version__, pillow=PIL.__version__, date=time.strftime('%Y-%m-%d'), limits=models.unsure, kinds={}, without={}, agreeing={}, guards={})
    print(f"{'':12} {'former: right':>14} {'sure, wrong':>12} {'now: right':>12} {'sure, wrong':>12}   of the page now")
    for kind in opts.kinds.split(','):
        r = record['kinds'][kind] = measure(kind, opts.part, opts.n, networks, models)
        a,b,c = r['former']['recipe'],r['now']['recipe'],r['now']['page']
        print(f"{kind:12} {a['right']:14.1%} {a['wrong']:12.1%} {b['right']:12.1%} {b['wrong']:12.1%} {c['right']:10.1%} {c['wrong']:8.1%}", flush=True)
        keep(opts.json, record)
    for step,(_,kinds) in STEPS.items():
        if not set(kinds)<=record['kinds'].keys(): continue
        record['without'][step] = without(step, opts.part, opts.n//2, networks, models)
        for o,a in record['without'][step].items(): print(f"{o:12} without {step:14} {a['recipe']['right']:10.1%} {a['recipe']['wrong']:12.1%}", flush=True)
        keep(opts.json, record)
    if {'eights','as_given'}<=record['kinds'].keys():
        record['agreeing'] = agreeing(opts.part, opts.n, networks['recipe'], models)
        for o,a in record['agreeing'].items(): print(f"{o:12} if both must agree {a['right']:10.1%} {a['wrong']:12.1%}", flush=True)
        keep(opts.json, record)
    for name,rows in guards(opts.part, opts.n//2, networks['recipe'], models) if opts.guards else ():
        record['guards'][name] = rows
        print(f'a guard without {name:18}', *(f"{k} {o['right']:.1%} {o['wrong']:.1%}" for k,o in rows.items()), flush=True)
        keep(opts.json, record)

if __name__=='__main__': main()
