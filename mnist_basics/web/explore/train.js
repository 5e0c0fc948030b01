// Training on threes and sevens while one watches.
import {forward, look, mnistLoss, sigmoid, step} from "./engine.js";
import {fmt, h, label, largest, plot, range, upTo} from "./kit.js";

export const TRAIN = 2000;
const IMAGES = 2400, BUDGET = 5; // milliseconds a frame

// Random numbers from 0 to 1, the same on each visit
function random(seed = 42) {
  return () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

// Layers of these sizes, normal numbers of spread `std(inputs)`
function newNet(sizes, std) {
  const draw = random(), normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  const numbers = (n, ins) => Float64Array.from(range(n, () => normal() * std(ins)));
  return sizes.slice(1).map((outs, i) => ({w: numbers(sizes[i] * outs, sizes[i]), b: numbers(outs, sizes[i])}));
}

// The images of a sprite, 50 in a row, as rows of 784 numbers: to train on, then to validate with
export async function loadDigits(url) {
  const picture = new Image(), height = 28 * IMAGES / 50, bad = what => new Error(`the file with the images, digits.png, ${what}`);
  picture.src = url;
  try { await picture.decode(); } catch { throw bad("did not come or is damaged"); }
  if (picture.naturalWidth !== 1400 || picture.naturalHeight !== height) throw bad("is damaged: it has another size");
  const context = h("canvas", {width: 1400, height: 28}).getContext("2d", {willReadFrequently: true}), all = new Float32Array(784 * IMAGES);
  for (let at = 0, top = 0; top < height; top += 28) { // a row, and a breath
    context.drawImage(picture, 0, -top);
    const {data} = context.getImageData(0, 0, 1400, 28);
    for (let i = 0; i < 50; i++) for (let p = 0; p < 784; p++) all[at++] = data[4 * (Math.floor(p / 28) * 1400 + 28 * i + p % 28)] / 255;
    await new Promise(done => setTimeout(done));
  }
  const image = i => all.subarray(784 * i, 784 * i + 784), target = i => Number(i < TRAIN ? i < TRAIN / 2 : i < (TRAIN + IMAGES) / 2); // threes come first
  return {image, target, valid: {x: all.subarray(784 * TRAIN), y: range(IMAGES - TRAIN, i => target(TRAIN + i))}};
}

// Batches, shuffled or in order
function batches({image, target}) {
  const draw = random();
  let order = [], at = TRAIN;
  return {
    restart() { at = TRAIN; },
    next(size, shuffle) {
      if (at >= TRAIN) {
        order = range(TRAIN, i => i);
        if (shuffle) for (let i = TRAIN - 1; i > 0; i--) { const j = Math.floor(draw() * (i + 1)); [order[i], order[j]] = [order[j], order[i]]; }
        at = 0;
      }
      const picked = order.slice(at, at += size), x = new Float32Array(784 * picked.length);
      picked.forEach((o, i) => x.set(image(o), 784 * i));
      return {x, y: picked.map(target), last: at >= TRAIN};
    }};
}

// A network in training
export function training(digits) {
  const curve = plot({height: 230, names: ["steps", "validation"]}), lossLine = curve.line(), accuracyLine = curve.line("b"), source = batches(digits), {x, y} = digits.valid;
  const run = {curve, source, steps: 0, epochs: 0,
    restart(sizes, std) {
      source.restart();
      Object.assign(run, {net: newNet(sizes, std), steps: 0, epochs: 0, history: []});
    },
    // Up to `steps` steps, as a frame has room; `most` is the largest slope
    train({size, shuffle = true, lr}, steps) {
      const until = performance.now() + BUDGET;
      let most = 0, last = false;
      do {
        const batch = source.next(size, shuffle), {grads} = look(run.net, batch.x, batch.y, mnistLoss);
        step(run.net, grads, lr);
        most = Math.max(most, largest(grads[0].w));
        run.steps++;
        last = batch.last;
      } while (!last && --steps > 0 && performance.now() < until);
      run.epochs += last;
      return {most, last};
    },
    // Loss and accuracy on the validation images; the eight most wrong
    measure() {
      const {preds} = forward(run.net, x, y.length), {loss} = mnistLoss(preds, y), accuracy = preds.reduce((n, v, i) => n + ((v > 0) === (y[i] === 1)), 0) / y.length;
      const wrongness = i => y[i] === 1 ? -preds[i] : preds[i], worst = y.map((_, i) => i).sort((a, b) => wrongness(b) - wrongness(a)).slice(0, 8);
      if (run.history.at(-1)?.[0] !== run.steps) run.history.push([run.steps, loss, accuracy]);
      if (run.history.length > 400) run.history = run.history.filter((_, i) => i % 2 === 0);
      curve.range([0, Math.max(100, upTo(run.steps))], [0, 1]);
      lossLine(run.history);
      accuracyLine(run.history.map(o => [o[0], o[2]]));
      run.result = `After ${run.steps} steps, ${run.epochs} ${run.epochs === 1 ? "pass" : "passes"} over the images: validation accuracy ${fmt(accuracy, 3)}, loss ${fmt(loss, 3)}.`;
      label(curve.svg, run.result);
      return worst.map(i => ({i: TRAIN + i, digit: y[i] ? 3 : 7, prob: sigmoid(preds[i])}));
    }};
  return run;
}
