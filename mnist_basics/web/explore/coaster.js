// The roller coaster: how a loss moves parameters that it never sees.
import {finite, look, mse, step} from "./engine.js";
import {attr, bold, button, calm, check, choice, div, explorable, fmt, h, label, largest, mean, pause, plot, range, rate, runner, s, sayer, slider, small, stack, toggle, tools, turns, upTo} from "./kit.js";

const NAMES = ["a", "b", "c"], TIMES = ["t²", "t", "1"], HEIGHTS = [0.2, 2, 20, 60, 200, 600, 2000]; // contours: multiples of the least loss
const RAW = "time in seconds";
const VIEWS = {
  [RAW]: {sliders: [[-2, 3], [-30, 30], [-50, 150]], map: [[-1, 2.5], [-20, 120]], lr: 1e-5, rates: [-7, -3]},
  "time standardized": {sliders: [[-10, 50], [-30, 30], [-30, 50]], map: [[-5, 45], [-25, 25]], lr: 0.1, rates: [-4, 0.25]},
};

function standardize(time) {
  const m = mean(time), sd = Math.hypot(...time.map(o => o - m)) / Math.sqrt(time.length - 1);
  return time.map(o => (o - m) / sd);
}

// The best a, b, c, by elimination; `dot` is the mean product of two columns
function best(dot) {
  const rows = range(3, i => range(4, j => dot(i, j)));
  rows.forEach((row, i) => rows.forEach((other, k) => {
    const f = other[i] / row[i];
    if (k !== i) for (let j = i; j < 4; j++) other[j] -= f * row[j];
  }));
  return rows.map((row, i) => row[3] / row[i]);
}

// Where the loss over a and c, with b at its best, exceeds the least by `excess`: an ellipse
function contour(dot, [a0, , c0], excess) {
  const aa = dot(0, 0), ac = dot(0, 2), u = Math.sqrt(excess / aa), v = Math.sqrt(excess / (dot(2, 2) - ac * ac / aa));
  return range(121, i => {
    const o = 2 * Math.PI * i / 120;
    return [a0 + u * Math.cos(o) - ac / aa * v * Math.sin(o), c0 + v * Math.sin(o)];
  });
}

const paths = names => names.split(" ").map(o => s("path", {class: o}));

// One gradient as a bar of its parts
function meter(name) {
  const bars = paths("left share chosen zero sum"), [total, wish, scale] = ["b", "span", "span"].map(o => h(o)), part = h("p", {class: "part"});
  const el = div("meter")(part, s("svg", {viewBox: "0 0 400 26", preserveAspectRatio: "none", class: "bar", "aria-hidden": "true"}, s("rect", {y: 4, width: 400, height: 18, class: "ground"}), ...bars), div("tools line small")(h("span", {}, `${name}: `, total, wish), scale));
  return {el, show(shares, picked, before, words, dead) {
    const all = dead ? [] : [before, ...shares], reach = side => all.reduce((most, v) => most + Math.max(side * v, 0), 0), sum = shares.reduce((a, b) => a + b, before);
    const end = 10 ** Math.ceil(Math.log10(Math.max(reach(1), reach(-1), 1e-6))), wide = v => Math.max(-200, Math.min(200, v * 200 / Math.min(end, 1e300))), at = [200, 200], to = fmt(end, end < 1 ? 2 : 0);
    const d = ["", "", "", "M200 0v26", dead ? "" : `M${200 + wide(sum)} 0v26`];
    const add = (v, i) => {
      if (dead || !v) return;
      const side = Number(v > 0), width = wide(v);
      d[i] += `M${at[side]} 4h${width}v18h${-width}z`;
      at[side] += width;
    };
    add(before, 0);
    shares.forEach((v, j) => j === picked || add(v, 1));
    add(shares[picked], 2);
    bars.forEach((o, i) => attr(o, {d: d[i]}));
    total.textContent = dead ? "None" : fmt(sum);
    wish.textContent = dead || sum === 0 ? "" : ` (${name} should ${sum < 0 ? "rise" : "fall"})`;
    scale.textContent = dead ? "no way back" : `from −${to} to ${to}`;
    part.textContent = words;
  }};
}

const COASTER_STYLE = `
.bar { height: 26px; } .line { justify-content: space-between; gap: 0 .8rem; } .share { fill: var(--blue); stroke: var(--paper); stroke-width: .6; }
.chosen, .dot { fill: var(--orange); } .left { fill: var(--muted); } .measured { stroke: var(--blue); stroke-width: 7.2; stroke-linecap: round; } .zero { stroke: var(--ink); stroke-width: 1.5; } .bar path { vector-effect: non-scaling-stroke; }
.arrow, .of, .cross, .sum { stroke: var(--orange); stroke-width: 1.7; fill: none; } .cut .arrow { stroke-dasharray: 2 4; } .of, .sum { stroke-width: 3.5; }
.ring, .best { fill: none; stroke: var(--ink); stroke-width: 1.5; } .contour { stroke-width: 1; opacity: .8; } .loss { font-size: 1.5rem; font-weight: 650; line-height: 1.2; }`;

async function build({host, values: {time, speed, params: start}}) {
  const n = time.length, {el: says, say, rest} = sayer();
  if (!n || speed.length !== n || start.length !== 3 || ![...time, ...speed, ...start].every(Number.isFinite)) throw new Error("it needs as many finite times as speeds, and three parameters");
  const net = [{w: Float64Array.from(start)}]; // a, b and c
  let view = RAW, inputs = [], left = null, kept = 0, chosen = Math.min(10, n - 1), detached = false, zero = true, lr = 0, lowest = [], path = [], flow;

  // ---- numbers
  const now = () => look(net, inputs, speed, mse), note = () => path.push({w: [...net[0].w], loss: now().loss});
  const begin = () => { path = []; note(); };
  const shown = v => finite(v) ? fmt(v) : "infinite", seconds = v => fmt(v, 0), lossWords = () => `The loss is ${shown(now().loss)}.`;

  // ---- picture
  const chart = plot({height: 320, names: [RAW, "speed"]}), span = [Math.min(...time) - 1, Math.max(...time) + 1];
  const lossText = h("span", {class: "loss"}), chain = h("p", {class: "chain"}), chain2 = h("p"), meters = NAMES.map(meter);
  const sliders = NAMES.map((name, i) => slider(name, {min: 0, max: 1, input: v => { net[0].w[i] = v; begin(); show(); rest(`${name} is ${fmt(v)}. ${lossWords()}`); }}));
  await pause();
  const which = slider("Which measurement?", {min: 0, max: n - 1, step: 1, show: v => `after ${seconds(time[v])} s`, input: choose});
  const rates = slider("Learning rate lr", {min: -7, max: -3, show: v => rate(10 ** v), input: v => { lr = 10 ** v; }});
  const map = plot({names: ["a", "c"]}), contours = HEIGHTS.map(() => map.line("contour b")), track = map.line();
  const [square, here] = [s("rect", {width: 10, height: 10, class: "dot"}), s("circle", {r: 5, class: "dot"})];
  await pause();
  const curve = plot({height: 220, names: ["steps", "loss"], log: true}), fall = curve.line(), last = s("circle", {r: 4, class: "dot"});
  const [arrows, crosses, points, pulled, ring, cross] = paths("arrow cross measured of ring best");
  chart.over.append(arrows, crosses, pulled, points, ring);
  map.over.append(square, cross, here);
  curve.over.append(last);
  const zeroNow = button("Zero the gradients", () => { left = null; kept = 0; show(); say("The gradients are None again: the next backward starts from nothing."); });

  function drawChart({preds}) {
    const grown = Math.min(upTo(largest(preds)), 1e7), low = Math.min(...preds), high = Math.max(...preds);
    chart.range(span, [low < -40 ? -grown : -40, high > 100 ? grown : 100]);
    const draw = (el, f, over = time.keys()) => attr(el, {d: [...over].map(j => f(chart.X(time[j]), chart.Y(preds[j]), chart.Y(speed[j]))).join("")});
    const arrow = (x, from, to) => {
      const tip = Math.min(6, Math.abs(to - from)) * Math.sign(to - from);
      return `M${x} ${from}V${to}m-4 ${-tip}l4 ${tip}l4 ${-tip}`;
    };
    draw(arrows, arrow);
    draw(crosses, (x, y) => `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`);
    draw(points, (x, _, y) => `M${x} ${y}h0`);
    draw(pulled, arrow, [chosen]);
    draw(ring, (x, y) => `M${x - 9} ${y}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0`, [chosen]);
    chart.svg.classList.toggle("cut", detached);
    label(chart.svg, `${n} measurements, from ${seconds(Math.min(...speed))} to ${seconds(Math.max(...speed))}, and predictions, from ${seconds(low)} to ${seconds(high)}; an arrow from each prediction to its measurement`);
  }

  function drawChain({preds, slopes}) {
    const j = chosen, pull = slopes[j], error = preds[j] - speed[j];
    chain.replaceChildren(`After ${seconds(time[j])} s the model says `, bold(fmt(preds[j])), `, measured was `, bold(fmt(speed[j])), `: the error is ${fmt(error)}. The loss pulls on this prediction with 2 · error / ${n} = `,
      bold(fmt(pull), "o"), pull ? ` (it should ${pull < 0 ? "rise" : "fall"}).` : ".");
    chain2.textContent = detached ? "The predictions are detached: they are the same numbers, but nobody knows where they came from. The pull ends here." : "Of parameters the loss knows nothing. But the prediction is a · t² + b · t + c, so it hands its pull on:";
    meters.forEach((m, i) => {
      const f = r => inputs[3 * r + i], shares = Array.from(slopes, (v, r) => v * f(r));
      m.show(shares, j, left?.[i] ?? 0, `times ${TIMES[i]}: ${fmt(pull)} · ${fmt(f(j), i < 2 && view !== RAW ? 2 : 0)} = ${fmt(shares[j])}`, detached);
    });
  }

  function drawMap() {
    const {w: [a, , c], loss} = path.at(-1), known = path.filter(o => finite(o.loss));
    track(path.map(o => [o.w[0], o.w[2]]).filter(o => o.every(Number.isFinite)));
    attr(here, {cx: map.X(a), cy: map.Y(c)});
    label(map.svg, `The loss over a and c, lowest at ${fmt(lowest[0])} and ${fmt(lowest[2])}; ${path.length - 1} steps have led to ${fmt(a)} and ${fmt(c)}`);
    curve.range([0, Math.max(10, upTo(path.length))], [0, Math.ceil(Math.log10(Math.max(...known.map(o => o.loss), 10)) + 0.01)]);
    fall(known.map((o, i) => [i, o.loss]));
    attr(last, {cx: curve.X(known.length - 1), cy: curve.Y(known.at(-1)?.loss ?? 1)});
    label(curve.svg, `The loss after each of ${path.length - 1} steps, from ${shown(path[0].loss)} to ${shown(loss)}`);
  }

  const show = turns(() => {
    const all = now();
    lossText.textContent = shown(all.loss);
    drawChain(all);
  }, () => {
    sliders.forEach((o, i) => o.set(net[0].w[i]));
    zeroNow.disabled = !left;
  }, () => { drawChart(now()); drawMap(); });

  // ---- actions
  function choose(j) {
    chosen = j;
    which.set(j);
    show();
    clearTimeout(flow);
    if (!calm()) flow = setTimeout(() => host.shadowRoot.querySelectorAll(".chosen").forEach(o => o.animate({opacity: [0, 1], transform: ["translateX(-18px)", "none"]}, 700)), 99);
    const {slopes, preds} = now();
    rest(`After ${seconds(time[j])} seconds the prediction is ${fmt(preds[j])}, and its pull ${fmt(slopes[j])}.`);
  }

  function once() {
    const {loss, grads: [{w: grad}]} = now(), earlier = kept;
    if (!finite(loss)) return say("The loss is infinite: no step leads back from here. Start again, with a smaller rate.");
    if (detached) return say("loss.backward() fails: element 0 of tensors does not require grad. The predictions are detached, so no pull reaches a, b and c, and nothing moves.");
    const sum = grad.map((g, i) => g + (left?.[i] ?? 0));
    step(net, [{w: sum}], lr);
    left = zero ? null : sum;
    kept = zero ? 0 : earlier + 1;
    note();
    show();
    const after = path.at(-1).loss;
    const moved = `Step ${path.length - 1}: a, b and c moved by −lr times their gradients${earlier ? `, in which ${earlier} earlier ${earlier > 1 ? "ones are" : "one is"} still contained` : ""}. Loss ${fmt(loss)}, then ${shown(after)}`;
    say(moved + (!finite(after) ? ". The steps are too long. Start again, with a smaller rate." : after > loss ? ": it rose, the step was too long." : "."));
    return finite(after);
  }

  const walk = runner(host, "Run 20 steps", once, {times: 20, every: 90});

  function restart() {
    walk.stop();
    left = null; kept = 0;
    net[0].w = Float64Array.from(start);
    begin();
    show();
  }

  async function setView(name) {
    const v = VIEWS[view = name];
    inputs = Float64Array.from((name === RAW ? time : standardize(time)).flatMap(t => [t * t, t, 1]));
    const dot = (i, j) => mean(speed.map((y, r) => inputs[3 * r + i] * (j < 3 ? inputs[3 * r + j] : y)));
    lowest = best(dot);
    const floor = look([{w: lowest}], inputs, speed, mse).loss;
    lr = v.lr;
    sliders.forEach((o, i) => o.bounds(...v.sliders[i]));
    rates.bounds(...v.rates, 0.25);
    rates.set(Math.log10(v.lr));
    map.range(...v.map);
    attr(square, {x: map.X(start[0]) - 5, y: map.Y(start[2]) - 5});
    attr(cross, {d: `M${map.X(lowest[0]) - 6} ${map.Y(lowest[2])}h12m-6 -6v12`});
    restart();
    for (const [i, draw] of contours.entries()) {
      await pause();
      draw(contour(dot, lowest, floor * HEIGHTS[i]));
    }
  }

  chart.drag(x => {
    const far = time.map(t => Math.abs(t - x)), near = far.indexOf(Math.min(...far));
    if (near !== chosen) choose(near);
  });
  const cut = toggle("Detach the predictions", on => {
    walk.stop();
    detached = on;
    show();
    say(on ? `The string is cut. ${lossWords()} The meters are dead: drag a slider, and only the loss moves.` : "The string is whole again: the pulls reach the parameters.");
  });
  await pause();
  which.set(chosen);
  setView(RAW);
  say("Nothing has moved yet. Press Step, or drag a, b and c yourself.");
  return [stack(h("p", {}, "Loss, the mean squared error: ", lossText), chart.svg, which.el, ...sliders.map(o => o.el)),
    stack(chain, chain2, ...meters.map(o => o.el),
      small("Each meter adds up what all measurements hand on, the chosen one in orange; grey is what earlier steps have left. The thick line is their sum, the gradient: what loss.backward() leaves in params.grad."),
      tools(button("Step", once, true), walk.el, cut, zeroNow, button("Start again", () => { restart(); say("Back at the start."); })),
      check("Zero the gradients after each step", on => { zero = on; say(on ? "Each step starts from gradients of zero." : "Gradients now stay, and the next ones are added to them."); }),
      rates.el, says),
    stack(map.svg, small("The loss from above, over a and c, with b at its best. The square is the start, the cross the lowest point; the path is only a shadow, as b moves too."),
      tools(choice("The model gets", Object.keys(VIEWS), RAW, v => { setView(v); say(v === RAW ? "Time in seconds: t² reaches 361." : "Time standardized: t², t and 1 are alike in size. The rate may be ten thousand times as large."); }))),
    stack(curve.svg, small("The loss after each step, in powers of ten."))];
}

export default explorable("How does a loss move parameters that it never sees?", "It pulls on predictions (arrows). Each prediction hands its pull on to a, b and c. Choose a measurement and follow it; then step.", build, COASTER_STYLE);
