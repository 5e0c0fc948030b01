// What a training step does, without a framework: predict, take the loss, find the slopes, step.
// n rows of k numbers are one Float64Array of n * k. Nothing in this file knows about a page.

const largestFloat = 3.4028235e38; // what lies beyond it is infinite for PyTorch's 32 bits

export const finite = v => Math.abs(v) <= largestFloat;
export const sigmoid = v => 1 / (1 + Math.exp(-v));

// n rows times weights, plus the bias if there is one; `w` has a row for each input
export function affine(x, n, {w, b}) {
  const ins = x.length / n, outs = w.length / ins, y = new Float64Array(n * outs);
  for (let r = 0; r < n; r++) {
    if (b) y.set(b, r * outs);
    for (let i = 0; i < ins; i++) {
      const v = x[r * ins + i];
      if (v !== 0) for (let o = 0, k = i * outs; o < outs; o++) y[r * outs + o] += v * w[k + o]; // most pixels are blank
    }
  }
  return y;
}

// From the slopes of the loss for what `affine` gave: the slopes for its weights, its bias, and what came in
export function affineBack(x, n, {w, b}, slopes, wantInput) {
  const ins = x.length / n, outs = w.length / ins, gw = new Float64Array(w.length);
  const gb = b && new Float64Array(outs), gx = wantInput ? new Float64Array(x.length) : null;
  for (let r = 0; r < n; r++) {
    if (gb) for (let o = 0; o < outs; o++) gb[o] += slopes[r * outs + o];
    for (let i = 0; i < ins; i++) {
      const v = x[r * ins + i], k = i * outs;
      if (v !== 0) for (let o = 0; o < outs; o++) gw[k + o] += v * slopes[r * outs + o];
      if (gx) for (let o = 0; o < outs; o++) gx[r * ins + i] += w[k + o] * slopes[r * outs + o];
    }
  }
  return {w: gw, b: gb, x: gx};
}

// ---- Losses: of predictions and targets they know, of parameters nothing. `slopes` are those for the predictions.

export function mse(preds, targs) {
  const n = preds.length, errors = preds.map((p, i) => p - targs[i]);
  return {loss: errors.reduce((s, e) => s + e * e, 0) / n, slopes: errors.map(e => 2 * e / n)};
}

// How far the sigmoid of each score is from its target, 1 or 0, on average
export function mnistLoss(scores, targs) {
  const n = scores.length, probs = scores.map(sigmoid), sign = i => targs[i] === 1 ? -1 : 1;
  return {
    loss: probs.reduce((s, p, i) => s + (targs[i] === 1 ? 1 - p : p), 0) / n,
    slopes: probs.map((p, i) => sign(i) * p * (1 - p) / n),
  };
}

// ---- Networks: a list of layers {w, b}, with a ReLU between two of them

export function forward(net, x, n) {
  const inputs = [x];
  net.forEach((layer, i) => {
    const y = affine(inputs[i], n, layer);
    inputs.push(i < net.length - 1 ? y.map(v => Math.max(v, 0)) : y);
  });
  return {n, inputs, preds: inputs[net.length]};
}

// The slopes for all weights and biases, from those for the predictions
export function backward(net, {n, inputs}, slopes) {
  const grads = [];
  for (let i = net.length - 1; i >= 0; i--) {
    const g = affineBack(inputs[i], n, net[i], slopes, i > 0);
    grads.unshift({w: g.w, b: g.b});
    if (i > 0) slopes = g.x.map((v, j) => inputs[i][j] > 0 ? v : 0);
  }
  return grads;
}

export function step(net, grads, lr) {
  net.forEach((layer, i) => {
    for (const k of ["w", "b"]) if (layer[k]) for (let j = 0; j < layer[k].length; j++) layer[k][j] -= lr * grads[i][k][j];
  });
}
