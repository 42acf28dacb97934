// One code, turned by sliders: of several requests one runs at a time, and then the newest wish.
import { say } from "./studio.js";

export const $ = (selector, parent = document) => parent.querySelector(selector);
export const all = (selector) => [...document.querySelectorAll(selector)];
export const base = $("#explore").dataset.base;
export const state = { seed: 0, upload: "", label: "", moves: {} };

/** The address of a part of this page's model, with the values that are given. */
export const address = (name, values = {}) => {
  const pairs = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  return `${base}/${name}?${new URLSearchParams(pairs)}`;
};
export const code = () => ({
  seed: state.seed, upload: state.upload, label: state.label,
  z: Object.entries(state.moves).map(([j, value]) => `${j}:${value}`).join(","),
});

let draw = null, busy = false, wish = false;
/** Show what the code is of, where `turn` said how. */
export async function show() {
  if (busy) return void (wish = true);
  busy = true;
  try {
    await draw(code());
    say("");
  } catch (error) {
    say(error.message);
  }
  busy = false;
  if (wish) {
    wish = false;
    show();
  }
}

/** Put a dimension somewhere, or back to where it was drawn: null. */
export function place(j, value) {
  if (value === null) delete state.moves[j];
  else state.moves[j] = Number(value);
  const slider = $(`.slider input[data-j="${j}"]`);
  if (!slider) return;
  slider.value = value ?? 0;
  $("output", slider.parentElement).textContent = value === null ? "as drawn" : Number(value).toFixed(2);
}

/** Begin with the code of a seed, or of a picture that was sent. */
export function start(seed, upload = "") {
  Object.assign(state, { seed, upload });
  for (const j of Object.keys(state.moves)) place(j, null);
  show();
}

/** Let the controls turn the code; `how` shows what a code is of. */
export function turn(how) {
  draw = how;
  for (const slider of all(".slider input")) slider.addEventListener("input", () => { place(slider.dataset.j, slider.value); show(); });
  $("#seed").addEventListener("change", (event) => start(Math.max(0, Math.trunc(Number(event.target.value) || 0))));
  $("#another").addEventListener("click", () => { $("#seed").value = state.seed + 1; start(state.seed + 1); });
  $("#reset").addEventListener("click", () => { for (const slider of all(".slider input")) place(slider.dataset.j, 0); show(); });
  for (const button of all(".class")) button.addEventListener("click", () => {
    state.label = button.dataset.label;
    for (const other of all(".class")) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
  show();
}
