"use strict";
{
  const byId = (id) => document.getElementById(id), slider = byId("cluster"), data = byId("examples");
  const maps = [...document.querySelectorAll(".plane")].map((plane) => ({ plane, canvas: null }));
  const cells = { example: [...document.querySelectorAll(".of-example")], all: [...document.querySelectorAll(".of-all")] };
  const CORRELATIONS = [1, 2], LOSS = 6, SHOWN = 3; // rows of the table; units of the plane on either side of 0
  let run = null, chosen = 1; // between the axes

  const at = (array, i) => [...lecture.row(array, i).values];
  const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const fixed = (v, digits = 3) => v.toFixed(digits).replace("-", "−");

  /** The rows of the table for an example of a model, as numbers; the first has two. */
  function numbers(model, i) {
    const [xx, xy, yy] = at(model.covariance, i), [kl1, kl2] = at(model.kl, i), nll = model.nll.values[i];
    const correlations = [xy / Math.sqrt(xx * yy), model.correlation.values[i]];
    const terms = [kl1, kl2, nll, kl1 + kl2 + nll, -model.log_evidence.values[i], model.gap.values[i]];
    return [[Math.sqrt(xx), Math.sqrt(yy)], ...correlations, ...terms];
  }

  function fillTable() {
    const losses = run.models.map((model, m) => {
      const every = Array.from({ length: model.mean.shape[0] }, (_, i) => numbers(model, i));
      const average = every[0].map((_, row) => {
        const column = every.map((rows) => rows[row]);
        if (row === 0) return [0, 1].map((j) => mean(column.map((pair) => pair[j])));
        return mean(CORRELATIONS.includes(row) ? column.map(Math.abs) : column);
      });
      const text = (v) => (Array.isArray(v) ? v.map((u) => fixed(u, 2)).join(", ") : fixed(v));
      numbers(model, run.first[chosen]).forEach((value, row) => {
        cells.example[2 * row + m].textContent = text(value);
        cells.all[2 * row + m].textContent = CORRELATIONS.includes(row) ? `|${text(average[row])}|` : text(average[row]);
      });
      return average[LOSS];
    });
    const better = losses[1] < losses[0] ? "full" : "diagonal";
    const lower = fixed(Math.abs(losses[0] - losses[1])), n = run.examples.shape[0];
    byId("verdict").textContent = `Over ${n} examples the loss is ${lower} nats lower with the ${better} covariance.`;
  }

  /** The true posteriors of all clusters, that of the one that is chosen strongest. */
  function paintPosteriors(canvas, { posterior }) {
    const n = posterior.shape[1], picture = new ImageData(n, n), small = new OffscreenCanvas(n, n);
    const hex = draw.colour("third"), [r, g, b] = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    for (let p = 0; p < n * n; p++) {
      let most = 0;
      for (let k = 0; k < posterior.shape[0]; k++) {
        most = Math.max(most, (k === chosen ? 0.95 : 0.3) * posterior.values[k * n * n + p]);
      }
      picture.data.set([r, g, b, most], 4 * p);
    }
    small.getContext("2d").putImageData(picture, 0, 0);
    const reach = run.reach * (1 + 1 / (n - 1)); // half a place around the lattice
    const [x, y] = [canvas.x(-reach), canvas.y(reach)];
    canvas.context.drawImage(small, x, y, canvas.x(reach) - x, canvas.y(-reach) - y);
  }

  function paintMap(map, m) {
    const model = run.models[m], canvas = (map.canvas = draw.plane(map.plane, [-SHOWN, SHOWN, -SHOWN, SHOWN]));
    paintPosteriors(canvas, model);
    canvas.line([-SHOWN, SHOWN], [0, 0], "line", { width: 1 });
    canvas.line([0, 0], [-SHOWN, SHOWN], "line", { width: 1 });
    for (const radius of [1, 2]) canvas.ellipse([0, 0], [1, 0, 1], "soft", radius, { width: 1, dash: [5, 4] });
    run.first.forEach((i, k) => {
      for (const radius of k === chosen ? [1, 2] : [1]) {
        const width = k !== chosen ? 1 : radius === 1 ? 3.5 : 1.5;
        canvas.ellipse(at(model.mean, i), at(model.covariance, i), "ink", radius, { width });
      }
    });
  }

  function paintData() {
    const canvas = draw.plane(data, [-2, 2, -2, 2]), { context } = canvas, [x, y] = at(run.examples, run.first[chosen]);
    canvas.points(run.examples, "soft", 2.5, 0.6);
    context.strokeStyle = draw.colour("ink");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(canvas.x(x), canvas.y(y), 10, 0, 2 * Math.PI);
    context.stroke();
    return canvas;
  }

  function paintBest() {
    const rho = Number(byId("slider-rho").value), variance = 1 - rho * rho;
    const plane = draw.plane(byId("best"), [-3, 3, -3, 3], { axes: ["z₁", "z₂"] });
    for (const radius of [1, 2]) {
      plane.ellipse([0, 0], [1, rho, 1], "real", radius, { width: 4 - radius });
      plane.ellipse([0, 0], [variance, 0, variance], "fake", radius, { width: 4 - radius });
    }
    byId("rho").textContent = fixed(rho, 2);
    byId("loss-of-best").textContent = `The best diagonal q has the deviations ${fixed(Math.sqrt(variance), 2)}, where p(z|x) has 1. ` +
      `KL(q ‖ p(z|x)) = ${fixed(-0.5 * Math.log(variance))} nats.`;
  }

  const paint = () => {
    maps.forEach(paintMap);
    paintData();
    paintBest();
  };

  function show(cluster) {
    chosen = cluster;
    slider.value = cluster;
    byId("number").textContent = `${cluster + 1} of ${run.first.length}`;
    slider.setAttribute("aria-valuetext", byId("number").textContent);
    fillTable();
    paint();
  }

  /** Choose the cluster whose point, of these n x 2, is nearest to where a canvas was clicked. */
  function showNearest(canvas, element, event, { values }) {
    const box = element.getBoundingClientRect(), [u, v] = canvas.inverse(event.clientX - box.left, event.clientY - box.top);
    const far = run.first.map((i) => Math.hypot(values[2 * i] - u, values[2 * i + 1] - v));
    show(far.indexOf(Math.min(...far)));
  }

  lecture.choose((recording) => {
    run = recording;
    show(chosen);
  });
  maps.forEach((map, m) => map.plane.addEventListener("click", (event) => {
    showNearest(map.canvas, map.plane, event, run.models[m].mean);
  }));
  data.addEventListener("click", (event) => showNearest(paintData(), data, event, run.examples));
  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("slider-rho").addEventListener("input", paintBest);
  draw.whenResized([...maps.map((map) => map.plane), data, byId("best")], paint);
}
