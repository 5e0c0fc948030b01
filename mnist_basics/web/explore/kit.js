// What all explorables are made of.

const KIT_STYLE = `
:host { display: block; }
:host(.early) { height: 0; overflow: hidden; visibility: hidden; }
.x {
  color-scheme: light; accent-color: var(--blue); container-type: inline-size; --ink: #1b2430; --muted: #5b6673; --paper: #fff; --soft: #f4f6f8; --line: #dde3e9; --blue: #1a5ea8; --orange: #a8480a;
  margin: .5rem 0 1rem; padding: .9rem 1rem 1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--soft); color: var(--ink);
  font-size: 15px; line-height: 1.5; font-variant-numeric: tabular-nums; text-align: left;
}
.x.dark { color-scheme: dark; --ink: #dfe3e8; --muted: #9aa4b0; --paper: #16181c; --soft: #1f2227; --line: #343941; --blue: #7fb8ee; --orange: #f0a26c; }
.x, .x * { box-sizing: border-box; }
p, figure { margin: 0; min-width: 0; }
.title { font-size: 1.08rem; font-weight: 650; }
.lead { margin: .15rem 0 .8rem; max-width: 46rem; }
.small, figcaption { font-size: .85rem; line-height: 1.4; }
.lead, .small, figcaption { color: var(--muted); }
.cols, .stack { display: grid; grid-template-columns: minmax(0, 1fr); gap: .9rem 1.4rem; }
.stack { gap: .6rem; align-content: start; }
@container (min-width: 620px) { .cols { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.pics { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(3.4rem, 1fr)); gap: .4rem; }
.tools, .check { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12.5px sans-serif; fill: var(--muted); }
.ground, .grid { fill: var(--paper); stroke: var(--line); }
polyline { fill: none; stroke: var(--orange); stroke-width: 2; }
polyline.b { stroke: var(--blue); }
.pick { cursor: pointer; touch-action: pan-y; }
.slider { display: grid; grid-template-columns: 1fr auto; gap: 0 .6rem; }
.slider input { grid-column: span 2; width: 100%; height: 1.9rem; margin: 0; touch-action: pan-y; }
.value { font-weight: 650; }
button, select, input[type=number] {
  min-height: 2.5rem; max-width: 100%; padding: .3rem .7rem; border: 1px solid var(--muted); border-radius: 7px; background: var(--paper); color: var(--ink); font: inherit;
}
button { cursor: pointer; touch-action: manipulation; }
button.main { border-color: var(--blue); background: var(--blue); color: var(--paper); font-weight: 600; }
button[aria-pressed=true] { box-shadow: inset 0 0 0 2px var(--orange); }
button:disabled { opacity: .55; cursor: default; }
.check { min-height: 2.5rem; }
.check input { width: 1.1rem; height: 1.1rem; margin: 0; }
.says { min-height: 5.6em; padding: .5rem .7rem; border-left: 3px solid var(--blue); background: var(--paper); }
.o { color: var(--orange); }
.b { color: var(--blue); }
canvas { display: block; width: 100%; image-rendering: pixelated; border: 1px solid var(--line); background: #fff; }
`;

// ---- Elements, without `style` attributes, which a strict content security policy refuses

export function attr(el, props) {
  for (const [k, v] of Object.entries(props)) k.startsWith("on") ? el.addEventListener(k.slice(2), v) : el.setAttribute(k, v);
  return el;
}
const maker = space => (tag, props = {}, ...kids) => {
  const el = attr(document.createElementNS(`http://www.w3.org/${space}`, tag), props);
  el.append(...kids);
  return el;
};
export const h = maker("1999/xhtml"), s = maker("2000/svg");
export const bold = (text, kind = "") => h("b", {class: kind}, text);
export const div = name => (...kids) => h("div", {class: name}, ...kids);
export const stack = div("stack"), tools = div("tools"), pics = div("pics"), tiles = div("tiles");
export const small = (...kids) => h("p", {class: "small"}, ...kids);
export const figure = (el, ...kids) => h("figure", {}, el, h("figcaption", {}, ...kids));
export const label = (el, text) => attr(el, {"aria-label": text});

// ---- Numbers as words

const minus = text => text.replaceAll("-", "−").replace("e+", "e");
// Commas for thousands: `Intl` is slow to start
const grouped = text => text.replace(/^-?\d+/, whole => whole.replace(/\B(?=(\d{3})+$)/g, ","));

export function fmt(v, digits = 2) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "not a number" : v < 0 ? "−infinity" : "infinity";
  const size = Math.abs(v), tiny = size > 0 && size < 0.5 * 10 ** -digits;
  const text = size >= 1e7 || tiny ? v.toExponential(tiny ? 0 : 2) : grouped(v.toFixed(digits));
  return minus(text).replace(/^−(0(\.0+)?)$/, "$1");
}
function brief(v, digits = 6) {
  const short = Number(v.toPrecision(digits)), size = Math.abs(short);
  return minus(size >= 1e5 || size && size < 0.001 ? short.toExponential() : grouped(String(short)));
}
export const rate = v => brief(v, 2);

// ---- Controls

export function slider(name, {min, max, step = (max - min) / 200, show = fmt, input}) {
  const value = h("span", {class: "value", "aria-hidden": "true"});
  const range = h("input", {type: "range", min, max, step, "aria-label": name, oninput: () => { res.set(Number(range.value)); input(Number(range.value)); }});
  const res = {range, el: h("div", {class: "slider"}, h("span", {"aria-hidden": "true"}, name), value, range),
    set(v) { // what lies beyond its ends is said, not hidden
      const text = show(v) + (v >= Number(range.min) && v <= Number(range.max) ? "" : ", off this scale");
      range.value = v;
      attr(range, {"aria-valuetext": text});
      value.textContent = text;
    },
    bounds(lo, hi, step = (hi - lo) / 200) { attr(range, {min: lo, max: hi, step}); }};
  return res;
}

export const button = (text, click, main = false) => h("button", {type: "button", onclick: click, ...(main && {class: "main"})}, text);

export function toggle(text, click) {
  const el = button(text, () => {
    const on = el.getAttribute("aria-pressed") !== "true";
    attr(el, {"aria-pressed": String(on)});
    click(on);
  });
  return attr(el, {"aria-pressed": "false"});
}

export function check(text, change) {
  const box = h("input", {type: "checkbox", checked: "", onchange: () => change(box.checked)});
  return h("label", {class: "check"}, box, text);
}

export function choice(name, options, value, change) {
  const el = h("select", {onchange: () => change(el.value)}, ...options.map(o => h("option", {}, o)));
  el.value = value;
  return h("label", {class: "check"}, name, el);
}

// What happened, shown and spoken; with `rest`, once whoever drags rests. `say` answers false
export function sayer() {
  const el = h("p", {class: "says", role: "status", "aria-live": "polite"});
  let later = 0;
  const say = text => { clearTimeout(later); el.textContent = text; return false; };
  const rest = text => { clearTimeout(later); later = setTimeout(() => say(text), 400); };
  return {el, say, rest};
}

// Once the next frame is drawn
export const pause = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));

let held = false;
for (const name of ["down", "up", "cancel"]) addEventListener(`pointer${name}`, () => { held = name === "down"; }, true);

// Draws numbers at once and the last, pictures, a frame later; in a drag all by turns
export function turns(...draws) {
  const due = new Set(), draw = f => due.delete(f) && f(), numbers = () => draws.slice(0, -1).forEach(draw);
  let busy = false;
  addEventListener("pointerup", numbers);
  return async () => {
    if (!held) queueMicrotask(numbers);
    draws.forEach(f => due.add(f));
    if (busy) return;
    for (busy = true; due.size; draw([...due][0])) await pause();
    busy = false;
  };
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// A button that calls `step(left)` up to `times` times, a frame each, until it answers false or is pressed again;
// all at once for those who want no motion, unless it may not `jump`
export function runner(host, text, step, {times = Infinity, every = 0, jump = true, main = false, begin = () => {}, stopped = () => {}}) {
  let handle = 0, last = 0, left = 0;
  const once = () => step(--left) !== false && left > 0;
  const stop = () => { cancelAnimationFrame(handle); handle = 0; el.textContent = text; };
  const tick = now => {
    if (!host.isConnected) return stop();
    handle = requestAnimationFrame(tick);
    if (now - last < every) return;
    last = now;
    setTimeout(() => { if (handle && !once()) stop(); }); // not in the frame's own time
  };
  const el = button(text, () => {
    if (handle) { stop(); stopped(); return; }
    left = times;
    begin();
    if (jump && calm()) { while (once()); return; }
    el.textContent = "Stop";
    handle = requestAnimationFrame(tick);
  }, main);
  return {el, stop};
}

// A press on `el`, and each move after it: `f(across, down, first)`, in shares of its size
export function drag(el, f) {
  el.classList.add("pick");
  for (const name of ["pointerdown", "pointermove"]) el.addEventListener(name, event => {
    const r = el.getBoundingClientRect(), first = name === "pointerdown";
    if (first || event.buttons) f((event.clientX - r.left) / r.width, (event.clientY - r.top) / r.height, first);
  });
}

// ---- Charts

function ticks(lo, hi, n) {
  const raw = (hi - lo) / n, unit = 10 ** Math.floor(Math.log10(raw)), size = unit * [1, 2, 5, 10].find(o => o * unit >= raw), first = Math.ceil(lo / size - 1e-9);
  return range(Math.floor(hi / size + 1e-9) - first + 1, i => (first + i) * size);
}

let serial = 0;

// A chart with axes; `over` is cut off at its edges. With `log`, y counts powers of ten
export function plot({height = 290, x = [0, 1], y = [0, 1], names, log = false}) {
  const id = `clip${++serial}`, all = 440, left = 56, top = 12, width = all - left - 12, high = height - top - 40, axes = s("g"), over = s("g", {"clip-path": `url(#${id})`});
  const box = {x: left, y: top, width, height: high}, middle = top + high / 2;
  const svg = s("svg", {viewBox: `0 0 ${all} ${height}`, role: "img"}, s("clipPath", {id}, s("rect", box)), s("rect", {...box, class: "ground"}), axes, over,
    s("text", {x: left + width / 2, y: height - 4, "text-anchor": "middle"}, names[0]), s("text", {x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})`}, names[1]));
  const share = (v, [lo, hi]) => Math.min(Math.max((v - lo) / (hi - lo), -50), 50) || 0; // far away is still a number
  const level = v => top + high * (1 - share(v, y));
  const res = {svg, over,
    X: v => left + width * share(v, x),
    Y: v => level(log ? Math.log10(Math.max(v, 1e-300)) : v),
    line(name = "") { // adds a line; what it returns draws it through pairs of x and y
      const el = s("polyline", {class: name});
      over.append(el);
      return pairs => attr(el, {points: pairs.map(([a, b]) => `${res.X(a).toFixed(1)},${res.Y(b).toFixed(1)}`).join(" ")});
    },
    drag(f) {
      drag(svg, (across, down, first) => f(x[0] + (across * all - left) / width * (x[1] - x[0]), y[1] - (down * height - top) / high * (y[1] - y[0]), first));
    },
    range(newX, newY) {
      if ([x, y].join() === [newX, newY].join() && axes.firstChild) return;
      x = newX; y = newY;
      axes.replaceChildren(...ticks(...x, 5).map(v => s("text", {x: res.X(v), y: height - 24, "text-anchor": "middle"}, brief(v))),
        ...ticks(...y, 4).filter(v => !log || Number.isInteger(v)).flatMap(v => [s("line", {x1: left, x2: left + width, y1: level(v), y2: level(v), class: "grid"}), s("text", {x: left - 6, y: level(v) + 4, "text-anchor": "end"}, brief(log ? 10 ** v : v))]));
    }};
  res.range(x, y);
  return res;
}

export const mean = v => v.reduce((sum, o) => sum + o, 0) / v.length;
export const range = (n, f) => Array.from({length: n}, (_, i) => f(i));
export const upTo = v => 2 ** Math.ceil(Math.log2(v));
export const largest = values => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);

// ---- Pictures of square images

export const picture = (text, side = 28) => h("canvas", {width: side, height: side, role: "img", "aria-label": text});

// `values` as greys, from 0, white, to 1; or `signed`, blue above zero and orange below
export function paint(canvas, values, signed = false) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height), most = signed ? largest(values) || 1 : 1;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] / most, full = !signed ? [0, 0, 0] : v > 0 ? [20, 90, 175] : [200, 80, 10];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 + (full[c] - 255) * Math.abs(v);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// ---- A place on the page

function watchTheme(host, box) {
  const look = () => {
    const [r, g, b] = getComputedStyle(host).color.match(/[\d.]+/g).map(Number);
    box.classList.toggle("dark", r + g + b > 382);
  };
  const eye = new MutationObserver(look), system = matchMedia("(prefers-color-scheme: dark)");
  for (const el of [document.documentElement, document.body]) eye.observe(el, {attributes: true});
  system.addEventListener("change", look);
  look();
  return () => { eye.disconnect(); system.removeEventListener("change", look); };
}

// A module for our site and anywidget: `build` makes its parts from Python's values
export const explorable = (question, lead, build, style = "") => ({
  render({model, el}) {
    const host = h("div", {class: "early"}), root = host.attachShadow({mode: "open"}), cols = h("div", {class: "cols"});
    const box = h("div", {class: "x", role: "group", "aria-label": question}, h("p", {class: "title"}, question), h("p", {class: "lead"}, lead), cols);
    root.adoptedStyleSheets = [new CSSStyleSheet()];
    root.adoptedStyleSheets[0].replaceSync(KIT_STYLE + style);
    root.append(box);
    let forget = () => {};
    const fail = error => {
      forget();
      host.remove();
      el.querySelector("[role=alert]")?.remove();
      el.append(h("p", {role: "alert"}, `This can't be touched here: ${error.message}. The picture shows how it begins.`));
    };
    (async () => {
      el.append(host); // unseen until it is whole
      await pause();
      forget = watchTheme(host, box);
      for (const part of await build({host, values: model.get("values")})) {
        await pause();
        cols.append(part);
      }
      await pause();
      [...el.childNodes].forEach(o => o === host || o.remove());
      host.classList.remove("early");
    })().catch(fail);
    return () => forget();
  },
});
