// Exploring a model of a table: the server answers with parts of the page, whose values it has escaped.
import { ask, say } from "./studio.js";
import { $, address, all, turn } from "./code.js";

/** Show a part of the page in an element, or the sentence that the server answers in its place. */
async function show(id, source) {
  const fault = $(`#${id}-error`);
  fault.hidden = true;
  $(`#${id}`).setAttribute("aria-busy", "true");
  try {
    $(`#${id}`).innerHTML = await (await ask(source)).text();
  } catch (error) {
    $(`#${id}`).replaceChildren();
    fault.textContent = error.message;
    fault.hidden = false;
  }
  $(`#${id}`).removeAttribute("aria-busy");
}

// ---- rows, and how columns spread

const form = $("#where");
const values = () => Object.fromEntries([...new FormData(form)].filter(([name, value]) => name !== "n" && value.trim()));
function setLink() {
  $("#save-rows").href = address("rows.csv", { ...values(), n: form.elements.namedItem("n").value });
}
form.addEventListener("input", setLink);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  show("rows", address("rows", values()));
});
setLink();
show("rows", address("rows", values()));

let draws = 0;
for (const button of all(".part")) button.addEventListener("click", async () => {
  const { part, into } = button.dataset;
  button.disabled = true;
  say("Working …");
  const { seed, ...where } = values();
  await show(into, address(part, part === "marginals" ? { seed, ...where } : { seed: draws++ }));
  say("");
  button.disabled = false;
});

// ---- one code

turn(async ({ seed, z }) => {
  $("#row").innerHTML = await (await ask(address("row", { seed, z }))).text();
});
