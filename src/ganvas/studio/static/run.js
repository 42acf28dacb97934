// A run's page: previews, curves, the doctor, and what can be done with the run; it follows the run.
import { makeCharts, panelsOf } from "./chart.js";
import { follow } from "./live.js";
import { showSamples } from "./samples.js";
import { ask, element, say } from "./studio.js";

const $ = (id) => document.getElementById(id);
const { name, address, state: firstState } = $("run").dataset;

/* previews */
let steps = JSON.parse($("previews").dataset.steps), player = null;
const charts = makeCharts($("curves"), "Curves of the run");

function showPreview() {
  const step = steps[Number($("slider").value)];
  if (step === undefined) return;
  const source = `${address}/previews/${step}.png`;
  if ($("preview").getAttribute("src") !== source) $("preview").src = source;
  $("preview").alt = `Preview of step ${step}`;
  $("step").textContent = `step ${step.toLocaleString("en")}`;
  $("slider").setAttribute("aria-valuetext", `step ${step}`);
  charts.mark(step);
}

function setSteps(newSteps) {
  const atEnd = !$("step").textContent || Number($("slider").value) >= steps.length - 1, step = steps[Number($("slider").value)];
  steps = newSteps;
  $("previews").hidden = !steps.length;
  $("slider").max = Math.max(steps.length - 1, 0);
  const now = steps.indexOf(step);
  $("slider").value = atEnd || now < 0 ? steps.length - 1 : now;
  showPreview();
}

function play(on) {
  clearInterval(player);
  player = on ? setInterval(() => {
    $("slider").value = (Number($("slider").value) + 1) % steps.length;
    showPreview();
  }, 400) : null;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
}

$("slider").addEventListener("input", showPreview);
$("play").addEventListener("click", () => play(player === null));

/* curves and the doctor */
let lines = [], lanes = [], at = "", askTime = 0;

async function readCurves() {
  try {
    const log = await ask(`${address}/log`);
    ({ lines, at } = log);
    const notes = [...log.notes];
    if (log.every > 1) notes.push(`of the log every ${log.every}. line is drawn`);
    if (!lines.length) notes.push("The log has no lines yet.");
    $("curves-note").textContent = notes.join("; ");
    drawCurves();
  } catch (error) {
    $("curves-note").textContent = error.message;
  }
}

const drawCurves = () => charts.show(panelsOf(lines), [...lanes, ...eventLanes()]);

/** What happened at single steps, as the log says it. */
function eventLanes() {
  const events = lines.flatMap(({ step, events }) => (events ?? []).map(() => [step, step]));
  return events.length ? [{ name: "NaN or infinite", alarm: true, spans: events }] : [];
}

async function readDoctor() {
  askTime = Date.now();
  try {
    const findings = await ask(`${address}/doctor`);
    if (findings.reason) throw new Error(findings.reason);
    lanes = findings.history;
    showDoctor(findings);
    drawCurves();
  } catch (error) {
    $("doctor").replaceChildren(element("p", { class: "lead" }, error.message));
  }
}

function showDoctor({ diagnoses, verdict, step, steps: last, history }) {
  const now = new Set(diagnoses.map((d) => d.name));
  const past = history.filter((finding) => !now.has(finding.name));
  $("doctor").replaceChildren(
    element("p", { class: "lead" }, `${verdict ? `${verdict}: ` : ""}step ${step.toLocaleString("en")} of ${last.toLocaleString("en")}`),
    ...diagnoses.map((d) => element("article", { class: d.alarm ? "finding alarm" : "finding" },
      element("h3", {}, d.name + (d.alarm ? "" : " (no alarm)")), element("p", {}, d.evidence),
      element("p", {}, "Remedies: ", d.remedies.join(", ")),
      ...(d.command ? [command(d.command)] : []), element("p", {}, element("small", {}, `more: ${d.page}`)))),
    ...past.map((finding) => element("p", { class: "lead" },
      `${finding.name}, steps ${finding.spans.map(([a, b]) => (a === b ? a : `${a} to ${b}`)).join(", ")}: ${finding.evidence}`)),
  );
}

const command = (text) => element("div", { class: "command" }, element("code", {}, text), element("button", { class: "quiet", "data-copy": text }, "Copy"));

document.addEventListener("click", async ({ target }) => {
  const text = target.dataset?.copy;
  if (text === undefined) return;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(target.previousElementSibling);
    say("The browser does not let pages copy: the command is selected, press Ctrl-C.");
  }
});

/* state */
const duration = (seconds) => (seconds >= 60 ? `${Math.floor(Math.round(seconds) / 60)} min ${String(Math.round(seconds) % 60).padStart(2, "0")} s` : `${Math.round(seconds)} s`);

function showCard(card) {
  const facts = [`step ${card.step.toLocaleString("en")} of ${card.steps.toLocaleString("en")}`, duration(card.seconds)];
  if (card.speed) facts.push(`${Math.round(card.speed).toLocaleString("en")} examples/s`);
  if (card.seconds_left !== null) facts.push(`${duration(card.seconds_left)} left`);
  if (card.best) facts.push(`best ${card.best.metric} ${Number(card.best.value.toPrecision(3))} at step ${card.best.step}`);
  $("facts").textContent = card.steps ? facts.join(" · ") : "";
  $("progress").className = card.state;
  $("state").textContent = card.state;
  $("bar").max = Math.max(card.steps, 1);
  $("bar").value = card.step;
  $("error").hidden = !card.error;
  $("error").textContent = card.error;
  showState(card.state);
}

function showState(state) {
  $("stop").hidden = state !== "training";
  $("resume").hidden = !["stopped", "diverged"].includes(state);
}

for (const what of ["stop", "resume"]) {
  $(what).addEventListener("click", async () => {
    $(what).disabled = true;
    try {
      say((await ask(`${address}/${what}`, {})).said);
      if (what === "resume") {
        $("resume").hidden = true;
        $("state").textContent = "resuming …";
        watchProcess();
      }
    } catch (error) {
      say(error.message);
    }
    setTimeout(() => ($(what).disabled = false), 1500);
  });
}

/** Whether a process that goes on with the run says why it does not. */
async function watchProcess() {
  for (let i = 0; i < 60; i++) {
    await new Promise((done) => setTimeout(done, 1000));
    const { lines } = await ask(`${address}/said`).catch(() => ({ lines: [] }));
    const last = lines.at(-1) ?? "";
    if ($("said")) $("said").textContent = lines.join("\n");
    if (last.startsWith("ganvas: ")) return say(last.slice("ganvas: ".length));
    if ($("state").textContent === "training") return say("");
  }
}

$("check").addEventListener("click", async () => {
  $("check").disabled = true;
  try {
    $("checked").textContent = (await ask(`${address}/check`)).join("\n");
  } catch (error) {
    $("checked").textContent = error.message;
  }
  $("checked").hidden = $("check").disabled = false;
});

$("sample").addEventListener("submit", (event) => {
  event.preventDefault();
  showSamples($("samples"), name, new FormData(event.target).get("seed"));
});

showState(firstState);
setSteps(steps);
await readCurves();
readDoctor();
let preview = steps.at(-1) ?? null;
follow(() => `/live/${encodeURIComponent(name)}?at=${at}`, {
  async card(card) {
    const isDone = $("state").textContent === "training" && card.state !== "training";
    showCard(card);
    if (card.preview !== preview) {
      preview = card.preview;
      setSteps(await ask(`${address}/steps`));
    }
    if (isDone || (card.state === "training" && Date.now() - askTime > 20_000)) readDoctor();
  },
  lines(more, identity) {
    lines = lines.concat(more);
    at = identity;
    if (lines.length > 5000) readCurves(); // thinned out by the server
    else drawCurves();
  },
  anew: readCurves,
  gone: () => say("This run's folder was removed."),
});
