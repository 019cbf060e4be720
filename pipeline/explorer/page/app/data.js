// The files of a run, and the few things that a live server does.

export class Failed extends Error {}

async function asked(address, options) {
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options });
  } catch {
    throw new Failed("the explorer does not answer; it may have been ended");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Failed(typeof told.error === "string" ? told.error : `${address}: ${answer.status}`);
}

const held = new Map();

/** A JSON file; those that were read are held. */
export function json(address) {
  if (!held.has(address)) {
    const reading = asked(address).then((answer) => answer.json());
    reading.catch(() => held.delete(address));
    held.set(address, reading);
  }
  return held.get(address);
}

export const forget = (address) => held.delete(address);

/** Little-endian float32, which is what every browser's machine has. */
export async function floats(address) {
  return new Float32Array(await (await asked(address)).arrayBuffer());
}

/** A picture that can be drawn. */
export async function picture(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** Something that a live server does. */
export async function act(action, told) {
  const headers = { "X-Conceptreel": "1", "Content-Type": "application/json" };
  return (await asked(`api/${action}`, { method: "POST", headers, body: JSON.stringify(told) })).json();
}

/** What the model makes of a file; `signal` ends the wait. */
export async function attempt(file, signal) {
  const headers = { "X-Conceptreel": "1", "X-Filename": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
  return (await asked("api/try", { method: "POST", headers, body: file, signal })).json();
}
