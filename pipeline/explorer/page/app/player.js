// Pictures in motion on a canvas, so that what is drawn over a frame is in step with it and any codec plays.

import { calm, h, seconds } from "./dom.js";
import { floats, picture } from "./data.js";
import { boxMask, dab, heatOf, mapOf, middles, smooth } from "./regions.js";

const SIDE = 480;
const HEAT = 72;
const POSE_RATE = 12;
const BRUSH = 0.07;
// Anchors of matplotlib's "inferno", which the commands' pictures use.
const INFERNO = [[0, 0, 4], [22, 11, 57], [66, 10, 104], [106, 23, 110], [147, 38, 103], [188, 55, 84], [221, 81, 58], [243, 120, 25], [252, 165, 10], [246, 215, 70], [252, 255, 164]];
const LIMBS = { left: "#56b4e9", right: "#f0a33c", "": "#ffffff" };

export function inferno(value) {
  const at = Math.min(0.9999, Math.max(0, value)) * (INFERNO.length - 1);
  const low = Math.floor(at);
  return INFERNO[low].map((part, c) => part + (INFERNO[low + 1][c] - part) * (at - low));
}

/** The player of a clip.
 *
 *  `clip`: media/clip/<row>.json; `skeleton`: of data/explore.json. Returns `{node, seek, heat, region, paint, maps}`. */
export async function player(clip, skeleton, signal) {
  const sheet = await picture(clip.picture);
  const maps = clip.maps ? await floats(clip.maps) : null;
  const scale = SIDE / Math.max(clip.width, clip.height);
  const canvas = h("canvas", { width: Math.round(clip.width * scale), height: Math.round(clip.height * scale), tabindex: "0", role: "img", "aria-label": "The clip; space plays and stops it" });
  const pen = canvas.getContext("2d");
  const state = { frame: 0, playing: false, skeleton: Boolean(clip.skeleton), heat: true, slices: null, scale: null, mask: null };
  const axes = maps && [smooth(clip.place_rows, middles(HEAT)), smooth(clip.place_columns, middles(HEAT))];
  const times = clip.times;
  const step = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : 0.1;
  let listener = () => {};
  const cold = document.createElement("canvas");
  cold.width = cold.height = HEAT;

  const drawHeat = () => {
    const slice = state.slices[Math.floor((state.frame * state.slices.length) / clip.frames)];
    const heat = heatOf(slice, state.scale, ...axes, HEAT);
    const own = cold.getContext("2d");
    const image = own.createImageData(HEAT, HEAT);
    heat.forEach((value, p) => image.data.set([...inferno(value), 255 * 0.75 * value], p * 4));
    own.putImageData(image, 0, 0);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(cold, 0, 0, canvas.width, canvas.height);
  };
  const drawSkeleton = () => {
    const pose = clip.skeleton[state.frame];
    if (!pose) return;
    const sides = skeleton?.sides ?? [];
    const head = new Set(skeleton?.head);
    const at = ([x, y]) => [x * canvas.width, y * canvas.height];
    for (const [a, b] of clip.bones) {
      if (!pose[a] || !pose[b] || (head.has(a) && head.has(b))) continue;
      const colour = LIMBS[sides[a] && sides[a] === sides[b] ? sides[a] : ""];
      for (const [style, width] of [["rgb(0 0 0 / 55%)", 6], [colour, 3]]) {
        pen.strokeStyle = style;
        pen.lineWidth = width;
        pen.lineCap = "round";
        pen.beginPath();
        pen.moveTo(...at(pose[a]));
        pen.lineTo(...at(pose[b]));
        pen.stroke();
      }
    }
    pose.forEach((joint, j) => {
      if (!joint) return;
      pen.fillStyle = LIMBS[sides[j] ?? ""];
      pen.globalAlpha = Math.max(0.35, joint[2]);
      pen.beginPath();
      pen.arc(...at(joint), 3.5, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
  };
  const drawMask = () => {
    const { mask, side } = state.mask;
    const size = Math.min(160, side);
    const layer = document.createElement("canvas");
    layer.width = layer.height = size;
    const own = layer.getContext("2d");
    const image = own.createImageData(size, size);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const inside = mask[Math.floor(((y + 0.5) * side) / size) * side + Math.floor(((x + 0.5) * side) / size)];
        if (inside) image.data.set([...(state.mask.beta < 0 ? [60, 150, 255] : [255, 90, 60]), 110], (y * size + x) * 4);
      }
    }
    own.putImageData(image, 0, 0);
    pen.drawImage(layer, 0, 0, canvas.width, canvas.height);
  };
  const draw = () => {
    const { frame } = state;
    const [x, y] = [(frame % clip.columns) * clip.width, Math.floor(frame / clip.columns) * clip.height];
    pen.drawImage(sheet, x, y, clip.width, clip.height, 0, 0, canvas.width, canvas.height);
    if (state.heat && state.slices && state.scale) drawHeat();
    if (state.skeleton && clip.skeleton) drawSkeleton();
    if (state.mask) drawMask();
    scrub.value = frame;
    scrub.setAttribute("aria-valuetext", seconds(times[frame]));
    clock.textContent = seconds(times[frame]);
    listener(times[frame]);
  };
  const seek = (time) => {
    let best = 0;
    times.forEach((own, f) => {
      if (Math.abs(own - time) < Math.abs(times[best] - time)) best = f;
    });
    state.frame = best;
    draw();
  };
  let begun = 0;
  const tick = (now) => {
    if (!state.playing || signal.aborted) return;
    const length = times.at(-1) - times[0] + step;
    const time = times[0] + (((now - begun) / 1000) % length);
    let frame = times.length - 1;
    while (frame > 0 && times[frame] > time) frame--;
    if (frame !== state.frame) {
      state.frame = frame;
      draw();
    }
    requestAnimationFrame(tick);
  };
  const play = (wanted = !state.playing) => {
    state.playing = wanted && clip.frames > 1;
    button.textContent = state.playing ? "Pause" : "Play";
    begun = performance.now() - (times[state.frame] - times[0]) * 1000;
    if (state.playing) requestAnimationFrame(tick);
  };
  const button = h("button", { type: "button", class: "play", onclick: () => play() }, "Play");
  const scrub = h("input", { type: "range", min: 0, max: clip.frames - 1, step: 1, value: 0, "aria-label": "Time", oninput: () => { play(false); state.frame = Number(scrub.value); draw(); } });
  const clock = h("span", { class: "clock" });
  const toggle = (name, label) => h("label", { class: "switch" }, h("input", { type: "checkbox", checked: state[name], onchange: (event) => { state[name] = event.target.checked; draw(); } }), label);
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    play();
  });

  // A region: by a box from corner to corner, or by strokes of a brush.
  const side = clip.square[2];
  let painting = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => Math.min(1, Math.max(0, part)));
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!painting || event.button) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    play(false);
    painting.from = place(event);
    painting.mask = painting.tool === "brush" && state.mask ? Uint8Array.from(state.mask.mask) : new Uint8Array(side * side);
    stroke(event);
  });
  const stroke = (event) => {
    if (!painting?.from) return;
    const [x, y] = place(event);
    const [x0, y0] = painting.from;
    if (painting.tool === "brush") {
      const steps = Math.max(1, Math.ceil(Math.hypot(x - x0, y - y0) / (BRUSH / 2)));
      for (let s = 0; s <= steps; s++) dab(painting.mask, side, x0 + ((x - x0) * s) / steps, y0 + ((y - y0) * s) / steps, BRUSH);
      painting.from = [x, y];
    } else {
      painting.mask = boxMask(side, { x: Math.min(x, x0), y: Math.min(y, y0), width: Math.abs(x - x0), height: Math.abs(y - y0) });
    }
    state.mask = { mask: painting.mask, side, beta: painting.beta() };
    draw();
  };
  canvas.addEventListener("pointermove", stroke);
  canvas.addEventListener("pointerup", () => {
    if (!painting?.from) return;
    painting.from = null;
    if (painting.mask.some(Boolean)) painting.done(painting.mask);
  });

  const node = h(
    "div",
    { class: "player" },
    canvas,
    h("div", { class: "controls" }, button, scrub, clock, clip.skeleton && toggle("skeleton", "Skeleton"), maps && toggle("heat", "Heat")),
  );
  draw();
  if (!calm()) play(true);
  return {
    node,
    side,
    seek: (time) => {
      play(false);
      seek(time);
    },
    /** Who is told the time of each frame that is drawn. */
    listen: (told) => {
      listener = told;
      told(times[state.frame]);
    },
    /** Shows where a concept is: slices of its map and its scale; null for none. */
    heat: (slices, own) => {
      Object.assign(state, { slices, scale: own });
      draw();
    },
    /** Shows a region; null for none. */
    region: (mask, beta) => {
      state.mask = mask && { mask, side, beta };
      draw();
    },
    /** Takes a region from the person: `tool` box or brush, null to end. */
    paint: (tool, beta, done) => {
      painting = tool && { tool, beta, done };
      canvas.classList.toggle("painting", Boolean(tool));
      if (tool) canvas.scrollIntoView({ block: "nearest" });
    },
    mapOf: (k) => (maps ? mapOf(maps, clip.map_shape, k) : null),
  };
}

/** The medoid of a motion: its poses one after the other; still where people want things to be still. */
export async function medoid(concept, signal, large = false) {
  const sheet = await picture(concept.medoid);
  const width = sheet.naturalWidth / concept.frames;
  const canvas = h("canvas", { class: large ? "medoid large" : "medoid", width, height: sheet.naturalHeight, role: "img", "aria-label": `Typical movement of ${concept.label}` });
  const pen = canvas.getContext("2d");
  const draw = (frame) => pen.drawImage(sheet, Math.round(frame * width), 0, width, sheet.naturalHeight, 0, 0, canvas.width, canvas.height);
  draw(0);
  let playing = !calm() && concept.frames > 1;
  const tick = (now) => {
    if (!playing || signal.aborted) return;
    draw(Math.floor((now / 1000) * POSE_RATE) % concept.frames);
    requestAnimationFrame(tick);
  };
  if (playing) requestAnimationFrame(tick);
  if (!large || concept.frames < 2) return canvas;
  const button = h("button", { type: "button", class: "quiet", onclick: () => { playing = !playing; button.textContent = playing ? "Pause" : "Play"; if (playing) requestAnimationFrame(tick); } }, playing ? "Pause" : "Play");
  return h("div", { class: "medoid-player" }, canvas, button);
}
