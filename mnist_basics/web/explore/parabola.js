// The parabola: one parameter, its slope, and how long a step should be.
import {finite, look, mse, step} from "./engine.js";
import {attr, bold, button, explorable, fmt, h, label, largest, pause, plot, range, rate, runner, s, sayer, slider, stack, tools, upTo} from "./kit.js";

const PARABOLA_STYLE = `
.tangent { stroke: var(--orange); stroke-width: 1.8; stroke-dasharray: 6 4; } .went { stroke-width: 1; } .been { fill: var(--orange); opacity: .65; } .here { fill: var(--orange); stroke: var(--paper); stroke-width: 2; }`;

const nameOf = (x, y) => Math.abs(y) > Math.abs(x) ? "Diverging" : Math.abs(y) === Math.abs(x) ? "Bouncing for ever" : y * x < 0 ? "Bouncing" : y * y > 0.9 * x * x ? "Too small" : "Right";
const WHY = {
  Diverging: "each jump ends higher than it began. Choose a smaller rate.", "Bouncing for ever": "each jump ends as high as it began.",
  Bouncing: "it jumped over the lowest point, and ended lower all the same.", "Too small": "less than a tenth of the loss is gone. This will take long.", Right: "lower, and on the same side.",
};

async function build({host, values: {start, lr}}) {
  if (![start, lr].every(Number.isFinite)) throw new Error("it needs a finite start and rate");
  const net = [{w: Float64Array.of(start)}], {el: says, say, rest} = sayer();
  let path = [start];
  const chart = plot({height: 330, x: [-2, 2], y: [0, 4], names: ["x", "x², the loss"]});
  const now = () => look(net, [1], [0], mse); // the prediction is x, and the target 0
  await pause();
  const curve = chart.line("b"), went = chart.line("went"), been = s("g"), tangent = s("line", {class: "tangent"}), here = s("circle", {r: 8, class: "here"});
  chart.over.append(been, tangent, here);
  const facts = h("p"), xs = slider("x, the parameter", {min: -2, max: 2, step: 0.01, input: put});
  const rates = slider("Learning rate lr", {min: -2.5, max: 0.1, step: 0.025, show: v => rate(10 ** v), input: v => { lr = Number((10 ** v).toPrecision(2)); show(); }});

  function show() {
    const {preds: [x], loss, grads: [{w: [slope]}]} = now(), dots = path.filter(finite).map(v => [v, v * v]), reach = Math.min(upTo(Math.max(2, largest(dots.map(o => o[0])))), 2 ** 60), wide = 0.45 * reach;
    chart.range([-reach, reach], [0, reach * reach]);
    curve(range(81, i => reach * (i / 40 - 1)).map(v => [v, v * v]));
    went(dots);
    been.replaceChildren(...dots.slice(-60, -1).map(([v, y]) => s("circle", {cx: chart.X(v), cy: chart.Y(y), r: 4, class: "been"})));
    attr(here, {cx: chart.X(x), cy: chart.Y(loss)});
    attr(tangent, {x1: chart.X(x - wide), y1: chart.Y(loss - slope * wide), x2: chart.X(x + wide), y2: chart.Y(loss + slope * wide)});
    facts.replaceChildren("loss ", bold(finite(loss) ? fmt(loss, 4) : "infinite"), ", slope ", bold(fmt(slope), "o"), `: a step would go from ${fmt(x)} to ${fmt(x)} − ${rate(lr)} · ${slope < 0 ? `(${fmt(slope)})` : fmt(slope)} = `, bold(fmt(x - lr * slope)));
    xs.set(x);
  }

  function put(x) {
    walk.stop();
    net[0].w[0] = x;
    path = [x];
    show();
    rest(`At ${fmt(x)} the slope is ${fmt(2 * x)}: ${x ? `down is to the ${x > 0 ? "left" : "right"}` : "this is the lowest point"}.`);
  }

  function once() {
    const {preds: [x], loss, grads} = now();
    if (!finite(loss)) return say("The loss is infinite, and no step leads back. Start again, with a smaller rate.");
    step(net, grads, lr);
    const {preds: [after], loss: left} = now(), n = path.push(after) - 1, name = nameOf(x, after);
    show();
    if (x === 0) return say("The slope is 0: this is the lowest point, and a step goes nowhere.");
    if (!finite(left)) return say(`Step ${n}: the loss is infinite now. Diverged: start again, with a smaller rate.`);
    say(left < 1e-8 ? `Step ${n}: arrived. The loss is ${fmt(left)}.` : `Step ${n}. ${name}: ${WHY[name]}`);
    return left >= 1e-8;
  }

  const walk = runner(host, "Run 20 steps", once, {times: 20, every: 220});
  chart.drag(x => put(Math.max(-2, Math.min(2, x))));
  await pause();
  label(chart.svg, "A parabola with its lowest point at 0; on it the parameter, its tangent, and where it has been");
  rates.set(Math.log10(lr));
  show();
  say("Nothing has moved yet. Press Step, or drag the point.");
  return [stack(chart.svg, xs.el), stack(facts, rates.el, tools(button("Step", once, true), walk.el, button("Start again", () => { put(start); say(`Back at ${fmt(start)}.`); })), says)];
}

export default explorable("How long should a step be?", "Drag the point, and see its slope. Then choose a rate, and step.", build, PARABOLA_STYLE);
