"The drawing page: its files, its weights, and what it answers in a real browser, held against Python."
import base64, io, json, os, re, signal, socket, struct, subprocess, sys, threading, urllib.error, urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from strokes import HANDS, drawings, varied
from mnist_basics.data import to_mnist
from mnist_basics.pictures import read_digits
from mnist_basics.draw import (build_net, draw_strokes, export_web, judge, make_weights, net_layers, read_weights, sample_strokes,
    serve_draw, smooth_stroke, unpack_tensors, verdict, web_folder)

SAMPLES = sample_strokes()
FILES = {'index.html', 'page.css', 'page.js', 'engine.js', 'samples.json', 'weights.json', 'weights.bin'}


@pytest.fixture(scope='module')
def models(): return read_weights()


# ---- the files

def test_the_page_is_exported_whole_and_small(tmp_path):
    page = export_web(tmp_path/'a'/'draw')
    assert page == tmp_path/'a'/'draw'/'index.html'
    assert {o.name for o in page.parent.iterdir()} == FILES
    assert sum(o.stat().st_size for o in page.parent.iterdir()) < 1_000_000
    assert export_web(tmp_path/'a'/'draw') == page, 'a second time over the first'


def test_the_page_names_no_other_host():
    for o in web_folder().rglob('*'):
        if o.is_dir() or o.suffix in ('.bin', '.png'): continue
        text = re.sub(r'http://www\.w3\.org/(2000/svg|\$\{space\})', 'the name of a language, which nobody fetches', o.read_text(encoding='utf8'))
        assert not re.search(r'(https?:)?//[a-z]+\.|@import|eval\(', text), o.name


def test_export_refuses_a_file(tmp_path):
    (tmp_path/'draw').write_text('mine')
    with pytest.raises(OSError): export_web(tmp_path/'draw')
    assert (tmp_path/'draw').read_text() == 'mine'


@pytest.mark.parametrize('change', [lambda b: b[:-4], lambda b: b[:100]+bytes([b[100]^1])+b[101:], lambda b: b''])
def test_damaged_weights_are_refused(tmp_path, change):
    export_web(tmp_path)
    file = tmp_path/'weights.bin'
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match='damaged'): read_weights(tmp_path)


def test_the_manifest_tells_all(models):
    m = models.manifest
    assert m['bytes'] == (web_folder()/m['file']).stat().st_size
    assert sum(4*int(np.prod(o['shape'])) for o in m['tensors'].values()) == m['bytes']
    named = {o[k] for net in m['nets'].values() for o in net for k in ('weight', 'bias') if k in o}
    assert named | {'ideal.means'} == m['tensors'].keys()
    assert sum(p.numel() for p in models.nets['ten'].parameters()) <= 20_000


def test_weights_that_end_early():
    with pytest.raises(ValueError, match='byte 4'): unpack_tensors(bytes(4), {'a': dict(dtype='float32', shape=[2], offset=0)})


@pytest.mark.long('trains all networks of the page: six minutes')
def test_trained_again_it_is_as_good(tmp_path, models):
    fresh, kept = make_weights(tmp_path)['accuracy'], models.manifest['accuracy']
    assert fresh.keys() == kept.keys()
    assert kept['ten'] > .99 and kept['mlp'] > .98 and kept['linear'] > .965 and kept['ideal_3_7'] > .95 and kept['ideal'] > .66
    for k in kept: assert abs(fresh[k]-kept[k]) < .004, f'{k}: {fresh[k]} trained again, {kept[k]} in the package'


# ---- layers

def every_layer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 5, 2, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU(),
        nn.AvgPool2d(3, 2), nn.Conv2d(8, 6, 1), nn.Dropout(.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))
    for _ in range(3): net(torch.randn(16, 1, 28, 28))  # so that the batch norms have something to fold
    return net.eval()


def test_a_net_survives_the_way_to_the_page_and_back():
    net, x = every_layer(), torch.rand(8, 1, 28, 28)
    rows, tensors = net_layers('all', net)
    assert [o['kind'] for o in rows].count('conv') == 4
    with torch.no_grad(): torch.testing.assert_close(build_net(rows, tensors)(x), net(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('layer', [nn.Sigmoid(), nn.Conv2d(1, 1, 3, dilation=2), nn.MaxPool2d(3, padding=1), nn.BatchNorm2d(1),
    nn.Conv2d(1, 1, (3, 5)), nn.Conv2d(1, 1, 3, padding='same'), nn.Conv2d(1, 1, 3, padding=1, padding_mode='reflect'), nn.MaxPool2d(2, ceil_mode=True), nn.GELU()])
def test_a_layer_that_the_page_lacks(layer):
    with pytest.raises(ValueError, match='the page has no layer'): net_layers('x', nn.Sequential(layer))


# ---- the rule

def guard_that_says(**shares):
    "A guard that gives the digits `d0` to `d9`, and `none`, these shares of any image, and the rest a hundredth"
    says = [shares.get(f'd{d}', .01) for d in range(10)]+[shares.get('none', .01)]
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 11))
    nn.init.zeros_(net[1].weight)
    with torch.no_grad(): net[1].bias.copy_(torch.tensor(says).log())
    return net


@pytest.mark.parametrize('network,guard,answer,sure,reason', [
    ({3: .9, 8: .1}, dict(d3=.9), 3, True, ''),                       # both say 3
    ({3: .5, 8: .45, 1: .05}, dict(d3=.6), 3, True, ''),              # the network wavers, and the guard agrees
    ({3: .55, 8: .45}, dict(d8=.8), 8, True, ''),                     # it wavers, and the guard says the other
    ({3: .99, 8: .01}, dict(d8=.8, d3=.1), 3, False, '3 or 8'),       # both are certain, of different digits
    ({3: .99, 8: .01}, dict(none=.9), 3, False, 'none of the digits'),
    ({3: .5, 8: .5}, dict(d3=.45, d8=.4), 3, False, '3 or 8'),        # nobody is certain
    ({3: .9, 7: .1}, dict(d8=.9), 3, False, '3 or 8'),                # a network that knows two digits is asked about a third
])
def test_two_readers_decide(models, network, guard, answer, sure, reason):
    seen = verdict(torch.zeros(28, 28), network, models._replace(nets={'guard': guard_that_says(**guard)}))
    says = {o: guard.get(f'd{o}', .01) for o in range(10)}
    parts = [network[o]**.5*says[o] if o in network else .1*says[o] for o in range(10)]+[.1*guard.get('none', .01)]
    assert (seen.answer, seen.sure) == (answer, sure) and reason in seen.reason and bool(reason) != sure
    assert seen.probability == pytest.approx(parts[answer]/sum(parts), abs=1e-5)


# ---- drawings in Python

def test_own_drawings_are_recognised(models):
    for name, strokes in SAMPLES.items():
        seen = judge(models, to_mnist(draw_strokes(strokes)))
        if name.isdigit(): assert seen['sure'] and seen['digit'] == int(name), (name, seen)
        else: assert not seen['sure'], seen


def test_the_other_hand_is_recognised(models):
    for d, strokes in HANDS.items():
        seen = judge(models, to_mnist(draw_strokes(strokes)))
        assert seen['digit'] == d, (d, seen)


def test_smooth_strokes_keep_their_ends():
    assert smooth_stroke([[0, 0]]) == [[0, 0]]
    curve = np.array(smooth_stroke([[0, 0], [.5, 1], [1, 0]]))
    assert curve[0].tolist() == [0, 0] and curve[-1].tolist() == [1, 0] and .4 < curve[:, 1].max() <= 1


# ---- the server and the command

@pytest.fixture
def server():
    server = serve_draw(browser=False, wait=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_page_is_served(server):
    for name in FILES:
        with urllib.request.urlopen(server.url+name) as o: assert o.read() == (web_folder()/name).read_bytes()
    with pytest.raises(OSError, match=f'port {server.server_port}: '): serve_draw(server.server_port, browser=False, wait=False)


# The server in a process of its own, which listens to Ctrl-C even where the tests themselves run in the background
SERVE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from mnist_basics.draw import serve_draw
serve_draw(browser={browser})
"""


@pytest.fixture
def serving():
    "Starts it, and says where it is; what it said in the end is asked for with `communicate`"
    runs = []
    def start(browser=False, before='', **env):
        runs.append(subprocess.Popen([sys.executable, '-c', before+SERVE.format(browser=browser)], env={**os.environ, **env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return runs[-1], runs[-1].stdout.readline().split()[0]
    yield start
    for o in runs:
        o.kill()
        o.communicate()


@pytest.mark.parametrize('end', ['SIGINT', 'SIGTERM'])
def test_it_serves_until_it_is_stopped(end, serving):
    run, url = serving()
    with urllib.request.urlopen(url) as o: assert b'<title>Draw a digit' in o.read()
    idle = socket.create_connection(place(url))
    run.send_signal(getattr(signal, end))
    assert run.communicate(timeout=60) == ('', '') and run.returncode == 0
    idle.close()


def place(url): return '127.0.0.1', int(url.split(':')[2].strip('/'))


def sent(url, request):
    "All that comes back for the bytes `request`"
    with socket.create_connection(place(url), timeout=20) as s:
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
        return b''.join(iter(lambda: s.recv(65536), b''))


def test_a_browser_that_is_waited_for_gets_the_page(serving, tmp_path):
    "One in a terminal, such as lynx: whoever opens it waits until it is left"
    script = tmp_path/'browser.py'
    script.write_text('import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[1]).status, flush=True)\nsys.stdin.read()')
    run, url = serving(browser=True, BROWSER=f'{sys.executable} {script} %s')
    assert run.stdout.readline() == '200\n'
    with urllib.request.urlopen(url) as o: assert o.status == 200


def test_no_browser_is_said(serving, tmp_path):
    run, url = serving(browser=True, BROWSER=str(tmp_path/'none'), PATH=str(tmp_path))
    assert run.stderr.readline() == f'no browser could be opened: open {url}\n'


def test_a_crowd_that_says_nothing_locks_nobody_out(serving):
    "Sixty-six connections, where the process may have 64 files open"
    resource = pytest.importorskip('resource', reason='no limits here')
    run, url = serving(before='import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n')
    crowd = [socket.create_connection(place(url)) for _ in range(66)]
    for _ in range(3):
        with urllib.request.urlopen(url, timeout=30) as o: assert o.read() == (web_folder()/'index.html').read_bytes()
    for o in crowd: o.close()
    run.send_signal(signal.SIGTERM)
    assert run.communicate(timeout=20) == ('', '') and run.returncode == 0


def test_who_says_nothing_is_let_go(server):
    server.RequestHandlerClass.func.timeout, before = .2, server.RequestHandlerClass.func.timeout
    try:
        for said in b'', b'GET / HTTP/1.1\r\nHost: loc':
            with socket.create_connection(server.server_address, timeout=20) as s:
                s.sendall(said)
                assert s.recv(1) == b''
    finally: server.RequestHandlerClass.func.timeout = before


def test_whatever_is_asked_makes_no_traceback(serving):
    run, url = serving()
    for i in range(40):
        with socket.create_connection(place(url)) as s:  # closed at once, with an answer under way: a reset
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            s.sendall(b'GET /weights.bin HTTP/1.1\r\nHost: localhost\r\n\r\n'*(i%2))
    def status(path): return sent(url, f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()).split()[1]
    for o in '/%00', '/%', '/%ff', '/..', '/../../etc/passwd', '/none', 'http://localhost/', '/index.html/', '*': assert status(o) == b'404', o
    assert sent(url, b'\0\xff\r\n\r\n') and sent(url, b'POST / HTTP/1.1\r\nHost: localhost\r\n\r\n').split()[1] == b'501'
    assert status('/') == status('/?%00') == b'200'
    run.send_signal(signal.SIGTERM)
    assert run.communicate(timeout=20) == ('', '') and run.returncode == 0


@pytest.mark.parametrize('host,code', [('localhost', 200), ('LOCALHOST:80', 200), ('127.0.0.1:8000', 200), ('[::1]:1', 200), ('digits.example', 403),
    ('localhost.digits.example', 403), ('127.0.0.1.nip.example:80', 403), ('localhost@digits.example', 403), ('localhost\r\nHost: digits.example', 403), ('', 403)])
def test_only_this_machine_is_answered(host, code, server):
    assert sent(server.url, f'GET / HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode()).split()[1] == str(code).encode()


def test_it_listens_on_loopback_only(server):
    assert server.server_address[0] == '127.0.0.1'


@pytest.mark.parametrize('path', ['', 'engine.js', 'none'])
def test_every_answer_says_what_the_page_may_load(path, server):
    try: head = urllib.request.urlopen(server.url+path).headers
    except urllib.error.HTTPError as e: head = e.headers
    policy = dict(o.split(' ', 1) for o in head['Content-Security-Policy'].split('; '))
    assert policy['default-src'] == policy['frame-ancestors'] == policy['base-uri'] == "'none'" and policy['connect-src'] == "'self'"
    assert 'unsafe' not in str(policy) and '*' not in str(policy) and 'http' not in str(policy)
    assert head['X-Content-Type-Options'] == 'nosniff'
    assert head.get_content_type() == ('text/javascript' if path == 'engine.js' else 'text/html')


def test_it_leaves_nothing_behind():
    before, handlers = set(threading.enumerate()), [signal.getsignal(o) for o in (signal.SIGINT, signal.SIGTERM)]
    server = serve_draw(browser=False, wait=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    idle = socket.create_connection(server.server_address)
    with urllib.request.urlopen(server.url) as o: assert o.status == 200
    server.shutdown()
    server.server_close()
    assert idle.recv(1) == b'' and not [o for o in set(threading.enumerate())-before if 'serve_forever' not in o.name]
    assert [signal.getsignal(o) for o in (signal.SIGINT, signal.SIGTERM)] == handlers
    idle.close()


# ---- the browser

@pytest.fixture(scope='module')
def address(tmp_path_factory):
    "The exported page, served from a folder within a folder"
    root = tmp_path_factory.mktemp('site')
    export_web(root/'some'/'where'/'draw')
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/some/where/draw/'
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(browser, address):
    "Opens the page, in a window of some kind; in the end nothing may have failed, and nothing come from elsewhere"
    contexts, wrong = [], []
    def opened(**kw):
        contexts.append(browser.new_context(**{**dict(viewport=dict(width=1180, height=900)), **kw}))
        page = contexts[-1].new_page()
        page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('requestfailed', lambda r: wrong.append(r.url))
        page.on('request', lambda r: r.url.startswith((address, 'data:')) or wrong.append(r.url))
        page.goto(address)
        page.wait_for_selector('html[data-ready=yes]')
        return page
    yield opened
    for o in contexts: o.close()
    assert not wrong


def places(page, strokes):
    "Smooth `strokes` in the pixels of the window"
    page.locator('#ink').scroll_into_view_if_needed()
    box = page.locator('#ink').bounding_box()
    return [[(box['x']+x*box['width'], box['y']+y*box['height']) for x, y in smooth_stroke(o, 4)] for o in strokes]


def draw_with_mouse(page, strokes):
    for stroke in places(page, strokes):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for x, y in stroke[1:]: page.mouse.move(x, y)
        page.mouse.up()
    settle(page)


def settle(page): page.evaluate('new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 20))')


@pytest.fixture
def page(open_page): return open_page()


@pytest.mark.parametrize('n', [40, pytest.param(200, marks=pytest.mark.long('all of them: a minute'))])
def test_drawings_look_the_same_to_browser_and_python(n, page, models):
    page.evaluate('''() => { window.ask = strokes => {
        setStrokes(strokes);
        const images = look().images.map(o => [...o]), png = sheet.canvas.toDataURL();
        if (!state.answer) return {png, images};
        const {ideal, linear, mlp, ten} = state.answer;
        return {png, images, distances: ideal.distances, linear: linear.probability, mlp: mlp.probability,
            ten: [...ten.probabilities], digit: ten.digit, sure: ten.sure};
    }; }''')
    worst, right, believed = dict(seen=0., distances=0., linear=0., mlp=0., ten=0.), [], []
    for digit, strokes in drawings(SAMPLES, n):
        theirs = page.evaluate('strokes => ask(strokes)', strokes)
        images = read_digits(Image.open(io.BytesIO(base64.b64decode(theirs['png'].split(',')[1])))).images
        assert len(theirs['images']) == len(images)
        if len(images): worst['seen'] = max(worst['seen'], np.abs(np.array(theirs['images'])-images.flatten(1).numpy()).max())
        one = len(images) == 1
        if one:
            ours = judge(models, images[0])
            for k in ('distances', 'linear', 'mlp', 'ten'): worst[k] = max(worst[k], np.abs(np.array(theirs[k])-np.array(ours[k])).max())
            assert (theirs['sure'], theirs['digit']) == (ours['sure'], ours['digit']), 'one rule'
        if digit is None: believed.append(one and theirs['sure'])
        else: right.append(one and theirs['digit'] == digit)
    print({k: f'{v:.1e}' for k, v in worst.items()}, f'{sum(right)} of {len(right)} digits read, {sum(believed)} of {len(believed)} scribbles believed')
    assert worst['seen'] < 1e-3
    assert max(worst[k] for k in ('distances', 'linear', 'mlp', 'ten')) < 1e-4
    assert len(right) == n*9//10 and np.mean(right) > .95 and sum(believed) <= max(1, .15*len(believed))


def far_larger(strokes, k): return [[[.5+(x-.5)*k, .5+(y-.5)*k] for x, y in o] for o in strokes]


@pytest.mark.parametrize('digit', range(10))
def test_a_small_drawing_is_the_same_drawing(page, models, digit):
    for k in (.2, .5):
        small = far_larger(SAMPLES[str(digit)], k)
        seen = judge(models, to_mnist(draw_strokes(small)))
        assert seen['sure'] and seen['digit'] == digit
        page.evaluate('strokes => setStrokes(strokes)', small)
        assert page.inner_text('#digit') == str(digit)


def test_two_digits_on_one_sheet(page):
    both = [[[x*.4+left, y] for x, y in stroke] for d, left in (('3', 0), ('7', .55)) for stroke in SAMPLES[d]]
    page.evaluate('strokes => setStrokes(strokes)', both)
    settle(page)
    assert page.inner_text('#digit') == '?' and re.match(r'2 digits: 3\??, 7\??\.', page.inner_text('#answer'))


@pytest.mark.parametrize('digit', range(10))
def test_a_digit_drawn_with_the_mouse(page, digit):
    draw_with_mouse(page, SAMPLES[str(digit)])
    assert page.inner_text('#digit') == str(digit)
    assert page.inner_text('#answer').startswith(f"It is {'an' if digit == 8 else 'a'} {digit}.")


@pytest.mark.parametrize('kind', ['touch', 'pen'])
def test_a_seven_drawn_with_finger_and_pen(open_page, kind):
    page = open_page(viewport=dict(width=390, height=844), has_touch=True)
    cdp = page.context.new_cdp_session(page)
    page.evaluate('() => { window.kinds = new Set(); document.getElementById("ink").addEventListener("pointermove", e => kinds.add(e.pointerType)); }')
    for stroke in places(page, HANDS[7]):
        if kind == 'touch':
            for i, (x, y) in enumerate(stroke): cdp.send('Input.dispatchTouchEvent', dict(type='touchMove' if i else 'touchStart', touchPoints=[dict(x=x, y=y)]))
            cdp.send('Input.dispatchTouchEvent', dict(type='touchEnd', touchPoints=[]))
        else:
            def send(type, at, buttons): cdp.send('Input.dispatchMouseEvent', dict(type=type, x=at[0], y=at[1], button='left', buttons=buttons, pointerType='pen'))
            send('mousePressed', stroke[0], 1)
            for at in stroke[1:]: send('mouseMoved', at, 1)
            send('mouseReleased', stroke[-1], 0)
    settle(page)
    assert page.evaluate('[...kinds]') == [kind]
    assert page.evaluate('state.strokes.length') == 2 and page.inner_text('#digit') == '7'
    assert page.evaluate('scrollY') == 0 or kind == 'pen', 'a finger on the sheet draws, and does not scroll'


def test_every_stage_answers(page, models):
    draw_with_mouse(page, SAMPLES['3'])
    assert page.inner_text('#ideal-says') == 'Nearest of ten: 3. Of 3 and 7 alone: 3.'
    assert re.match(r'3, with probability \d+\.\d%', page.inner_text('#linear-says'))
    assert re.match(r'3, with probability \d+\.\d%\. \d+ of 30 units fire\.', page.inner_text('#mlp-says'))
    assert page.locator('#ten li').count() == page.locator('#ideal li').count() == 10
    up, down, bias, score = page.evaluate('[1, -1].map(s => sum(state.answer.linear.parts.map(v => Math.max(0, s * v)))).concat(state.answer.linear.bias, state.answer.linear.score)')
    assert abs(up-down+bias-score) < 1e-4, 'weight times pixel, added up, is the score'
    assert page.evaluate('Math.abs(sum(state.answer.mlp.parts) + state.answer.mlp.bias - state.answer.mlp.score)') < 1e-4
    shown = page.evaluate('[...document.getElementById("seen").getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0)')
    seen = page.evaluate('[...state.seen]')
    assert np.abs((255-np.array(shown))/255-np.array(seen)).max() < .01, 'the picture shows what the networks get'


def test_blank_paper_gets_no_answer(page):
    blank = page.inner_text('main')
    assert page.inner_text('#answer') == 'Nothing drawn yet.' and page.is_disabled('#clear') and page.is_visible('#hint')
    draw_with_mouse(page, SAMPLES['3'])
    assert page.inner_text('main') != blank
    page.click('#clear')
    settle(page)
    assert page.inner_text('main') == blank
    assert page.evaluate('state.answer') is None and page.is_disabled('#undo')


def test_undo_takes_back_one_stroke(page):
    draw_with_mouse(page, SAMPLES['4'])
    whole = page.evaluate('sheet.canvas.toDataURL()')
    draw_with_mouse(page, [[[.1, .1], [.2, .1]]])
    assert page.evaluate('sheet.canvas.toDataURL()') != whole
    page.click('#undo')
    assert page.evaluate('sheet.canvas.toDataURL()') == whole
    assert page.evaluate('state.strokes.length') == 2
    page.keyboard.press('Control+z')
    assert page.evaluate('state.strokes.length') == 1


def test_a_dot_is_a_drawing(page):
    draw_with_mouse(page, [[[.5, .5]]])
    assert page.evaluate('state.answer !== null && state.seen.reduce((a, v) => Math.max(a, v)) === 1')


def test_scribbles_are_unsure(page):
    draw_with_mouse(page, SAMPLES['scribble'])
    assert page.inner_text('#digit') == '?' and page.inner_text('#answer').startswith('Unsure')


def test_everything_from_the_keyboard(page):
    def press(name):
        for _ in range(30):
            page.keyboard.press('Tab')
            if page.evaluate('document.activeElement.textContent') == name: break
        else: raise AssertionError(f'{name} is out of reach')
        assert page.evaluate('getComputedStyle(document.activeElement).outlineStyle') != 'none', 'the focus shows'
        page.keyboard.press('Enter')
        settle(page)
    press('7')
    assert page.inner_text('#digit') == '7'
    page.evaluate('document.activeElement.blur()')
    press('Clear')
    assert page.inner_text('#answer') == 'Nothing drawn yet.'


def test_it_answers_while_one_draws(page):
    for d in '0358': draw_with_mouse(page, SAMPLES[d])
    taken = sorted(page.evaluate('state.milliseconds'))
    print(f'{len(taken)} answers: half within {taken[len(taken)//2]:.1f} ms, nine in ten within {taken[len(taken)*9//10]:.1f} ms, all within {taken[-1]:.1f} ms')
    assert len(taken) > 50, 'an answer for many a point of the pen, not one a stroke'


def test_in_a_frame_it_follows_the_page_around_it(browser, address, tmp_path):
    around = """<html><head><link class="quarto-color-scheme" rel="stylesheet" href="data:text/css,"></head>
        <body style="margin:0"><iframe src="draw/index.html" style="width:100%; height:10px; border:0"></iframe></body></html>"""
    tab = browser.new_context(viewport=dict(width=800, height=900), color_scheme='light').new_page()
    tab.route(address.replace('/draw/', '/around.html'), lambda route: route.fulfill(body=around, content_type='text/html'))
    tab.goto(address.replace('/draw/', '/around.html'))
    frame = tab.frames[1]
    frame.wait_for_selector('html[data-ready=yes]')
    assert not frame.is_visible('header') and 'dark' not in frame.get_attribute('html', 'class')
    tab.evaluate('document.documentElement.classList.add("quarto-dark")')
    frame.wait_for_selector('html.dark')
    inside, outside = frame.evaluate('document.body.scrollHeight'), tab.locator('iframe').bounding_box()['height']
    assert outside > 1000 and abs(inside-outside) < 8, 'as tall as what it holds'
    frame.get_by_role('button', name='Draw a 7').click()
    assert frame.inner_text('#digit') == '7'
    tab.context.close()


def test_it_works_under_the_policy_of_its_server(browser, server):
    "The page, drawn on, as `mnist-basics draw` serves it: nothing is blocked"
    page, wrong = browser.new_context().new_page(), []
    page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(server.url)
    page.wait_for_selector('html[data-ready=yes]')
    draw_with_mouse(page, SAMPLES['3'])
    assert page.inner_text('#digit') == '3' and not wrong
    with pytest.raises(Exception, match='Content Security Policy'): page.add_script_tag(content='window.ran = 1')
    assert page.evaluate('window.ran') is None, 'a script from elsewhere does not run'
    page.context.close()


def test_damage_is_reported(browser, address):
    page = browser.new_context().new_page()
    page.route('**/weights.bin', lambda route: route.fulfill(body=b'\0'*(web_folder()/'weights.bin').stat().st_size))
    page.goto(address)
    page.wait_for_selector('#failure:visible')
    assert 'damaged' in page.inner_text('#failure')
    page.context.close()


def test_the_engine_knows_every_layer(page, tmp_path):
    net = every_layer()
    rows, tensors = net_layers('all', net)
    x = torch.rand(1, 1, 28, 28)
    with torch.no_grad(): want = net(x)[0].tolist()
    got = page.evaluate('''([rows, tensors, x]) => {
        const wired = rows.map(o => o.weight ? {...o, weight: tensors[o.weight], bias: tensors[o.bias]} : o);
        return [...run(wired, x).at(-1).data];
    }''', [rows, {k: dict(shape=list(t.shape), data=t.flatten().tolist()) for k, t in tensors.items()}, x.flatten().tolist()])
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('scheme,width', [('light', 1180), ('dark', 820), ('dark', 360)])
def test_nothing_to_object_to(open_page, scheme, width):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    page = open_page(color_scheme=scheme, viewport=dict(width=width, height=800))
    for name in ('3', 'scribble'):
        page.get_by_role('button', name=name).click()
        settle(page)
        found = axe.run(page).response['violations']
        assert not found, [(o['id'], o['help'], [n['html'] for n in o['nodes']]) for o in found]
    assert page.evaluate('document.documentElement.scrollWidth') <= width, 'nothing sticks out'
    assert page.evaluate('document.documentElement.classList.contains("dark")') == (scheme == 'dark')
