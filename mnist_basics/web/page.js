"use strict";
// The page around engine.js: the pen, the buttons, and a picture of what each stage sees.

const $ = id => document.getElementById(id);
const PAPER = 140; // side of the hidden sheet that the networks look at, in pixels
const PEN = 11;    // width of the pen on it
const FIT = 0.7;   // part of that sheet to which smaller drawings are enlarged, strokes and not pen
const state = {models: null, strokes: [], seen: null, answer: null, reason: "", milliseconds: []};

// ---- Light or dark: as the site that shows this page in a frame, otherwise as the system

function site() {
  try { return parent !== self && parent.document.documentElement; } catch (e) { return null; }
}

function chosen() { // what the reader chose on the site, if anything
  try { return localStorage.getItem("smalldocs-scheme"); } catch (e) { return null; }
}

function setTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches, choice = chosen();
  const framed = site() && site().querySelector("link.quarto-color-scheme");
  const dark = framed ? site().classList.contains("quarto-dark") : choice ? choice === "alternate" : system;
  document.documentElement.classList.toggle("dark", dark);
}

function watchTheme() {
  setTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", setTheme);
  if (site()) new MutationObserver(setTheme).observe(site(), {attributes: true, attributeFilter: ["class"]});
}

// In a frame the page is as tall as what it holds
function watchHeight() {
  if (!site() || !self.frameElement) return;
  const fit = () => { self.frameElement.style.height = `${Math.ceil(document.body.getBoundingClientRect().height)}px`; };
  new ResizeObserver(fit).observe(document.body);
}

// ---- Strokes: lists of points [x, y], from 0 to 1 over the sheet

const sheet = Object.assign(document.createElement("canvas"), {width: PAPER, height: PAPER}).getContext("2d", {willReadFrequently: true});

function drawStrokes(context, side, strokes) {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  Object.assign(context, {strokeStyle: "#000", lineWidth: PEN * side / PAPER, lineCap: "round", lineJoin: "round"});
  for (const stroke of strokes) {
    const at = stroke.map(([x, y]) => [x * side, y * side]);
    context.beginPath();
    context.moveTo(...at[0]);
    for (let i = 1; i < at.length - 1; i++) context.quadraticCurveTo(...at[i], (at[i][0] + at[i + 1][0]) / 2, (at[i][1] + at[i + 1][1]) / 2);
    context.lineTo(at.at(-1)[0] + (at.length > 1 ? 0 : 0.01), at.at(-1)[1]); // a line of no length would leave no dot
    context.stroke();
  }
}

// A small drawing made larger about its middle, which moves to the middle of the sheet
function fitStrokes(strokes) {
  const [xs, ys] = [0, 1].map(i => strokes.flat().map(o => o[i])), middle = a => (largest(a) + smallest(a)) / 2;
  const extent = Math.max(...[xs, ys].map(a => largest(a) - smallest(a))), k = FIT / Math.max(extent, 0.05);
  return k <= 1 ? strokes : strokes.map(o => o.map(([x, y]) => [0.5 + k * (x - middle(xs)), 0.5 + k * (y - middle(ys))]));
}

function redraw() {
  const canvas = $("ink"), side = Math.round(canvas.clientWidth * (self.devicePixelRatio || 1));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  drawStrokes(canvas.getContext("2d"), side, state.strokes);
  drawStrokes(sheet, PAPER, fitStrokes(state.strokes));
  $("hint").hidden = state.strokes.length > 0;
  $("undo").disabled = $("clear").disabled = !state.strokes.length;
}

// ---- The pen

let waiting = 0, pen = null;

function soon({timeStamp}) {
  if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; update(timeStamp); });
}

function point(event) {
  const canvas = $("ink"), box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth, (event.clientY - box.top - canvas.clientTop) / canvas.clientHeight];
}

function watchPen(canvas) {
  canvas.addEventListener("pointerdown", event => {
    if (pen !== null || event.button > 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    pen = event.pointerId;
    state.strokes.push([point(event)]);
    soon(event);
  });
  canvas.addEventListener("pointermove", event => {
    if (event.pointerId !== pen) return;
    const all = event.getCoalescedEvents?.() ?? [];
    state.strokes.at(-1).push(...(all.length ? all : [event]).map(point));
    soon(event);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, event => {
    if (event.pointerId === pen) { pen = null; soon(event); }
  });
}

function setStrokes(strokes) {
  state.strokes = strokes;
  pen = null;
  update();
}

// ---- What is shown

const signed = v => `${v < 0 ? "−" : "+"} ${Math.abs(v).toFixed(1)}`;
const percent = p => `${(100 * p).toFixed(1)}%`;
const named = d => `${Number(d) === 8 ? "an" : "a"} ${d}`;
const digits = Array.from({length: 10}, (_, d) => d);

function element(tag, parent, className = "", text = "") {
  const res = document.createElement(tag);
  if (className) res.className = className;
  res.textContent = text;
  parent.append(res);
  return res;
}

// `ink` in 0..1 as greys on white; where `tint` is above 0, in that colour
function paint(canvas, ink, tint = null, colour = [0, 0, 0]) {
  const context = canvas.getContext("2d"), picture = context.createImageData(28, 28);
  for (let i = 0; i < 784; i++) {
    const strength = tint ? Math.min(1, Math.max(0, tint[i])) : 0, grey = 255 - (tint ? 45 : 255) * ink[i];
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = grey + (colour[c] - grey) * strength;
    picture.data[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

function makeBars() {
  for (const d of digits) {
    const row = element("li", $("ten"));
    element("span", row, "", d);
    element("i", element("div", row, "track"));
    element("span", row, "", "–");
    const ideal = element("li", $("ideal"));
    Object.assign(element("canvas", ideal, "picture"), {width: 28, height: 28});
    element("span", ideal, "", `${d}: –`);
  }
  for (const id of ["linear-bar", "mlp-bar"]) {
    element("span", $(id), "", "7");
    element("i", element("div", $(id), "track"));
    element("span", $(id), "", "3");
  }
}

function makeSamples(samples) {
  for (const [name, strokes] of Object.entries(samples)) {
    const button = element("button", $("samples"), name.length > 1 ? "wide" : "", name);
    button.type = "button";
    if (name.length === 1) button.setAttribute("aria-label", `Draw ${named(name)}`);
    button.addEventListener("click", () => setStrokes(strokes.map(o => o.slice())));
  }
}

function showIdeals({tensors}) {
  [...$("ideal").children].forEach((row, d) => {
    paint(row.firstChild, tensors["ideal.means"].data.subarray(784 * d, 784 * d + 784));
    row.firstChild.setAttribute("role", "img");
    row.firstChild.setAttribute("aria-label", `The average ${d}`);
  });
}

function makeUnits({nets}) {
  const n = nets.mlp.at(-1).weight.shape[1];
  $("mlp-about").textContent = n;
  for (let i = 0; i < n; i++) element("i", $("units"), "rest");
}

function showTen(answer) {
  const {probabilities, digit, sure} = answer?.ten ?? {};
  [...$("ten").children].forEach((row, d) => {
    row.classList.toggle("first", answer !== null && d === digit);
    row.children[1].firstChild.style.transform = `scaleX(${answer ? probabilities[d] : 0})`;
    row.lastChild.textContent = answer ? percent(probabilities[d]) : "–";
  });
  $("digit").textContent = !answer ? (state.reason ? "?" : "·") : sure ? digit : "?";
  $("digit").classList.toggle("unsure", !sure);
}

function words(answer) {
  if (!answer) return state.reason || "Nothing drawn yet.";
  const {probability, digit, sure, digitlike, second} = answer.ten;
  if (sure) return `It is ${named(digit)}. Probability ${percent(probability)}.`;
  return digitlike ? `Unsure: perhaps ${named(digit)}, or ${named(second)}.` : "Unsure: this looks like none of the ten digits.";
}

function showIdeal(answer) {
  [...$("ideal").children].forEach((row, d) => {
    row.classList.toggle("first", answer !== null && d === answer.ideal.nearest);
    row.lastChild.textContent = answer ? `${d}: ${answer.ideal.distances[d].toFixed(4)}` : `${d}: –`;
  });
  $("ideal-says").textContent = answer ? `Nearest of ten: ${answer.ideal.nearest}. Of 3 and 7 alone: ${answer.ideal.pair}.` : "Which average digit is nearest?";
}

function showPair(name, answer) {
  const p = answer && answer[name].probability;
  $(`${name}-says`).textContent = answer ? `${p > 0.5 ? 3 : 7}, with probability ${percent(Math.max(p, 1 - p))}` : "Is it a 3 or a 7?";
  const bar = $(`${name}-bar`).children[1].firstChild; // from the middle to the side of the answer
  bar.style.transform = answer ? `translateX(50%) scaleX(${p - 0.5})` : "scaleX(0)";
  bar.style.background = p > 0.5 ? "var(--three)" : "var(--seven)";
}

function showLinear(answer, seen) {
  showPair("linear", answer);
  const parts = answer ? answer.linear.parts : new Float64Array(784), loudest = largest(parts.map(Math.abs)) || 1;
  const total = sign => sum(parts.map(v => Math.max(0, sign * v)));
  for (const [id, text, sign, colour, digit] of [["for3", "up", 1, [32, 98, 168], 3], ["for7", "down", -1, [192, 84, 12], 7]]) {
    paint($(id), seen ?? new Float32Array(784), parts.map(v => sign * v / loudest), colour);
    $(text).textContent = answer ? total(sign).toFixed(1) : "–";
    $(id).setAttribute("aria-label", answer ? `The ink that speaks for ${digit}: ${total(sign).toFixed(1)} in all` : "Nothing drawn yet");
  }
  const {bias, score} = answer?.linear ?? {};
  $("linear-sum").textContent = answer ? `${total(1).toFixed(1)} − ${total(-1).toFixed(1)} ${signed(bias)} of bias = ${score.toFixed(1).replace("-", "−")}, the score.` : "";
}

function showUnits(answer) {
  showPair("mlp", answer);
  const parts = answer ? answer.mlp.parts : [], loudest = largest(Array.from(parts, Math.abs)) || 1, fires = answer ? answer.mlp.hidden : [];
  [...$("units").children].forEach((unit, i) => {
    unit.className = !(fires[i] > 0) ? "rest" : parts[i] > 0 ? "up" : "down";
    unit.style.setProperty("--v", answer ? Math.max(0.02, Math.abs(parts[i]) / loudest) : 0);
  });
  const n = [...fires].filter(v => v > 0).length, up = [...fires].filter((v, i) => v > 0 && parts[i] > 0).length;
  $("units").setAttribute("aria-label", answer ? `${n} of ${fires.length} hidden units fire: ${up} speak for 3, ${n - up} for 7` : "Nothing drawn yet");
  if (answer) $("mlp-says").textContent += `. ${n} of ${fires.length} units fire.`;
}

let later = 0;

function show(answer, seen) {
  showTen(answer);
  paint($("seen"), seen ?? new Float32Array(784));
  $("seen").setAttribute("aria-label", seen ? "Your drawing in 28 by 28 pixels" : "Nothing drawn yet");
  $("ink").setAttribute("aria-label", `Drawing area, ${state.strokes.length || "no"} stroke${state.strokes.length === 1 ? "" : "s"}. Draw one digit with a mouse, a finger or a pen.`);
  showIdeal(answer);
  showLinear(answer, seen);
  showUnits(answer);
  clearTimeout(later); // spoken once the pen rests, not at each movement
  later = setTimeout(() => { $("answer").textContent = words(answer); }, answer && pen !== null ? 250 : 0);
}

const look = () => prepare(sheet.getImageData(0, 0, PAPER, PAPER).data, PAPER, PAPER);

// Draw, look, judge, show; `since` is when the pen moved
function update(since = performance.now()) {
  redraw();
  const {images, reason} = state.strokes.length ? look() : {images: [], reason: ""};
  const read = state.models ? images.map(o => judge(state.models, o)) : [];
  state.seen = images.length === 1 ? images[0] : null;
  state.answer = images.length === 1 ? read[0] : null;
  state.reason = read.length > 1 ? `${read.length} digits: ${read.map(o => o.ten.sure ? o.ten.digit : `${o.ten.digit}?`).join(", ")}. Draw one to see what each stage says.` : reason && `No answer: ${reason}.`;
  show(state.answer, state.seen);
  state.milliseconds.push(performance.now() - since);
}

// ---- Start

// Browsers compile what runs often: so the first stroke of a reader is not the first of the page
function warmUp(drawings) {
  for (const strokes of drawings.slice(0, 5)) {
    drawStrokes(sheet, PAPER, fitStrokes(strokes));
    for (const image of look().images) judge(state.models, image);
  }
}

async function start() {
  watchTheme();
  watchHeight();
  makeBars();
  watchPen($("ink"));
  $("undo").addEventListener("click", () => setStrokes(state.strokes.slice(0, -1)));
  $("clear").addEventListener("click", () => setStrokes([]));
  addEventListener("keydown", event => { if (event.key === "z" && (event.ctrlKey || event.metaKey)) $("undo").click(); });
  addEventListener("resize", redraw);
  redraw();
  try {
    const [models, samples] = await Promise.all([loadModels("weights.json"), fetch("samples.json").then(o => o.json())]);
    state.models = models;
    makeSamples(samples);
    showIdeals(models);
    makeUnits(models);
    warmUp(Object.values(samples));
    update();
    state.milliseconds.length = 0;
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    $("failure").textContent = `The networks could not be loaded (${error.message}). Please load the page again.`;
    $("failure").hidden = false;
  }
}

start();
