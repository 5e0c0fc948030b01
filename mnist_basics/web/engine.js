"use strict";
// What the networks do, without a framework. Nothing in this file knows about the page.

// ---- From a canvas to an image as MNIST has them: `to_mnist` of data.py, step by step

const f32 = Math.fround; // Python computes the first steps in 32 bits, so we round to them as well
const sum = a => a.reduce((s, v) => s + v, 0);
const largest = a => a.reduce((m, v) => Math.max(m, v), -Infinity);

function median(values) {
  const a = Float32Array.from(values).sort(), n = a.length;
  return n % 2 ? a[(n - 1) / 2] : f32((a[n / 2 - 1] + a[n / 2]) / 2);
}

// What each of 256 levels of red, green, blue and alpha counts for
const [RED, GREEN, BLUE, ALPHA] = [0.299, 0.587, 0.114, 1].map(share => Float32Array.from({length: 256}, (_, v) => f32(share) * f32(v / 255)));

// Brightness of each pixel, 0 for black to 1 for white; what is transparent lies on white paper if that shows it
function readImage(rgba) {
  const n = rgba.length / 4, onWhite = new Float32Array(n), onBlack = new Float32Array(n);
  let low = 1, high = 0;
  for (let i = 0, j = 0; i < n; i++, j += 4) {
    const alpha = ALPHA[rgba[j + 3]];
    onBlack[i] = f32(f32(RED[rgba[j]] + GREEN[rgba[j + 1]]) + BLUE[rgba[j + 2]]) * alpha;
    onWhite[i] = onBlack[i] + f32(1 - alpha);
    low = Math.min(low, onWhite[i]);
    high = Math.max(high, onWhite[i]);
  }
  return high - low >= 0.1 ? onWhite : onBlack;
}

// How far each pixel differs from the paper; null where nothing stands out
function findInk(gray, height, width) {
  const edge = [...gray.subarray(0, width), ...gray.subarray((height - 1) * width)];
  for (const x of [0, width - 1]) for (let y = 0; y < height; y++) edge.push(gray[y * width + x]);
  const paper = median(edge), noise = median(edge.map(v => Math.abs(f32(v - paper)))), ink = new Float32Array(gray.length);
  let cubes = 0, peak = 0;
  for (let i = 0; i < ink.length; i++) {
    const v = ink[i] = gray[i] - paper;
    cubes += v * v * v;
  }
  const sign = cubes < 0 ? -1 : 1; // dark on light, or light on dark
  for (let i = 0; i < ink.length; i++) peak = Math.max(peak, ink[i] *= sign);
  if (peak < Math.max(f32(0.1), f32(5 * noise))) return null;
  const floor = Math.min(f32(6 * noise), f32(peak / 2));
  for (let i = 0; i < ink.length; i++) if (ink[i] <= floor) ink[i] = 0;
  return ink;
}

function span(weights, trim) {
  const total = sum(weights), past = list => {
    let share = 0;
    return list.findIndex(w => (share += w / total) > trim);
  };
  return [past(weights), weights.length - past([...weights].reverse())];
}

// The smallest box that holds the digit, without stray specks
function cropInk(ink, height, width, trim = 0.002, faint = 0.15) {
  const rows = new Array(height).fill(0), cols = new Array(width).fill(0), least = f32(f32(faint) * largest(ink));
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const v = ink[y * width + x];
    if (v >= least) { rows[y] += v; cols[x] += v; }
  }
  const [top, bottom] = span(rows, trim), [left, right] = span(cols, trim);
  return Array.from({length: bottom - top}, (_, i) => ink.subarray((top + i) * width + left, (top + i) * width + right));
}

// Rows of numbers resized to `n` rows by averaging areas
function resizeRows(rows, n) {
  const scale = rows.length / n;
  return Array.from({length: n}, (_, i) => {
    const res = new Float64Array(rows[0].length), from = i * rows.length / n, to = (i + 1) * rows.length / n;
    for (let j = Math.floor(from); j < Math.min(Math.ceil(to), rows.length); j++) {
      const overlap = (Math.min(to, j + 1) - Math.max(from, j)) / scale;
      for (let k = 0; k < res.length; k++) res[k] += overlap * rows[j][k];
    }
    return res;
  });
}

const transposed = rows => Array.from(rows[0], (_, k) => Float64Array.from(rows, row => row[k]));

// The digit fitted into a box of 20 by 20, and centred by mass in 28 by 28
function placeInk(box) {
  const height = box.length, width = box[0].length, longer = Math.max(height, width);
  const fit = n => Math.max(1, Math.floor((40 * n + longer) / (2 * longer)));
  const small = transposed(resizeRows(transposed(resizeRows(box, fit(height))), fit(width)));
  const start = w => Math.min(Math.max(14 - Math.floor(sum(w.map((v, i) => v * i)) / sum(w) + 0.5), 0), 28 - w.length);
  const r = start(small.map(sum)), c = start(transposed(small).map(sum)), peak = largest(small.map(largest));
  const res = new Float32Array(28 * 28);
  small.forEach((row, y) => row.forEach((v, x) => { res[(r + y) * 28 + c + x] = v / peak; }));
  return res;
}

// The 28 by 28 image of a drawing, or null for blank paper
function prepare(rgba, height, width) {
  const ink = findInk(readImage(rgba), height, width);
  return ink && placeInk(cropInk(ink, height, width));
}

// ---- From weights to answers: one function for each kind of layer; numbers travel as {shape, data}

function conv({shape: [depth, height, width], data}, {weight, bias, stride, padding, groups}) {
  const [out, perGroup, size] = weight.shape, res = n => Math.floor((n + 2 * padding - size) / stride) + 1;
  const h = res(height), w = res(width), y = new Float64Array(out * h * w);
  for (let o = 0; o < out; o++) {
    y.fill(bias.data[o], o * h * w, (o + 1) * h * w);
    for (let i = 0; i < perGroup; i++) {
      const from = (Math.floor(o * groups / out) * perGroup + i) * height * width;
      for (let ky = 0; ky < size; ky++) for (let kx = 0; kx < size; kx++) {
        const k = weight.data[((o * perGroup + i) * size + ky) * size + kx];
        const first = Math.max(0, Math.ceil((padding - kx) / stride)), last = Math.min(w, Math.floor((width - 1 + padding - kx) / stride) + 1);
        for (let r = 0; r < h; r++) {
          const line = r * stride + ky - padding, at = from + line * width + kx - padding, to = (o * h + r) * w;
          if (line >= 0 && line < height) for (let c = first; c < last; c++) y[to + c] += k * data[at + c * stride];
        }
      }
    }
  }
  return {shape: [out, h, w], data: y};
}

function pool({shape: [depth, height, width], data}, {size, stride}, start, join, finish) {
  const h = Math.floor((height - size) / stride) + 1, w = Math.floor((width - size) / stride) + 1, y = new Float64Array(depth * h * w);
  for (let d = 0; d < depth; d++) for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) {
    let v = start;
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) v = join(v, data[(d * height + r * stride + i) * width + c * stride + j]);
    y[(d * h + r) * w + c] = finish(v);
  }
  return {shape: [depth, h, w], data: y};
}

function linear({data}, {weight, bias}) {
  const n = data.length, y = Float64Array.from(bias.data);
  for (let o = 0; o < y.length; o++) for (let i = 0; i < n; i++) y[o] += weight.data[o * n + i] * data[i];
  return {shape: [y.length], data: y};
}

const LAYERS = {
  conv, linear,
  relu: x => ({shape: x.shape, data: x.data.map(v => Math.max(v, 0))}),
  flatten: x => ({shape: [x.data.length], data: x.data}),
  maxpool: (x, layer) => pool(x, layer, -Infinity, Math.max, v => v),
  avgpool: (x, layer) => pool(x, layer, 0, (a, b) => a + b, v => v / layer.size ** 2),
  globalavg: ({shape: [depth, height, width], data}) => ({shape: [depth], data: Float64Array.from({length: depth},
    (_, d) => sum(data.subarray(d * height * width, (d + 1) * height * width)) / (height * width))}),
};

// What each layer makes of `image`; the last is the answer
function run(net, image) {
  let x = {shape: [1, 28, 28], data: Float64Array.from(image)};
  return net.map(layer => (x = LAYERS[layer.kind](x, layer)));
}

const sigmoid = v => 1 / (1 + Math.exp(-v));

function softmax(scores) {
  const top = largest(scores), e = scores.map(v => Math.exp(v - top));
  return e.map(v => v / sum(e));
}

// ---- The stages of the ladder, all asked about one image

function distances(image, means) {
  return Array.from({length: 10}, (_, d) => sum(image.map((v, i) => Math.abs(v - means[784 * d + i]))) / 784);
}

// What each stage makes of the 28 by 28 `image`
function judge(models, image) {
  const {nets, tensors} = models, far = distances(Float64Array.from(image), tensors["ideal.means"].data);
  const line = nets.linear.at(-1), score = run(nets.linear, image).at(-1).data[0];
  const acts = run(nets.mlp, image), last = nets.mlp.at(-1), hidden = acts.at(-2).data;
  const probabilities = softmax(run(nets.ten, image).at(-1).data), digit = probabilities.indexOf(largest(probabilities));
  return {
    ideal: {distances: far, nearest: far.indexOf(Math.min(...far)), pair: far[3] <= far[7] ? 3 : 7},
    linear: {score, probability: sigmoid(score), bias: line.bias.data[0], parts: Float64Array.from(image, (v, i) => v * line.weight.data[i])},
    mlp: {score: acts.at(-1).data[0], probability: sigmoid(acts.at(-1).data[0]), bias: last.bias.data[0], hidden,
      parts: hidden.map((v, i) => v * last.weight.data[i])},
    ten: {probabilities, digit, ...surety(models.unsure, probabilities[digit], far[digit])},
  };
}

// Whether to believe an answer: it must be probable, and the image must be about as near to the average digit as others are
function surety(limits, probability, distance) {
  const digitlike = distance <= limits.distance;
  return {sure: digitlike && probability >= limits.probability, digitlike};
}

// ---- Reading the weights: the manifest says where each tensor lies in the file

async function checksum(buffer) {
  if (!globalThis.crypto?.subtle) return null; // browsers offer it on https and on this machine only
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return Array.from(hash, v => v.toString(16).padStart(2, "0")).join("");
}

function unpack(manifest, buffer) {
  if (buffer.byteLength !== manifest.bytes) throw new Error(`the weights have ${buffer.byteLength} bytes, not ${manifest.bytes}`);
  const tensors = {};
  for (const [name, {dtype, shape, offset}] of Object.entries(manifest.tensors)) {
    if (dtype !== "float32") throw new Error(`${name} is ${dtype}, not float32`);
    const view = new DataView(buffer, offset), n = shape.reduce((a, b) => a * b, 1);
    tensors[name] = {shape, data: Float64Array.from({length: n}, (_, i) => view.getFloat32(4 * i, true))};
  }
  const wired = layer => ({...layer, ...(layer.weight && {weight: tensors[layer.weight], bias: tensors[layer.bias]})});
  const nets = Object.fromEntries(Object.entries(manifest.nets).map(([k, net]) => [k, net.map(wired)]));
  return {tensors, nets, unsure: manifest.unsure};
}

async function loadModels(url) {
  const manifest = await (await fetch(url)).json();
  const buffer = await (await fetch(new URL(manifest.file, new URL(url, document.baseURI)))).arrayBuffer();
  const hash = await checksum(buffer);
  if (hash && hash !== manifest.sha256) throw new Error("the weights are damaged: their hash is not the manifest's");
  return {...unpack(manifest, buffer), manifest};
}

if (typeof module !== "undefined") module.exports = {prepare, unpack, judge, run, softmax};
