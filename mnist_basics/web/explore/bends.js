// A bend at a time: a curve from ReLUs that one drags, and a network whose hidden units take shape.
import {backward, finite, forward, mse, step} from "./engine.js";
import {attr, button, choice, explorable, fmt, h, paint, picture, plot, polyline, runner, s, sayer, slider} from "./kit.js";
import {batches, loadDigits, measure, newNet, trainStep} from "./train.js";

const BENDS_STYLE = `
.target { fill: var(--blue); } .fit { fill: none; stroke: var(--orange); stroke-width: 2.5; } .knot { fill: var(--paper); stroke: var(--orange); stroke-width: 2.5; } .knot.on { fill: var(--orange); }
.units { display: grid; grid-template-columns: repeat(auto-fill, minmax(3.6rem, 1fr)); gap: .4rem; }`;

// The network 1-n-1 that goes through these points, a ReLU for each bend; the first one, at the left end, gives the slope to begin with
export function netOf(points) {
  const slopes = points.slice(1).map(([x, y], i) => (y - points[i][1]) / (x - points[i][0]));
  return [{w: Float64Array.from(slopes, () => 1), b: Float64Array.from(slopes, (_, i) => -points[i][0])},
    {w: Float64Array.from(slopes, (v, i) => i ? v - slopes[i - 1] : v), b: Float64Array.of(points[0][1])}];
}

// And back: where a unit's w·x + b passes zero between the ends, the curve has a bend
export function pointsOf([{w, b}, out], lo, hi) {
  const gap = (hi - lo) * 1e-3, at = [...w].map((v, i) => -b[i] / v).filter(x => x > lo + gap && x < hi - gap).sort((p, q) => p - q).filter((x, i, all) => !i || x - all[i - 1] > gap);
  const xs = Float64Array.of(lo, ...at, hi), {preds} = forward([{w, b}, out], xs, xs.length);
  return Array.from(xs, (x, i) => [x, preds[i]]);
}

async function build({box, host, values}) {
  const {x, y} = values, xs = Float64Array.from(x ?? []), lo = Math.min(...xs), hi = Math.max(...xs);
  if (xs.length < 2 || xs.length !== y.length || ![...xs, ...y].every(Number.isFinite) || lo === hi) throw new Error("it needs a curve of at least two finite points");
  const digits = await loadDigits(values.file), {el: says, say, rest} = sayer(), two = sayer();

  // ---- the curve
  const first = () => [[lo, y[0]], [hi, y.at(-1)]], state = {points: first(), on: 0};
  const top = Math.max(...y), low = Math.min(...y), room = 0.35 * (top - low);
  const chart = plot("", {height: 300, x: [lo - 0.03 * (hi - lo), hi + 0.03 * (hi - lo)], y: [low - room, top + room], names: ["x", "y"]});
  const fit = s("polyline", {class: "fit"}), knots = s("g");
  chart.over.append(...x.map((v, i) => s("circle", {cx: chart.X(v), cy: chart.Y(y[i]), r: 2.2, class: "target"})), fit, knots);
  const error = () => mse(forward(netOf(state.points), xs, xs.length).preds, y).loss, inner = () => state.points.length - 2;
  const words = () => `${inner() || "No"} bend${inner() === 1 ? "" : "s"}: mean squared error ${fmt(error(), 4)}.${inner() ? "" : " Without a bend, any number of layers is one straight line."}`;
  const move = (px, py) => {
    const {points, on} = state, gap = (hi - lo) / 200, end = on === 0 || on === points.length - 1;
    points[on] = [end ? points[on][0] : Math.max(points[on - 1][0] + gap, Math.min(points[on + 1][0] - gap, px)), Math.max(low - room, Math.min(top + room, py))];
    show();
    rest(words());
  };
  const which = slider("Which point?", {min: 0, max: 1, step: 1, show: v => `${v + 1} of ${state.points.length}`, input: v => { state.on = v; show(); }});
  const [sx, sy] = ["Its x", "Its y"].map((name, k) => slider(name, {min: k ? low - room : lo, max: k ? top + room : hi, input: v => { walk.stop(); move(k ? state.points[state.on][0] : v, k ? v : state.points[state.on][1]); }}));
  const remove = button("Remove this bend", () => { walk.stop(); state.points.splice(state.on, 1); state.on--; show(); say(words()); });

  function show() {
    const {points, on} = state, end = on === 0 || on === points.length - 1;
    fit.setAttribute("points", polyline(chart, points.map(p => p[0]), points.map(p => p[1])));
    knots.replaceChildren(...points.map(([a, b], i) => s("circle", {cx: chart.X(a), cy: chart.Y(b), r: 8, class: i === on ? "knot on" : "knot"})));
    attr(chart.svg, {"aria-label": `A curve in blue, and a line of ${points.length - 1} straight pieces to fit it. ${words()}`});
    attr(which.range, {max: points.length - 1});
    which.set(on); sx.set(points[on][0]); sy.set(points[on][1]);
    remove.disabled = sx.range.disabled = end;
    add.disabled = inner() >= 8;
  }

  const add = button("Add a bend", () => { // in the middle of the widest piece
    walk.stop();
    const {points} = state, at = points.slice(1).reduce((best, p, i) => p[0] - points[i][0] > points[best + 1][0] - points[best][0] + 1e-9 ? i : best, 0);
    points.splice(at + 1, 0, [0, 1].map(k => (points[at][k] + points[at + 1][k]) / 2));
    state.on = at + 1;
    show();
    say(words());
  }, true);
  let left = 0;
  const walk = runner(host, () => {
    const net = netOf(state.points), before = inner();
    for (let i = 0; i < 20; i++) { const pass = forward(net, xs, xs.length); step(net, backward(net, pass, mse(pass.preds, y).slopes), 0.01); }
    const points = pointsOf(net, lo, hi);
    if (!points.every(p => p.every(finite))) { say("The steps were too long for these bends: the error is infinite. Move a point, and try again."); return false; }
    Object.assign(state, {points, on: Math.min(state.on, points.length - 1)});
    show();
    const done = --left <= 0;
    if (done || inner() !== before) say(`${inner() === before ? "" : inner() < before ? "A bend has left the picture. " : "A bend has come in from the side. "}${words()}`);
    return !done;
  }, {changed: on => { descend.textContent = on ? "Stop" : "Descend 2,000 steps"; }});
  const descend = button("Descend 2,000 steps", () => { if (walk.running) return walk.stop(); left = 100; walk.start(); });
  const drag = event => {
    const [px, py] = chart.at(event), far = p => Math.hypot(chart.X(p[0]) - chart.X(px), chart.Y(p[1]) - chart.Y(py));
    if (event.type === "pointerdown") { walk.stop(); state.on = state.points.reduce((best, p, i) => far(p) < far(state.points[best]) ? i : best, 0); show(); } else if (event.buttons) move(px, py);
  };
  chart.svg.classList.add("pick");
  for (const o of ["pointerdown", "pointermove"]) chart.svg.addEventListener(o, drag);

  // ---- the network
  const run = {units: 4, steps: 0, history: []}, source = batches(digits), gallery = h("div", {class: "units"});
  const curve = plot("", {height: 200, x: [0, 100], y: [0.5, 1], names: ["steps", "accuracy"]}), line = s("polyline", {class: "accuracy"});
  curve.over.append(line);
  const result = () => `784-${run.units}-1 after ${run.steps} steps: validation accuracy ${fmt(run.history.at(-1)[1], 3)}.`;
  function showNet() {
    run.history.push([run.steps, measure(run.net, digits.valid).accuracy]);
    curve.range([0, Math.max(100, run.steps)], [0.5, 1]);
    line.setAttribute("points", polyline(curve, run.history.map(o => o[0]), run.history.map(o => o[1])));
    attr(curve.svg, {"aria-label": result()});
    [...gallery.children].forEach((canvas, o) => {
      const w = Float64Array.from({length: 784}, (_, i) => run.net[0].w[i * run.units + o]), speaks = run.net[1].w[o] > 0 ? 3 : 7;
      paint(canvas, w, true, w.reduce((m, v) => Math.max(m, Math.abs(v)), 0) || 1);
      attr(canvas, {"aria-label": `Hidden unit ${o + 1}, which speaks for ${speaks}`});
    });
  }
  function restart() {
    train.stop();
    source.restart();
    Object.assign(run, {net: newNet([784, run.units, 1], ins => 1 / Math.sqrt(3 * ins)), steps: 0, history: []});
    gallery.replaceChildren(...Array.from({length: run.units}, () => picture("")));
    showNet();
    two.say(`Random weights. ${result()}`);
  }
  let todo = 0;
  const train = runner(host, () => { // some frames train, others show
    if (todo % 9 === 0) showNet();
    else { trainStep(run.net, source.next(64, true), 0.5); run.steps++; }
    if (--todo > 0) return true;
    showNet();
    two.say(result());
    return false;
  }, {jump: false, changed: on => { go.textContent = on ? "Stop" : "Train 320 steps"; }});
  const go = button("Train 320 steps", () => { if (train.running) { train.stop(); return two.say(`Stopped. ${result()}`); } todo = 360; train.start(); }, true);

  box.append(h("p", {class: "title"}, "What is a bend good for?"), h("p", {class: "lead"}, "Fit the blue curve: each bend is one ReLU. Then watch hidden units, which bend for digits."),
    h("div", {class: "cols"},
      h("div", {class: "stack"}, chart.svg),
      h("div", {class: "stack"}, h("div", {class: "tools"}, add, remove, descend, button("Start again", () => { walk.stop(); Object.assign(state, {points: first(), on: 0}); show(); say(words()); })), which.el, sx.el, sy.el, says),
      h("div", {class: "stack"}, h("p", {}, "A network for digits, its hidden units as pictures (blue: ink there makes the unit fire)"), gallery),
      h("div", {class: "stack"}, h("div", {class: "tools"}, go, button("New weights", restart), choice("Hidden units", {1: "1 hidden unit", 4: "4 hidden units", 12: "12 hidden units"}, v => { run.units = Number(v); restart(); })), curve.svg, two.el)));
  box.querySelector("select").value = "4";
  show();
  restart();
  say(words());
}

export default explorable("A bend at a time", build, BENDS_STYLE);
