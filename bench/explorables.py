"""Does a page with an explorable stay fluent on a slow phone?

Each explorable is opened in a headless Chromium whose processor is slowed down fourfold, in a window of 390 by 844, and
measured while it loads, while its button for many steps runs, while another is pressed again and again, and while a pointer is
dragged over its figure and its first slider. Nothing else is asked of the page meanwhile: where a button lies was found out
before. What an empty page takes to load is measured as well. Recorded for each: how many frames there were, the median and the
longest time from one to the next, in milliseconds, and the tasks of the page's own thread that took 50 ms or more: a task is
what keeps the page from answering, while a frame can be late for reasons that are none of the page's (the machine draws without
a GPU, and does other things as well). Target: no such task. A round counts only if nothing else interferes, so the best of some
rounds is taken.

    python bench/explorables.py [--rounds N] [--throttle N] [--json FILE] [names ...]
"""
import argparse, html, json, os, platform, shutil, threading, time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from mnist_basics.devices import set_seed
from mnist_basics.explorables import (
    bends, coaster, digit_pulls, explore_folder, learned_kernels, parabola, slide_kernel, sprite_images)

RUN = dict(coaster='Run 20 steps', parabola='Run 20 steps', pulls='Train 10 epochs', bends='Train 320 steps', convolve='Turn the signs')
PRESS = dict(coaster='Step', parabola='Step', pulls='One step', bends='Start again', convolve='Turn the signs')
PAGE = '''<!DOCTYPE html><html lang="en"><title>Touch</title><script type="module" src="/host.js"></script>
<body><div data-explorable="{}" data-values="{}"></div></body></html>'''
EMPTY = '<!DOCTYPE html><html lang="en"><title>Touch</title><body><p>Nothing</p></body></html>'
# Times from frame to frame, and tasks of 50 ms and more
WATCH = '''() => {
    const frames = [];
    let on = true, last = 0;
    const frame = now => { if (last) frames.push(now - last); last = now; if (on) requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
    const long = [], observer = new PerformanceObserver(o => long.push(...o.getEntries().map(e => e.duration)));
    observer.observe({type: "longtask"});
    window.watched = () => { on = false; long.push(...observer.takeRecords().map(e => e.duration)); observer.disconnect(); return {frames, long}; };
}'''


class Files(SimpleHTTPRequestHandler):
    "The explorables, and on / the page of one"
    def log_message(self, *args): pass

    def do_GET(self):
        if self.path != '/': return super().do_GET()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.end_headers()
        self.wfile.write(self.server.page.encode())


def starts():
    "What each explorable is opened with: as the lessons do"
    set_seed(42)
    time, x, three = torch.arange(0, 20).float(), torch.linspace(-1, 1, 50), torch.tensor(sprite_images()[1])/255
    speed, lower = torch.randn(20)*3 + 0.75*(time-9.5)**2 + 1, torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])
    return dict(coaster=coaster(time, speed, torch.randn(3)), parabola=parabola(), pulls=digit_pulls(), bends=bends(x, (3*x).sin()),
                convolve=slide_kernel(three, {'lower edges': lower}, learned_kernels()))


def summary(watched):
    frames, long = sorted(watched['frames']), watched['long']
    return dict(frames=len(frames), median=round(frames[len(frames)//2], 1), longest=round(frames[-1], 1), long_tasks=len(long),
                longest_task=round(max(long, default=0), 1))


def watch(tab, do):
    tab.evaluate(WATCH)
    do()
    return summary(tab.evaluate('watched()'))


def place(tab, el):
    "Where it lies in the window: `at(.5)` is its middle"
    el.scroll_into_view_if_needed()
    tab.wait_for_timeout(200)
    box = el.bounding_box()
    return lambda share: (box['x'] + box['width']*share, box['y'] + box['height']/2)


def drag(tab, at, rounds=3):
    "A pointer goes to and fro, a move every 12 ms"
    tab.mouse.move(*at(.2))
    tab.mouse.down()
    for i in range(40*rounds):
        tab.mouse.move(*at(.5 - .35*(1 if i//40 % 2 else -1)*(1 - i % 40/20)))
        tab.wait_for_timeout(12)
    tab.mouse.up()


def press(tab, at, times, pause):
    for _ in range(times):
        tab.mouse.click(*at(.5))
        tab.wait_for_timeout(pause)


def measure(browser, server, name, page, throttle):
    context = browser.new_context(viewport=dict(width=390, height=844))
    tab = context.new_page()
    tab.add_init_script(f'({WATCH})()')
    context.new_cdp_session(tab).send('Emulation.setCPUThrottlingRate', dict(rate=throttle))
    server.page = page
    tab.goto(f'http://127.0.0.1:{server.server_port}/')
    tab.wait_for_timeout(4000)  # to wait for an element would bring a script of its own
    res = dict(loading=summary(tab.evaluate('watched()')))
    if name in RUN:
        tab.locator('.title').wait_for(timeout=60_000)
        def button(text): return tab.get_by_role('button', name=text, exact=True)
        at = place(tab, button(RUN[name]))
        res['running'] = watch(tab, lambda: press(tab, at, 1, 4000))
        if (stop := button('Stop')).count(): stop.first.click()
        at = place(tab, button(PRESS[name]))
        res['stepping'] = watch(tab, lambda: press(tab, at, 10, 200))
        if (figure := tab.locator('.pick')).count():
            at = place(tab, figure.first)
            res['dragging the figure'] = watch(tab, lambda: drag(tab, at))
        at = place(tab, tab.get_by_role('slider').first)
        res['dragging a slider'] = watch(tab, lambda: drag(tab, at))
    context.close()
    return res


def better(a, b): return min(a, b, key=lambda o: (o['longest_task'], o['longest']))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('names', nargs='*', default=list(RUN), help='explorables; all if none is named')
    args.add_argument('--rounds', type=int, default=3)
    args.add_argument('--throttle', type=float, default=4)
    args.add_argument('--json', type=Path, help='file to write the figures to')
    args = args.parse_args()
    server, res = ThreadingHTTPServer(('127.0.0.1', 0), partial(Files, directory=explore_folder())), {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as p:
        path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None)
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        given = starts()
        pages = {k: PAGE.format(k, html.escape(json.dumps(v.values))) for k, v in given.items()}
        for name in ['nothing', *args.names]:
            rounds = [measure(browser, server, name, pages.get(name, EMPTY), args.throttle) for _ in range(args.rounds)]
            res[name] = {k: rounds[0][k] for k in rounds[0]}
            for o in rounds[1:]: res[name] = {k: better(v, o[k]) for k, v in res[name].items()}
            for k, v in res[name].items(): print(f'{name:9} {k:20}', v)
        version = browser.version
        browser.close()
    server.shutdown()
    if args.json:
        record = dict(device=torch.cpu.get_capabilities().get('cpu_name', platform.machine()), cores=os.cpu_count(), browser=f'Chromium {version}',
                      date=time.strftime('%Y-%m-%d'), throttle=args.throttle, rounds=args.rounds, milliseconds=res)
        args.json.write_text(json.dumps(record, indent=1)+'\n')


if __name__ == '__main__': main()
