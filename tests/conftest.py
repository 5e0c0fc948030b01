"What all tests share: how they are spread over the cores, and a browser."
import os, shutil
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: a core to each worker
import pytest

NO_BROWSER = 'there is no browser here: install chromium, or run `playwright install chromium`'
# Every other host has no address: who asks for one fails, and says so
ALONE = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost'
# What takes longest comes first, so that no core waits for the other in the end
LONGEST = ('test_notebooks.py', 'test_browser.py', 'test_draw.py', 'test_distributed.py')


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    "A worker for each core, unless one looks into a single file, or into the process"
    o = config.option
    named = any(p.split('::')[0].endswith('.py') for p in config.args)
    worker = hasattr(config, 'workerinput')  # which must not start workers of its own
    alone = worker or named or o.trace or o.usepdb
    if getattr(o, 'numprocesses', 0) is None and not alone:
        o.numprocesses = 'auto'


LEFT_OUT = pytest.StashKey[int]()


def leave_out_long(config, items):
    "Without what is marked as long, unless one asks by mark or by name"
    long = [o for o in items if o.get_closest_marker('long')]
    if config.option.markexpr or any('::' in o for o in config.args) or not long: return
    items[:] = [o for o in items if not o.get_closest_marker('long')]
    config.hook.pytest_deselected(items=long)
    config.stash[LEFT_OUT] = len(long)
    if hasattr(config, 'workerinput'): config.workeroutput['left_out'] = len(long)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    "What a worker has left out"
    found = getattr(node, 'workeroutput', {}).get('left_out')
    if found: node.config.stash[LEFT_OUT] = found


def pytest_terminal_summary(terminalreporter, config):
    if n := config.stash.get(LEFT_OUT, 0):
        terminalreporter.line(f'left out, as they take long: {n} (`pytest -m long` runs them)')


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    "Longest first; the site is built beside the first notebook"
    leave_out_long(config, items)
    def place(o):
        if o.name == 'test_it_builds_without_a_complaint': return -1
        return LONGEST.index(o.path.name) if o.path.name in LONGEST else len(LONGEST)
    items.sort(key=place)


@pytest.fixture(scope='session')
def browser():
    "Chromium: the system's, else the one that Playwright has installed; one a process, as Playwright wants it"
    sync_api = pytest.importorskip('playwright.sync_api', reason=NO_BROWSER)
    with sync_api.sync_playwright() as p:
        names = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
        path = next(filter(None, map(shutil.which, names)), p.chromium.executable_path)
        if not Path(path).exists(): pytest.skip(NO_BROWSER)
        chromium = p.chromium.launch(executable_path=path, args=['--no-sandbox', ALONE])
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    "All tests that lack a browser are told of in one line, of this file"
    report = yield
    if report.skipped and report.longrepr[2].endswith(NO_BROWSER):
        report.longrepr = (__file__, None, report.longrepr[2])
    return report
