// Convolution by hand: nine numbers slide over a digit.
import {attr, bold, button, choice, div, drag, explorable, figure, fmt, h, label, mean, paint, pause, picture, range, sayer, slider, small, stack, tiles, tools, turns} from "./kit.js";

const CONVOLVE_STYLE = `
.kernel { grid-template-columns: repeat(3, minmax(0, 1fr)); max-width: 16rem; } .kernel input { width: 100%; text-align: center; }
.two { grid-template-columns: repeat(2, minmax(0, 1fr)); } .tiles button { padding: .25rem; }`;

// The weighted sum of each window of `image`, `side` pixels wide
function slide(image, side, kernel) {
  const k = Math.sqrt(kernel.length), out = side - k + 1, res = new Float64Array(out * out);
  for (let r = 0; r < out; r++) for (let c = 0; c < out; c++) for (let i = 0; i < kernel.length; i++) res[r * out + c] += kernel[i] * image[(r + Math.floor(i / k)) * side + c + i % k];
  return res;
}

// How far two maps rise and fall together, -1 to 1; 0 if one is flat
function alike(a, b) {
  const ma = mean(a), mb = mean(b);
  let ab = 0, aa = 0, bb = 0;
  a.forEach((v, i) => { ab += (v - ma) * (b[i] - mb); aa += (v - ma) ** 2; bb += (b[i] - mb) ** 2; });
  return ab / Math.sqrt(aa * bb) || 0;
}

async function build({values: {image: lines, kernels, learned}}) {
  const image = lines.flat(), side = lines.length, out = side - 2, names = Object.keys(kernels), wide = Math.sqrt(learned[0]?.length ?? 9), {el: says, say, rest} = sayer();
  if (out < 1 || image.length !== side * side || !names.length || wide % 2 !== 1 || wide > side || ![image, learned, Object.values(kernels)].flat(4).every(Number.isFinite)) throw new Error("it needs a square image and kernels of finite numbers");
  const rim = (wide - 3) / 2, maps = learned.map(o => slide(image, side, o));
  await pause();
  let kernel, made, row = Math.floor(out / 2), col = row, chosen = 0, alikes = [];
  const seen = picture("The image, with the window", side), map = picture("", out), sum = h("p", {class: "sum"}), theirs = picture("The map of the learned kernel", side - wide + 1), compared = h("span");
  const fields = range(9, k => h("input", {type: "number", step: "0.5", "aria-label": `Kernel, row ${Math.floor(k / 3) + 1}, column ${k % 3 + 1}`, oninput: ({target: {value, valueAsNumber: v}}) => {
    if (value === "" || !Number.isFinite(v)) return rest("That is no number: the kernel keeps the last one.");
    kernel[k] = v;
    slideIt();
    rest(sum.textContent);
  }}));
  const go = (r, c) => { row = r; col = c; show(); rest(sum.textContent); };
  const pick = i => { chosen = i; compare(); say(compared.textContent); };
  const [rows, columns] = ["Row", "Column"].map((name, k) => slider(`${name} of the window`, {min: 0, max: out - 1, step: 1, show: v => String(v + 1), input: v => k ? go(row, v) : go(v, col)}));
  await pause();
  const units = learned.map((o, i) => {
    const canvas = picture(`Learned kernel ${i + 1}`, wide), likeness = h("span");
    paint(canvas, o, true);
    return {el: button(canvas, () => pick(i)), likeness};
  });
  await pause();

  function show() {
    const v = made[row * out + col], parts = kernel.map((w, i) => [w, image[(row + Math.floor(i / 3)) * side + col + i % 3]]).filter(([w, p]) => w && p);
    paint(seen, image);
    paint(map, made, true);
    for (const [canvas, size] of [[seen, 3], [map, 1]]) {
      const context = canvas.getContext("2d");
      context.fillStyle = "rgba(31, 138, 109, .45)";
      context.fillRect(col, row, size, size);
    }
    sum.replaceChildren(`At row ${row + 1}, column ${col + 1}: ${parts.map(([w, p]) => `${fmt(w)} · ${fmt(p)}`).join(" + ") || "nothing but zeros"} = `, bold(fmt(v), v < 0 ? "o" : "b"));
    rows.set(row); columns.set(col);
  }
  function slideIt() {
    made = slide(image, side, kernel);
    label(map, `The map, from ${fmt(Math.min(...made))} to ${fmt(Math.max(...made))}`);
    show();
    soon();
  }
  function compare() {
    if (!learned.length) return;
    const inner = made.filter((_, i) => [Math.floor(i / out), i % out].every(o => o >= rim && o < out - rim)); // windows of one middle
    alikes = maps.map(o => alike(inner, o));
    units.forEach(({el, likeness}, i) => {
      likeness.textContent = fmt(alikes[i]);
      attr(el, {"aria-pressed": i === chosen});
    });
    paint(theirs, maps[chosen], true);
    compared.textContent = `Learned kernel ${chosen + 1} and yours make maps that are alike by ${fmt(alikes[chosen])}.`;
  }
  const soon = turns(compare);
  function load(numbers, words) {
    kernel = numbers.flat();
    fields.forEach((o, k) => { o.value = Number(kernel[k].toFixed(3)); });
    slideIt();
    say(words);
  }
  const at = (share, size) => Math.max(0, Math.min(out - 1, Math.floor(share * size) - (size - out) / 2));
  for (const [canvas, size] of [[seen, side], [map, out]]) drag(canvas, (across, down) => {
    const r = at(down, size), c = at(across, size);
    if (r !== row || c !== col) go(r, c);
  });
  await pause();
  load(kernels[names[0]], `The kernel for ${names[0]}.`);
  return [stack(div("pics two")(figure(seen, "the image and the window"), figure(map, "the map: blue above zero, orange below")), sum, rows.el, columns.el),
    stack(tools(choice("Kernel", names, names[0], o => load(kernels[o], `The kernel for ${o}.`))), div("pics kernel")(...fields),
      tools(button("All zero", () => load(Array(9).fill(0), "A kernel of zeros sees nothing.")), button("Turn the signs", () => load(kernel.map(v => -v || 0), "The signs are turned: so is the map."))), says),
    ...learned.length ? [stack(small(`${learned.length} kernels of ${wide} by ${wide} that a network has learned, and how alike their maps are to yours: 1 the same, 0 unrelated, −1 the opposite.`), tiles(...units.map(o => figure(o.el, o.likeness)))),
    stack(div("pics two")(figure(theirs, compared)), tools(button("Show the most alike", () => pick(alikes.indexOf(Math.max(...alikes))))))] : []];
}

export default explorable("What does a kernel look for?", "Move the window over the digit, and change the nine numbers. The map has the weighted sum of every window.", build, CONVOLVE_STYLE);
