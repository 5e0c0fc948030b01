// The parabola: one parameter, its slope, and how long a step should be.
import {backward, finite, forward, mse, step} from "./engine.js";
import {attr, button, explorable, fmt, h, plot, polyline, rate, runner, s, sayer, slider} from "./kit.js";

const PARABOLA_STYLE = `
.curve { fill: none; stroke: var(--blue); stroke-width: 2; } .tangent { stroke: var(--orange); stroke-width: 1.8; stroke-dasharray: 6 4; }
.went { fill: none; stroke: var(--orange); stroke-width: 1; } .been { fill: var(--orange); opacity: .65; } .here { fill: var(--orange); stroke: var(--paper); stroke-width: 2; }
.name { font-weight: 650; }`;

// What a step from x to y tells of its length
const nameOf = (x, y) => Math.abs(y) > Math.abs(x) ? "Diverging" : Math.abs(y) === Math.abs(x) ? "Bouncing for ever" : y * x < 0 ? "Bouncing" : y * y > 0.9 * x * x ? "Too small" : "Right";
const WHY = {
  Diverging: "each jump ends higher than it began. Choose a smaller rate.", "Bouncing for ever": "each jump ends as high as it began.",
  Bouncing: "it jumped over the lowest point, and ended lower all the same.", "Too small": "less than a tenth of the loss is gone. This will take long.", Right: "lower, and on the same side.",
};

function build({box, host, values}) {
  if (![values.start, values.lr].every(Number.isFinite)) throw new Error("it needs a finite start and rate");
  const net = [{w: Float64Array.of(values.start), b: null}], one = Float64Array.of(1), zero = Float64Array.of(0);
  const {el: says, say, rest} = sayer(), state = {lr: values.lr, path: [values.start]};
  const chart = plot("", {height: 330, x: [-2, 2], y: [0, 4], names: ["x", "x², the loss"]});
  const look = () => {
    const pass = forward(net, one, 1), {loss, slopes} = mse(pass.preds, zero); // the prediction is x, and the target 0
    return {x: net[0].w[0], loss, slope: backward(net, pass, slopes)[0].w[0], grads: backward(net, pass, slopes)};
  };
  const curve = s("polyline", {class: "curve"}), tangent = s("line", {class: "tangent"}), went = s("polyline", {class: "went"}), been = s("g"), here = s("circle", {r: 8, class: "here"});
  chart.over.append(curve, went, been, tangent, here);
  chart.svg.classList.add("pick");
  const facts = h("p"), xs = slider("x, the parameter", {min: -2, max: 2, step: 0.01, input: put});
  const rates = slider("Learning rate lr", {min: -2.5, max: 0.1, step: 0.025, show: v => rate(10 ** v), input: v => { state.lr = Number((10 ** v).toPrecision(2)); show(); }});

  function show() {
    const {x, loss, slope} = look(), far = Math.max(2, ...state.path.filter(finite).map(Math.abs)), reach = Math.min(2 ** Math.ceil(Math.log2(far)), 2 ** 60);
    chart.range([-reach, reach], [0, reach * reach]);
    const grid = Array.from({length: 81}, (_, i) => reach * (i / 40 - 1)), dots = state.path.filter(finite);
    curve.setAttribute("points", polyline(chart, grid, grid.map(v => v * v)));
    went.setAttribute("points", polyline(chart, dots, dots.map(v => v * v)));
    been.replaceChildren(...dots.slice(-60, -1).map(v => s("circle", {cx: chart.X(v), cy: chart.Y(v * v), r: 4, class: "been"})));
    attr(here, {cx: chart.X(x), cy: chart.Y(loss)});
    const wide = 0.45 * reach, at = v => ({x: chart.X(x + v), y: chart.Y(loss + slope * v)});
    attr(tangent, {x1: at(-wide).x, y1: at(-wide).y, x2: at(wide).x, y2: at(wide).y});
    facts.replaceChildren("loss ", h("b", {}, finite(loss) ? fmt(loss, 4) : "infinite"), ", slope ", h("b", {class: "o"}, fmt(slope)), `: a step would go from ${fmt(x)} to ${fmt(x)} − ${rate(state.lr)} · ${slope < 0 ? `(${fmt(slope)})` : fmt(slope)} = `, h("b", {}, fmt(x - state.lr * slope)));
    attr(chart.svg, {"aria-label": `A parabola with its lowest point at 0. The parameter is at ${fmt(x)}, where the loss is ${fmt(loss, 4)} and the slope ${fmt(slope)}; ${state.path.length - 1} steps have led here.`});
    xs.set(x);
  }

  function put(x) {
    walk.stop();
    net[0].w[0] = x;
    state.path = [x];
    show();
    rest(`At ${fmt(x)} the slope is ${fmt(2 * x)}: ${x ? `down is to the ${x > 0 ? "left" : "right"}` : "this is the lowest point"}.`);
  }

  function once() {
    const {x, loss, grads} = look();
    if (!finite(loss)) { say("The loss is infinite, and no step leads back. Start again, with a smaller rate."); return false; }
    step(net, grads, state.lr);
    const now = look(), n = state.path.push(now.x) - 1, name = nameOf(x, now.x);
    show();
    if (x === 0) { say("The slope is 0: this is the lowest point, and a step goes nowhere."); return false; }
    if (!finite(now.loss)) { say(`Step ${n}: the loss is infinite now. Diverged: start again, with a smaller rate.`); return false; }
    say(now.loss < 1e-8 ? `Step ${n}: arrived. The loss is ${fmt(now.loss)}.` : `Step ${n}. ${name}: ${WHY[name]}`);
    return now.loss >= 1e-8;
  }

  let many = 0;
  const walk = runner(host, () => once() && --many > 0, {every: 220, changed: on => { run.textContent = on ? "Stop" : "Run 20 steps"; }});
  const run = button("Run 20 steps", () => { if (walk.running) return walk.stop(); many = 20; walk.start(); });
  const drag = event => { if (event.type === "pointerdown" || event.buttons) put(Math.max(-2, Math.min(2, chart.at(event)[0]))); };
  chart.svg.addEventListener("pointerdown", drag);
  chart.svg.addEventListener("pointermove", drag);
  box.append(h("p", {class: "title"}, "How long should a step be?"),
    h("p", {class: "lead"}, "Drag the point, and see its slope. Then choose a rate, and step."),
    h("div", {class: "cols"}, h("div", {class: "stack"}, chart.svg, xs.el),
      h("div", {class: "stack"}, facts, rates.el, h("div", {class: "tools"}, button("Step", once, true), run, button("Start again", () => { put(values.start); say(`Back at ${fmt(values.start)}.`); })), says)));
  rates.set(Math.log10(state.lr));
  show();
  say("Nothing has moved yet. Press Step, or drag the point.");
}

export default explorable("Parabola: one parameter, its slope and its steps", build, PARABOLA_STYLE);
