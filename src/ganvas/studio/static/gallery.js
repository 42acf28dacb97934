// The gallery: cards follow their runs; search, sort, and choose several to compare.
import { follow } from "./live.js";
import { element } from "./studio.js";

const $ = (id) => document.getElementById(id);
const list = $("runs");
const choice = new Set();
const cardsByName = new Map([...list.children].map((card) => [card.dataset.name, card]));

/** The value by which a card is sorted, ascending; cards without one come last. */
function rank(card, key) {
  const { created, name, share, best, left } = card.dataset;
  switch (key) {
    case "name": return name;
    case "share": return -Number(share);
    case "best": return best === undefined ? Infinity : Number(best);
    case "left": return left === undefined ? Infinity : Number(left);
    default: return created;
  }
}

/** Show the cards that are searched for, in order. */
function arrange() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = $("state").value, key = $("sort").value;
  const cards = [...cardsByName.values()];
  const ranks = new Map(cards.map((card) => [card, rank(card, key)]));
  const order = (a, b) => (ranks.get(a) < ranks.get(b) ? -1 : ranks.get(a) > ranks.get(b) ? 1 : 0);
  cards.sort(key === "created" ? (a, b) => starts(b) - starts(a) || order(b, a) : order);
  let n = 0;
  cards.forEach((card, i) => {
    const text = card.textContent.toLowerCase();
    card.hidden = !(words.every((word) => text.includes(word)) && (!state || card.dataset.state === state));
    n += !card.hidden;
    if (list.children[i] !== card) list.insertBefore(card, list.children[i] ?? null);
  });
  const text = n === cards.length ? `${n} run${n === 1 ? "" : "s"}` : `${n} of ${cards.length} runs`;
  if ($("count").textContent !== text) $("count").textContent = text;
  $("none").hidden = cards.length > 0;
  $("tools").hidden = cards.length === 0;
}

const starts = (card) => Number(!card.querySelector("[name=run]"));

/** Put a card as it is now in the place of what it was; its picture stays where it is the same. */
function replaceCard(name, html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the server has escaped every value in it
  const card = template.content.firstElementChild, old = cardsByName.get(name);
  const image = card.querySelector("img"), before = old?.querySelector("img");
  if (image && before && image.getAttribute("src") === before.getAttribute("src")) image.replaceWith(before);
  const focused = old?.contains(document.activeElement) ? document.activeElement : null;
  const box = card.querySelector("[name=run]");
  if (box) box.checked = choice.has(name);
  cardsByName.set(name, card);
  if (old) old.replaceWith(card);
  else list.prepend(card);
  if (focused) card.querySelector(focused.matches("[name=run]") ? "[name=run]" : ".name")?.focus();
}

/** The bar that says how many are chosen. */
function showChoice() {
  const form = $("chosen");
  form.hidden = choice.size === 0;
  form.querySelectorAll("[type=hidden]").forEach((input) => input.remove());
  form.append(...[...choice].map((name) => element("input", { type: "hidden", name: "run", value: name })));
  $("number").textContent = choice.size === 1 ? "1 run chosen: choose another" : `${choice.size} runs chosen`;
  form.querySelector("button").disabled = choice.size < 2;
}

list.addEventListener("change", ({ target }) => {
  if (target.checked) choice.add(target.value);
  else choice.delete(target.value);
  showChoice();
});
$("clear").addEventListener("click", () => {
  choice.clear();
  list.querySelectorAll("[name=run]:checked").forEach((box) => (box.checked = false));
  showChoice();
});
for (const id of ["search", "state", "sort"]) $(id).addEventListener("input", arrange);
list.querySelectorAll("[name=run]:checked").forEach((box) => choice.add(box.value)); // kept by the browser
showChoice();
arrange();

let version = list.dataset.version;
follow(() => `/live?since=${version}`, {
  cards({ cards, removed }, identity) {
    version = identity;
    for (const [name, html] of Object.entries(cards)) replaceCard(name, html);
    for (const name of removed) {
      cardsByName.get(name)?.remove();
      cardsByName.delete(name);
      if (choice.delete(name)) showChoice();
    }
    arrange();
  },
});
