// A digit pulls on its weights; then two thousand of them do, one batch after the other.
import {backward, forward, mnistLoss, sigmoid} from "./engine.js";
import {attr, button, check, choice, explorable, fmt, h, paint, picture, plot, polyline, rate, runner, s, sayer, slider} from "./kit.js";
import {TRAIN, batches, loadDigits, measure, newNet, trainStep} from "./train.js";

const EPOCHS = 10; // what one press of the button trains

async function build({box, host, values}) {
  if (!(values.lr > 0) || !(values.std >= 0)) throw new Error("it needs a learning rate above 0, and a spread of the first weights");
  const digits = await loadDigits(values.file), source = batches(digits), {el: says, say, rest} = sayer();
  const state = {net: null, chosen: 0, lr: values.lr, size: 64, shuffle: true, std: String(values.std), steps: 0, epochs: 0, history: []};
  const figure = (canvas, text) => h("figure", {}, canvas, h("figcaption", {}, text));
  const [image, weights, products, pulls] = ["The image", "The weights", "Image times weights", "The pull on each weight"].map(o => picture(o));
  const forth = h("p"), back = h("p");
  const curve = plot("", {height: 230, x: [0, 100], y: [0, 1], names: ["steps", "validation"]});
  const lossLine = s("polyline", {class: "lossline"}), accuracyLine = s("polyline", {class: "accuracy"});
  curve.over.append(lossLine, accuracyLine);
  const worst = Array.from({length: 8}, () => ({canvas: picture(""), text: h("figcaption")}));
  const which = slider("Which training image?", {min: 0, max: TRAIN - 1, step: 1, show: v => `no. ${v + 1}, a ${digits.target(v) ? 3 : 7}`, input: v => { state.chosen = v; showOne(); rest(forth.textContent); }});
  const rates = slider("Learning rate lr", {min: -3, max: 2, step: 0.25, show: v => rate(10 ** v), input: v => { state.lr = 10 ** v; }});

  function showOne() {
    const x = digits.image(state.chosen), y = [digits.target(state.chosen)], pass = forward(state.net, x, 1), score = pass.preds[0], {loss, slopes} = mnistLoss(pass.preds, y);
    const {w, b} = state.net[0], parts = x.map((v, i) => v * w[i]), slope = backward(state.net, pass, slopes)[0].w, most = a => a.reduce((m, v) => Math.max(m, Math.abs(v)), 0) || 1, sum = score - b[0];
    paint(image, x);
    paint(weights, w, true, most(w));
    paint(products, parts, true, most(parts));
    paint(pulls, slope.map(v => -v), true, most(slope));
    forth.replaceChildren("Forward: image times weights, added up, is ", h("b", {}, fmt(sum)), `, plus the bias of ${fmt(b[0])} `, h("b", {}, fmt(score)), ". Its sigmoid, the probability of a 3, is ", h("b", {}, fmt(sigmoid(score), 3)),
      `. It is a ${y[0] ? 3 : 7}, so the loss is `, h("b", {}, fmt(loss, 3)), ".");
    const strength = Math.abs(slopes[0]);
    back.replaceChildren("Back: the loss pulls on the score with ", h("b", {class: "o"}, fmt(slopes[0], 4)), strength < 1e-4 ? ": next to nothing, as the sigmoid is flat there. " : `: it should ${slopes[0] < 0 ? "rise" : "fall"}. `,
      "Each weight gets that pull times its pixel: where there is no ink, none.");
    attr(image, {"aria-label": `Training image ${state.chosen + 1}, a ${y[0] ? 3 : 7}`});
    attr(products, {"aria-label": `Image times weights: their sum is ${fmt(sum)}`});
    attr(pulls, {"aria-label": `The pull on each weight: under the ink of this ${y[0] ? 3 : 7} all weights should ${slopes[0] < 0 ? "rise" : "fall"}, up to ${fmt(most(slope), 4)}; elsewhere none`});
    attr(weights, {"aria-label": `784 weights, from ${fmt(w.reduce((m, v) => Math.min(m, v), 0))} to ${fmt(w.reduce((m, v) => Math.max(m, v), 0))}`});
    which.set(state.chosen);
  }

  function showTraining(now = measure(state.net, digits.valid)) {
    const {history} = state, end = Math.max(100, 2 ** Math.ceil(Math.log2(Math.max(history.at(-1)[0], 1))));
    curve.range([0, end], [0, 1]);
    lossLine.setAttribute("points", polyline(curve, history.map(o => o[0]), history.map(o => o[1])));
    accuracyLine.setAttribute("points", polyline(curve, history.map(o => o[0]), history.map(o => o[2])));
    attr(curve.svg, {"aria-label": `Measured on 400 validation images after ${state.steps} steps: loss ${fmt(now.loss, 3)}, accuracy ${fmt(now.accuracy, 3)}`});
    worst.forEach(({canvas, text}, k) => {
      const {i, three, prob} = now.worst[k];
      text.textContent = `a ${three ? 3 : 7}: P(3) = ${fmt(prob, 2)}`;
      if (canvas.dataset.shown === String(i)) return;
      canvas.dataset.shown = i;
      paint(canvas, digits.valid.x.subarray(784 * i, 784 * i + 784));
      attr(canvas, {"aria-label": `A ${three ? 3 : 7}`});
    });
  }

  function note() {
    const now = measure(state.net, digits.valid);
    state.history.push([state.steps, now.loss, now.accuracy]);
    if (state.history.length > 800) state.history = state.history.filter((_, i) => i % 2 === 0 || i === state.history.length - 1);
    return now;
  }

  const result = now => `After ${state.steps} steps, ${state.epochs} ${state.epochs === 1 ? "pass" : "passes"} over the images: validation accuracy ${fmt(now.accuracy, 3)}, loss ${fmt(now.loss, 3)}.`;

  // As many steps as fit into a part of a frame; false once the epochs are through
  function some(steps) {
    const until = performance.now() + 6;
    let most = 0, ended = false;
    do {
      const batch = source.next(state.size, state.shuffle);
      most = Math.max(most, trainStep(state.net, batch, state.lr));
      state.steps++;
      ended = batch.last;
    } while (!ended && --steps > 0 && performance.now() < until);
    state.epochs += ended;
    const now = note();
    showOne();
    showTraining(now);
    if (most === 0) { say(`${result(now)} No weight moves any more: all probabilities are 0 or 1, and there the sigmoid is flat. Start again, with a smaller rate.`); return false; }
    if (ended) (--todo > 0 ? rest : say)(result(now));
    return todo > 0;
  }

  let todo = 0;
  const walk = runner(host, () => some(Math.max(1, Math.round(64 / state.size))), {jump: false, changed: on => { go.textContent = on ? "Stop" : `Train ${EPOCHS} epochs`; }});
  const go = button(`Train ${EPOCHS} epochs`, () => { if (walk.running) { walk.stop(); return say(`Stopped. ${result(measure(state.net, digits.valid))}`); } todo = EPOCHS; walk.start(); }, true);
  const single = button("One step", () => { walk.stop(); todo = 2; some(1); say(result(measure(state.net, digits.valid))); });

  function restart(words) {
    walk.stop();
    source.restart();
    const std = Number(state.std);
    Object.assign(state, {net: newNet([784, 1], () => std), steps: 0, epochs: 0, history: []});
    showTraining(note());
    showOne();
    if (words) say(words);
  }

  box.append(h("p", {class: "title"}, "How hard does each pixel pull on its weight?"), h("p", {class: "lead"}, "Choose a digit, and follow it forward and back. Then let two thousand of them pull, batch after batch."),
    h("div", {class: "cols"},
      h("div", {class: "stack"}, which.el, h("div", {class: "pics"}, figure(image, "the image"), figure(weights, "the weights"), figure(products, "their products"), figure(pulls, "pull on each weight")), forth, back,
        h("p", {class: "small"}, "Blue is above zero, or should rise; orange is below, or should fall. Each picture has a scale of its own.")),
      h("div", {class: "stack"}, h("div", {class: "tools"}, go, single, button("Start again", () => restart("New first weights."))), rates.el,
        h("div", {class: "tools"}, choice("Images in a batch", {1: "1 image a batch", 16: "16 images a batch", 64: "64 images a batch", 256: "256 images a batch"}, v => { state.size = Number(v); source.restart(); }),
          choice("First weights", {0.01: "first weights small, std 0.01", 1: "first weights large, std 1"}, v => { state.std = v; restart(`New first weights, of a spread of ${v}.`); }),
          check("Shuffle before each epoch", true, on => { state.shuffle = on; source.restart(); say(on ? "Shuffled: each batch has threes and sevens." : "In order: first all threes, then all sevens."); })), says),
      h("div", {class: "stack"}, curve.svg, h("p", {class: "small"}, h("b", {class: "b"}, "Accuracy"), " and ", h("b", {class: "o"}, "loss"), " on 400 images that are not trained on.")),
      h("div", {class: "stack"}, h("p", {class: "small"}, "Of these 400, the eight that it gets most wrong:"), h("div", {class: "pics"}, ...worst.map(o => h("figure", {}, o.canvas, o.text))))));
  const selects = box.querySelectorAll("select");
  selects[0].value = String(state.size);
  selects[1].value = state.std;
  rates.set(Math.log10(state.lr));
  restart();
  say("Nothing is trained yet: the weights are random.");
}

export default explorable("A digit pulls on its weights", build);
