"The figures that one can touch, in a real browser, under a strict policy and from a sub-path; their engine, held against PyTorch."
import base64, html, json, os, re, subprocess, sys, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
import numpy as np
import pytest
import torch
from torch import nn
from mnist_basics.devices import set_seed
from mnist_basics.digit_loss import mnist_loss
from mnist_basics.draw import read_weights
from mnist_basics.explorables import bends, bundle, digit_pulls, explore_folder, learned_kernels, parabola, slide_kernel, sprite_images
from mnist_basics.sgd_quadratic import mse

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
PIXEL = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='
CSS = 'body { color: #1b2430; background: #fff; } @media (prefers-color-scheme: dark) { body { color: #dfe3e8; background: #16181c; } }'
ROOT = Path(__file__).resolve().parent.parent
SIZES = dict(wide=(900, 900), phone=(390, 844))


def measured():
    "The roller coaster of the lesson: times, speeds, and the parameters to begin with"
    time = torch.arange(0, 20).float()
    set_seed(42)
    return time, torch.randn(20)*3 + 0.75*(time-9.5)**2 + 1, torch.randn(3)


def ride(): return dict(zip(('time', 'speed', 'params'), (o.tolist() for o in measured())))


class Pages(SimpleHTTPRequestHandler):
    "Explorables below /some/where/explore/; what the query asks for stands on /some/where/"
    def log_message(self, *args): pass

    def say(self, kind, body):
        self.send_response(200)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Security-Policy', POLICY)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        below = self.path.removeprefix('/some/where/')
        if below == 'page.css': return self.say('text/css', CSS)
        if below in self.server.pages: return self.say('text/html', self.server.pages[below])
        self.path = below.removeprefix('explore')
        super().do_GET()


@pytest.fixture(scope='module')
def server():
    res = ThreadingHTTPServer(('127.0.0.1', 0), partial(Pages, directory=explore_folder()))
    res.pages = {'favicon.ico': ''}
    threading.Thread(target=res.serve_forever, daemon=True).start()
    yield res
    res.shutdown()


@pytest.fixture
def visit(browser, server):
    "`visit((name, values), ...)` opens a page with these explorables; its `said` collects errors and refusals"
    contexts = []
    def go(*shown, size='wide', wait=True, **kwargs):
        width, height = SIZES[size]
        context = browser.new_context(viewport=dict(width=width, height=height), **kwargs)
        contexts.append(context)
        tab, said = context.new_page(), []
        tab.said = said
        tab.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
        tab.on('pageerror', lambda e: said.append(str(e)))
        boxes = ''.join(f'<div data-explorable="{k}" data-values="{html.escape(json.dumps(v))}"><img alt="how it begins" src="{PIXEL}"></div>' for k, v in shown)
        name = f'page{len(server.pages)}.html'
        server.pages[name] = f'''<!DOCTYPE html><html lang="en"><head><title>Touch</title><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css">
            <script type="module" src="explore/host.js"></script></head><body><main><h1>Touch</h1>{boxes}</main></body></html>'''
        tab.goto(f'http://127.0.0.1:{server.server_port}/some/where/{name}')
        if wait: tab.wait_for_function('n => [...document.querySelectorAll("[data-explorable]")].filter(o => o.firstChild.shadowRoot).length === n', arg=len(shown))
        return tab
    yield go
    for o in contexts: o.close()


def press(tab, name): tab.get_by_role('button', name=name, exact=True).click()
def said(tab): return tab.get_by_role('status').first.inner_text()
def number(text): return float(text.replace(',', '').replace('−', '-'))
def loss(tab): return number(tab.locator('.loss').first.inner_text())
def meters(tab): return tab.locator('.meter b').all_inner_texts()


# ---- the engine is PyTorch's equal

TRAIN = '''async ([layers, x, y, lr, kind, steps]) => {
    const e = await import(new URL('explore/engine.js', location.href));
    const net = layers.map(o => ({w: Float64Array.from(o.w), b: o.b && Float64Array.from(o.b)})), first = {};
    for (let i = 0; i <= steps; i++) {
        const pass = e.forward(net, Float64Array.from(x), y.length), {loss, slopes} = e[kind](pass.preds, y), grads = e.backward(net, pass, slopes);
        if (i === 0) Object.assign(first, {loss, grads: grads.map(o => [[...o.w], o.b && [...o.b]])});
        if (i === steps) return {first, loss, net: net.map(o => [[...o.w], o.b && [...o.b]])};
        e.step(net, grads, lr);
    }
}'''


def digits(n):
    from mnist_basics.data import sample_tensors
    images, labels = sample_tensors('train', (3, 7))
    return images[:n].flatten(1).double(), (labels[:n] == 3).double()[:, None]


def coaster_case(standard):
    t, speed, params = (o.double() for o in measured())
    if standard: t = (t-t.mean())/t.std()
    lin = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad(): lin.weight.copy_(params[None])
    return nn.Sequential(lin), torch.stack([t**2, t, t**0], 1), speed[:, None], .1 if standard else 1e-5, mse, 'mse'


def net_case(*sizes):
    set_seed(1)
    layers = [o for a, b in zip(sizes, sizes[1:]) for o in (nn.Linear(a, b), nn.ReLU())][:-1]
    return nn.Sequential(*layers).double(), *digits(64), .5, mnist_loss, 'mnistLoss'


def curve_case():
    set_seed(2)
    x = torch.linspace(-1, 1, 50, dtype=torch.double)[:, None]
    return nn.Sequential(nn.Linear(1, 12), nn.ReLU(), nn.Linear(12, 1)).double(), x, (3*x).sin(), .05, mse, 'mse'


@pytest.mark.parametrize('case', [partial(coaster_case, False), partial(coaster_case, True), partial(net_case, 784, 1), partial(net_case, 784, 30, 1), curve_case],
    ids=['coaster', 'coaster standardized', 'linear', 'hidden layer', 'curve'])
def test_engine_equals_pytorch(visit, case):
    net, x, y, lr, loss_func, kind = case()
    linears = [o for o in net if isinstance(o, nn.Linear)]
    def flat(name): return [[getattr(o.weight, name).T.flatten().tolist(), None if o.bias is None else getattr(o.bias, name).tolist()] for o in linears]
    layers = [dict(w=w, b=b) for w, b in flat('data')]
    theirs = visit(('coaster', ride())).evaluate(TRAIN, [layers, x.flatten().tolist(), y.flatten().tolist(), lr, kind, 100])
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for i in range(101):
        ours = loss_func(net(x), y)
        opt.zero_grad()
        ours.backward()
        if i == 0: first = ours.item(), flat('grad')
        if i < 100: opt.step()
    def same(a, b): np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    same(theirs['first']['loss'], first[0])
    same(theirs['loss'], ours.item())
    for a, b in zip(theirs['first']['grads'] + theirs['net'], first[1] + flat('data'), strict=True):
        same(a[0], b[0])
        if b[1] is not None: same(a[1], b[1])


# ---- the roller coaster

@pytest.fixture
def train():
    "The lesson's own numbers: losses and gradients of the first steps, in PyTorch"
    def go(steps, lr=1e-5, zero=True):
        t, speed, params = measured()
        w, res = params.requires_grad_(), []
        for _ in range(steps+1):
            now = mse(w[0]*t**2 + w[1]*t + w[2], speed)
            now.backward()
            res.append((now.item(), w.grad.tolist()))
            with torch.no_grad(): w -= lr*w.grad
            if zero: w.grad = None
        return res
    return go


def agrees(tab, row):
    assert loss(tab) == pytest.approx(row[0], rel=1e-5, abs=.01)
    assert [number(o) for o in meters(tab)] == pytest.approx(row[1], rel=1e-4, abs=.01)


def test_coaster_shows_the_numbers_of_the_lesson(visit, train):
    tab = visit(('coaster', ride()))
    for row in train(3):
        agrees(tab, row)
        press(tab, 'Step')
    assert tab.said == []


def test_the_pull_of_one_measurement_is_handed_on(visit):
    tab = visit(('coaster', ride()))
    t, speed, (a, b, c) = measured()
    for j in (10, 3, 19):
        tab.get_by_role('slider', name='Which measurement?').fill(str(j))
        pull = (2*(a*t[j]**2 + b*t[j] + c - speed[j])/20).item()
        parts = [number(o.split('=')[1]) for o in tab.locator('.meter .part').all_inner_texts()]
        assert parts == pytest.approx([pull*j*j, pull*j, pull], rel=1e-4, abs=.006)
    tab.get_by_role('status').filter(has_text='After 19 seconds').wait_for()  # spoken once the slider rests


def test_gradients_add_up_unless_they_are_zeroed(visit, train):
    tab = visit(('coaster', ride()))
    tab.get_by_role('checkbox').uncheck()
    for row in train(4, zero=False):
        agrees(tab, row)
        press(tab, 'Step')
    assert 'earlier ones are still contained' in said(tab)
    def kept(): return [bool(o.get_attribute('d')) for o in tab.locator('.left').all()]
    assert kept() == [True]*3
    press(tab, 'Zero the gradients')
    assert 'None again' in said(tab) and tab.get_by_role('button', name='Zero the gradients').is_disabled()
    assert kept() == [False]*3


def test_detached_predictions_move_nothing(visit):
    tab = visit(('coaster', ride()))
    before, a = loss(tab), tab.get_by_role('slider', name='a', exact=True)
    press(tab, 'Detach the predictions')
    assert meters(tab) == ['None']*3 and loss(tab) == before
    press(tab, 'Step')
    assert 'does not require grad' in said(tab) and loss(tab) == before
    a.fill('0.5')
    assert loss(tab) != before and meters(tab) == ['None']*3
    press(tab, 'Detach the predictions')
    press(tab, 'Step')
    assert said(tab).startswith('Step 1:') and 'None' not in meters(tab)


def test_an_infinite_loss_is_named_and_left_again(visit, train):
    tab = visit(('coaster', ride()), reduced_motion='reduce')
    tab.get_by_role('slider', name='Learning rate lr').fill('-3')
    press(tab, 'Run 20 steps')
    assert 'smaller rate' in said(tab) and tab.locator('.loss').inner_text() == 'infinite'
    press(tab, 'Step')
    assert 'infinite' in said(tab)
    assert 'off this scale' in tab.get_by_role('slider', name='a', exact=True).get_attribute('aria-valuetext')
    assert 'NaN' not in tab.evaluate('document.querySelector("[data-explorable]").firstChild.shadowRoot.innerHTML')
    press(tab, 'Start again')
    agrees(tab, train(0)[0])
    assert tab.said == []


def test_standardized_time_lets_it_arrive(visit):
    tab = visit(('coaster', ride()), reduced_motion='reduce')
    def twenty_times_five():
        for _ in range(5): press(tab, 'Run 20 steps')
        return loss(tab)
    stuck = twenty_times_five()
    tab.get_by_role('combobox').select_option('time standardized')
    assert 670 < stuck < 680 and twenty_times_five() < 10


def test_running_goes_on_until_it_is_stopped(visit):
    tab = visit(('coaster', ride()))
    press(tab, 'Run 20 steps')
    tab.get_by_role('button', name='Stop').wait_for()
    tab.get_by_role('button', name='Run 20 steps').wait_for()
    assert said(tab).startswith('Step 20:')
    press(tab, 'Run 20 steps')
    press(tab, 'Stop')
    assert tab.get_by_role('button', name='Run 20 steps').is_visible()
    tab.evaluate('document.querySelector("[data-explorable]").remove()')  # while it may still be asked for a frame
    tab.wait_for_timeout(200)
    assert tab.said == []


def test_everything_from_the_keyboard(visit):
    tab = visit(('coaster', ride()))
    focus = '''() => { const el = document.querySelector("[data-explorable]").firstChild.shadowRoot.activeElement;
        const words = o => [...o.childNodes].filter(o => o.nodeType === 3).map(o => o.data).join("");
        return el && [el.getAttribute("aria-label") ?? words(el.labels?.[0] ?? el), getComputedStyle(el).outlineStyle !== "none"]; }'''
    stops = []
    for _ in range(20):
        tab.keyboard.press('Tab')
        if (at := tab.evaluate(focus)) is None: break
        stops.append(at)
        if at[0] == 'Which measurement?':
            tab.keyboard.press('ArrowRight')
            assert tab.locator('b.o').is_visible() and 'After 11 s' in tab.locator('.chain').inner_text()
        if at[0] == 'Step':
            before = loss(tab)
            tab.keyboard.press('Enter')
            assert loss(tab) < before
    assert all(o[1] for o in stops), 'the focus shows'
    assert {o[0] for o in stops} >= {'a', 'b', 'c', 'Step', 'Run 20 steps', 'Detach the predictions', 'Start again', 'Learning rate lr', 'The model gets'}


@pytest.mark.parametrize('touch', [False, True], ids=['mouse', 'finger'])
def test_a_measurement_is_chosen_in_the_chart(visit, touch):
    tab = visit(('coaster', ride()), size='phone', has_touch=touch)
    chart = tab.locator('svg.pick')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    x, y = box['x'] + .93*box['width'], box['y'] + .4*box['height']
    (tab.touchscreen.tap if touch else tab.mouse.click)(x, y)
    assert 'After 19 s' in tab.locator('.chain').inner_text()
    assert tab.get_by_role('slider', name='Which measurement?').input_value() == '19'


def test_a_drag_ends_with_its_own_numbers(visit):
    "While it lasts numbers and pictures take turns; once it is over nothing lags behind"
    tab = visit(('coaster', ride()), size='phone')
    t, speed, (_, b, c) = measured()
    slider, arrows = tab.get_by_role('slider', name='a', exact=True), tab.locator('.arrow')
    slider.scroll_into_view_if_needed()
    box, were = slider.bounding_box(), arrows.get_attribute('d')
    def at(share): return box['x'] + share*box['width'], box['y'] + box['height']/2
    tab.mouse.move(*at(.2))
    tab.mouse.down()
    for i in range(25): tab.mouse.move(*at(.2 + .02*i))
    tab.mouse.up()
    shown, a = tab.locator('.loss').inner_text(), float(slider.input_value())
    now = mse(a*t**2 + b*t + c, speed).item()
    assert number(shown) == pytest.approx(now, rel=1e-5) and shown == f'{number(shown):,.2f}' and ',' in shown
    assert slider.get_attribute('aria-valuetext').startswith(f'{a:.2f}'.replace('-', '−'))
    tab.wait_for_function('([el, were]) => el.getAttribute("d") !== were', arg=[arrows.element_handle(), were])
    assert tab.said == []


# ---- the parabola

@pytest.mark.parametrize('lr,name', [('-2', 'Too small'), ('-0.525', 'Right'), ('-0.025', 'Bouncing'), ('0', 'Bouncing for ever'), ('0.05', 'Diverging')])
def test_parabola_names_what_a_rate_does(visit, lr, name):
    tab = visit(('parabola', parabola().values))
    tab.get_by_role('slider', name='Learning rate lr').fill(lr)
    x, rate = -1.5, float(tab.locator('.value').nth(1).inner_text())
    for i in range(1, 4):
        press(tab, 'Step')
        x -= rate*2*x
        assert said(tab).startswith(f'Step {i}. {name}:')
        assert number(tab.locator('.value').first.inner_text().split(',')[0]) == pytest.approx(x, abs=.006)
    assert tab.said == []


@pytest.mark.parametrize('touch', [False, True], ids=['mouse', 'finger'])
def test_parabola_point_is_dragged(visit, touch):
    tab = visit(('parabola', parabola().values), size='phone', has_touch=touch)
    box = tab.locator('svg.pick').bounding_box()
    def at(share): return box['x'] + box['width']*(56+372*share)/440, box['y'] + box['height']/2
    if touch: tab.touchscreen.tap(*at(.75))
    else:
        tab.mouse.move(*at(.2))
        tab.mouse.down()
        tab.mouse.move(*at(.75), steps=5)
        tab.mouse.up()
    assert number(tab.locator('.o').inner_text()) == pytest.approx(2, abs=.05), 'the slope at 1'
    tab.get_by_role('status').filter(has_text='down is to the left').wait_for()


def test_parabola_diverges_to_infinity_and_comes_back(visit):
    tab = visit(('parabola', parabola().values), reduced_motion='reduce')
    tab.get_by_role('slider', name='Learning rate lr').fill('0.1')
    for _ in range(20): press(tab, 'Run 20 steps')
    assert 'infinite' in said(tab) and 'NaN' not in tab.locator('.x').inner_html()
    press(tab, 'Start again')
    press(tab, 'Run 20 steps')
    assert 'Diverging' in said(tab) and tab.said == []


# ---- a digit pulls on its weights

def pixels(tab, n):
    "Canvas `n` as an array [28,28,3]"
    return np.array(tab.locator('canvas').nth(n).evaluate('o => [...o.getContext("2d").getImageData(0, 0, 28, 28).data]')).reshape(28, 28, 4)[..., :3]


def test_the_file_holds_the_images_of_the_package():
    run = subprocess.run([sys.executable, ROOT/'tools'/'explore_digits.py', '--check'], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (explore_folder()/'digits.png').stat().st_size < 400_000


@pytest.mark.parametrize('index', [0, 1500])
def test_a_digit_pulls_where_it_has_ink(visit, index):
    tab = visit(('pulls', digit_pulls().values))
    tab.get_by_role('slider', name='Which training image?').fill(str(index))
    image = sprite_images()[index]
    assert abs(pixels(tab, 0) - (255-image)[..., None].astype(int)).max() <= 1, 'the image is the real one'
    pull, inked = pixels(tab, 3), image > 60
    assert (pull[image == 0] == 255).all(), 'no ink, no pull'
    blue = pull[inked][:, 2].astype(int) - pull[inked][:, 0]
    assert (blue > 0).all() if index < 1000 else (blue < 0).all(), 'a 3 pulls up, a 7 down'
    score, slope = (number(o.inner_text()) for o in (tab.locator('.stack p').nth(0).locator('b').nth(1), tab.locator('.o').first))
    prob = 1/(1+np.exp(-score))
    assert slope == pytest.approx((-1 if index < 1000 else 1)*prob*(1-prob), abs=.003)


def test_it_trains_on_real_images(visit):
    tab = visit(('pulls', digit_pulls().values))
    for _ in range(25): press(tab, 'One step')
    accuracy = float(re.search(r'accuracy ([\d.]+)', said(tab))[1])
    assert accuracy > .9 and said(tab).startswith('After 25 steps')
    worst = tab.locator('figcaption').filter(has_text='P(3)').all_inner_texts()
    assert len(worst) == 8
    firsts = [(o[2], float(o.split('= ')[1])) for o in worst]
    assert (lambda d, p: p < .5 if d == '3' else p > .5)(*firsts[0])
    press(tab, 'Train 10 epochs')
    press(tab, 'Stop')
    assert said(tab).startswith('Stopped.')
    tab.get_by_role('combobox', name='First weights').select_option('1')
    assert 'spread of 1' in said(tab) and tab.said == []


def test_in_order_it_stays_at_one_half(visit):
    tab = visit(('pulls', digit_pulls().values))
    tab.get_by_role('checkbox').uncheck()
    tab.get_by_role('combobox', name='Images in a batch').select_option('256')
    for _ in range(8): press(tab, 'One step')
    assert 'accuracy 0.500' in said(tab)


# ---- a bend at a time

def error(tab): return float(re.search(r'error ([\d.e−]+)\.', said(tab))[1].replace('−', '-'))


def test_a_bend_is_a_relu(visit):
    "The line that is drawn, its error as PyTorch has it, and the network that goes through the same points"
    tab = visit(('bends', wave()))
    y = (3*CURVE).sin()
    line = y[0] + (y[-1]-y[0])*(CURVE+1)/2
    assert 'one straight line' in said(tab) and error(tab) == pytest.approx(mse(line, y).item(), abs=1e-4)
    press(tab, 'Add a bend')
    for name, v in (('Its x', '0.5'), ('Its y', '1')): tab.get_by_role('slider', name=name).fill(v)
    tab.wait_for_timeout(600)  # the words wait until the slider rests
    px, py = [float(tab.get_by_role('slider', name=o).input_value()) for o in ('Its x', 'Its y')]
    want = mse(torch.tensor(np.interp(CURVE, [-1, px, 1], [y[0], py, y[-1]])).float(), y).item()
    assert error(tab) == pytest.approx(want, abs=2e-4)
    press(tab, 'Remove this bend')
    assert error(tab) == pytest.approx(mse(line, y).item(), abs=1e-4) and tab.said == []


def test_descent_moves_the_bends(visit):
    tab = visit(('bends', wave()), reduced_motion='reduce')
    for _ in range(3): press(tab, 'Add a bend')
    before = error(tab)
    press(tab, 'Descend 2,000 steps')
    assert error(tab) < before/2 and tab.said == []
    press(tab, 'Start again')
    assert said(tab).startswith('No bend')


def test_hidden_units_take_shape(visit):
    tab = visit(('bends', wave()))
    tab.get_by_role('combobox').select_option('1')
    assert tab.locator('.tiles canvas').count() == 1
    tab.get_by_role('combobox').select_option('12')
    assert tab.locator('.tiles canvas').count() == 12
    press(tab, 'Train 320 steps')
    tab.get_by_role('status').filter(has_text='784-12-1 after 320 steps').wait_for(timeout=120_000)
    assert float(re.search(r'accuracy (\d\.\d+)', tab.get_by_role('status').nth(1).inner_text())[1]) > .93


# ---- convolution by hand

def test_the_map_is_a_convolution(visit):
    tab = visit(('convolve', edges()))
    image = torch.tensor(sprite_images()[1])/255
    for kernel in (KERNEL, -KERNEL):
        want = nn.functional.conv2d(image[None, None], kernel[None, None])[0, 0]
        for row, col in ((6, 10), (13, 13), (21, 8)):
            for name, v in (('Row of the window', row), ('Column of the window', col)): tab.get_by_role('slider', name=name).fill(str(v))
            assert number(tab.locator('.sum b').inner_text()) == pytest.approx(want[row, col].item(), abs=.006)
        press(tab, 'Turn the signs')
    first = tab.get_by_role('spinbutton').first
    first.fill('')
    tab.get_by_role('status').filter(has_text='no number').wait_for()
    press(tab, 'All zero')
    assert tab.locator('.sum b').inner_text() == '0.00' and tab.said == []


def test_kernels_by_hand_and_learned_ones(visit):
    "They are those of the page for drawing; how alike two maps are, and which is most so, is what NumPy says"
    image, learned = torch.tensor(sprite_images()[1])/255, learned_kernels()
    convs = [o for o in read_weights().nets['ten'] if isinstance(o, nn.Conv2d) and o.kernel_size != (1, 1)]
    assert learned.equal(convs[0].weight[:, 0])
    tab = visit(('convolve', edges()))
    def theirs(kernel):
        maps = [nn.functional.conv2d(image[None, None], o[None, None])[0, 0].numpy() for o in (kernel, *learned)]
        return np.array([np.corrcoef(maps[0][1:-1, 1:-1].ravel(), o.ravel())[0, 1] for o in maps[1:]])
    tiles, shown = tab.locator('.tiles figcaption'), tab.locator('.two figcaption').last
    def alike(kernel): assert [number(o) for o in tiles.all_inner_texts()] == pytest.approx(theirs(kernel), abs=.0055)
    alike(KERNEL)
    press(tab, 'Show the most alike')
    best = theirs(KERNEL).argmax()
    assert f'Learned kernel {best+1} and' in shown.inner_text()
    assert tab.locator('.tiles [aria-pressed=true]').count() == 1
    tab.get_by_role('button', name='Learned kernel 13').click()
    assert 'Learned kernel 13 and' in shown.inner_text() and 'Learned kernel 13 and' in said(tab)
    press(tab, 'Turn the signs')
    alike(-KERNEL)
    field, changed = tab.get_by_role('spinbutton').nth(4), -KERNEL.clone()
    field.fill('2.5')
    changed[1, 1] = 2.5
    alike(changed)
    press(tab, 'All zero')
    assert set(tiles.all_inner_texts()) == {'0.00'} and tab.said == []


# ---- any explorable

CURVE = torch.linspace(-1, 1, 40)
def wave(): return bends(CURVE, (3*CURVE).sin()).values


KERNEL = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])
def edges(): return slide_kernel(torch.tensor(sprite_images()[1])/255, {'lower edges': KERNEL, 'left edges': KERNEL.T.flip(1)}, learned_kernels()).values


STARTS = {'coaster': ride, 'parabola': lambda: parabola().values, 'pulls': lambda: digit_pulls().values, 'bends': wave, 'convolve': edges}
ALL = pytest.mark.parametrize('name', STARTS)


@ALL
def test_two_on_one_page_share_nothing(visit, name):
    tab = visit((name, STARTS[name]()), (name, STARTS[name]()))
    assert tab.locator('[data-explorable]').count() == 2 and tab.said == []
    first, second = (tab.locator('[data-explorable]').nth(i) for i in (0, 1))
    before = second.locator('.x').inner_text()
    first.get_by_role('slider').first.focus()
    tab.keyboard.press('ArrowRight')
    assert second.locator('.x').inner_text() == before != first.locator('.x').inner_text()


# What is pressed, and whether there is something to point at, besides the first slider
MAIN = dict(coaster='Step', parabola='Step', pulls='One step', bends='Add a bend', convolve='Turn the signs')


def slid(tab):
    "The first slider that is no measurement, a learning rate or the like, and what it says"
    o = tab.get_by_role('slider').first
    return o, o.get_attribute('aria-valuetext')


@ALL
@pytest.mark.parametrize('way', ['mouse', 'finger', 'pen', 'keyboard'])
def test_each_by_hand(visit, name, way):
    "A button, a slider and the figure itself answer to it"
    tab = visit((name, STARTS[name]()), size='phone', has_touch=way == 'finger')
    box, button, (slider, before) = tab.locator('.x'), tab.get_by_role('button', name=MAIN[name], exact=True), slid(tab)
    def all_of_it(): return box.evaluate('o => o.innerHTML + [...o.querySelectorAll("canvas")].map(o => o.toDataURL())')
    pen = tab.context.new_cdp_session(tab)
    def point(o, across, down=.5):
        o.scroll_into_view_if_needed()
        r = o.bounding_box()
        x, y = r['x'] + across*r['width'], r['y'] + down*r['height']
        if way == 'finger': tab.touchscreen.tap(x, y)
        elif way == 'mouse': tab.mouse.click(x, y)
        else:
            for kind in ('mousePressed', 'mouseReleased'):
                pen.send('Input.dispatchMouseEvent', dict(type=kind, x=x, y=y, button='left', buttons=1, clickCount=1, pointerType='pen'))
    if way == 'keyboard':
        focus = 'document.querySelector("[data-explorable]").firstChild.shadowRoot.activeElement?.'
        def walk_to(what):
            for _ in range(60):
                if what in str(tab.evaluate(f'[{focus}textContent, {focus}type]')): return
                tab.keyboard.press('Tab')
            pytest.fail(f'the keyboard does not get to {what}')
        walk_to('range')
        tab.keyboard.press('End')
        if slider.get_attribute('aria-valuetext') == before: tab.keyboard.press('Home')
    else: point(slider, .9)
    assert slider.get_attribute('aria-valuetext') != before
    if way != 'keyboard' and (figure := tab.locator('.pick')).count():
        were = all_of_it()
        point(figure.first, .3, .4)
        assert all_of_it() != were
    were = all_of_it()
    if way == 'keyboard':
        tab.evaluate('document.activeElement.blur()')
        walk_to(MAIN[name])
        tab.keyboard.press('Enter')
    else: point(button, .5)
    assert all_of_it() != were and tab.said == []


@ALL
def test_sliders_at_their_ends(visit, name):
    "Nothing but numbers, nothing that freezes, and a way back"
    tab = visit((name, STARTS[name]()), reduced_motion='reduce')
    sliders = tab.get_by_role('slider')
    for end in ('Home', 'End'):
        for i in range(sliders.count()):
            if sliders.nth(i).is_disabled(): continue
            sliders.nth(i).focus()
            tab.keyboard.press(end)
            for _ in range(3):
                if (o := tab.get_by_role('button', name=MAIN[name], exact=True)).is_enabled(): o.click()
            assert 'NaN' not in tab.locator('.x').inner_html()
    for o in ('Run 20 steps', 'Descend 2,000 steps'):
        if tab.get_by_role('button', name=o).count(): press(tab, o)
    back = tab.get_by_role('button', name='Start again')
    if back.count(): back.click()
    assert 'NaN' not in tab.locator('.x').inner_html() and tab.said == []


@ALL
def test_it_rests_when_it_is_done(visit, name):
    "A page left open for an hour asks for no frame"
    tab = visit((name, STARTS[name]()))
    for o in ('Run 20 steps', MAIN[name]):
        if tab.get_by_role('button', name=o).count(): press(tab, o)
    tab.wait_for_function('() => !document.querySelector("[data-explorable]").firstChild.shadowRoot.textContent.includes("Stop")')
    asked = """() => new Promise(done => {
        let n = 0;
        const real = window.requestAnimationFrame, wait = window.setTimeout;
        window.requestAnimationFrame = f => { n++; return real(f); };
        wait(() => { window.requestAnimationFrame = real; done(n); }, 700);
    })"""
    tab.wait_for_timeout(500)
    assert tab.evaluate(asked) == 0


@ALL
@pytest.mark.parametrize('scheme,size', [('light', 'wide'), ('dark', 'wide'), ('dark', 'phone')])
def test_nothing_to_object_to(visit, name, scheme, size):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    tab = visit((name, STARTS[name]()), size=size, color_scheme=scheme, reduced_motion='reduce')
    tab.wait_for_function('dark => document.querySelector("[data-explorable]").firstChild.shadowRoot.querySelector(".x").classList.contains("dark") === dark', arg=scheme == 'dark')
    found = axe.run(tab).response['violations']
    assert not found, [(o['id'], o['help'], [n['html'] for n in o['nodes']]) for o in found]
    assert tab.evaluate('document.documentElement.scrollWidth') <= SIZES[size][0], 'nothing sticks out'
    small = '''document.querySelector("[data-explorable]").firstChild.shadowRoot.querySelectorAll("button, input[type=range], select")'''
    assert tab.evaluate(f'[...{small}].every(o => o.getBoundingClientRect().height >= 24)'), 'a finger finds it'
    assert tab.said == []


@pytest.mark.parametrize('name,values,says', [
    ('coaster', dict(time=[0, 1], speed=[1], params=[1, 2, 3]), 'as many'),
    ('coaster', dict(time=[0, 1], speed=[1, None], params=[1, 2, 3]), 'finite'),
    ('coaster', {}, 'undefined'),
    ('parabola', dict(start=None, lr=1), 'finite'),
    ('pulls', dict(file='digits.png', lr=0, std=1), 'above 0'),
    ('convolve', dict(image=[[0, 1], [1, 0]], kernels={}, learned=[]), 'square'),
    ('bends', dict(file='digits.png', x=[1], y=[1]), 'two finite points'),
    ('pulls', dict(file='lost.png', lr=1, std=1), 'did not come'),
    ('bends', dict(file='lost.png', x=[0, 1], y=[0, 1]), 'did not come'),
    ('pulls', dict(file='engine.js', lr=1, std=1), 'damaged'),
    ('unheard_of', {}, 'module')])
def test_bad_values_are_named_and_the_picture_stays(visit, name, values, says):
    tab = visit((name, values), wait=False)
    alert = tab.get_by_role('alert')
    alert.wait_for()
    assert says in alert.inner_text() and tab.locator('img').count() == 1


SPRITE = f"data:image/png;base64,{base64.b64encode((explore_folder()/'digits.png').read_bytes()).decode()}"


@ALL
def test_the_bundle_is_the_same_explorable(browser, name):
    tab = browser.new_context().new_page()
    tab.set_content('<div id="here"></div>')
    tab.evaluate('''async ([source, values]) => {
        const {default: widget} = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
        await widget.render({model: {get: () => values}, el: document.getElementById("here")});
    }''', [bundle(name), {**STARTS[name](), **({'file': SPRITE} if 'file' in STARTS[name]() else {})}])
    tab.locator('#here .title').wait_for()
    tab.context.close()


NOTEBOOK = """import torch
from mnist_basics.explorables import coaster
time = torch.arange(0, 20).float()
coaster(time, time**2, torch.tensor([0.,0.,1.]))"""


@pytest.fixture
def lab(tmp_path):
    "The address of a JupyterLab of our own, with a notebook `touch.ipynb` in it"
    pytest.importorskip('anywidget')
    pytest.importorskip('jupyterlab')
    from fastcore.nbio import mk_cell, new_nb, write_nb
    kernel = dict(kernelspec=dict(name='python3', language='python', display_name='Python 3'))
    write_nb(new_nb([mk_cell(NOTEBOOK), mk_cell('1')], kernel), tmp_path/'touch.ipynb')
    shared = Path(find_spec('anywidget').origin).parents[4]/'share'/'jupyter'  # where pip has put the widgets' half for the browser
    run = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--port=0', '--ServerApp.port_retries=0',
        '--IdentityProvider.token=', f'--ServerApp.root_dir={tmp_path}', '--LabApp.news_url=None', '--LabApp.extension_manager=readonly'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env={**os.environ, 'JUPYTER_PATH': str(shared)})
    found = next((m[0] for o in run.stdout if (m := re.search(r'http://(localhost|127\.0\.0\.1):[1-9]\d*/', o))), None)
    threading.Thread(target=run.stdout.read, daemon=True).start()
    assert found, 'JupyterLab does not start'
    yield found
    run.terminate()
    run.wait(20)


@pytest.mark.long('starts JupyterLab and a kernel')
def test_jupyterlab_with_a_real_kernel(browser, lab):
    from playwright import sync_api
    tab = browser.new_context(viewport=dict(width=1200, height=1600)).new_page()
    tab.set_default_timeout(180_000)  # it has much to load
    tab.goto(f'{lab}lab/tree/touch.ipynb?reset')
    tab.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').first.wait_for(state='attached')
    for _ in range(6):  # widgets have to be ready as well, and nothing on the page says when they are
        for o in tab.locator('.jp-Dialog .jp-mod-accept').all(): o.click()  # what JupyterLab has to say, on a busy machine
        tab.locator('.jp-Notebook .cm-content').first.click()
        tab.keyboard.press('Shift+Enter')
        try: tab.locator('.jp-OutputArea .title').wait_for(timeout=25_000)
        except sync_api.TimeoutError: continue
        break
    before = loss(tab)
    press(tab, 'Step')
    assert 0 < loss(tab) < before and said(tab).startswith('Step 1:')
    tab.context.close()


def test_scripts_are_small():
    "All of them together, without data"
    assert sum(o.stat().st_size for o in explore_folder().glob('*.js')) < 60_000
