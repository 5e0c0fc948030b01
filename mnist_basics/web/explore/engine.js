// A training step without a framework: predict, take the loss, find the slopes, step.
// n rows of k numbers are one array of n * k.

const largestFloat = 3.4028235e38; // what lies beyond it is infinite for PyTorch's 32 bits

export const finite = v => Math.abs(v) <= largestFloat;
export const sigmoid = v => 1 / (1 + Math.exp(-v));

// n rows of k numbers times k rows of m; `aT`, `bT`: transposed
function matmul(a, b, n, k, m, aT = false, bT = false) {
  const y = new Float64Array(n * m), [aRow, aCol] = aT ? [1, n] : [k, 1], [bRow, bCol] = bT ? [1, k] : [m, 1];
  for (let r = 0; r < n; r++) for (let i = 0; i < k; i++) {
    const v = a[r * aRow + i * aCol];
    if (v !== 0) for (let o = 0; o < m; o++) y[r * m + o] += v * b[i * bRow + o * bCol]; // most pixels are blank
  }
  return y;
}

// ---- Losses: of predictions and targets they know, of parameters nothing. `slopes` are those for the predictions.

export function mse(preds, targs) {
  const n = preds.length, errors = preds.map((p, i) => p - targs[i]);
  return {loss: errors.reduce((s, e) => s + e * e, 0) / n, slopes: errors.map(e => 2 * e / n)};
}

// How far the sigmoid of each score is from its target, 1 or 0, on average
export function mnistLoss(scores, targs) {
  const n = scores.length, probs = scores.map(sigmoid);
  return {
    loss: probs.reduce((s, p, i) => s + (targs[i] === 1 ? 1 - p : p), 0) / n,
    slopes: probs.map((p, i) => (targs[i] === 1 ? -1 : 1) * p * (1 - p) / n),
  };
}

// ---- Networks: a list of layers {w, b}, with a ReLU between two of them; `w` has a row for each input, and `b` may be missing

export function forward(net, x, n) {
  const inputs = [x];
  net.forEach(({w, b}, i) => {
    const ins = inputs[i].length / n, outs = w.length / ins, y = matmul(inputs[i], w, n, ins, outs);
    inputs.push(y.map((v, j) => {
      const score = b ? v + b[j % outs] : v;
      return i < net.length - 1 ? Math.max(score, 0) : score;
    }));
  });
  return {n, inputs, preds: inputs[net.length]};
}

// The slopes for all weights and biases, from those for the predictions
export function backward(net, {n, inputs}, slopes) {
  const grads = [];
  for (let i = net.length - 1; i >= 0; i--) {
    const {w, b} = net[i], ins = inputs[i].length / n, outs = w.length / ins;
    grads.unshift({w: matmul(inputs[i], slopes, ins, n, outs, true), b: b && matmul(new Float64Array(n).fill(1), slopes, 1, n, outs)});
    if (i > 0) slopes = matmul(slopes, w, n, outs, ins, false, true).map((v, j) => inputs[i][j] > 0 ? v : 0);
  }
  return grads;
}

// All of a step but the step: predictions, loss, and its slopes for predictions, weights and biases
export function look(net, x, targs, lossFunc) {
  const pass = forward(net, x, targs.length), {preds} = pass, {loss, slopes} = lossFunc(preds, targs);
  return {preds, loss, slopes, grads: backward(net, pass, slopes)};
}

export function step(net, grads, lr) {
  net.forEach((layer, i) => {
    for (const k of ["w", "b"]) layer[k]?.forEach((_, j) => { layer[k][j] -= lr * grads[i][k][j]; });
  });
}
