// Live pages: the server says that something is new, the page fetches itself and swaps what differs.
const STALE_MS = 9000; // three beats of the server
const FETCH_MS = 900; // between two fetches of the page
const SHARE = 8; // a fetch that takes a second is made every eight seconds at most
const SAID_MS = 15000; // between two summaries for a screen reader
const AGAIN_MS = 3000; // before a page that failed is fetched again

const feed = document.getElementById("feed");
const pause = document.getElementById("pause");
const fresh = document.getElementById("new");
const said = document.getElementById("said");

let source = null;
let heard = Date.now();
let fetched = 0;
let took = 0;
let timer = 0;
let saidAt = 0;
let last = "";
let isPaused = new URLSearchParams(location.search).get("live") === "off";
let held = null; // a newer page that waits until nobody is busy with this one

export function startFeed() {
  pause.hidden = false;
  pause.addEventListener("click", () => setPaused(!isPaused));
  fresh.addEventListener("click", () => {
    const page = held;
    held = null;
    fresh.hidden = true;
    if (page) swap(page, true);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hangUp();
    } else {
      call();
      plan();
    }
  });
  addEventListener("pagehide", hangUp);
  addEventListener("pageshow", (event) => event.persisted && call());
  setInterval(tick, 1000);
  setPaused(isPaused);
  if (!document.hidden) call();
}

export function setPaused(value) {
  isPaused = value;
  pause.setAttribute("aria-pressed", String(value));
  const word = value ? pause.dataset.resume : pause.dataset.pause;
  pause.title = word;
  pause.setAttribute("aria-label", word);
  const url = new URL(location.href);
  if (value) url.searchParams.set("live", "off");
  else url.searchParams.delete("live");
  if (url.href !== location.href) history.replaceState(history.state, "", url);
  show();
  if (!value && last) plan();
}

export function togglePause() {
  setPaused(!isPaused);
}

function call() {
  if (source) return;
  source = new EventSource("/events");
  source.addEventListener("pulse", (event) => {
    hear();
    const differs = last !== event.data;
    const isFirst = !last;
    last = event.data;
    // The page is as new as its first pulse, but for one that waits for an engine.
    if (differs && (!isFirst || document.querySelector("[data-starting]"))) plan();
  });
  source.addEventListener("beat", hear);
  source.addEventListener("bye", hangUp);
  source.onopen = hear;
  source.onerror = () => {
    if (source && source.readyState === EventSource.CLOSED) {
      hangUp();
      plan(); // the session may have ended: the page then says so
    }
    show();
  };
}

function hangUp() {
  if (source) source.close();
  source = null;
}

function hear() {
  heard = Date.now();
  show();
}

function show() {
  const isStale = Date.now() - heard > STALE_MS;
  const state = isStale ? "stale" : isPaused ? "paused" : source ? "live" : "waiting";
  if (feed.dataset.feed !== state) feed.dataset.feed = state;
}

function tick() {
  if (!document.hidden && !source) call();
  show();
  for (const one of document.querySelectorAll("[data-age]")) {
    const seconds = Math.max(0, Date.now() / 1000 - Number(one.dataset.age));
    const text = document.body.dataset.ago.replace("{}", short(seconds));
    if (one.textContent !== text) one.textContent = text;
  }
}

function short(seconds) {
  if (seconds >= 172800) return `${Math.floor(seconds / 86400)} d`;
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds)} s`;
}

function plan() {
  if (timer || isPaused || document.hidden) return;
  const wait = Math.max(0, Math.max(FETCH_MS, SHARE * took) - (Date.now() - fetched));
  timer = setTimeout(refresh, wait);
}

async function refresh() {
  if (!document.querySelector("[data-region]")) {
    timer = 0;
    return;
  }
  const seen = last;
  const began = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap(page, false);
  } catch {
    setTimeout(plan, AGAIN_MS);
  } finally {
    fetched = Date.now();
    took = fetched - began;
    timer = 0;
  }
  if (seen !== last) plan();
}

function swap(page, isAsked) {
  // From waiting for the engine to the page itself, or back.
  const waited = document.querySelector("[data-starting]");
  if (Boolean(waited) !== Boolean(page.querySelector("[data-starting]"))) {
    document.getElementById("content").replaceChildren(
      ...[...page.getElementById("content").children].map((one) => document.adoptNode(one)),
    );
    return;
  }
  let waits = false;
  for (const next of page.querySelectorAll("[data-region]")) {
    const now = document.getElementById(next.id);
    if (!now || now.isEqualNode(next)) continue;
    const isBusy = now.matches(":hover") || now.contains(document.activeElement);
    if (!isAsked && (isBusy || "hold" in now.dataset)) {
      if (names(now) !== names(next)) waits = true;
      else if (!isBusy) put(now, next);
      continue;
    }
    put(now, next);
  }
  if (waits) {
    held = page;
    fresh.hidden = false;
  }
}

// Which rows a region shows: what would move under the pointer.
function names(region) {
  const rows = [...region.querySelectorAll("[data-row]")];
  return rows.map((one) => one.getAttribute("href")).join(" ");
}

function put(now, next) {
  const focused = now.contains(document.activeElement) && document.activeElement;
  const there = focused && focused.getAttribute("href");
  const scrolled = [...now.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  const fitting = document.adoptNode(next.cloneNode(true));
  now.replaceWith(fitting);
  fitting.querySelectorAll(".wide").forEach((one, i) => (one.scrollLeft = scrolled[i] || 0));
  if (there) {
    const same = [...fitting.querySelectorAll("a")].find((one) => one.getAttribute("href") === there);
    if (same) same.focus({ preventScroll: true });
  }
  const summary = fitting.dataset.said;
  if (summary && summary !== said.textContent && Date.now() - saidAt > SAID_MS) {
    saidAt = Date.now();
    said.textContent = summary;
  }
}
