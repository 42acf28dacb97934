"use strict";
{
  const maps = [...document.querySelectorAll(".map")].map((figure) => ({
    plane: figure.querySelector(".plane"), example: figure.querySelector(".example"), rebuilt: figure.querySelector(".rebuilt"),
    canvas: null,
  }));
  const byId = (id) => document.getElementById(id), slider = byId("example"), near = byId("near");
  const cells = { example: [...document.querySelectorAll(".of-example")], all: [...document.querySelectorAll(".of-all")] };
  const CORRELATIONS = [1, 8]; // rows of the table, of which the mean is that of absolute values
  let run = null, chosen = 0;

  const at = (array, i) => [...lecture.row(array, i).values];
  const one = (pictures, i) => ({ shape: [1, ...pictures.shape.slice(1)], values: lecture.row(pictures, i).values });
  const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const fixed = (v, digits = 2) => v.toFixed(digits).replace("-", "−");

  /** The rows of the table for an example of a model, as numbers; the first has two. */
  function numbers(model, i) {
    const [xx, xy, yy] = at(model.covariance, i), [kl1, kl2] = at(model.kl, i), nll = model.nll.values[i];
    const correlation = xy / Math.sqrt(xx * yy), evidence = -model.log_evidence.values[i], rho = model.correlation.values[i];
    const fit = [model.gap.values[i], rho, -0.5 * Math.log(1 - rho * rho)];
    return [[Math.sqrt(xx), Math.sqrt(yy)], correlation, kl1, kl2, nll, kl1 + kl2 + nll, evidence, ...fit];
  }

  function fillTable() {
    run.models.forEach((model, m) => {
      const every = Array.from({ length: model.mean.shape[0] }, (_, i) => numbers(model, i));
      numbers(model, chosen).forEach((value, row) => {
        const column = every.map((rows) => rows[row]);
        const isSigned = CORRELATIONS.includes(row);
        const average = row === 0 ? [0, 1].map((j) => mean(column.map((pair) => pair[j])))
          : mean(isSigned ? column.map(Math.abs) : column);
        const text = (v) => (Array.isArray(v) ? v.map((u) => fixed(u)).join(", ") : fixed(v));
        cells.example[2 * row + m].textContent = text(value);
        cells.all[2 * row + m].textContent = isSigned ? `|${text(average)}|` : text(average);
      });
    });
  }

  /** The true posterior of the example that is chosen, in its place on a map. */
  function paintPosterior(map, model) {
    const { context } = map.canvas, { shape, values } = lecture.row(model.posterior, chosen), n = shape[0];
    const picture = new ImageData(n, n), small = new OffscreenCanvas(n, n);
    const hex = draw.colour("third"), [r, g, b] = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    values.forEach((v, p) => picture.data.set([r, g, b, 0.85 * v], 4 * p));
    small.getContext("2d").putImageData(picture, 0, 0);
    const [column, row] = at(model.corner, chosen);
    const [left, top] = [-run.reach + (column - 0.5) * run.step, run.reach - (row - 0.5) * run.step], size = n * run.step;
    const [x, y] = [map.canvas.x(left), map.canvas.y(top)];
    context.drawImage(small, x, y, map.canvas.x(left + size) - x, map.canvas.y(top - size) - y);
  }

  function paintMap(map, m) {
    const model = run.models[m], [u, v] = at(model.mean, chosen);
    const spread = Math.max(...[0, 2].map((k) => Math.sqrt(at(model.covariance, chosen)[k])));
    const all = Math.max(3, ...model.mean.values.map(Math.abs)) + 0.3, r = Math.max(0.5, 4 * spread);
    const box = near.checked ? [u - r, u + r, v - r, v + r] : [-all, all, -all, all];
    map.canvas = draw.plane(map.plane, box, { axes: ["z₁", "z₂"] });
    const { context, width, height } = map.canvas;
    context.save();
    context.beginPath();
    context.rect(46, 10, width - 56, height - 48);
    context.clip();
    paintPosterior(map, model);
    for (const radius of [1, 2]) map.canvas.ellipse([0, 0], [1, 0, 1], "soft", radius, { width: 1, dash: [5, 4] });
    for (let i = 0; i < model.mean.shape[0]; i++) {
      const [red, green, blue] = at(run.colours, i);
      map.canvas.ellipse(at(model.mean, i), at(model.covariance, i), `rgb(${red},${green},${blue})`, 1, { width: 1 });
    }
    for (const radius of [1, 2]) {
      map.canvas.ellipse([u, v], at(model.covariance, chosen), "ink", radius, { width: radius === 1 ? 3 : 1.5 });
    }
    context.restore();
    draw.pictures(map.example, one(run.examples, chosen));
    draw.pictures(map.rebuilt, one(model.rebuilt, chosen));
  }

  function paintBest() {
    const rho = Number(byId("slider-rho").value), variance = 1 - rho * rho;
    const plane = draw.plane(byId("best"), [-3, 3, -3, 3], { axes: ["z₁", "z₂"] });
    for (const radius of [1, 2]) {
      plane.ellipse([0, 0], [1, rho, 1], "real", radius, { width: 3 - radius });
      plane.ellipse([0, 0], [variance, 0, variance], "fake", radius, { width: 4 - radius });
    }
    byId("rho").textContent = fixed(rho);
    byId("loss-of-best").textContent = `The best diagonal q has the deviations ${fixed(Math.sqrt(variance))}, where p(z|x) has 1. ` +
      `KL(q ‖ p(z|x)) = ${fixed(-0.5 * Math.log(variance), 3)} nats.`;
  }

  const paint = () => {
    maps.forEach(paintMap);
    paintBest();
  };

  function show(i) {
    chosen = i;
    slider.value = i;
    byId("number").textContent = `${i + 1} of ${run.examples.shape[0]}`;
    slider.setAttribute("aria-valuetext", byId("number").textContent);
    fillTable();
    paint();
  }

  /** The example whose KL(q || p(z|x)) is greatest among the diagonal ones. */
  const worst = () => run.models[0].gap.values.reduce((best, v, i, gaps) => (v > gaps[best] ? i : best), 0);

  lecture.choose((recording) => {
    const isFirst = run === null;
    run = recording;
    slider.max = run.examples.shape[0] - 1;
    show(isFirst ? worst() : chosen);
  });
  maps.forEach((map, m) => map.plane.addEventListener("click", (event) => {
    const box = map.plane.getBoundingClientRect();
    const [u, v] = map.canvas.inverse(event.clientX - box.left, event.clientY - box.top);
    const { values, shape } = run.models[m].mean, far = (i) => Math.hypot(values[2 * i] - u, values[2 * i + 1] - v);
    show(Array.from({ length: shape[0] }, (_, i) => i).reduce((best, i) => (far(i) < far(best) ? i : best)));
  }));
  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("gap").addEventListener("click", () => show(worst()));
  near.addEventListener("change", paint);
  byId("slider-rho").addEventListener("input", paintBest);
  draw.whenResized([...maps.map((map) => map.plane), byId("best")], paint);
}
