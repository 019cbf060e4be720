// Try: a file of the person's own, looked at by the server, shown as a clip.

import { attempt } from "./data.js";
import { fill, h } from "./dom.js";
import { heading } from "./parts.js";
import { lookAt } from "./clip.js";

let tried = 0;
let last = null;

export async function show(context) {
  const { about, session, signal } = context;
  const told = h("p", { role: "status", class: "told" });
  const result = h("div");
  const input = h("input", { type: "file", accept: about.suffixes.join(","), onchange: () => input.files[0] && look(input.files[0]) });
  const zone = h("label", { class: "drop" }, h("strong", {}, "Drop a video or a picture here"), h("span", {}, "or choose a file; it stays on this machine"), input);
  const kinds = h("details", { class: "kinds" }, h("summary", {}, "Kinds of files"), about.suffixes.join(" "));
  let waiting = null;
  const showLast = async () => {
    if (!last) return;
    const { id, distance, clip } = session.tried.get(last);
    fill(result, await lookAt(context, { clip: last, id, label: null, split: null, distance, media: clip }));
  };
  const look = async (file) => {
    waiting?.abort();
    waiting = new AbortController();
    signal.addEventListener("abort", () => waiting.abort());
    fill(told, "Looking at ", h("b", {}, file.name), " …");
    fill(result);
    try {
      const found = await attempt(file, waiting.signal);
      last = `file ${++tried}`;
      session.tried.set(last, { ...found, z: Float64Array.from(found.z) });
      fill(told);
      await showLast();
    } catch (error) {
      if (!waiting.signal.aborted) fill(told, h("span", { class: "bad" }, h("b", {}, file.name), `: ${error.message}`));
    }
  };
  const over = (is) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", is);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
  });
  await showLast();
  return { title: "Try", node: h("div", {}, heading("Try a file of your own"), zone, kinds, told, result) };
}
