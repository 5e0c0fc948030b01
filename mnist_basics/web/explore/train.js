// Training on threes and sevens while one watches: data, batches, an epoch, and what is measured on images that are not trained on.
import {backward, forward, mnistLoss, sigmoid, step} from "./engine.js";
import {loadSprite} from "./kit.js";

export const IMAGES = 2400, TRAIN = 2000;

// Random numbers from a seed, evenly from 0 to 1
export function random(seed) {
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, seed | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

const normal = draw => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

// Layers of these sizes, weights and biases normal; each layer's spread by `std`, a function of its inputs
export function newNet(sizes, std, seed = 42) {
  const draw = random(seed);
  return sizes.slice(1).map((outs, i) => ({
    w: Float64Array.from({length: sizes[i] * outs}, () => normal(draw) * std(sizes[i])), b: Float64Array.from({length: outs}, () => normal(draw) * std(sizes[i]))}));
}

export async function loadDigits(url) {
  const all = await loadSprite(url, IMAGES);
  const image = i => Float64Array.from(all.subarray(784 * i, 784 * i + 784)), target = i => Number(i < TRAIN ? i < TRAIN / 2 : i < (TRAIN + IMAGES) / 2); // threes come first
  const rows = (from, to) => ({x: Float64Array.from(all.subarray(784 * from, 784 * to)), y: Float64Array.from({length: to - from}, (_, i) => target(from + i))});
  return {all, image, target, valid: rows(TRAIN, IMAGES)};
}

// Batches without end: shuffled before each epoch, or in order, the threes first
export function batches(digits, seed = 42) {
  const draw = random(seed);
  let order = [], at = TRAIN, x = new Float64Array(0);
  return {
    restart() { at = TRAIN; },
    next(size, shuffle) {
      if (at >= TRAIN) {
        order = Array.from({length: TRAIN}, (_, i) => i);
        if (shuffle) for (let i = TRAIN - 1; i > 0; i--) { const j = Math.floor(draw() * (i + 1)); [order[i], order[j]] = [order[j], order[i]]; }
        at = 0;
      }
      const picked = order.slice(at, at += size);
      if (x.length !== 784 * picked.length) x = new Float64Array(784 * picked.length);
      picked.forEach((o, i) => x.set(digits.all.subarray(784 * o, 784 * o + 784), 784 * i));
      return {x, y: picked.map(digits.target), last: at >= TRAIN};
    }};
}

// One step on a batch; the largest slope, which is 0 where nothing pulls any more
export function trainStep(net, {x, y}, lr) {
  const pass = forward(net, x, y.length), grads = backward(net, pass, mnistLoss(pass.preds, y).slopes);
  step(net, grads, lr);
  return grads[0].w.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
}

// Loss and accuracy on the validation images, and where the net is most wrong
export function measure(net, {x, y}) {
  const {preds} = forward(net, x, y.length), {loss} = mnistLoss(preds, y), right = preds.reduce((n, s, i) => n + ((s > 0) === (y[i] === 1)), 0);
  const wrongness = i => y[i] === 1 ? -preds[i] : preds[i];
  const worst = Array.from(y, (_, i) => i).sort((a, b) => wrongness(b) - wrongness(a)).slice(0, 8);
  return {loss, accuracy: right / y.length, worst: worst.map(i => ({i, three: y[i] === 1, prob: sigmoid(preds[i])}))};
}
