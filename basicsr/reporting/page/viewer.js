/* Pictures of a scene as canvases: as they are, their difference to ground truth, and their spectra. */
const RAMP = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const RAMP_TABLE = Array.from({ length: 256 }, (_, level) => {
  const place = (level / 255) * (RAMP.length - 1), index = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[index].map((low, channel) => low + (RAMP[index + 1][channel] - low) * (place - index));
});
const RAMP_CSS = `linear-gradient(90deg, ${RAMP.map((colour) => `rgb(${colour})`).join(",")})`;

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** Decodes the layers of a scene, each at the scene's size: LQ's pixels become squares. */
async function loadScene(scene) {
  const [, , width, height] = scene.part;
  return Promise.all(scene.layers.map(async (layer) => {
    const image = new Image();
    image.src = layer.uri;
    await image.decode();
    const canvas = newCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    return { label: layer.label, scores: layer.scores, canvas, pixels: context.getImageData(0, 0, width, height), made: {} };
  }));
}

/** Draws one number for each pixel by the ramp. */
function drawRamp(width, height, levelAt) {
  const canvas = newCanvas(width, height), context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let index = 0; index < width * height; index++) {
    const colour = RAMP_TABLE[Math.max(0, Math.min(255, Math.round(levelAt(index))))];
    image.data.set(colour, 4 * index);
    image.data[4 * index + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The mean absolute difference of the three channels to ground truth, times a factor. */
function errorCanvas(layer, truth, gain) {
  const one = layer.pixels.data, other = truth.pixels.data;
  return drawRamp(layer.canvas.width, layer.canvas.height, (index) => {
    const at = 4 * index;
    return (gain / 3) * (Math.abs(one[at] - other[at]) + Math.abs(one[at + 1] - other[at + 1]) + Math.abs(one[at + 2] - other[at + 2]));
  });
}

/** In place: the discrete Fourier transform of complex numbers whose number is a power of two. */
function fft(real, imaginary) {
  const number = real.length;
  for (let i = 1, j = 0; i < number; i++) {
    let bit = number >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= number; length <<= 1) {
    const half = length >> 1;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / length, c = Math.cos(angle), s = Math.sin(angle);
      for (let i = k; i < number; i += length) {
        const j = i + half, re = real[j] * c - imaginary[j] * s, im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

/** Log power in dB of the luma of the square in the middle, with a Hann window; the mean is in the middle. */
function spectrumOf(layer) {
  if (layer.spectrum) return layer.spectrum;
  const { width, height, data } = layer.pixels;
  const side = 2 ** Math.floor(Math.log2(Math.min(512, width, height)));
  const left = (width - side) >> 1, top = (height - side) >> 1;
  const window = Float64Array.from({ length: side }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / side));
  const rows = Array.from({ length: side }, (_, y) => [Float64Array.from({ length: side }, (_, x) => {
    const at = 4 * ((top + y) * width + left + x);
    return ((0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]) / 255) * window[x] * window[y];
  }), new Float64Array(side)]);
  for (const row of rows) fft(...row);
  const levels = new Float64Array(side * side), half = side >> 1;
  for (let x = 0; x < side; x++) {
    const column = [0, 1].map((part) => Float64Array.from(rows, (row) => row[part][x]));
    fft(...column);
    for (let y = 0; y < side; y++) {
      const power = (column[0][y] ** 2 + column[1][y] ** 2) / (side * side * 0.140625);
      levels[((y + half) % side) * side + ((x + half) % side)] = 10 * Math.log10(power + 1e-10);
    }
  }
  layer.spectrum = { side, levels };
  return layer.spectrum;
}

const SPECTRUM_RANGE = [-70, 10];

/** What a layer looks like in a view; made once. */
function viewOf(layer, view, gain, truth) {
  if (view === "picture" || (view === "error" && !truth)) return layer.canvas;
  const key = view === "error" ? `error ${gain}` : view;
  if (!layer.made[key]) {
    if (view === "error") layer.made[key] = errorCanvas(layer, truth, gain);
    else {
      const { side, levels } = spectrumOf(layer), [low, high] = SPECTRUM_RANGE;
      layer.made[key] = drawRamp(side, side, (index) => (255 * (levels[index] - low)) / (high - low));
    }
  }
  return layer.made[key];
}
