// Convolution by hand: nine numbers slide over a digit.
import {attr, button, choice, explorable, fmt, h, paint, picture, sayer, slider} from "./kit.js";

const CONVOLVE_STYLE = `
.kernel { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .4rem; max-width: 16rem; }
.kernel input { width: 100%; min-height: 2.5rem; padding: .2rem .4rem; border: 1px solid var(--muted); border-radius: 6px; background: var(--paper); color: var(--ink); font: inherit; text-align: center; }
.two { grid-template-columns: repeat(2, minmax(0, 1fr)); } .two canvas { cursor: crosshair; touch-action: manipulation; }`;

// The weighted sum of each 3 by 3 window of `image`, `side` pixels wide
export function slide(image, side, kernel) {
  const out = side - 2, res = new Float64Array(out * out);
  for (let r = 0; r < out; r++) for (let c = 0; c < out; c++) for (let k = 0; k < 9; k++) res[r * out + c] += kernel[k] * image[(r + Math.floor(k / 3)) * side + c + k % 3];
  return res;
}

function build({box, values}) {
  const image = values.image.flat(), side = values.image.length, out = side - 2, {el: says, say, rest} = sayer();
  if (out < 1 || image.length !== side * side || !image.every(Number.isFinite) || !Object.values(values.kernels).flat(2).every(Number.isFinite)) throw new Error("it needs a square image and kernels of finite numbers");
  const state = {kernel: Object.values(values.kernels)[0].flat(), row: Math.floor(out / 2), col: Math.floor(out / 2)};
  const seen = picture("", side), map = picture("", out), sum = h("p");
  const fields = state.kernel.map((_, k) => h("input", {type: "number", step: "0.5", "aria-label": `Kernel, row ${Math.floor(k / 3) + 1}, column ${k % 3 + 1}`, oninput: event => {
    if (event.target.value === "" || !Number.isFinite(event.target.valueAsNumber)) return rest("That is no number: the kernel keeps the last one.");
    state.kernel[k] = event.target.valueAsNumber;
    show();
    rest(sum.textContent);
  }}));
  const [rows, cols] = ["Row", "Column"].map((name, k) => slider(`${name} of the window`, {min: 0, max: out - 1, step: 1, show: v => String(v + 1), input: v => { state[k ? "col" : "row"] = v; show(); rest(sum.textContent); }}));

  function show() {
    const {kernel, row, col} = state, made = slide(image, side, kernel), most = made.reduce((m, v) => Math.max(m, Math.abs(v)), 0) || 1, v = made[row * out + col];
    paint(seen, image);
    paint(map, made, true, most);
    for (const [canvas, size, k] of [[seen, 3, 0.5], [map, 1, 0]]) {
      const context = canvas.getContext("2d");
      context.fillStyle = "rgba(31, 138, 109, .45)";
      context.fillRect(col, row, size, size);
    }
    const parts = kernel.map((w, k) => [w, image[(row + Math.floor(k / 3)) * side + col + k % 3]]).filter(([w, p]) => w && p).map(([w, p]) => `${fmt(w)} · ${fmt(p)}`);
    sum.replaceChildren(`At row ${row + 1}, column ${col + 1}: ${parts.join(" + ") || "nothing but zeros"} = `, h("b", {class: v < 0 ? "o" : "b"}, fmt(v)));
    attr(seen, {"aria-label": `The image, with the window at row ${row + 1}, column ${col + 1}`});
    attr(map, {"aria-label": `The map, ${out} by ${out}, from ${fmt(made.reduce((m, o) => Math.min(m, o), Infinity))} to ${fmt(made.reduce((m, o) => Math.max(m, o), -Infinity))}; ${fmt(v)} at the window`});
    rows.set(row); cols.set(col);
  }
  function load(kernel, words) {
    state.kernel = kernel.flat();
    fields.forEach((o, k) => { o.value = Number(state.kernel[k].toFixed(3)); });
    show();
    say(words);
  }
  for (const [canvas, size] of [[seen, side], [map, out]]) canvas.addEventListener("pointerdown", event => {
    const r = canvas.getBoundingClientRect(), at = (v, length) => Math.max(0, Math.min(out - 1, Math.floor(v / length * size) - (size === side ? 1 : 0)));
    Object.assign(state, {row: at(event.clientY - r.top, r.height), col: at(event.clientX - r.left, r.width)});
    show();
    rest(sum.textContent);
  });
  const names = Object.keys(values.kernels);
  box.append(h("p", {class: "title"}, "What does a kernel look for?"), h("p", {class: "lead"}, "Move the window over the digit, and change the nine numbers. The map has the weighted sum of every window."),
    h("div", {class: "cols"},
      h("div", {class: "stack"}, h("div", {class: "pics two"}, h("figure", {}, seen, h("figcaption", {}, "the image and the window")), h("figure", {}, map, h("figcaption", {}, "the map: blue above zero, orange below"))), sum, rows.el, cols.el),
      h("div", {class: "stack"}, h("div", {class: "tools"}, h("span", {class: "small", "aria-hidden": "true"}, "Kernel"), choice("Kernel", Object.fromEntries(names.map(o => [o, o])), o => load(values.kernels[o], `The kernel for ${o}.`))),
        h("div", {class: "kernel"}, ...fields), h("div", {class: "tools"}, button("All zero", () => load(Array(9).fill(0), "A kernel of zeros sees nothing.")), button("Turn the signs", () => load(state.kernel.map(v => -v || 0), "The signs are turned: so is the map."))), says)));
  load(values.kernels[names[0]], `The kernel for ${names[0]}.`);
}

export default explorable("Convolution by hand", build, CONVOLVE_STYLE);
