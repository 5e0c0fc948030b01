// The roller coaster: how a loss moves parameters that it never sees.
import {backward, finite, forward, mse, step} from "./engine.js";
import {attr, button, check, choice, explorable, fmt, h, plot, polyline, rate, runner, s, sayer, slider, toggle} from "./kit.js";

const NAMES = ["a", "b", "c"], TIMES = ["t²", "t", "1"];
const VIEWS = { // ranges of the sliders and of the map, and the rate to begin with
  raw: {a: [-2, 3], b: [-30, 30], c: [-50, 150], map: [[-1, 2.5], [-20, 120]], lr: 1e-5, least: -7, most: -3},
  standardized: {a: [-10, 50], b: [-30, 30], c: [-30, 50], map: [[-5, 45], [-25, 25]], lr: 0.1, least: -4, most: 0.25},
};

const mean = v => v.reduce((sum, o) => sum + o, 0) / v.length;

export function standardize(time) {
  const m = mean(time), sd = Math.sqrt(time.reduce((sum, o) => sum + (o - m) ** 2, 0) / (time.length - 1));
  return time.map(o => (o - m) / sd);
}

// The best a, b, c there are: where all slopes are zero, three equations solved by elimination
function best(x, targs) {
  const n = targs.length, rows = NAMES.map((_, i) => [0, 1, 2, 3].map(j => {
    let sum = 0;
    for (let r = 0; r < n; r++) sum += x[3 * r + i] * (j < 3 ? x[3 * r + j] : targs[r]);
    return sum;
  }));
  for (let i = 0; i < 3; i++) for (let k = 0; k < 3; k++) if (k !== i) {
    const f = rows[k][i] / rows[i][i];
    for (let j = i; j < 4; j++) rows[k][j] -= f * rows[i][j];
  }
  return rows.map((row, i) => row[3] / row[i]);
}

export const features = t => Float64Array.from(t.flatMap(v => [v * v, v, 1]));

// Where the loss over a and c, with b at its best, has this height: an ellipse, since the loss is a quadratic
function contour(p, x, n, [a0, , c0], excess) {
  const sum = (i, j) => { let v = 0; for (let r = 0; r < n; r++) v += x[3 * r + i] * x[3 * r + j]; return v / n; };
  const aa = sum(0, 0), ac = sum(0, 2), cc = sum(2, 2), points = Array.from({length: 121}, (_, i) => 2 * Math.PI * i / 120);
  const u = Math.sqrt(excess / aa), v = Math.sqrt(excess / (cc - ac * ac / aa)); // completing the square
  return polyline(p, points.map(o => a0 + u * Math.cos(o) - ac / aa * v * Math.sin(o)), points.map(o => c0 + v * Math.sin(o)));
}

function meter(i, choose) {
  const bar = s("svg", {viewBox: "0 0 400 26", preserveAspectRatio: "none", "aria-hidden": "true", class: "bar"}), total = h("b"), wish = h("span", {class: "small"}), share = h("span"), scale = h("span", {class: "small"});
  const el = h("div", {class: "meter"}, h("div", {class: "part"}, share), bar, h("div", {class: "tools line"}, h("span", {}, `${NAMES[i]}: `, total, wish), scale));
  return {el, show(shares, chosen, left, dead) {
    const ups = shares.reduce((sum, v) => sum + Math.max(v, 0), Math.max(left, 0)), downs = shares.reduce((sum, v) => sum - Math.min(v, 0), Math.max(-left, 0));
    const sum = shares.reduce((a, b) => a + b, left), end = 10 ** Math.ceil(Math.log10(Math.max(ups, downs, 1e-6))), unit = 200 / Math.min(end, 1e300);
    const at = [200, 200], rects = [];
    const add = (v, name) => {
      const side = v < 0 ? 0 : 1, width = Math.min(Math.abs(v) * unit, 200), x = side ? at[1] : at[0] - width;
      at[side] += side ? width : -width;
      rects.push(s("rect", {x, y: 4, width, height: 18, class: name}));
    };
    if (!dead) {
      if (left) add(left, "left");
      shares.forEach((v, j) => { if (j !== chosen) add(v, "share"); });
      add(shares[chosen], "chosen");
    }
    bar.replaceChildren(s("rect", {x: 0, y: 4, width: 400, height: 18, class: "ground"}), ...rects, s("line", {x1: 200, x2: 200, y1: 0, y2: 26, class: "zero"}), ...(dead ? [] : [s("path", {class: "sum", d: `M${200 + Math.max(-200, Math.min(200, sum * unit))} 0v26`})]));
    total.textContent = dead ? "None" : fmt(sum);
    wish.textContent = dead || sum === 0 ? "" : ` (${NAMES[i]} should ${sum < 0 ? "rise" : "fall"})`;
    scale.textContent = dead ? "no way back" : `from −${fmt(end, end < 1 ? 2 : 0)} to ${fmt(end, end < 1 ? 2 : 0)}`;
  }, say(text, dead) { share.textContent = text; el.classList.toggle("dead", dead); }};
}

const COASTER_STYLE = `
.coaster { grid-template-areas: "see" "flow" "drag" "map" "curve"; }
@container (min-width: 620px) { .coaster { grid-template-areas: "see flow" "drag flow" "map curve"; grid-template-rows: auto 1fr auto; } }
.see { grid-area: see; } .flow { grid-area: flow; } .drag { grid-area: drag; } .map { grid-area: map; } .curve { grid-area: curve; }
.meter { display: grid; gap: .1rem; } .part, .line { font-size: .92rem; } .line { justify-content: space-between; gap: 0 .8rem; }
.bar { height: 26px; } .share { fill: var(--blue); stroke: var(--paper); stroke-width: .6; vector-effect: non-scaling-stroke; } .chosen { fill: var(--orange); } .left { fill: var(--muted); }
.zero, .best { stroke: var(--ink); stroke-width: 1.5; vector-effect: non-scaling-stroke; } .best { fill: none; }
.sum { stroke: var(--orange); stroke-width: 3; vector-effect: non-scaling-stroke; } .measured { fill: var(--blue); } .arrow, .path { fill: none; stroke: var(--orange); stroke-width: 1.6; }
.cut .arrow { stroke-dasharray: 2 4; } .cross { stroke: var(--orange); stroke-width: 2; } .of .arrow { stroke-width: 3.5; stroke-dasharray: none; }
.of .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; } .contour { fill: none; stroke: var(--blue); stroke-width: 1; opacity: .8; } .dot { fill: var(--orange); }
.loss { font-size: 1.5rem; font-weight: 650; line-height: 1.2; } .pulse .chosen { animation: arrive .7s ease-out; } @keyframes arrive { from { opacity: 0; transform: translateX(-18px); } }
@media (prefers-reduced-motion: reduce) { .pulse .chosen { animation: none; } }`;

function build({box, host, values}) {
  const {time, speed, params: start} = values, n = time.length;
  if (!n || speed.length !== n || start.length !== 3 || ![...time, ...speed, ...start].every(Number.isFinite)) throw new Error("it needs as many finite times as speeds, and three parameters");
  const state = {view: "raw", x: null, net: [{w: Float64Array.from(start), b: null}], left: null, kept: 0, chosen: Math.min(10, n - 1), detached: false, zero: true, lr: 1e-5, path: [], losses: []};
  const {el: says, say, rest} = sayer();

  // ---- the numbers
  const look = () => {
    const pass = forward(state.net, state.x, n), {loss, slopes} = mse(pass.preds, speed);
    return {pass, loss, slopes, grad: backward(state.net, pass, slopes)[0].w};
  };
  const total = grad => grad.map((g, i) => g + (state.left?.[i] ?? 0));
  const note = loss => { state.path.push([...state.net[0].w]); state.losses.push(loss); };

  // ---- what is seen
  const chart = plot("", {height: 320, x: [Math.min(...time) - 1, Math.max(...time) + 1], y: [-300, 100], names: ["time in seconds", "speed"]});
  const lossText = h("span", {class: "loss"}), chain = h("p"), chain2 = h("p");
  const meters = NAMES.map((_, i) => meter(i));
  const sliders = NAMES.map((name, i) => slider(name, {min: 0, max: 1, input: v => { state.net[0].w[i] = v; begin(); show(); rest(`${name} is ${fmt(v)}. ${lossWords()}`); }}));
  const which = slider("Which measurement?", {min: 0, max: n - 1, step: 1, show: v => `after ${fmt(time[v] ?? 0, 0)} s`, input: v => choose(v, true)});
  const rates = slider("Learning rate lr", {min: -7, max: -3, step: 0.25, show: v => rate(10 ** v), input: v => { state.lr = 10 ** v; }});
  const map = plot("", {height: 290, x: [0, 1], y: [0, 1], names: ["a", "c"]});
  const curve = plot("", {height: 220, x: [0, 10], y: [0, 5], names: ["steps", "loss"], log: true});
  const zeroNow = button("Zero the gradients", () => { state.left = null; state.kept = 0; show(); say("The gradients are None again: the next backward starts from nothing."); });

  function lossWords() { const {loss} = look(); return `The loss is ${finite(loss) ? fmt(loss) : "infinite"}.`; }

  function drawChart({pass: {preds}}) {
    const reach = Math.max(...preds.map(Math.abs)), grown = [100, 200, 300, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6].find(o => o >= reach) ?? 1e7;
    const low = preds.some(p => p < -40), high = preds.some(p => p > 100);
    chart.range([Math.min(...time) - 1, Math.max(...time) + 1], [low ? -grown : -40, high ? grown : 100]);
    const mark = j => {
      const x = chart.X(time[j]), from = chart.Y(preds[j]), to = chart.Y(speed[j]), tip = Math.min(6, Math.abs(to - from)) * Math.sign(to - from);
      return s("g", {class: j === state.chosen ? "of" : ""}, s("path", {class: "arrow", d: `M${x} ${from}L${x} ${to}M${x - 4} ${to - tip}L${x} ${to}L${x + 4} ${to - tip}`}),
        s("path", {class: "cross", d: `M${x - 4} ${from - 4}l8 8m0 -8l-8 8`}), s("circle", {cx: x, cy: to, r: 3.6, class: "measured"}), ...(j === state.chosen ? [s("circle", {cx: x, cy: from, r: 9, class: "ring"})] : []));
    };
    const order = [...time.keys()].filter(j => j !== state.chosen).concat(state.chosen);
    chart.over.replaceChildren(...order.map(mark));
    chart.svg.classList.toggle("cut", state.detached);
    attr(chart.svg, {"aria-label": `${n} measurements and what the model predicts. Predictions go from ${fmt(Math.min(...preds), 0)} to ${fmt(Math.max(...preds), 0)}, measured speeds from ${fmt(Math.min(...speed), 0)} to ${fmt(Math.max(...speed), 0)}. An arrow leads from each prediction to its measurement: there the loss pulls it.`});
  }

  function drawChain({pass: {preds}, slopes, grad}) {
    const j = state.chosen, pull = slopes[j], f = [...state.x.slice(3 * j, 3 * j + 3)], sum = total(grad), digits = state.view === "raw" ? 0 : 2;
    chain.replaceChildren(`After ${fmt(time[j], 0)} s the model says `, h("b", {}, fmt(preds[j])), `, measured was `, h("b", {}, fmt(speed[j])), `: the error is ${fmt(preds[j] - speed[j])}. The loss pulls on this prediction with 2 · error / ${n} = `,
      h("b", {class: "o"}, fmt(pull)), pull < 0 ? " (it should rise)." : pull > 0 ? " (it should fall)." : ".");
    chain2.textContent = state.detached ? "The predictions are detached: they are the same numbers, but nobody knows where they came from. The pull ends here." : "Of parameters the loss knows nothing. But the prediction is a · t² + b · t + c, so it hands its pull on:";
    meters.forEach((m, i) => {
      const shares = Array.from({length: n}, (_, r) => slopes[r] * state.x[3 * r + i]);
      m.show(shares, j, state.left?.[i] ?? 0, state.detached);
      m.say(`times ${TIMES[i]}: ${fmt(pull)} · ${fmt(f[i], i === 2 ? 0 : digits)} = ${fmt(pull * f[i])}`, state.detached);
      attr(m.el, {role: "img", "aria-label": state.detached ? `Gradient of ${NAMES[i]}: none, the predictions are detached` : `Gradient of ${NAMES[i]}: ${fmt(sum[i])}, of which this measurement gives ${fmt(pull * f[i])}${state.left ? `, and earlier steps have left ${fmt(state.left[i])}` : ""}`});
    });
  }

  function drawMap() {
    const [xs, ys] = VIEWS[state.view].map, [a, , c] = state.path.at(-1), off = a < xs[0] || a > xs[1] || c < ys[0] || c > ys[1];
    const at = state.path.filter(p => p.every(Number.isFinite));
    map.line.setAttribute("points", polyline(map, at.map(o => o[0]), at.map(o => o[2])));
    attr(map.here, {cx: map.X(a), cy: map.Y(c)});
    attr(map.svg, {"aria-label": `The loss over a and c as contours, with b at its best; the lowest point is a ${fmt(state.best[0])}, c ${fmt(state.best[2])}. ${state.path.length - 1} steps have led to a ${fmt(a)}, c ${fmt(c)}${off ? ", outside of the map" : ""}.`});
    const known = state.losses.filter(finite), top = Math.ceil(Math.log10(Math.max(...known, 10)) + 0.01), steps = Math.max(10, 10 ** Math.ceil(Math.log10(state.losses.length)) / (state.losses.length <= 0.5 * 10 ** Math.ceil(Math.log10(state.losses.length)) ? 2 : 1));
    curve.range([0, steps], [0, top]);
    curve.line.setAttribute("points", polyline(curve, known.map((_, i) => i), known));
    attr(curve.last, {cx: curve.X(known.length - 1), cy: curve.Y(known.at(-1) ?? 1)});
    attr(curve.svg, {"aria-label": `The loss after each of ${state.losses.length - 1} steps, from ${fmt(state.losses[0])} to ${fmt(state.losses.at(-1))}`});
  }

  function show() {
    const now = look(), [a, b, c] = state.net[0].w;
    lossText.textContent = finite(now.loss) ? fmt(now.loss) : "infinite";
    drawChart(now);
    drawChain(now);
    drawMap();
    sliders.forEach((o, i) => o.set([a, b, c][i]));
    zeroNow.disabled = !state.left;
  }

  // ---- what one can do
  function begin() { state.path = []; state.losses = []; note(look().loss); } // a new start, from where the parameters are

  function choose(j, fromSlider = false) {
    state.chosen = j;
    if (!fromSlider) which.range.value = j;
    which.set(j);
    show();
    meters.forEach(m => { m.el.classList.remove("pulse"); void m.el.offsetWidth; m.el.classList.add("pulse"); });
    const {slopes, pass} = look();
    rest(`After ${fmt(time[j], 0)} seconds the prediction is ${fmt(pass.preds[j])}, and its pull ${fmt(slopes[j])}.`);
  }

  function once() {
    const {loss, grad} = look();
    if (!finite(loss)) { say("The loss is infinite: no step leads back from here. Start again, with a smaller rate."); return false; }
    if (state.detached) { say("loss.backward() fails: element 0 of tensors does not require grad. The predictions are detached, so no pull reaches a, b and c, and nothing moves."); return false; }
    const sum = total(grad), earlier = state.kept;
    step(state.net, [{w: sum}], state.lr);
    state.left = state.zero ? null : sum;
    state.kept = state.zero ? 0 : earlier + 1;
    const after = look().loss;
    note(after);
    show();
    const moved = `Step ${state.path.length - 1}: a, b and c moved by −lr times their gradients${earlier ? `, in which ${earlier} earlier ${earlier > 1 ? "ones are" : "one is"} still contained` : ""}. Loss ${fmt(loss)} to ${finite(after) ? fmt(after) : "infinity"}`;
    if (!finite(after)) say(`${moved}. That is no number to go on with: the steps are too long. Start again, with a smaller rate.`);
    else say(`${moved}${after > loss ? ": it rose, the step was too long." : "."}`);
    return finite(after);
  }

  let many = 0;
  const walk = runner(host, () => once() && --many > 0, {every: 90, changed: on => { run.textContent = on ? "Stop" : "Run 20 steps"; }});
  const run = button("Run 20 steps", () => { if (walk.running) return walk.stop(); many = 20; walk.start(); });

  function restart(words) {
    walk.stop();
    Object.assign(state, {left: null, kept: 0});
    state.net[0].w = Float64Array.from(start);
    begin();
    show();
    if (words) say(words);
  }

  function setView(name) {
    const v = VIEWS[state.view = name];
    state.x = features(name === "raw" ? time : standardize(time));
    state.best = best(state.x, speed);
    sliders.forEach((o, i) => o.bounds(...v[NAMES[i]]));
    rates.range.min = v.least; rates.range.max = v.most;
    rates.set(Math.log10(state.lr = v.lr));
    map.range(...v.map);
    const floor = mse(forward([{w: state.best}], state.x, n).preds, speed).loss;
    map.line = s("polyline", {class: "path"});
    map.here = s("circle", {r: 5, class: "dot"});
    map.over.replaceChildren(...[1, 10, 100, 300, 1000, 3000, 1e4].map(o => s("polyline", {class: "contour", points: contour(map, state.x, n, state.best, floor * o / 5)})),
      map.line, s("rect", {x: map.X(start[0]) - 5, y: map.Y(start[2]) - 5, width: 10, height: 10, class: "dot"}), s("path", {class: "best", d: `M${map.X(state.best[0]) - 6} ${map.Y(state.best[2])}h12m-6 -6v12`}), map.here);
    restart();
  }

  curve.line = s("polyline", {class: "path"});
  curve.last = s("circle", {r: 4, class: "dot"});
  curve.over.append(curve.line, curve.last);
  chart.svg.classList.add("pick");
  const pick = event => { const [x] = chart.at(event); choose(time.reduce((near, t, j) => Math.abs(t - x) < Math.abs(time[near] - x) ? j : near, 0)); };
  chart.svg.addEventListener("pointerdown", pick);
  chart.svg.addEventListener("pointermove", event => { if (event.buttons) pick(event); });

  const cut = toggle("Detach the predictions", on => {
    walk.stop();
    state.detached = on;
    show();
    say(on ? `The string is cut. ${lossWords()} The meters are dead: drag a slider, and only the loss moves.` : "The string is whole again: the pulls reach the parameters.");
  });
  box.append(h("p", {class: "title"}, "How does a loss move parameters that it never sees?"),
    h("p", {class: "lead"}, "It pulls on predictions (arrows). Each prediction hands its pull on to a, b and c. Choose a measurement and follow it; then step."),
    h("div", {class: "cols coaster"},
      h("div", {class: "stack see"}, h("p", {}, "Loss, the mean squared error: ", lossText), chart.svg, which.el),
      h("div", {class: "stack drag"}, ...sliders.map(o => o.el)),
      h("div", {class: "stack flow"}, chain, chain2, ...meters.map(o => o.el),
        h("p", {class: "small"}, "Each meter adds up what all measurements hand on, the chosen one in orange; grey is what earlier steps have left. The thick line is their sum, the gradient: what loss.backward() leaves in params.grad."),
        h("div", {class: "tools"}, button("Step", once, true), run, cut, zeroNow, button("Start again", () => restart("Back at the start."))),
        check("Zero the gradients after each step", true, on => { state.zero = on; say(on ? "Each step starts from gradients of zero." : "Gradients now stay, and the next ones are added to them."); }),
        rates.el, says),
      h("div", {class: "stack map"}, map.svg, h("p", {class: "small"}, "The loss from above, over a and c, with b at its best. The square is the start, the cross the lowest point; the path is only a shadow, as b moves too."),
        h("div", {class: "tools"}, h("span", {class: "small", "aria-hidden": "true"}, "The model gets"), choice("The model gets", {raw: "time in seconds", standardized: "time standardized"}, v => { setView(v); say(v === "raw" ? "Time in seconds: t² reaches 361." : "Time standardized: t², t and 1 are alike in size. The rate may be ten thousand times as large."); }))),
      h("div", {class: "stack curve"}, curve.svg, h("p", {class: "small"}, "The loss after each step, in powers of ten."))));
  which.set(state.chosen);
  setView("raw");
  say("Nothing has moved yet. Press Step, or drag a, b and c yourself.");
}

export default explorable("Roller coaster: how the loss moves the parameters", build, COASTER_STYLE);
