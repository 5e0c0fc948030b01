// A bend at a time: a curve from ReLUs, and a network whose hidden units take shape.
import {finite, forward, look, mse, step} from "./engine.js";
import {button, choice, explorable, fmt, label, paint, pause, picture, plot, range, runner, s, sayer, slider, small, stack, tools, tiles} from "./kit.js";
import {loadDigits, training} from "./train.js";

const BENDS_STYLE = `
.target { fill: var(--blue); } .knot { fill: var(--paper); stroke: var(--orange); stroke-width: 2.5; } .knot.on { fill: var(--orange); }`;

// The network 1-n-1 through these points, a ReLU a bend; the first, at the left end, gives the first slope
function netOf(points) {
  const slopes = points.slice(1).map(([x, y], i) => (y - points[i][1]) / (x - points[i][0]));
  return [{w: Float64Array.from(slopes, () => 1), b: Float64Array.from(slopes, (_, i) => -points[i][0])},
    {w: Float64Array.from(slopes, (v, i) => i ? v - slopes[i - 1] : v), b: Float64Array.of(points[0][1])}];
}

// And back: it bends where a unit's w·x + b passes zero
function pointsOf([{w, b}, out], lo, hi) {
  const gap = (hi - lo) * 1e-3, at = [...w].map((v, i) => -b[i] / v).filter(x => x > lo + gap && x < hi - gap).sort((p, q) => p - q).filter((x, i, all) => !i || x - all[i - 1] > gap);
  const xs = [lo, ...at, hi], {preds} = forward([{w, b}, out], xs, xs.length);
  return xs.map((x, i) => [x, preds[i]]);
}

async function build({host, values: {file, x, y}}) {
  const lo = Math.min(...x), hi = Math.max(...x);
  if (x.length < 2 || x.length !== y.length || ![...x, ...y].every(Number.isFinite) || lo === hi) throw new Error("it needs a curve of at least two finite points");
  const run = training(await loadDigits(file)), {el: says, say, rest} = sayer(), two = sayer();

  // ---- the curve
  const straight = () => [[lo, y[0]], [hi, y.at(-1)]], top = Math.max(...y), low = Math.min(...y), room = 0.35 * (top - low) || 1, between = (v, a, b) => Math.max(a, Math.min(b, v));
  let points = straight(), on = 0;
  const chart = plot({height: 300, x: [lo - 0.03 * (hi - lo), hi + 0.03 * (hi - lo)], y: [low - room, top + room], names: ["x", "y"]});
  chart.over.append(...x.map((v, i) => s("circle", {cx: chart.X(v), cy: chart.Y(y[i]), r: 2.2, class: "target"})));
  const fit = chart.line(), knots = s("g"), error = () => look(netOf(points), x, y, mse).loss, inner = () => points.length - 2, atEnd = () => on === 0 || on === points.length - 1;
  chart.over.append(knots);
  const words = () => `${inner() || "No"} bend${inner() === 1 ? "" : "s"}: mean squared error ${fmt(error(), 4)}.${inner() ? "" : " Without a bend, any number of layers is one straight line."}`;
  const move = (px, py) => {
    const gap = (hi - lo) / 200;
    points[on] = [atEnd() ? points[on][0] : between(px, points[on - 1][0] + gap, points[on + 1][0] - gap), between(py, low - room, top + room)];
    show();
    rest(words());
  };
  const which = slider("Which point?", {min: 0, max: 1, step: 1, show: v => `${v + 1} of ${points.length}`, input: v => { on = v; show(); }});
  const sx = slider("Its x", {min: lo, max: hi, input: v => { walk.stop(); move(v, points[on][1]); }}), sy = slider("Its y", {min: low - room, max: top + room, input: v => { walk.stop(); move(points[on][0], v); }});
  const change = f => () => {
    walk.stop();
    f();
    show();
    say(words());
  };
  const remove = button("Remove this bend", change(() => points.splice(on--, 1)));
  const add = button("Add a bend", change(() => {
    const at = points.slice(1).reduce((best, p, i) => p[0] - points[i][0] > points[best + 1][0] - points[best][0] + 1e-9 ? i : best, 0);
    points.splice(at + 1, 0, [0, 1].map(k => (points[at][k] + points[at + 1][k]) / 2));
    on = at + 1;
  }), true);

  function show() {
    fit(points);
    knots.replaceChildren(...points.map(([a, b], i) => s("circle", {cx: chart.X(a), cy: chart.Y(b), r: 8, class: i === on ? "knot on" : "knot"})));
    label(chart.svg, `A curve in blue, and a line of ${points.length - 1} straight pieces to fit it`);
    which.bounds(0, points.length - 1, 1);
    which.set(on); sx.set(points[on][0]); sy.set(points[on][1]);
    remove.disabled = sx.range.disabled = atEnd();
    add.disabled = inner() >= 8;
  }

  const walk = runner(host, "Descend 2,000 steps", left => {
    const net = netOf(points), before = inner();
    for (let i = 0; i < 20; i++) step(net, look(net, x, y, mse).grads, 0.01);
    const moved = pointsOf(net, lo, hi);
    if (!moved.flat().every(finite)) return say("The steps were too long for these bends: the error is infinite. Move a point, and try again.");
    points = moved;
    on = Math.min(on, points.length - 1);
    show();
    if (!left || inner() !== before) say(`${inner() === before ? "" : inner() < before ? "A bend has left the picture. " : "A bend has come in from the side. "}${words()}`);
  }, {times: 100});
  chart.drag((px, py, first) => {
    if (!first) return move(px, py);
    walk.stop();
    const far = points.map(([a, b]) => Math.hypot(chart.X(a) - chart.X(px), chart.Y(b) - chart.Y(py)));
    on = far.indexOf(Math.min(...far));
    show();
  });

  // ---- the network
  const hidden = tiles();
  let units = 4;
  const result = () => `784-${units}-1 ${run.result[0].toLowerCase()}${run.result.slice(1)}`;
  async function showNet() {
    run.measure();
    await pause();
    const [{w}, out] = run.net;
    [...hidden.children].forEach((canvas, o) => {
      paint(canvas, range(784, i => w[i * units + o]), true);
      label(canvas, `Hidden unit ${o + 1}, which speaks for ${out.w[o] > 0 ? 3 : 7}`);
    });
  }
  async function restart() {
    train.stop();
    run.restart([784, units, 1], ins => 1 / Math.sqrt(3 * ins));
    hidden.replaceChildren(...range(units, () => picture("")));
    await pause();
    showNet();
    two.say(`Random weights. ${result()}`);
  }
  const train = runner(host, "Train 320 steps", left => { // most frames train, some show
    if (left % 9) run.train({size: 64, lr: 0.5}, 1);
    else showNet();
    if (!left) two.say(result());
  }, {times: 360, jump: false, main: true, stopped: () => { showNet(); two.say(`Stopped. ${result()}`); }});

  await pause();
  await restart();
  change(() => {})();
  return [stack(chart.svg), stack(tools(add, remove, walk.el, button("Start again", change(() => { points = straight(); on = 0; }))), which.el, sx.el, sy.el, says),
    stack(small("The hidden units of a network for digits. Blue: ink there makes the unit fire."), hidden),
    stack(tools(train.el, button("New weights", restart), choice("Hidden units", [1, 4, 12], units, v => { units = Number(v); restart(); })), run.curve.svg, two.el)];
}

export default explorable("What is a bend good for?", "Fit the blue curve: each bend is one ReLU. Then watch hidden units, which bend for digits.", build, BENDS_STYLE);
