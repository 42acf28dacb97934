// A new run: what is chosen is checked by the server as it changes, by the command line's own rules.
import { ask, element, say } from "./studio.js";

const $ = (selector, parent = document) => parent.querySelector(selector);
const form = $("#order");
const start = JSON.parse(form.dataset.start || "{}");
let options = { ...start.options };

const model = () => $("input[name=model]:checked", form);
const sources = () => [...form.querySelectorAll(".source:not([hidden]) input:not([type=file])")]
  .map((input) => input.value.trim()).filter(Boolean);
const order = () => ({
  model: model()?.value ?? "", sources: sources(), start_from: $("#start-from").value,
  options: Object.fromEntries(Object.entries(options).filter(([, value]) => value !== "")),
});

// ---- the command, and what is wrong with it

let checks = 0;
async function check() {
  if (isTable() !== isTableForm && forms.has(model()?.value)) showForm(forms.get(model().value).panels);
  const mine = ++checks, request = order(), ready = Boolean(request.model && request.sources.length);
  let problem = "";
  if (ready) {
    try {
      const answer = await ask("/new/check", request);
      ({ problem } = answer);
      if (mine === checks && answer.command) $("#command").textContent = answer.command;
    } catch (error) {
      problem = error.message;
    }
  }
  if (mine !== checks) return;
  $("#problem").textContent = problem;
  if (problem) $("#command").textContent = "";
  for (const field of document.querySelectorAll("#options .field")) {
    const flag = $("label", field).textContent, isWrong = problem.includes(`${flag} `);
    $("input, select, textarea", field).setAttribute("aria-invalid", String(isWrong));
    $(".wrong", field).textContent = isWrong ? problem : "";
  }
  $("#start").disabled = $("#cost-button").disabled = !ready || Boolean(problem);
}
let timer;
const checkSoon = () => { clearTimeout(timer); timer = setTimeout(check, 250); };

// ---- sources

for (const fieldset of form.querySelectorAll(".source")) {
  const text = $("input:not([type=file])", fieldset), fault = $(".error", fieldset);
  text.addEventListener("input", () => { forget(); checkSoon(); });
  for (const input of fieldset.querySelectorAll("input[type=file]")) input.addEventListener("change", () => send(namedFiles(input.files), text, fault));
  fieldset.addEventListener("dragover", (event) => event.preventDefault());
  fieldset.addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
    const isFolder = entries.some((entry) => entry?.isDirectory);
    const files = namedFiles(event.dataTransfer.files);
    send(isFolder ? readable((await Promise.all(entries.map((entry) => inFolder(entry, "")))).flat()) : files, text, fault);
  });
}

// Files and the names by which they are sent; of a folder those that can be read, by their paths in it.
const readable = (files) => files.filter(([name]) => !/(^|\/)\./.test(name) && form.dataset.suffixes.split(" ").some((suffix) => name.toLowerCase().endsWith(suffix)));
function namedFiles(files) {
  const pairs = [...files].map((file) => [file.webkitRelativePath || file.name, file]);
  return [...files].some((file) => file.webkitRelativePath) ? readable(pairs) : pairs;
}
async function inFolder(entry, path) {
  const name = path + entry.name;
  if (entry.isFile) return [[name, await new Promise((resolve, reject) => entry.file(resolve, reject))]];
  const reader = entry.createReader(), files = [];
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files;
    for (const one of some) files.push(...await inFolder(one, `${name}/`));
  }
}

async function send(files, text, fault) {
  fault.hidden = true;
  forget();
  let upload = null, source = "";
  try {
    if (!files.length) throw new Error("There are no files in it that can be learnt from.");
    for (const [i, [name, file]] of files.entries()) {
      say(`Sending ${i + 1} of ${files.length}: ${name}`);
      const query = new URLSearchParams({ name, ...(upload ? { upload } : {}) });
      ({ upload, source } = await ask(`/uploads?${query}`, file));
    }
    text.value = source;
    say("");
    checkSoon();
    if (source) await report();
  } catch (error) {
    say("");
    fault.textContent = error.message;
    fault.hidden = false;
  }
}

// ---- the report on the data

let reports = 0;
function forget() { // a report is of what is named, and of nothing before
  reports += 1;
  $("#report").replaceChildren();
}
$("#report-button").addEventListener("click", report);
async function report() {
  const place = $("#report"), mine = ++reports; // of several that are asked for, only the last is shown
  if (!sources().length) return place.replaceChildren(element("p", { class: "error" }, "Name a source first."));
  place.replaceChildren(element("p", {}, "Reading the data …"));
  try {
    const facts = await ask("/new/data", order());
    if (mine !== reports) return;
    const parts = facts.A ? [facts.A, facts.B] : [facts];
    const columns = element("div", { class: "table-report" });
    columns.innerHTML = facts.table ?? ""; // the server has escaped its values
    place.replaceChildren(
      ...(facts.sheet && !facts.table ? [element("img", { class: "sheet", src: facts.sheet, alt: "A contact sheet of the data" })] : []),
      ...parts.map((part) => describe(part, facts.table ? OF_NUMBERS : [])), columns, ...(facts.warnings ?? []).map((text) => element("p", { class: "advice" }, text)));
  } catch (error) {
    if (mine === reports) place.replaceChildren(element("p", { class: "error" }, error.message));
  }
}

const OF_NUMBERS = ["kind", "shape", "range", "mean", "columns", "associations"]; // which tables have by column
function describe(part, hidden) {
  const rows = Object.entries(part).filter(([name, value]) => !["notes", "advice", "sheet", "contact sheet", "page", "table", ...hidden].includes(name) && hasText(value));
  return element("div", {},
    element("table", { class: "facts" }, element("tbody", {},
      ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, inWords(value)))))),
    ...(part.advice ?? []).map((text) => element("p", { class: "advice" }, text)),
    ...(part.notes ?? []).map((text) => element("p", { class: "note" }, text)));
}
const hasText = (value) => value !== null && value !== "" && value !== 0 && !(typeof value === "object" && !Object.keys(value).length);
function inWords(value) {
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.map(inWords).join("; ");
  if ("count" in value) return `${value.count}` + (value.first?.length ? ` (${value.first.map((x) => [].concat(x).join(" and ")).join("; ")})` : "");
  return Object.entries(value).map(([name, x]) => `${name}: ${inWords(x)}`).join(", ");
}

// ---- the model, and the form of its options

const USUAL = ["steps", "budget", "batch_size", "lr", "latent", "width", "size", "classes", "seed"];
const USUAL_OF_TABLES = ["steps", "budget", "column", "drop", "constraint", "batch_size", "lr", "latent", "width", "seed"];
const isTable = () => sources().some((name) => /\.((csv|tsv)(\.gz)?|parquet|feather|arrow)$/i.test(name));
const OF = { Model: "the model", Training: "training", Data: "the data" };
const forms = new Map();
for (const input of form.querySelectorAll("input[name=model]")) input.addEventListener("change", choose);

async function choose() {
  const choice = model();
  $('.source[data-side="B"]').hidden = choice.dataset.domains !== "2";
  try {
    if (!forms.has(choice.value)) forms.set(choice.value, await ask(`/new/form/${choice.value}`));
    if (model() === choice) showForm(forms.get(choice.value).panels);
  } catch (error) {
    $("#options").replaceChildren(element("p", { class: "error" }, error.message));
  }
  checkSoon();
}

let isTableForm = false;
function showForm(panels) {
  const fieldNames = new Set(panels.flatMap((panel) => panel.fields.map((field) => field.name)));
  options = Object.fromEntries(Object.entries(options).filter(([name]) => fieldNames.has(name)));
  isTableForm = isTable();
  const names = isTableForm ? USUAL_OF_TABLES : USUAL, isUsual = (field) => names.includes(field.name);
  const usual = { title: "Usual options", fields: panels.flatMap((panel) => panel.fields.filter(isUsual)) };
  usual.fields.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
  const rest = panels.map(({ title, fields }) => ({ title: `More of ${OF[title]}`, fields: fields.filter((field) => !isUsual(field)) }));
  $("#options").replaceChildren(...[usual, ...rest].map((panel) => element("details", { open: panel === usual },
    element("summary", {}, panel.title), element("div", { class: "fields" }, ...panel.fields.map(showField)))));
  filter();
}

function showField(field) {
  const id = `option-${field.name}`, value = options[field.name] ?? "";
  const choices = field.kind === "flag" ? [["true", "yes"], ["false", "no"]] : field.choices.map((choice) => [choice, choice]);
  const change = (event) => { options[field.name] = event.target.value.trim(); checkSoon(); };
  const isOpen = field.kind === "text";
  const input = field.kind === "lines"
    ? element("textarea", { id, rows: 2, placeholder: "one a line", spellcheck: "false", oninput: change, "aria-describedby": `${id}-help` }, value)
    : isOpen
    ? element("input", { id, value, placeholder: field.default, autocomplete: "off", spellcheck: "false", oninput: change, list: choices.length ? `${id}-list` : null, "aria-describedby": `${id}-help` })
    : element("select", { id, onchange: change, "aria-describedby": `${id}-help` },
      element("option", { value: "" }, field.default ? `${field.default} (by default)` : "by default"),
      ...choices.map(([choice, text]) => element("option", { value: choice, selected: choice === value }, text)));
  return element("div", { class: "field", "data-text": `${field.flag} ${field.name} ${field.help}`.toLowerCase() },
    element("label", { for: id }, field.flag), input,
    ...(isOpen && choices.length ? [element("datalist", { id: `${id}-list` }, ...choices.map(([choice]) => element("option", { value: choice })))] : []),
    element("small", { class: "error wrong" }), element("small", { id: `${id}-help` }, field.help));
}

$("#find").addEventListener("input", filter);
function filter() {
  const text = $("#find").value.trim().toLowerCase();
  for (const field of document.querySelectorAll("#options .field")) field.hidden = !field.dataset.text.includes(text);
  for (const panel of document.querySelectorAll("#options details")) {
    const n = panel.querySelectorAll(".field:not([hidden])").length;
    panel.hidden = !n;
    if (text) panel.open = true;
  }
}

// ---- what it costs, and the start

$("#cost-button").addEventListener("click", async () => {
  const request = order(), place = $("#cost");
  place.textContent = "Training a few steps …";
  $("#cost-button").disabled = true;
  try {
    const cost = await ask("/new/cost", request);
    place.textContent = `Here: ${cost.text}.`;
    const card = $(`.cost[data-model="${request.model}"]`);
    card.textContent = `${(cost.seconds_per_step * 1000).toPrecision(2)} ms a step here`;
  } catch (error) {
    place.textContent = error.message;
  }
  $("#cost-button").disabled = false;
});

$("#copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("#command").textContent);
    say("The command is copied.");
  } catch {  // of a page that came without TLS from another machine, say
    getSelection().selectAllChildren($("#command"));
    say("The browser does not allow it: the command is selected, so copy it from there.");
  }
});

$("#start-from").addEventListener("change", checkSoon);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  $("#start").disabled = true;
  say("Starting …");
  try {
    const { address } = await ask("/new/start", order());
    location.assign(address);
  } catch (error) {
    say("");
    $("#problem").textContent = error.message;
    $("#start").disabled = false;
  }
});

// ---- as another run was, and equations

(start.sources ?? []).forEach((source, i) => { $(`#source-${"AB"[i]}`).value = source; });
$("#start-from").value = start.start_from ?? "";
const first = start.model && $(`input[name=model][value="${CSS.escape(start.model)}"]`);
if (first) {
  first.checked = true;
  choose();
}
addEventListener("load", () => {
  for (const place of document.querySelectorAll("[data-tex]")) {
    katex.render(place.dataset.tex, place, { throwOnError: false, output: "html" });
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", place.dataset.tex);
  }
});
