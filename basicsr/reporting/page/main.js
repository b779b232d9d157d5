/* The page's sections, and what its controls do. */
function addRuns() {
  const cards = DATA.runs.map((run) => make("article", { class: "card" },
    make("h3", {}, swatch(run.label), run.label),
    make("p", { class: "hint" }, Object.entries(run.facts).filter(([key]) => key !== "folder").map(([key, value]) => (key === "iterations" ? `${value} iterations` : value)).join(" · ")),
    make("p", { class: "hint" }, run.facts.folder),
    ...notes(run.notes)));
  addSection("runs", DATA.runs.length > 1 ? "Runs" : "Run", make("div", { class: "cards" }, ...cards));
}

function addPictures() {
  if (!DATA.scenes.length) {
    addSection("pictures", "Pictures", make("p", { class: "hint" }, "No pictures were kept, so none can be shown."));
    return;
  }
  const state = { scene: 0, left: "", right: "", layout: "slider", view: "picture", gain: 4 };
  let layers = [];
  const truthOf = () => layers.find((layer) => layer.label === "GT");

  // Controls.
  const thumbs = DATA.scenes.map((scene, index) => make("button", { type: "button", "aria-pressed": "false", click: () => choose(index) },
    make("img", { src: scene.layers[0].uri, alt: "" }), make("span", {}, scene.image)));
  const layout = choice("Layout", [["slider", "Slider"], ["side", "Side by side"]], "slider", (value) => { state.layout = value; refresh(); });
  const view = choice("View", [["picture", "Picture"], ["error", "Error"], ["spectrum", "Spectrum"]], "picture", (value) => { state.view = value; refresh(); });
  const gain = make("select", { change: () => { state.gain = Number(gain.value); refresh(); } },
    ...[1, 2, 4, 8, 16].map((factor) => make("option", { value: factor, selected: factor === state.gain }, `×${factor}`)));
  const gainLabel = make("label", {}, "Error shown", gain);
  const zoomed = make("output", { "aria-label": "Zoom" });
  const zoom = make("div", { class: "group", role: "group", "aria-label": "Zoom" },
    make("button", { type: "button", "aria-label": "Zoom out", click: () => stage.step(-1) }, "−"), zoomed,
    make("button", { type: "button", "aria-label": "Zoom in", click: () => stage.step(1) }, "+"),
    make("button", { type: "button", click: () => stage.zoomTo(1) }, "1:1"),
    make("button", { type: "button", click: () => stage.fit() }, "Fit"));
  const ramp = make("span", { class: "ramp" });
  const left = make("select", { change: () => { state.left = left.value; refresh(); } });
  const right = make("select", { change: () => { state.right = right.value; refresh(); } });
  const sides = make("div", { class: "sides" }, make("label", {}, "Left", left), make("label", {}, "Right", right));
  const divide = make("input", { class: "divide", type: "range", min: 0, max: 100, step: 0.5, "aria-label": "Divider between the pictures", input: () => stage.setSplit(divide.value / 100) });
  const readout = make("p", { class: "readout" });
  const shown = make("p", { class: "hint" });
  const stage = new Stage((moved, place) => {
    zoomed.textContent = `${format(100 * moved.zoom)} %`;
    divide.value = moved.split * 100;
    readout.textContent = describe(place);
  });
  const section = addSection("pictures", "Pictures", shown, ...(thumbs.length > 1 ? [make("div", { class: "thumbs", role: "group", "aria-label": "Image" }, ...thumbs)] : []),
    make("div", { class: "bar" }, layout, view, zoom, gainLabel, ramp), 
    make("div", { class: "viewer" }, sides, stage.element, divide, readout), keysHelp());

  /** The colours below the pointer. */
  function describe(place) {
    const width = `One image pixel is ${format(stage.zoom)} screen pixel${stage.zoom === 1 ? "" : "s"} wide`;
    const general = stage.isExact ? `${width}.` : `${width}: smoothed. At 1:1 and other whole numbers pixels are shown as they are.`;
    const [x, y] = (place ?? [-1, -1]).map(Math.floor), scene = DATA.scenes[state.scene];
    if (state.view === "spectrum" || x < 0 || y < 0 || x >= scene.part[2] || y >= scene.part[3]) return general;
    const at = 4 * (y * scene.part[2] + x);
    const colours = layers.map((layer) => `${layer.label} ${Array.from(layer.pixels.data.slice(at, at + 3)).join(" ")}`);
    return `Pixel ${x + scene.part[0]}, ${y + scene.part[1]}: ${colours.join(" · ")}`;
  }

  function fillSelect(select, labels, value) {
    select.replaceChildren(...labels.map((label) => make("option", { value: label, selected: label === value }, label)));
  }

  async function choose(index) {
    state.scene = index;
    const loaded = await loadScene(DATA.scenes[index]);
    if (state.scene !== index) return;
    layers = loaded;
    const labels = layers.map((layer) => layer.label), runs = labels.filter((label) => RUNS.includes(label));
    if (!labels.includes(state.left)) state.left = runs.length > 1 ? runs[0] : labels.includes("bicubic") ? "bicubic" : labels[0];
    if (!labels.includes(state.right)) state.right = runs[runs.length - 1] ?? labels[labels.length - 1];
    thumbs.forEach((thumb, other) => thumb.setAttribute("aria-pressed", String(other === index)));
    fillSelect(left, labels, state.left);
    fillSelect(right, labels, state.right);
    const { image, dataset, size, part } = DATA.scenes[index], isPart = part[2] < size[0] || part[3] < size[1];
    const how = isPart ? ` Shown reduced to a part of ${part[2]}×${part[3]} pixels at (${part[0]}, ${part[1]}), to keep this page small: where bicubic interpolation errs most, or the middle.` : " Shown whole, without loss.";
    const number = DATA.images.total > DATA.images.shown ? ` ${DATA.images.shown} of ${DATA.images.total} images are on this page.` : "";
    shown.textContent = `${image} of ${dataset}, ${size[0]}×${size[1]} pixels.${how}${number}`;
    const hasTruth = Boolean(truthOf());
    view.querySelector("[data-value=error]").disabled = !hasTruth;
    view.querySelector("[data-value=error]").title = hasTruth ? "" : "There is no ground truth to compare with";
    if (!hasTruth && state.view === "error") { state.view = "picture"; view.press("picture"); }
    refresh();
    section.dataset.ready = "true";
  }

  function refresh() {
    const isSlider = state.layout === "slider", chosen = isSlider ? [state.left, state.right] : layers.map((layer) => layer.label);
    left.value = state.left;
    right.value = state.right;
    for (const element of [sides, divide]) element.hidden = !isSlider;
    section.querySelector(".viewer").classList.toggle("hugging", isSlider);
    gainLabel.hidden = state.view !== "error";
    ramp.hidden = state.view === "picture";
    const [low, high] = state.view === "error" ? ["0", `${format(255 / state.gain)} of 255`] : SPECTRUM_RANGE.map((level) => `${level} dB`);
    const strip = make("i", {});
    strip.style.background = RAMP_CSS;
    ramp.replaceChildren(low, strip, high);
    stage.show(chosen.map((label) => layers.find((layer) => layer.label === label)).map((layer) => (
      { label: layer.label, detail: layer.scores, canvas: viewOf(layer, state.view, state.gain, truthOf()) })), isSlider);
  }

  stage.element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 0 : 0.02, across = { ArrowLeft: -1, ArrowRight: 1 }[event.key], along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const labels = layers.map((layer) => layer.label), digit = labels[Number(event.key) - 1];
    const actions = { "+": () => stage.step(1), "=": () => stage.step(1), "-": () => stage.step(-1), f: () => stage.fit(),
      s: () => { [state.left, state.right] = [state.right, state.left]; refresh(); say(`${state.left} to the left, ${state.right} to the right`); },
      p: () => view.querySelector("[data-value=picture]").click(), e: () => view.querySelector("[data-value=error]").click(),
      w: () => view.querySelector("[data-value=spectrum]").click(), g: () => layout.querySelector("[aria-pressed=false]").click(),
      "[": () => choose((state.scene + DATA.scenes.length - 1) % DATA.scenes.length), "]": () => choose((state.scene + 1) % DATA.scenes.length) };
    if (across && step && state.layout === "slider") stage.setSplit(stage.split + step * across);
    else if (across) stage.pan(40 * across * stage.ratio, 0);
    else if (along && (event.shiftKey || !stage.isFitted)) stage.pan(0, 40 * along * stage.ratio);
    else if (digit) { state.right = digit; refresh(); say(`${digit} to the right`); }
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  });
  choose(0);
}

function keysHelp() {
  const keys = [["← →", "move the divider; with Shift, or side by side, the picture"], ["↑ ↓", "move the zoomed picture"], ["+ −", "zoom in, out; f shows all"], ["1 – 9", "choose what is to the right"],
    ["s", "swap both sides"], ["p e w", "picture, error, spectrum"], ["g", "slider or side by side"], ["[ ]", "the image before, the next one"]];
  return make("details", { class: "keys" }, make("summary", {}, "Keys and gestures"),
    make("dl", { class: "keys" }, ...keys.flatMap(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)])),
    make("p", { class: "hint" }, "They work when a picture has the focus: click it, or reach it by Tab. The wheel then zooms, a drag moves; two fingers zoom on a touch screen, a double click zooms to ×4 and back."),
    make("p", { class: "hint" }, "Error: mean absolute difference of the three channels to ground truth. Spectrum: power in dB of the luma in the largest square of 2ⁿ pixels (up to 512) in the middle, with a Hann window; low frequencies are in the middle."));
}

function addNumbers() {
  const tables = [...DATA.comparison, ...DATA.tables];
  const section = addSection("numbers", "Numbers", ...(tables.length ? tables.map(drawTable) : [make("p", { class: "hint" }, "Nothing was measured.")]));
  if (!DATA.scatter.length) return;
  const box = make("div", { class: "charts" });
  for (const plot of DATA.scatter) {
    const holder = make("div", {}), chosen = { x: plot.x, y: plot.y };
    const draw = () => holder.replaceChildren(scatterChart(plot, chosen.x, chosen.y));
    const select = (axis, text) => {
      const list = make("select", { change: () => { chosen[axis] = list.value; draw(); } }, ...plot.metrics.map((metric) => make("option", { value: metric, selected: metric === chosen[axis] }, metric)));
      return make("label", {}, text, list);
    };
    box.append(make("div", {}, make("div", { class: "bar" }, select("x", "Across"), select("y", "Up")), holder));
    draw();
  }
  section.append(make("div", { class: "tablehead" }, make("h3", {}, "Perception and distortion")), make("p", { class: "hint" }, "Large points are means of methods, small ones their images."), box);
}

/** Buttons that show and hide methods in charts. */
function legend(labels, hidden, redraw) {
  return make("div", { class: "legend", role: "group", "aria-label": "Shown in the charts" }, ...labels.map((label) => {
    const button = make("button", { type: "button", "aria-pressed": "true", click: () => {
      if (!hidden.delete(label)) hidden.add(label);
      button.setAttribute("aria-pressed", String(!hidden.has(label)));
      redraw();
    } }, swatch(label), label);
    return button;
  }));
}

const labelsOf = (charts) => [...new Set(charts.flatMap((chart) => chart.series.map((series) => series.label)))];

function addCurves() {
  if (!DATA.curves.length) {
    addSection("curves", "Curves", make("p", { class: "hint" }, "There are no curves: none of the runs is a training with a log."));
    return;
  }
  const settings = { hidden: new Set(), isLog: false, smoothing: 0, x: "iteration" };
  const box = make("div", { class: "charts" });
  const draw = perFrame(() => {
    let group = "";
    box.replaceChildren(...DATA.curves.flatMap((chart) => {
      const head = chart.group === group ? [] : [make("h3", { class: "head" }, chart.group)];
      group = chart.group;
      const ys = chart.group === "Critics" ? { ys: [0, 1], isLog: false } : {};
      return [...head, lineChart(chart, { ...settings, ...ys })];
    }));
  });
  const amount = make("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, input: () => { settings.smoothing = Number(amount.value); draw(); } });
  const axis = choice("Vertical axis", [["linear", "Linear"], ["log", "Logarithmic"]], "linear", (value) => { settings.isLog = value === "log"; draw(); });
  addSection("curves", "Curves", make("div", { class: "bar" }, axis, make("label", {}, "Smoothing", amount), legend(labelsOf(DATA.curves), settings.hidden, draw)),
    make("p", { class: "hint" }, "Solid: on real images, dashed: on generated images, where a critic's accuracy is shown. Curves that reach 0 or below stay linear."), box);
  draw();
}

function addProfiles() {
  if (!DATA.profiles.length) return;
  const settings = { hidden: new Set(), isLog: false, smoothing: 0, x: "frequency (1: corner of the spectrum)", y: "power (dB)", xs: [0, 1] };
  const box = make("div", { class: "charts" });
  const ratio = (chart) => {
    const truth = chart.series.find((series) => series.label === "GT");
    if (!truth) return [];
    const others = chart.series.filter((series) => series !== truth);
    return [{ title: `${chart.title}, ratio to GT`, series: others.map((series) => ({ ...series, points: series.points.map(([x, y], index) => [x, y - truth.points[index][1]]) })) }];
  };
  const draw = perFrame(() => box.replaceChildren(...DATA.profiles.flatMap((chart) => [lineChart(chart, settings),
    ...ratio(chart).map((other) => lineChart(other, { ...settings, y: "ratio (dB)" }))])));
  addSection("spectra", "Spectra", make("p", { class: "hint" }, "Radial profiles of the power spectrum, by luma with a Hann window, mean over the images of this page in dB. At 0 dB a ratio says that there is as much detail as in the ground truth."),
    make("div", { class: "bar" }, legend(labelsOf(DATA.profiles), settings.hidden, draw)), box);
  draw();
}

addRuns();
addPictures();
addNumbers();
addCurves();
addProfiles();
addSection("options", "Options", drawTable(DATA.options));
document.getElementById("foot").textContent = `Written by basicsr ${DATA.version}, ${DATA.written}. This file needs no network and no other file.`;
// All rows and keys go on paper; a printed page has nothing to open.
window.addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details:not(.keys)")) part.open = true; });
