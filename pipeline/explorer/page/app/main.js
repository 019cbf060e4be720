// Starts the page: reads the run, and shows the view that the address names.

import { announce, fill, h } from "./dom.js";
import { Failed, floats, json } from "./data.js";
import { Session } from "./session.js";
import { dock } from "./change.js";
import * as overview from "./overview.js";
import * as clips from "./clips.js";
import * as clip from "./clip.js";
import * as concepts from "./concepts.js";
import * as concept from "./concept.js";
import * as attempts from "./attempts.js";
import * as figures from "./figures.js";
import * as rows from "./rows.js";

const THEMES = ["system", "light", "dark"];
const main = document.querySelector("main");
const scrolled = new Map();
let left = null;

/** The views of a run, by the first word of the address. */
function viewsOf(about) {
  if (about.view === "figures") return { "": figures, ...(about.rows ? { rows } : {}) };
  return { "": overview, clips, clip, concepts, concept, ...(about.suffixes.length ? { try: attempts } : {}) };
}

const NAMES = { "": "Overview", rows: "Clips", clips: "Clips", concepts: "Concepts", try: "Try" };
const WITHIN = { clip: "clips", concept: "concepts" };

function themed(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.querySelector(".theme");
  button.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme];
  button.setAttribute("aria-label", `Colours: ${theme}; change`);
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // A browser that keeps nothing shows the system's colours each time.
  }
}

function shell() {
  let theme = "system";
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // See above.
  }
  themed(THEMES.includes(theme) ? theme : "system");
  document.querySelector(".theme").addEventListener("click", () => {
    themed(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
  });
  document.querySelector(".skip").addEventListener("click", () => main.focus());
}

function navigation(views, current) {
  fill(
    document.querySelector("nav"),
    Object.keys(views)
      .filter((name) => NAMES[name] !== undefined)
      .map((name) => h("a", { href: `#/${name}`, "aria-current": name === (WITHIN[current] ?? current) ? "page" : null }, NAMES[name])),
  );
}

/** `#/clips?split=test` as its parts. */
export function address(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name, rest: rest.map(decodeURIComponent), query: new URLSearchParams(query) };
}

async function show(context, views, previous) {
  const { name, rest, query } = address();
  if (previous !== undefined) scrolled.set(previous, scrollY);
  left?.abort();
  left = new AbortController();
  const { signal } = left;
  navigation(views, name);
  const view = views[name];
  try {
    if (!view) throw new Failed("there is no such view");
    const { title, node } = await view.show({ ...context, signal, rest, query });
    if (signal.aborted) return;
    fill(main, node);
    document.title = `${title} · ${context.about.title} · Conceptreel`;
    scrollTo(0, scrolled.get(location.hash) ?? 0);
    if (previous !== undefined) {
      announce(title);
      main.focus({ preventScroll: true });
    }
    main.dispatchEvent(new Event("shown"));
    performance.mark(`view ${name || "overview"}`);
  } catch (error) {
    if (!signal.aborted) fill(main, problem(error));
  }
  if (!signal.aborted) document.documentElement.dataset.shown = location.hash;
}

function problem(error) {
  const words = error instanceof Failed ? error.message : `the page has failed: ${error.message}`;
  if (!(error instanceof Failed)) console.error(error);
  return h("div", { class: "empty", role: "alert" }, h("h1", {}, "This cannot be shown"), h("p", {}, words), h("p", {}, h("a", { href: "#/" }, "Overview")));
}

async function start() {
  shell();
  const about = await json("data/explore.json");
  document.querySelector(".set").textContent = about.method === "dance" ? about.title : `${about.title} · ${about.method}`;
  const context = { about, main };
  if (about.view !== "figures") {
    const [clipsRead, z, weights] = await Promise.all([json("data/clips.json"), floats("data/z.f32"), floats("data/weights.f32")]);
    context.session = new Session(about, clipsRead, z, weights);
    await context.session.look();
    dock(document.querySelector(".dock"), context.session);
  }
  const views = viewsOf(about);
  let last = location.hash;
  addEventListener("hashchange", () => {
    show(context, views, last);
    last = location.hash;
  });
  history.scrollRestoration = "manual";
  await show(context, views);
  document.documentElement.dataset.ready = "";
}

start().catch((error) => fill(main, problem(error)));
