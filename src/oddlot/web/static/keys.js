// Keys: one letter each where no text is written; they can be turned off.
import { togglePause } from "./feed.js";

const help = document.getElementById("help");
const opener = document.getElementById("help-open");
const box = document.getElementById("keys-on");
const OFF = "oddlot-keys-off";
let isGoing = 0; // when g was pressed, to wait for a page's letter

export function startKeys() {
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());
  box.checked = !isOff();
  box.addEventListener("change", () => {
    try {
      if (box.checked) localStorage.removeItem(OFF);
      else localStorage.setItem(OFF, "1");
    } catch {
      // Without storage it holds for this page.
    }
  });
  document.addEventListener("keydown", press);
}

function isOff() {
  try {
    return localStorage.getItem(OFF) !== null;
  } catch {
    return false;
  }
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const field = event.target.closest("input, select, textarea");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  if (!box.checked) return;
  if (isGoing && Date.now() - isGoing < 2000) {
    isGoing = 0;
    const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      link.click();
      return;
    }
  }
  const act = {
    j: () => move(1),
    k: () => move(-1),
    "/": () => focusSearch(),
    "?": () => help.showModal(),
    g: () => (isGoing = Date.now()),
    u: () => follow("[data-back]") || (document.referrer && history.back()),
    "[": () => follow("[rel=prev]"),
    "]": () => follow("[rel=next]"),
    ".": () => togglePause(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const to = at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step;
  const row = rows[Math.min(Math.max(to, 0), rows.length - 1)];
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

function focusSearch() {
  const field = document.querySelector("[data-search]");
  if (field) {
    field.focus();
    field.select();
  } else {
    location.assign("/inbox#find");
  }
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
  return Boolean(link);
}

if (location.hash === "#find") focusSearch();
