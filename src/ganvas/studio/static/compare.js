// Several runs side by side: curves on one axis, previews of the same step, samples of one latent seed.
import { makeCharts, panelsOf } from "./chart.js";
import { showSamples } from "./samples.js";
import { ask, element } from "./studio.js";

const $ = (id) => document.getElementById(id);
const runs = [...document.querySelectorAll("#compared > li")].map((item, i) => ({
  item, color: i, name: item.dataset.name, address: item.dataset.address, steps: JSON.parse(item.dataset.steps), panels: [],
}));

if (runs.length) {
  /* previews */
  const steps = [...new Set(runs.flatMap((run) => run.steps))].sort((a, b) => a - b);
  const charts = makeCharts($("curves"), "Curves of the runs");
  const showPreviews = () => {
    const step = steps[Number($("slider").value)];
    if (step === undefined) return;
    $("step").textContent = step.toLocaleString("en");
    $("slider").setAttribute("aria-valuetext", `step ${step}`);
    charts.mark(step);
    for (const { item, name, address, steps: own } of runs) {
      const latest = own.findLast((one) => one <= step), image = item.querySelector("img");
      image.hidden = latest === undefined;
      item.querySelector("figcaption").textContent = latest === undefined ? "no preview yet" : `step ${latest.toLocaleString("en")}`;
      if (latest === undefined) continue;
      image.src = `${address}/previews/${latest}.png`;
      image.alt = `Preview of ${name} at step ${latest}`;
    }
  };
  $("slider").max = Math.max(steps.length - 1, 0);
  $("slider").value = steps.length - 1;
  $("slider").addEventListener("input", showPreviews);

  /* samples */
  $("sample").addEventListener("submit", async (event) => {
    event.preventDefault();
    const seed = new FormData(event.target).get("seed");
    for (const { item, name } of runs) {
      const place = item.querySelector(".samples-of");
      if (item.dataset.weights === "true") await showSamples(place, name, seed);
      else place.replaceChildren(element("p", {}, "It has no weights to draw samples with."));
    }
  });

  /* curves */
  const show = () => {
    const [group, figure] = JSON.parse($("figure").value || "[]");
    const series = runs.map(({ name, color, panels }) => ({
      name, color, points: panels.find((panel) => panel.name === group)?.series.find((one) => one.name === figure)?.points ?? [],
    }));
    charts.show(figure === undefined ? [] : [{ name: `${group}: ${figure}`, series }]);
  };
  $("figure").addEventListener("change", show);
  showPreviews();
  const problems = [];
  for (const run of runs) {
    try {
      run.panels = panelsOf((await ask(`${run.address}/log`)).lines);
    } catch (error) {
      problems.push(error.message);
    }
  }
  const figures = new Map();
  for (const { panels } of runs) {
    for (const panel of panels) {
      for (const { name } of panel.series) {
        const key = JSON.stringify([panel.name, name]);
        figures.set(key, (figures.get(key) ?? 0) + 1);
      }
    }
  }
  const names = [...figures].sort(([, a], [, b]) => b - a); // what most runs have comes first
  $("figure").append(...names.map(([key, n]) => element("option", { value: key }, `${JSON.parse(key).join(": ")}${n < runs.length ? ` (${n} of ${runs.length})` : ""}`)));
  if (!names.length) problems.push("The logs have no lines yet.");
  $("note").textContent = problems.join("; ");
  show();
  showPreviews();
}
