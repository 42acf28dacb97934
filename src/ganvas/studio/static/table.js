// Exploring a model of a table: the server answers with parts of the page, whose values it has escaped.
import { ask, say } from "./studio.js";

const $ = (selector, parent = document) => parent.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const base = $("#explore").dataset.base;
const address = (name, values = {}) => `${base}/${name}?${new URLSearchParams(values)}`;

/** Show a part of the page in an element, or the sentence that the server answers in its place. */
async function show(id, wanted) {
  const fault = $(`#${id}-error`);
  fault.hidden = true;
  $(`#${id}`).setAttribute("aria-busy", "true");
  try {
    $(`#${id}`).innerHTML = await (await ask(wanted)).text();
  } catch (error) {
    $(`#${id}`).replaceChildren();
    fault.textContent = error.message;
    fault.hidden = false;
  }
  $(`#${id}`).removeAttribute("aria-busy");
}

// ---- rows, and how columns spread

const form = $("#where");
const given = () => Object.fromEntries([...new FormData(form)].filter(([name, value]) => name !== "n" && value.trim()));
function setLink() {
  $("#save-rows").href = address("rows.csv", { ...given(), n: form.elements.namedItem("n").value });
}
form.addEventListener("input", setLink);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  show("rows", address("rows", given()));
});
setLink();
show("rows", address("rows", given()));

let draws = 0;
for (const button of all(".part")) button.addEventListener("click", async () => {
  const { part, into } = button.dataset;
  button.disabled = true;
  say("Working …");
  const { seed, ...where } = given();
  await show(into, address(part, part === "marginals" ? { seed, ...where } : { seed: draws++ }));
  say("");
  button.disabled = false;
});

// ---- one code: one request at a time, then the newest wish

const state = { seed: 0, moves: {} };
let busy = false, wish = false;
async function showRow() {
  if (busy) return void (wish = true);
  busy = true;
  const z = Object.entries(state.moves).map(([j, value]) => `${j}:${value}`).join(",");
  try {
    $("#row").innerHTML = await (await ask(address("row", { seed: state.seed, z }))).text();
  } catch (error) {
    say(error.message);
  }
  busy = false;
  if (wish) {
    wish = false;
    showRow();
  }
}

function place(slider, value) {
  if (value === null) delete state.moves[slider.dataset.j];
  else state.moves[slider.dataset.j] = Number(value);
  slider.value = value ?? 0;
  $("output", slider.parentElement).textContent = value === null ? "as drawn" : Number(value).toFixed(2);
}
function start(seed) {
  state.seed = seed;
  for (const slider of all(".slider input")) place(slider, null);
  showRow();
}
for (const slider of all(".slider input")) slider.addEventListener("input", () => { place(slider, slider.value); showRow(); });
$("#seed").addEventListener("change", (event) => start(Math.max(0, Math.trunc(Number(event.target.value) || 0))));
$("#another").addEventListener("click", () => { $("#seed").value = state.seed + 1; start(state.seed + 1); });
$("#reset").addEventListener("click", () => { for (const slider of all(".slider input")) place(slider, 0); showRow(); });
showRow();
