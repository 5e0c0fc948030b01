// A digit pulls on its weights; then two thousand do.
import {look, mnistLoss, sigmoid} from "./engine.js";
import {bold, button, check, choice, explorable, figure, fmt, h, label, paint, pause, pics, picture, range, rate, runner, sayer, slider, small, stack, tools} from "./kit.js";
import {TRAIN, loadDigits, training} from "./train.js";

const EPOCHS = 10;

async function build({host, values}) {
  if (!(values.lr > 0) || !(values.std >= 0)) throw new Error("it needs a learning rate above 0, and a spread of the first weights");
  const digits = await loadDigits(values.file), run = training(digits), how = {size: 64, shuffle: true, lr: values.lr}, {el: says, say, rest} = sayer();
  const [image, weights, products, pulls] = ["The image", "784 weights", "The image times the weights", "The pull on each weight"].map(o => picture(o)), forth = h("p"), back = h("p");
  await pause();
  const worst = range(8, () => ({canvas: picture(""), text: h("span"), shown: -1}));
  const which = slider("Which training image?", {min: 0, max: TRAIN - 1, step: 1, show: v => `no. ${v + 1}, a ${digits.target(v) ? 3 : 7}`, input: v => { chosen = v; showOne(); rest(forth.textContent); }});
  const rates = slider("Learning rate lr", {min: -3, max: 2, step: 0.25, show: v => rate(10 ** v), input: v => { how.lr = 10 ** v; }});
  let chosen = 0, goal = 0, turn = null, std = values.std;

  function showOne() {
    const x = digits.image(chosen), y = [digits.target(chosen)], digit = y[0] ? 3 : 7, {preds: [score], loss, slopes: [slope], grads: [{w: grad}]} = look(run.net, x, y, mnistLoss);
    const [{w, b: [bias]}] = run.net, parts = w.map((v, i) => v * x[i]);
    paint(image, x);
    paint(weights, w, true);
    paint(products, parts, true);
    paint(pulls, grad.map(v => -v), true);
    forth.replaceChildren("Forward: image times weights, added up, is ", bold(fmt(score - bias)), `, plus the bias of ${fmt(bias)} `, bold(fmt(score)),
      ". Its sigmoid, the probability of a 3, is ", bold(fmt(sigmoid(score), 3)), `. It is a ${digit}, so the loss is `, bold(fmt(loss, 3)), ".");
    back.replaceChildren("Back: the loss pulls on the score with ", bold(fmt(slope, 4), "o"), Math.abs(slope) < 1e-4 ? ": next to nothing, as the sigmoid is flat there. " : `: it should ${slope < 0 ? "rise" : "fall"}. `,
      "Each weight gets that pull times its pixel: where there is no ink, none.");
    which.set(chosen);
  }

  async function measure() { validate(); await pause(); showOne(); }

  function validate() {
    run.measure().forEach(({i, digit, prob}, k) => {
      const o = worst[k];
      o.text.textContent = `a ${digit}: P(3) = ${fmt(prob)}`;
      if (o.shown === i) return;
      o.shown = i;
      paint(o.canvas, digits.image(i));
      label(o.canvas, `A ${digit}`);
    });
  }

  // Steps on about 64 images, then what came of it
  function some() {
    if (!turn) return turn = run.train(how, Math.round(64 / how.size));
    const {most, last} = turn;
    if (!turn.seen) { validate(); return turn.seen = true; }
    turn = null;
    showOne();
    if (most === 0) return say(`${run.result} No weight moves any more: all probabilities are 0 or 1, and there the sigmoid is flat. Start again, with a smaller rate.`);
    if (last) (run.epochs < goal ? rest : say)(run.result);
    return run.epochs < goal;
  }

  const walk = runner(host, `Train ${EPOCHS} epochs`, some, {jump: false, main: true, begin: () => { goal = run.epochs + EPOCHS; turn = null; }, stopped: () => { measure(); say(`Stopped. ${run.result}`); }});

  async function restart(words) {
    walk.stop();
    run.restart([784, 1], () => Number(std));
    await pause();
    measure();
    say(words);
  }

  rates.set(Math.log10(how.lr));
  await pause();
  restart("Nothing is trained yet: the weights are random.");
  return [stack(which.el, pics(figure(image, "the image"), figure(weights, "the weights"), figure(products, "their products"), figure(pulls, "pull on each weight")), forth, back,
      small("Blue is above zero, or should rise; orange is below, or should fall. Each picture has a scale of its own.")),
    stack(tools(walk.el, button("One step", () => { walk.stop(); run.train(how, 1); measure(); say(run.result); }), button("Start again", () => restart("New first weights."))), rates.el,
      tools(choice("Images in a batch", [1, 16, 64, 256], how.size, v => { how.size = Number(v); run.source.restart(); }),
        choice("First weights, std", [0.01, 1], std, v => { std = v; restart(`New first weights, of a spread of ${v}.`); }),
        check("Shuffle before each epoch", on => { how.shuffle = on; run.source.restart(); say(on ? "Shuffled: each batch has threes and sevens." : "In order: first all threes, then all sevens."); })), says),
    stack(run.curve.svg, small(bold("Accuracy", "b"), " and ", bold("loss", "o"), " on 400 images that are not trained on.")),
    stack(small("Of these 400, the eight that it gets most wrong:"), pics(...worst.map(o => figure(o.canvas, o.text))))];
}

export default explorable("How hard does each pixel pull on its weight?", "Choose a digit, and follow it forward and back. Then let two thousand of them pull, batch after batch.", build);
