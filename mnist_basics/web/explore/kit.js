// What all explorables are made of: a place of their own on a page, sliders, buttons, charts, and words that are spoken.

const KIT_STYLE = `
:host { display: block; }
.x {
  color-scheme: light; container-type: inline-size; --ink: #1b2430; --muted: #5b6673; --paper: #fff; --soft: #f4f6f8; --line: #dde3e9;
  --link: #1a5ea8; --blue: #3b82c4; --orange: #c05a17; --orange-text: #a8480a; --blue-text: #1a5ea8; --green: #1f8a6d;
  box-sizing: border-box; margin: .5rem 0 1rem; padding: .9rem 1rem 1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--soft);
  color: var(--ink); font: 15px/1.5 -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
  text-align: left; font-variant-numeric: tabular-nums;
}
.x.dark {
  color-scheme: dark; --ink: #dfe3e8; --muted: #9aa4b0; --paper: #16181c; --soft: #1f2227; --line: #343941;
  --link: #7fb8ee; --blue: #5fa4e0; --orange: #e58a4c; --orange-text: #f0a26c; --blue-text: #7fb8ee; --green: #43b894;
}
.pics { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .5rem; } .pics figure { margin: 0; min-width: 0; } .pics figcaption { font-size: .8rem; line-height: 1.3; color: var(--muted); }
.lossline { fill: none; stroke: var(--orange); stroke-width: 2; } .accuracy { fill: none; stroke: var(--blue); stroke-width: 2; }
.x * { box-sizing: border-box; }
.x :focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
[hidden] { display: none !important; }
p { margin: 0; }
.title { font-size: 1.08rem; font-weight: 650; line-height: 1.3; }
.lead { margin: .15rem 0 .8rem; color: var(--muted); max-width: 46rem; }
.small { font-size: .85rem; line-height: 1.45; color: var(--muted); }
.cols { display: grid; grid-template-columns: minmax(0, 1fr); gap: .9rem 1.4rem; }
.stack { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6rem; align-content: start; min-width: 0; }
@container (min-width: 620px) { .cols { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
svg { display: block; width: 100%; height: auto; overflow: hidden; }
svg text { font: 12.5px sans-serif; fill: var(--muted); }
.ground { fill: var(--paper); stroke: var(--line); }
.grid { stroke: var(--line); stroke-width: 1; }
.pick { cursor: pointer; touch-action: pan-y; }
.slider { display: grid; grid-template-columns: 1fr auto; gap: 0 .6rem; font-size: .9rem; }
.slider input { grid-column: span 2; width: 100%; height: 1.9rem; margin: 0; accent-color: var(--blue); touch-action: pan-y; }
.value { font-weight: 600; }
.tools { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
button {
  min-height: 2.5rem; padding: .3rem .8rem; border: 1px solid var(--muted); border-radius: 7px; background: var(--paper); color: var(--ink);
  font: inherit; font-size: .9rem; cursor: pointer; touch-action: manipulation;
}
button.main { border-color: var(--link); background: var(--link); color: var(--paper); font-weight: 600; }
button[aria-pressed=true] { border-color: var(--orange); box-shadow: inset 0 0 0 2px var(--orange); }
button:disabled { opacity: .55; cursor: default; }
label.check { display: inline-flex; gap: .45rem; align-items: center; min-height: 2.5rem; font-size: .9rem; }
label.check input { width: 1.1rem; height: 1.1rem; margin: 0; accent-color: var(--blue); }
select { min-height: 2.5rem; max-width: 100%; padding: .2rem .5rem; border: 1px solid var(--muted); border-radius: 7px; background: var(--paper); color: var(--ink); font: inherit; font-size: .9rem; }
.says { min-height: 5.6em; padding: .5rem .7rem; border-left: 3px solid var(--blue); background: var(--paper); font-size: .92rem; }
.failure { padding: .6rem .8rem; border: 1px solid var(--orange); border-radius: 7px; }
code { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
b { font-weight: 650; }
.o { color: var(--orange-text); }
.b { color: var(--blue-text); }
canvas { display: block; width: 100%; image-rendering: pixelated; border: 1px solid var(--line); border-radius: 5px; background: #fff; }
`;

// ---- Elements. No `style` attributes, which a strict content security policy refuses

function fill(el, props, kids) {
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else if (typeof v === "boolean") el.toggleAttribute(k, v);
    else el.setAttribute(k, v);
  }
  el.append(...kids);
  return el;
}
export const h = (tag, props = {}, ...kids) => fill(document.createElement(tag), props, kids);
export const s = (tag, props = {}, ...kids) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, kids);
export const attr = (el, props) => fill(el, props, []);

// ---- Numbers as words

export function fmt(v, digits = 2) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "not a number" : v < 0 ? "−infinity" : "infinity";
  const size = Math.abs(v), tiny = size > 0 && size < 0.5 * 10 ** -digits;
  const text = size >= 1e7 || tiny ? v.toExponential(tiny ? 0 : 2).replace("e+", "e") : v.toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
  return text.replaceAll("-", "−").replace(/^−(0(\.0+)?)$/, "$1");
}
export const rate = v => v >= 0.001 ? String(Number(v.toPrecision(2))) : v.toExponential(1).replace(".0e", "e").replace("-", "−");

// ---- Controls

export function slider(name, {min, max, step = (max - min) / 200, show = fmt, input}) {
  const value = h("span", {class: "value", "aria-hidden": "true"});
  const range = h("input", {type: "range", min, max, step, "aria-label": name, oninput: () => { res.set(Number(range.value)); input(Number(range.value)); }});
  const el = h("div", {class: "slider"}, h("span", {"aria-hidden": "true"}, name), value, range);
  const res = {el, range,
    set(v) { // what lies beyond its ends is said, not hidden
      const off = v < Number(range.min) || v > Number(range.max) || Number.isNaN(v) ? ", off this scale" : "";
      range.value = v;
      range.setAttribute("aria-valuetext", show(v) + off);
      value.textContent = show(v) + off;
    },
    bounds(lo, hi) { attr(range, {min: lo, max: hi, step: (hi - lo) / 200}); }};
  return res;
}

export const button = (text, click, main = false) => h("button", {type: "button", onclick: click, ...(main && {class: "main"})}, text);

export function toggle(text, click) {
  const el = button(text, () => { el.setAttribute("aria-pressed", el.getAttribute("aria-pressed") !== "true"); click(el.getAttribute("aria-pressed") === "true"); });
  el.setAttribute("aria-pressed", false);
  return el;
}

export function check(text, on, change) {
  const box = h("input", {type: "checkbox", onchange: () => change(box.checked)});
  box.checked = on;
  return h("label", {class: "check"}, box, text);
}

export function choice(name, options, change) {
  const el = h("select", {"aria-label": name, onchange: () => change(el.value)}, ...Object.entries(options).map(([k, v]) => h("option", {value: k}, v)));
  return el;
}

// What happened, in words that are shown and spoken; while somebody drags, only once they rest
export function sayer() {
  const el = h("p", {class: "says", role: "status", "aria-live": "polite"});
  let later = 0;
  const say = text => { clearTimeout(later); el.textContent = text; };
  const rest = text => { clearTimeout(later); later = setTimeout(() => say(text), 400); };
  return {el, say, rest};
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Call `step` again and again until it says false; for those who want no motion, all at once, up to `most` times, unless it may not `jump`
export function runner(host, step, {every = 0, most = 100, jump = true, changed = () => {}}) {
  let handle = 0, last = 0;
  const stop = () => { cancelAnimationFrame(handle); handle = 0; changed(false); };
  const tick = now => {
    if (!host.isConnected) return stop();
    handle = requestAnimationFrame(tick);
    if (now - last < every) return;
    last = now;
    if (step() === false) stop();
  };
  const start = () => {
    if (handle) return;
    changed(true);
    if (!jump || !calm()) { handle = requestAnimationFrame(tick); return; }
    for (let i = 0; i < most && step() !== false; i++);
    changed(false);
  };
  return {start, stop, get running() { return handle !== 0; }};
}

// ---- Charts

function ticks(lo, hi, n) {
  const raw = (hi - lo) / n, unit = 10 ** Math.floor(Math.log10(raw)), size = unit * [1, 2, 5, 10].find(o => o * unit >= raw), res = [];
  for (let v = Math.ceil(lo / size - 1e-9) * size; v <= hi + size * 1e-9; v += size) res.push(Math.abs(v) < size * 1e-9 ? 0 : v);
  return res;
}

let serial = 0;

// A chart with axes; what is drawn into `over` is cut off at its edges. With `log`, y counts powers of ten
export function plot(label, {width = 440, height = 290, x, y, names = ["", ""], log = false}) {
  const id = `clip${++serial}`, left = 56, right = 12, top = 12, bottom = 40, box = {x: left, y: top, width: width - left - right, height: height - top - bottom};
  const axes = s("g"), over = s("g", {"clip-path": `url(#${id})`});
  const svg = s("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label},
    s("clipPath", {id}, s("rect", box)), s("rect", {...box, class: "ground"}), axes, over,
    s("text", {x: left + box.width / 2, y: height - 4, "text-anchor": "middle"}, names[0]),
    s("text", {x: 13, y: top + box.height / 2, "text-anchor": "middle", transform: `rotate(-90 13 ${top + box.height / 2})`}, names[1]));
  const scale = (v, [lo, hi]) => Math.min(Math.max((v - lo) / (hi - lo), -50), 50) || 0; // far away is still a number
  const res = {svg, over, box,
    X: v => box.x + box.width * scale(v, x),
    Y: v => box.y + box.height * (1 - scale(log ? Math.log10(Math.max(v, 1e-300)) : v, y)),
    at: event => { // where a pointer is, on the axes
      const r = svg.getBoundingClientRect();
      const px = (event.clientX - r.left) * width / r.width, py = (event.clientY - r.top) * height / r.height;
      return [x[0] + (px - box.x) / box.width * (x[1] - x[0]), y[1] - (py - box.y) / box.height * (y[1] - y[0])];
    },
    range(newX, newY) {
      x = newX; y = newY;
      const show = v => Math.abs(v) >= 1e5 ? v.toExponential(0).replace("e+", "e").replace("-", "−") : Math.abs(v) >= 1e4 ? fmt(v, 0) : String(Number(v.toPrecision(6))).replace("-", "−");
      const power = v => Math.abs(v) < 5 ? show(10 ** v) : `1e${show(v)}`;
      axes.replaceChildren(
        ...ticks(...x, 5).map(v => s("text", {x: res.X(v), y: height - bottom + 16, "text-anchor": "middle"}, show(v))),
        ...ticks(...y, 4).filter(v => !log || Number.isInteger(v)).flatMap(v => {
          const at = box.y + box.height * (1 - scale(v, y));
          return [s("line", {x1: left, x2: width - right, y1: at, y2: at, class: "grid"}), s("text", {x: left - 6, y: at + 4, "text-anchor": "end"}, (log ? power : show)(v))];
        }));
    }};
  res.range(x, y);
  return res;
}

export const polyline = (p, xs, ys) => Array.from(xs, (x, i) => `${p.X(x).toFixed(1)},${p.Y(ys[i]).toFixed(1)}`).join(" ");

// ---- Pictures of 28 by 28

// A canvas with the numbers `values` as colours: greys from 0, white, to 1; or `signed`, blue above zero and orange below
export function picture(label, side = 28) { return h("canvas", {width: side, height: side, role: "img", "aria-label": label}); }

export function paint(canvas, values, signed = false, most = 1) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < values.length; i++) {
    const v = Math.max(-1, Math.min(1, values[i] / most)), full = signed ? v > 0 ? [20, 90, 175] : [200, 80, 10] : [0, 0, 0];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 + (full[c] - 255) * Math.abs(v);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// The images of a sprite, 50 in a row, as n rows of 784 numbers from 0 to 1
export async function loadSprite(url, n) {
  const image = new Image();
  image.src = url;
  try { await image.decode(); } catch { throw new Error("the file with the images, digits.png, did not come or is damaged"); }
  const rows = Math.ceil(n / 50), canvas = h("canvas", {width: 1400, height: 28 * rows}), context = canvas.getContext("2d", {willReadFrequently: true});
  if (image.naturalWidth !== 1400 || image.naturalHeight !== 28 * rows) throw new Error("the file with the images, digits.png, is damaged: it has another size");
  context.drawImage(image, 0, 0);
  const x = new Float32Array(n * 784);
  for (let row = 0; row < rows; row++) { // a row of images at a time, and then a breath
    const {data} = context.getImageData(0, 28 * row, 1400, 28);
    for (let i = 0; i < 50 && 50 * row + i < n; i++) for (let p = 0; p < 784; p++) x[(50 * row + i) * 784 + p] = data[4 * (Math.floor(p / 28) * 1400 + 28 * i + p % 28)] / 255;
    if (row % 8 === 7) await new Promise(done => setTimeout(done));
  }
  return x;
}

// ---- A place on the page

// As light or dark as the words around it: so it is in every page, notebook and editor
function watchTheme(host, box) {
  const look = () => {
    const [r, g, b] = (getComputedStyle(host).color.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
    box.classList.toggle("dark", r + g + b > 382);
  };
  const eye = new MutationObserver(look), system = matchMedia("(prefers-color-scheme: dark)");
  for (const el of [document.documentElement, document.body]) eye.observe(el, {attributes: true});
  system.addEventListener("change", look);
  look();
  return () => { eye.disconnect(); system.removeEventListener("change", look); };
}

function dress(root, style) {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    root.adoptedStyleSheets = [sheet];
  } catch { root.append(h("style", {}, style)); } // browsers from before 2023
}

// A module for both hosts, our site and anywidget: `build` fills `box` from the values that Python gave; it may take its time
export const explorable = (title, build, style = "") => ({
  render({model, el}) {
    const host = h("div"), root = host.attachShadow({mode: "open"}), box = h("div", {class: "x", role: "group", "aria-label": title});
    dress(root, KIT_STYLE + style);
    root.append(box);
    const fail = error => {
      host.remove();
      el.querySelector(".failure")?.remove();
      el.append(h("p", {class: "failure", role: "alert"}, `This can't be touched here: ${error.message}. The picture shows how it begins.`));
    };
    let forget = () => {};
    const show = () => { el.replaceChildren(host); forget = watchTheme(host, box); };
    try {
      const made = build({box, host, values: model.get("values")});
      if (made?.then) made.then(show, fail);
      else show();
    } catch (error) { fail(error); }
    return () => forget();
  },
});
