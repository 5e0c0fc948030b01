"The built site in a real browser: served from a sub-path, with everything beyond this machine blocked."
import functools, html, json, os, re, subprocess, sys, threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest
from filelock import FileLock
from outputs import NOTEBOOKS, nb_name

ROOT = Path(__file__).resolve().parent.parent
def page_of(path):
    "The page of a notebook, as in `workshop/files`"
    return re.sub(r'\b\d\d[a-z]?_', '', nb_name(path))


PAGES = ['index', *(page_of(p) for p in NOTEBOOKS if p.stem != 'index')]
SUBPATH = 'some/where'
SIZES = {'wide': (1280, 900), 'phone': (390, 844)}


@pytest.fixture(scope='session')
def site(tmp_path_factory, worker_id):
    "The folder of the site, built once for all workers"
    tmp = tmp_path_factory.getbasetemp()
    served = (tmp if worker_id == 'master' else tmp.parent)/'served'
    docs, said = served/SUBPATH, served/'said.json'
    with FileLock(f'{served}.lock'):
        if not said.exists():
            run = subprocess.run([sys.executable, ROOT/'tools'/'site.py', 'build', '--out', docs], capture_output=True, text=True,
                env={**os.environ, 'OMP_NUM_THREADS': '1'})
            said.parent.mkdir(exist_ok=True)
            said.write_text(json.dumps((run.returncode, run.stdout + run.stderr)))
    assert (docs/'index.html').exists(), said.read_text()
    return docs


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='session')
def base(site):
    "The address of the site, below a path of its own"
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site.parents[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/{SUBPATH}/'
    server.shutdown()


@pytest.fixture
def visit(browser, base):
    "`visit(page, size, scheme)` opens a page; its `said` collects errors, failed requests, and requests to other hosts"
    contexts = []
    def go(page='index', size='wide', scheme='light', **kwargs):
        width, height = SIZES[size]
        context = browser.new_context(viewport={'width': width, 'height': height}, color_scheme=scheme, reduced_motion='reduce', **kwargs)
        contexts.append(context)
        tab, said = context.new_page(), []
        tab.on('console', lambda m: said.append(f'{m.type}: {m.text}') if m.type in ('error', 'warning') else None)
        tab.on('pageerror', lambda e: said.append(f'error: {e}'))
        tab.on('requestfailed', lambda r: said.append(f'failed: {r.url} {r.failure}'))
        tab.on('response', lambda r: said.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
        tab.goto(f'{base}{page}.html')
        tab.said = said
        return tab
    yield go
    for o in contexts: o.close()


# ---- what the files say, without a browser

def test_it_builds_without_a_complaint(site):
    status, said = json.loads((site.parents[1]/'said.json').read_text())
    assert status == 0, said
    assert {p.relative_to(site).with_suffix('').as_posix() for p in site.rglob('*.html')} >= set(PAGES)


def test_next_leads_through_all_pages_in_order(site):
    way = ['index']
    while found := re.search(r'<div class="nav-page nav-page-next">\s*<a href="([\w./]+)\.html"', (site/f'{way[-1]}.html').read_text(encoding='utf-8')):
        way.append(os.path.normpath(os.path.join(os.path.dirname(way[-1]), found[1])))
        assert len(way) <= len(PAGES)
    assert way == PAGES


def options(cell): return dict(re.findall(r'^#\| ?([\w-]+): *"?(.*?)"?$', ''.join(cell['source']), re.M))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=nb_name)
def test_figures_have_their_captions_and_places(site, path):
    page = (site/f'{page_of(path)}.html').read_text(encoding='utf-8')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    for o in map(options, (c for c in cells if c['cell_type'] == 'code' and c['outputs'])):
        if 'fig-cap' not in o: continue
        figure = re.search(rf'<figure id="{o["label"]}".*?</figure>', page, re.S)
        assert figure and '<img ' in figure[0], f'{o["label"]}: no figure'
        said = re.sub('<.*?>', '', figure[0].split('<figcaption>')[1].split('</figcaption>')[0])
        plain = re.compile(r'[^a-z0-9]+')  # quotes, and what Markdown makes of a caption
        assert plain.sub('', html.unescape(said).lower()) == plain.sub('', re.sub(r'\]\(.*?\)', '', o['fig-cap']).lower()), o['label']


def test_each_notebook_lies_beside_its_page(site):
    for p in NOTEBOOKS: assert (site/'notebooks'/f'{nb_name(p)}.ipynb').read_bytes() == p.read_bytes()


# ---- each page

# axe takes its time over each word of code, and the words of one kind look alike: all but the first of a kind become plain text
THIN = """() => { const seen = new Set();
    for (const el of document.querySelectorAll('main pre span')) {
        const kind = [el.className, el.parentElement.className, el.closest('pre').parentElement.className].join('|');
        if (seen.has(kind)) el.replaceWith(...el.childNodes); else seen.add(kind);
    }}"""

AXE = """more => axe.run(document, {resultTypes: ['violations'], ...more}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .flatMap(v => v.nodes.map(n => `${v.id}: ${n.target} ${n.failureSummary}`)))"""

# What sticks out of the page, what lies over its neighbour, what is cut off, and what was left as TeX or Markdown
LAYOUT = r"""() => {
    const said = [], seen = el => el.checkVisibility() && getComputedStyle(el).visibility !== 'hidden';
    const name = el => `${el.tagName.toLowerCase()}#${el.id}.${el.className} ${(el.textContent || '').trim().slice(0, 40)}`;
    const page = document.documentElement, width = page.clientWidth;
    if (page.scrollWidth > width) said.push(`the page is ${page.scrollWidth} wide, the window ${width}`);
    const scrolled = el => { for (let o = el.parentElement; o; o = o.parentElement) if (['auto', 'scroll'].includes(getComputedStyle(o).overflowX)) return true; };
    const text = Array.from(document.querySelectorAll('main *')).filter(seen);
    for (const el of text) {
        const r = el.getBoundingClientRect(), s = getComputedStyle(el);
        if (el.closest('math, svg') || !r.width || s.position === 'absolute') continue;
        if ((r.right > width + 1 || r.left < -1) && !scrolled(el)) said.push(`sticks out: ${name(el)}`);
        if (['hidden', 'clip'].includes(s.overflowX) && el.scrollWidth > el.clientWidth + 1 && r.width > 2) said.push(`cut off: ${name(el)}`);
    }
    const flow = el => Array.from(el.children).filter(o => seen(o) && getComputedStyle(o).position !== 'absolute' && getComputedStyle(o).float === 'none');
    for (const box of document.querySelectorAll('main, main section, main .cell, main li, main .callout-body')) {
        const rows = flow(box).filter(o => getComputedStyle(o).display !== 'inline');
        rows.slice(1).forEach((b, i) => {
            const r = rows[i].getBoundingClientRect(), q = b.getBoundingClientRect();
            if (r.bottom > q.top + 5 && r.right > q.left + 2 && q.right > r.left + 2 && r.height && q.height) said.push(`overlap: ${name(rows[i])} and ${name(b)}`);
        });
    }
    const columns = ['#quarto-sidebar', 'main', '#quarto-margin-sidebar'].map(o => document.querySelector(o)).filter(o => o && seen(o) && getComputedStyle(o).position !== 'fixed').map(o => o.getBoundingClientRect());
    columns.slice(1).forEach((q, i) => { if (columns[i].right > q.left + 1) said.push('columns overlap'); });
    for (const el of document.querySelectorAll('main p, main li, main td, main figcaption, main h1, main h2, main h3')) {
        const words = Array.from(el.childNodes).filter(o => o.nodeType === 3).map(o => o.data).join(' ');
        if (/\\\(|\\\[|\$[^$ ][^$]*\$|:::|\]\([\w.#]|\{\.[\w-]+/.test(words)) said.push(`left as it was written: ${words.trim().slice(0, 80)}`);
    }
    for (const el of document.querySelectorAll('math')) if (seen(el) && !el.getBoundingClientRect().width) said.push(`an empty formula: ${name(el)}`);
    for (const el of document.images) if (seen(el) && !el.naturalWidth) said.push(`a picture that does not load: ${el.alt}`);
    return said;
}"""


LIGHTNESS = "(c => (c[0] + c[1] + c[2]) / 765)(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number))"
def wait_for_dark(tab): tab.wait_for_function(f'{LIGHTNESS} < .2')
def wait_for_light(tab): tab.wait_for_function(f'{LIGHTNESS} > .9')

CONTRAST = dict(runOnly=dict(type='rule', values=['color-contrast']))


@pytest.fixture(params=[*PAGES, 'draw/index'])
def tab(visit, request):
    tab = visit(request.param)
    if request.param == 'draw/index': tab.wait_for_selector('html[data-ready=yes]')
    return tab


def switch(tab, scheme):
    "Let the system be light or dark, and wait for the page, whose code follows a moment after its paper"
    tab.emulate_media(color_scheme=scheme)
    (wait_for_dark if scheme == 'dark' else wait_for_light)(tab)
    tab.wait_for_function("dark => /dark/.test(document.documentElement.className) === dark", arg=scheme == 'dark')


def objections(tab, scheme, size, rules):
    "What axe objects to in a page that looks like this"
    tab.set_viewport_size(dict(zip(('width', 'height'), SIZES[size])))
    switch(tab, scheme)
    return tab.evaluate(AXE, rules)


def axe_in(tab):
    from axe_playwright_python.base import AXE_SCRIPT
    tab.evaluate(AXE_SCRIPT)
    tab.evaluate(THIN)


def test_page(tab):
    for scheme in 'dark', 'light':
        switch(tab, scheme)
        for width, height in SIZES.values():
            tab.set_viewport_size({'width': width, 'height': height})
            assert tab.evaluate(LAYOUT) == [], (scheme, width)
    axe_in(tab)
    assert objections(tab, 'light', 'wide', {}) == []
    assert objections(tab, 'dark', 'phone', CONTRAST) == []
    assert tab.said == []


@pytest.mark.long('each page once more, where hardly anything is different: two minutes')
def test_page_on_a_phone(tab):
    axe_in(tab)
    assert objections(tab, 'light', 'phone', {}) == []
    assert objections(tab, 'dark', 'wide', CONTRAST) == []


# ---- what a reader does

def test_search_finds_a_function(visit):
    tab = visit()
    tab.keyboard.press('/')
    tab.keyboard.type('mnist_loss')
    first = "document.querySelector('.search-result')?.getAttribute('href')" # It changes with each letter
    tab.wait_for_function(f"{first}?.includes('digit_loss.html#mnist_loss')")
    tab.keyboard.press('Enter')
    tab.wait_for_url('**/digit_loss.html#mnist_loss')
    assert tab.locator('#mnist_loss').first.is_visible() and tab.said == []


@pytest.mark.parametrize('size', SIZES)
def test_theme_switch_from_the_keyboard(visit, size):
    tab = visit('linear_model', size)
    wait_for_light(tab)
    if size == 'phone': tab.click('.quarto-btn-toggle')
    tab.focus('.quarto-color-scheme-toggle')
    tab.keyboard.press('Enter')
    wait_for_dark(tab)
    tab.keyboard.press('Escape')
    assert tab.evaluate(LAYOUT) == []
    tab.reload()  # the choice is remembered
    wait_for_dark(tab)
    if size == 'phone': tab.click('.quarto-btn-toggle')
    tab.click('.quarto-color-scheme-toggle')
    wait_for_light(tab)
    assert tab.said == []


def test_pages_open_and_close_on_a_phone(visit):
    tab = visit('linear_model', 'phone')
    button, link = tab.locator('.quarto-btn-toggle'), tab.locator('#quarto-sidebar a[href$="mlp.html"]')
    assert not link.is_visible()
    button.focus()
    tab.keyboard.press('Enter')
    assert link.is_visible() and button.get_attribute('aria-expanded') == 'true'
    assert tab.evaluate('document.activeElement.closest("#quarto-sidebar") !== null')
    box = tab.locator('#quarto-sidebar').bounding_box()
    assert box['x'] >= 0 and box['x'] + box['width'] <= 390
    tab.keyboard.press('Escape')
    assert not link.is_visible() and button.get_attribute('aria-expanded') == 'false'
    assert tab.evaluate('document.activeElement.className').startswith('quarto-btn-toggle')
    button.click()
    link.click()
    tab.wait_for_url('**/mlp.html')


def test_the_keyboard_shows_where_it_is(visit):
    tab = visit()
    seen = """() => { const el = document.activeElement, s = getComputedStyle(el), r = el.getBoundingClientRect();
        return [el.className, (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none', r.width > 0 && r.right > 0]; }"""
    stops = []
    for _ in range(60):
        tab.keyboard.press('Tab')
        stops.append(tab.evaluate(seen))
    assert stops[0][0] == 'skip-link'
    assert [o for o in stops if not (o[1] and o[2])] == []
    assert any('quarto-color-scheme-toggle' in o[0] for o in stops) and any('form-control' in o[0] for o in stops)


def test_skip_link(visit):
    tab = visit('linear_model')
    tab.keyboard.press('Tab')
    tab.keyboard.press('Enter')
    assert tab.evaluate('document.activeElement.id') == 'quarto-document-content'


def test_long_lines_scroll_from_the_keyboard(visit):
    tab = visit('linear_model', 'phone')
    code = tab.locator('main pre[tabindex="0"]').first
    code.focus()
    tab.keyboard.press('ArrowRight')
    tab.wait_for_function('document.activeElement.scrollLeft > 0')
    fits = 'Array.from(document.querySelectorAll("main pre")).filter(o => o.tabIndex === 0 && o.checkVisibility() && o.scrollWidth <= o.clientWidth).length'
    assert tab.evaluate(fits) == 0, 'what fits should not stop the Tab key'


def test_folded_answers_open_from_the_keyboard(visit):
    tab = visit('questionnaire')
    target = tab.locator('button.callout-header.collapsed').first.get_attribute('data-bs-target')
    button, body = tab.locator(f'button[data-bs-target="{target}"]'), tab.locator(target)
    assert not body.is_visible() and button.get_attribute('aria-expanded') == 'false'
    button.focus()
    tab.keyboard.press('Enter')
    body.wait_for(state='visible')
    assert button.get_attribute('aria-expanded') == 'true' and len(body.inner_text()) > 20


@pytest.mark.parametrize('page', ['linear_model', 'questionnaire'])
def test_print_is_black_on_white_and_complete(visit, page):
    tab = visit(page, scheme='dark')
    tab.emulate_media(media='print', color_scheme='dark')
    tab.set_viewport_size({'width': 700, 'height': 1000})  # the text of an A4 page
    assert tab.evaluate(LIGHTNESS) == 1
    ink = "el => getComputedStyle(el).color.match(/[0-9.]+/g).slice(0, 3).every(v => Number(v) < 110)"
    for what in ('main p', 'main h2', 'main pre code', 'main pre .im'):
        if tab.locator(what).count(): assert tab.locator(what).first.evaluate(ink), what
    for gone in ('#quarto-sidebar', '#quarto-margin-sidebar', '.page-navigation', '.notebook-links'): assert not tab.locator(gone).first.is_visible()
    cut = 'Array.from(document.querySelectorAll("main .callout-body, main pre")).filter(o => !o.closest("details:not([open]), .cell-output-markdown") && (!o.checkVisibility() || o.scrollWidth > o.clientWidth + 1)).map(o => o.outerHTML.slice(0, 200))'
    assert tab.evaluate(cut) == []


def test_a_link_to_a_figure_leads_to_the_picture(visit):
    tab = visit('the_same_shorter')
    link = tab.locator('main a[href^="#fig-"]').first
    target = link.get_attribute('href')
    link.click()
    tab.wait_for_url(f'**{target}')
    tab.wait_for_function("""id => { const r = document.querySelector(id + ' img').getBoundingClientRect(); return r.top >= 0 && r.top < innerHeight; }""", arg=target)
