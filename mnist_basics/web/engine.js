"use strict";
// What the networks do, without a framework. Nothing in this file knows about the page.

// ---- From a canvas to an image as MNIST has them: `read_digits` of pictures.py, step by step

const f32 = Math.fround; // Python computes the first step in 32 bits, so we round to them as well
const sum = a => a.reduce((s, v) => s + v, 0);
const largest = a => a.reduce((m, v) => Math.max(m, v), -Infinity);
const smallest = a => a.reduce((m, v) => Math.min(m, v), Infinity);
const range = n => Array.from({length: n}, (_, i) => i);

function median(values) {
  const a = Float64Array.from(values).sort(), n = a.length;
  return n % 2 ? a[(n - 1) / 2] : (a[n / 2 - 1] + a[n / 2]) / 2;
}

const roundEven = v => { // as Python rounds
  const low = Math.floor(v), rest = v - low;
  return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low + low % 2;
};

// Pictures are {h, w, d}: height, width, and the numbers row by row
const make = (h, w, f) => {
  const d = new Float64Array(h * w);
  if (f) for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) d[i] = f(y, x, i);
  return {h, w, d};
};
const each = (a, f) => make(a.h, a.w, (y, x, i) => f(a.d[i], i));
const transposed = a => make(a.w, a.h, (y, x) => a.d[x * a.w + y]);

// What each of 256 levels of red, green, blue and alpha counts for
const [RED, GREEN, BLUE, ALPHA] = [0.299, 0.587, 0.114, 1].map(share => Float32Array.from({length: 256}, (_, v) => f32(share) * f32(v / 255)));

// Brightness of each pixel, 0 for black to 1 for white; what is transparent lies on white paper if that shows it
function readImage(rgba, h, w) {
  const n = h * w, onWhite = new Float32Array(n), onBlack = new Float32Array(n);
  for (let i = 0, j = 0; i < n; i++, j += 4) {
    const alpha = ALPHA[rgba[j + 3]];
    onBlack[i] = f32(f32(RED[rgba[j]] + GREEN[rgba[j + 1]]) + BLUE[rgba[j + 2]]) * alpha;
    onWhite[i] = onBlack[i] + f32(1 - alpha);
  }
  return {h, w, d: Float64Array.from(f32(largest(onWhite) - smallest(onWhite)) >= f32(0.1) ? onWhite : onBlack)};
}

// Rows of numbers resized to `n` rows by averaging areas
function resizeRows(a, n) {
  const scale = a.h / n, res = make(n, a.w);
  for (let i = 0; i < n; i++) {
    const from = i * a.h / n, to = (i + 1) * a.h / n;
    for (let j = Math.floor(from); j < Math.min(Math.ceil(to), a.h); j++) {
      const overlap = (Math.min(to, j + 1) - Math.max(from, j)) / scale;
      for (let x = 0; x < a.w; x++) res.d[i * a.w + x] += overlap * a.d[j * a.w + x];
    }
  }
  return res;
}

const resize = (a, h, w) => transposed(resizeRows(transposed(resizeRows(a, h)), w));
const fitted = (n, longer, most) => Math.max(1, Math.floor((2 * n * most + longer) / (2 * longer)));

function shrink(a, most) {
  const longer = Math.max(a.h, a.w);
  return longer <= most ? a : resize(a, fitted(a.h, longer, most), fitted(a.w, longer, most));
}

// The largest or smallest number in each square of `size` by `size`
function slideRows(a, size, op) {
  let {h, w, d} = a, done = 1;
  while (done < size) {
    const step = Math.min(done, size - done), res = new Float64Array((h - step) * w), off = step * w;
    for (let i = 0; i < res.length; i++) res[i] = op(d[i], d[i + off]);
    [d, h, done] = [res, h - step, done + step];
  }
  return {h, w, d};
}
const higher = (a, b) => a > b ? a : b, lower = (a, b) => a < b ? a : b;
const slide = (a, size, op) => transposed(slideRows(transposed(slideRows(a, size, op)), size, op));
const framed = (a, p, value) => make(a.h + 2 * p, a.w + 2 * p, (y, x) => {
  const inside = y >= p && y < a.h + p && x >= p && x < a.w + p;
  if (inside) return a.d[(y - p) * a.w + x - p];
  return value ?? a.d[Math.min(Math.max(y - p, 0), a.h - 1) * a.w + Math.min(Math.max(x - p, 0), a.w - 1)];
});

function blurRows(a, r) {
  const total = make(a.h + 1, a.w);
  for (let i = 0; i < a.h * a.w; i++) total.d[i + a.w] = total.d[i] + a.d[i];
  return make(a.h, a.w, (y, x) => {
    const low = Math.max(y - r, 0), high = Math.min(y + r + 1, a.h);
    return (total.d[high * a.w + x] - total.d[low * a.w + x]) / (high - low);
  });
}
const blur = (a, r) => r ? transposed(blurRows(transposed(blurRows(a, r)), r)) : a;

// Pieces that hang together, corners count: labels from 1 in the order of their first pixels
function components(mask) {
  const {h, w, d} = mask, labels = new Int32Array(h * w), boxes = [], todo = [];
  for (let i = 0; i < h * w; i++) if (d[i] && !labels[i]) {
    const box = {top: h, left: w, bottom: 0, right: 0, area: 0}, name = boxes.push(box);
    labels[i] = name;
    todo.push(i);
    while (todo.length) {
      const at = todo.pop(), y = Math.floor(at / w), x = at % w;
      Object.assign(box, {top: Math.min(box.top, y), left: Math.min(box.left, x), bottom: Math.max(box.bottom, y + 1), right: Math.max(box.right, x + 1), area: box.area + 1});
      for (let v = Math.max(0, y - 1); v <= Math.min(h - 1, y + 1); v++) for (let u = Math.max(0, x - 1); u <= Math.min(w - 1, x + 1); u++) {
        const next = v * w + u;
        if (d[next] && !labels[next]) { labels[next] = name; todo.push(next); }
      }
    }
  }
  return {labels, boxes};
}

// The outermost pixels, once around
const ring = ({h, w, d}) => [...range(w - 1).map(x => d[x]), ...range(h - 1).map(y => d[y * w + w - 1]),
  ...range(w - 1).map(x => d[h * w - 1 - x]), ...range(h - 1).map(y => d[(h - 1 - y) * w])];

// Otsu's rule: the threshold that parts dark and light best, the gap between their means, what it explains
function splitTones(values) {
  const v = Float64Array.from(values).sort(), n = v.length, mean = sum(v) / n, spread = sum(v.map(o => (o - mean) ** 2)) / n, total = sum(v);
  let low = 0, best = [-1, 0, 0];
  for (let k = 1; k < n; k++) {
    low += v[k - 1];
    const gap = (total - low) / (n - k) - low / k, between = k * (n - k) * gap ** 2 / n ** 2;
    if (between > best[0]) best = [between, (v[k - 1] + v[k]) / 2, gap];
  }
  return [best[1], best[2], spread > 0 ? best[0] / spread : 0];
}

function rectangleShare(mask) {
  const points = range(mask.d.length).filter(i => mask.d[i]).map(i => [i % mask.w, Math.floor(i / mask.w)]);
  return largest(range(45).map(k => {
    const [c, s] = [Math.cos(k * Math.PI / 90), Math.sin(k * Math.PI / 90)];
    const side = f => { const along = points.map(f); return largest(along) - smallest(along) + c + s; };
    return points.length / (side(([x, y]) => c * x + s * y) * side(([x, y]) => c * y - s * x));
  }));
}

// What lies on a light sheet of paper, if one lies on a darker table
function onSheet(gray) {
  const small = shrink(gray, 96);
  if (Math.min(gray.h, gray.w) < 40 || Math.min(small.h, small.w) < 16) return gray;
  const [limit, gap, share] = splitTones(small.d), light = each(small, v => v > limit ? 1 : 0), edge = ring(light);
  if (gap < 0.12 || share < 0.8 || sum(edge) / edge.length > 0.5) return gray;
  const {labels, boxes} = components(light), areas = boxes.map(o => o.area), name = areas.indexOf(largest(areas)) + 1;
  const around = components(framed(each(small, (_, i) => labels[i] === name ? 0 : 1), 1, 1)).labels;
  const full = make(small.h, small.w, (y, x) => around[(y + 1) * (small.w + 2) + x + 1] !== 1 ? 1 : 0), area = sum(full.d), paper = areas[name - 1];
  if (area < 0.12 * full.d.length || paper < 0.6 * area || paper >= area || rectangleShare(full) < 0.91) return gray;
  const inner = slide(framed(full, 1, 0), 3, lower), tone = median(range(small.d.length).filter(i => labels[i] === name).map(i => small.d[i]));
  const big = make(gray.h, gray.w, (y, x) => inner.d[Math.floor(y * inner.h / gray.h) * inner.w + Math.floor(x * inner.w / gray.w)]);
  let [top, left, bottom, right] = [gray.h, gray.w, 0, 0];
  big.d.forEach((v, i) => {
    if (!v) return;
    const y = Math.floor(i / big.w), x = i % big.w;
    [top, left, bottom, right] = [Math.min(top, y), Math.min(left, x), Math.max(bottom, y + 1), Math.max(right, x + 1)];
  });
  return make(bottom - top, right - left, (y, x) => { const i = (y + top) * gray.w + x + left; return big.d[i] ? gray.d[i] : tone; });
}

const terms = (h, w, y, x) => { const [v, u] = [(y + 0.5) / h - 0.5, (x + 0.5) / w - 0.5]; return [1, u, v, u * u, u * v, v * v]; };

function solve(a, b) { // a linear system, by elimination
  const m = a.map((row, i) => [...row, b[i]]), n = b.length;
  for (let i = 0; i < n; i++) {
    const p = range(n).slice(i).reduce((best, r) => Math.abs(m[r][i]) > Math.abs(m[best][i]) ? r : best, i);
    [m[i], m[p]] = [m[p], m[i]];
    for (let r = 0; r < n; r++) if (r !== i) { const f = m[r][i] / m[i][i]; m[r] = m[r].map((v, k) => v - f * m[i][k]); }
  }
  return m.map((row, i) => row[n] / row[i]);
}

// Divided by a light that falls off smoothly over the picture, if it does
function evenLight(gray) {
  if (Math.min(gray.h, gray.w) < 40) return gray;
  const small = shrink(gray, 24), rows = range(small.d.length).map(i => terms(small.h, small.w, Math.floor(i / small.w), i % small.w));
  let keep = rows.map(() => true), fit, off;
  const at = (k, row) => sum(row.map((v, i) => v * k[i]));
  for (let round = 0; round < 4; round++) {
    const a = range(6).map(() => new Array(6).fill(0)), b = new Array(6).fill(0);
    rows.forEach((row, n) => {
      if (keep[n]) for (let i = 0; i < 6; i++) { b[i] += row[i] * small.d[n]; for (let j = 0; j < 6; j++) a[i][j] += row[i] * row[j]; }
    });
    fit = solve(a, b);
    off = rows.map((row, n) => Math.abs(small.d[n] - at(fit, row)));
    const limit = Math.max(0.02, 3 * median(off));
    keep = off.map(v => v <= limit);
  }
  const all = rows.map(row => at(fit, row)), low = smallest(all), high = largest(all);
  if (high - low < 0.1 * high || low < 0.25 * high || median(off) > 0.03) return gray;
  const k = fit.map(v => v / high);
  return make(gray.h, gray.w, (y, x, i) => gray.d[i] / Math.max(at(k, terms(gray.h, gray.w, y, x)), 0.2));
}

// Is the ink darker than what surrounds it?
function isDark(gray) {
  const small = shrink(gray, 24), pad = framed(small, 6);
  let cubes = 0;
  for (let y = 0; y < small.h; y++) for (let x = 0; x < small.w; x++) {
    const around = new Float64Array(169);
    for (let v = 0, i = 0; v < 13; v++) for (let u = 0; u < 13; u++, i++) around[i] = pad.d[(y + v) * pad.w + x + u];
    cubes += (small.d[y * small.w + x] - around.sort()[84]) ** 3;
  }
  return cubes <= 0.002;
}

// The paper as it would be without what is narrower than a third of the picture
function paperField(gray) {
  const {h, w} = gray, size = Math.max(3, roundEven(0.33 * Math.min(h, w))), p = Math.floor(size / 2) + 1;
  if (Math.min(h, w) < 3) { const top = largest(gray.d); return each(gray, () => top); }
  let edge = ring(gray);
  const n = edge.length, long = Math.min(roundEven(1.2 * Math.min(h, w)), n), column = a => ({h: a.length, w: 1, d: Float64Array.from(a)});
  const up = [...slideRows(column([...edge, ...edge.slice(0, long - 1)]), long, higher).d];
  edge = slideRows(column([...up.slice(n - long + 1), ...up]), long, lower).d;
  const hold = (v, top) => Math.min(Math.max(v - p, 0), top - 1);
  const pad = make(h + 2 * p, w + 2 * p, (y, x) => {
    const v = hold(y, h), u = hold(x, w);
    if (y < p) return edge[u];
    if (y >= h + p) return edge[2 * w + h - 3 - u];
    if (x < p) return edge[(2 * w + 2 * h - 4 - v) % n];
    return x >= w + p ? edge[w - 1 + v] : gray.d[v * w + u];
  });
  const low = slide(framed(slide(pad, size, higher), size - 1), size, lower);
  return make(h, w, (y, x) => low.d[(y + p) * low.w + x + p]);
}

// No paper is so dark amid lighter one: what is wide and black in the middle is ink, too
function withoutIslands(field) {
  const top = largest(field.d), {labels} = components(each(field, v => v < 0.55 * top ? 1 : 0));
  const atEdge = new Set(Math.min(field.h, field.w) > 1 ? ring({...field, d: labels}) : labels);
  return each(field, (v, i) => labels[i] && !atEdge.has(labels[i]) ? top : v);
}

// The shade of flat paper in a small clean picture, such as a tight crop, or null
function flatTone(gray) {
  const small = Math.min(gray.h, gray.w);
  if (small < 2 || small >= 64) return null;
  const edge = ring(gray), tone = median(edge), near = list => list.filter(v => Math.abs(v - tone) <= 0.04).length / list.length;
  return near(edge) >= 0.4 && near(gray.d) >= 0.2 ? tone : null;
}

function noise({h, w, d}) {
  if (w < 3) return 0;
  const off = make(h, w - 2, (y, x) => { const i = y * w + x; return Math.abs(d[i + 1] - (d[i] + d[i + 2]) / 2); }).d.sort();
  return 2.56 * off[Math.floor(off.length / 4)];
}

class NoDigit extends Error {}

// Ink on its paper, the mask of its strokes, and what is mere grain
function findInk(picture) {
  const gray = evenLight(onSheet(picture)), tone = flatTone(gray);
  const dark = tone === null ? isDark(gray) : sum(gray.d.map(v => (v - tone) ** 3)) <= 0, g = dark ? gray : each(gray, v => 1 - v);
  let soft = blur(g, Math.floor(Math.min(g.h, g.w) / 150));
  const field = tone === null ? withoutIslands(paperField(soft)) : each(g, () => Math.abs(tone - (dark ? 0 : 1))), scale = v => dark ? Math.max(v, 0.3) : 1;
  let ink = each(field, (v, i) => (v - g.d[i]) / scale(v));
  soft = each(field, (v, i) => (v - soft.d[i]) / scale(v));
  const grain = tone === null ? noise(ink) : 0, less = a => { const base = Math.min(Math.max(median(a.d), 0), 4 * grain); return each(a, v => v - base); };
  [ink, soft] = [less(ink), less(soft)];
  const rough = Math.min(1.4826 * median(soft.d.map(Math.abs)), 4 * grain), peak = largest(soft.d);
  if (peak < 0.03 || peak < 7 * rough) throw new NoDigit("the sheet is blank");
  if (peak < 0.1) throw new NoDigit("the ink is too faint");
  const floor = Math.max(0.25 * peak, 3 * rough);
  return {ink: each(ink, v => Math.max(v, 0)), mask: each(soft, v => v > floor ? 1 : 0), grain: Math.max(0.03, 2 * grain)};
}

// Take out thin lines from side to side, but no stroke that crosses
function dropLines(mask, thick) {
  const {h, w, d} = mask, res = {h, w, d: d.slice()}, marks = [];
  d.forEach((v, i) => { if (v) marks.push([Math.floor(i / w), i % w]); });
  const shift = slope => range(w).map(x => Math.floor(slope * (x - (w - 1) / 2) + 0.5));
  const rows = slope => {
    const s = shift(slope), n = new Array(h).fill(0);
    for (const [y, x] of marks) if (y - s[x] >= 0 && y - s[x] < h) n[y - s[x]]++;
    return n;
  };
  const there = (y, x) => y >= 0 && y < h && d[y * w + x] > 0;
  const energy = range(21).map(k => [(k - 10) / 200, sum(rows((k - 10) / 200).map(v => v * v))]);
  const slopes = energy.sort((a, b) => b[1] - a[1]).slice(0, 3).map(o => o[0]);
  let found = false;
  for (const slope of slopes) {
    const s = shift(slope), core = rows(slope);
    if (largest(core) <= 0.3 * w) continue;
    const full = range(h).map(r => range(w).filter(x => there(r - 1 + s[x], x) || there(r + s[x], x) || there(r + 1 + s[x], x)).length >= 0.8 * w);
    for (let a = 0, b; a < h; a = b + 1) {
      for (b = a; b < h && full[b]; b++);
      const strong = range(b - a).map(k => a + k).filter(r => core[r] > 0.3 * w);
      if (!strong.length || strong.at(-1) - strong[0] >= thick) continue;
      for (let x = 0; x < w; x++) {
        if (there(strong[0] - 2 + s[x], x) || there(strong.at(-1) + 2 + s[x], x)) continue;
        for (let r = strong[0] - 1; r <= strong.at(-1) + 1; r++) if (there(r + s[x], x)) { res.d[(r + s[x]) * w + x] = 0; found = true; }
      }
    }
  }
  return [res, found];
}

// Take out the outlines of rectangles, by the rim of the box in which they lie
function dropFrames(mask) {
  const {labels, boxes} = components(mask), res = {...mask, d: mask.d.slice()};
  boxes.forEach(({top, left, bottom, right, area}, k) => {
    const h = bottom - top, w = right - left, m = Math.max(2, Math.floor((12 * Math.max(h, w) + 100) / 200));
    if (Math.min(h / mask.h, w / mask.w) < 0.35 || area > 0.4 * h * w) return;
    const has = (y, x) => labels[(y + top) * mask.w + x + left] === k + 1;
    const some = (n, size, f) => range(size).filter(i => range(Math.min(m, n)).some(j => f(i, j))).length >= 0.85 * size;
    const rims = [some(h, w, (x, j) => has(j, x)), some(h, w, (x, j) => has(h - 1 - j, x)), some(w, h, (y, j) => has(y, j)), some(w, h, (y, j) => has(y, w - 1 - j))];
    if (rims.filter(Boolean).length < 3) return;
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++)
      if ((y < m || y >= h - m || x < m || x >= w - m) && has(y, x)) res.d[(y + top) * mask.w + x + left] = 0;
  });
  return res;
}

// Pieces without rulings, frames and what is left of them
function strokePieces(mask) {
  if (Math.min(mask.h, mask.w) < 40) return components(mask); // a crop, whose strokes reach the edge
  const {h, w} = mask, thick = Math.max(2, Math.floor((8 * Math.min(h, w) + 100) / 200));
  const [first, across] = dropLines(mask, thick), [second, down] = dropLines(transposed(first), thick);
  const clean = dropFrames(transposed(second)), {labels, boxes} = components(clean), found = across || down;
  const kinds = boxes.map(o => {
    const high = o.bottom - o.top, wide = o.right - o.left, thin = Math.min(high, wide) <= thick;
    const edge = o.top === 0 || o.left === 0 || o.bottom === h || o.right === w;
    return {line: thin && (high > 0.5 * h || wide > 0.5 * w), drop: found && thin && edge, area: o.area};
  });
  const rest = kinds.filter(o => !o.line && !o.drop), lines = kinds.some(o => o.line) ? largest(kinds.map(o => o.area)) : 0;
  const out = rest.length && largest(rest.map(o => o.area)) > 0.3 * lines ? kinds.map(o => o.drop || o.line) : kinds.map(o => o.drop);
  if (out.every(Boolean)) throw new NoDigit("there are only lines");
  return components(each(clean, (v, i) => v && !out[labels[i] - 1] ? 1 : 0));
}

const gap = (a, b) => [Math.max(a.top - b.bottom, b.top - a.bottom, 0), Math.max(a.left - b.right, b.left - a.right, 0)];
const union = list => ({top: Math.min(...list.map(o => o.top)), left: Math.min(...list.map(o => o.left)), bottom: Math.max(...list.map(o => o.bottom)), right: Math.max(...list.map(o => o.right))});

// Which pieces belong to one digit, from left to right; crumbs, and what the edge cuts off, to none
function groupStrokes({labels, boxes}, ink) {
  const {h, w} = ink;
  boxes.forEach((o, k) => Object.assign(o, {name: k + 1, mass: 0, high: o.bottom - o.top}));
  labels.forEach((k, i) => { if (k) boxes[k - 1].mass += ink.d[i]; });
  const heaviest = largest(boxes.map(o => o.mass)), within = boxes.filter(o => o.top > 0 && o.left > 0 && o.bottom < h && o.right < w);
  const kept = within.length && largest(within.map(o => o.mass)) > 0.3 * heaviest ? within : boxes.slice();
  kept.sort((a, b) => b.mass - a.mass || a.name - b.name);
  const pieces = kept.filter(o => o.mass >= 0.015 * kept[0].mass), tall = largest(pieces.map(o => o.high)), sets = [];
  const isBig = o => o.high >= 0.45 * tall;
  for (const o of pieces.filter(isBig)) {
    const home = sets.filter(s => {
      const box = union(s), width = Math.min(o.right - o.left, box.right - box.left), g = gap(o, box);
      const share = (Math.min(o.right, box.right) - Math.max(o.left, box.left)) / width;
      return share > 0.3 && g[0] < 0.15 * tall || Math.max(...g) === 0 && share > 0.2;
    });
    if (home.length) home.at(-1).push(o);
    else sets.push([o]);
  }
  for (const o of pieces.filter(o => !isBig(o))) {
    const far = s => sum(gap(o, union(s))), near = sets.reduce((best, s) => far(s) < far(best) ? s : best), most = Math.max(...gap(o, union(near)));
    if (!most || most < 0.2 * tall && o.mass >= 0.04 * sum(near.map(p => p.mass))) near.push(o);
  }
  return sets.map(s => [union(s).left, s]).sort((a, b) => a[0] - b[0]).map(o => o[1].map(p => p.name));
}

// The ink of each digit, from left to right
function findDigits(gray) {
  const {ink, mask, grain} = findInk(gray), pieces = strokePieces(mask), reach = 1 + Math.floor(Math.min(mask.h, mask.w) / 150);
  return groupStrokes(pieces, ink).map(names => {
    const own = each(mask, (_, i) => names.includes(pieces.labels[i]) ? 1 : 0), near = slide(framed(own, reach, 0), 2 * reach + 1, higher);
    const box = union(names.map(k => pieces.boxes[k - 1]));
    if (Math.max(box.bottom - box.top, box.right - box.left) < 4 + 2 * reach && Math.max(mask.h, mask.w) > 30) throw new NoDigit("what is drawn is too small");
    return each(ink, (v, i) => near.d[i] && (own.d[i] || !pieces.labels[i]) && v > grain ? v : 0);
  });
}

function span(weights, trim) {
  const total = sum(weights), past = list => {
    let share = 0;
    return list.findIndex(w => (share += w / total) > trim);
  };
  return [past(weights), weights.length - past([...weights].reverse())];
}

// The smallest box that holds the digit, without stray specks
function cropInk(ink, trim = 0.002, faint = 0.15) {
  const {h, w, d} = ink, rows = new Array(h).fill(0), cols = new Array(w).fill(0), least = faint * largest(d);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const v = d[y * w + x];
    if (v >= least) { rows[y] += v; cols[x] += v; }
  }
  const [top, bottom] = span(rows, trim), [left, right] = span(cols, trim);
  return make(bottom - top, right - left, (y, x) => d[(y + top) * w + x + left]);
}

// The digit fitted into a box of 20 by 20, and centred by mass in 28 by 28
function placeInk(box) {
  const longer = Math.max(box.h, box.w), small = resize(box, fitted(box.h, longer, 20), fitted(box.w, longer, 20));
  const start = w => Math.min(Math.max(14 - Math.floor(sum(w.map((v, i) => v * i)) / sum(w) + 0.5), 0), 28 - w.length);
  const along = a => range(a.h).map(y => sum(a.d.subarray(y * a.w, (y + 1) * a.w)));
  const r = start(along(small)), c = start(along(transposed(small))), peak = largest(small.d), res = new Float32Array(28 * 28);
  small.d.forEach((v, i) => { res[(r + Math.floor(i / small.w)) * 28 + c + i % small.w] = v / peak; });
  return res;
}

// The 28 by 28 images of the digits in a drawing, from left to right, or the reason why there is none
function prepare(rgba, h, w) {
  try { return {images: findDigits(readImage(rgba, h, w)).map(o => placeInk(cropInk(o))), reason: ""}; }
  catch (error) {
    if (error instanceof NoDigit) return {images: [], reason: error.message};
    throw error;
  }
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
  const probabilities = softmax(run(nets.ten, image).at(-1).data);
  return {
    ideal: {distances: far, nearest: far.indexOf(Math.min(...far)), pair: far[3] <= far[7] ? 3 : 7},
    linear: {score, probability: sigmoid(score), bias: line.bias.data[0], parts: Float64Array.from(image, (v, i) => v * line.weight.data[i])},
    mlp: {score: acts.at(-1).data[0], probability: sigmoid(acts.at(-1).data[0]), bias: last.bias.data[0], hidden,
      parts: hidden.map((v, i) => v * last.weight.data[i])},
    ten: {probabilities, ...verdict(models, image, probabilities)},
  };
}

// The answer of network and guard together, who also knows what is no digit, and whether to believe it
function verdict({nets, unsure}, image, probabilities) {
  const guard = softmax(run(nets.guard, image).at(-1).data), both = Array.from(probabilities, (p, d) => Math.sqrt(p) * guard[d]);
  const [digit, second] = [...both.keys()].sort((a, b) => both[b] - both[a]), none = unsure.none * guard[10];
  const probability = both[digit] / (sum(both) + none);
  return {digit, second, probability, sure: probability >= unsure.probability, digitlike: both[digit] >= none};
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
