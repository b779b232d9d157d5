"use strict";
/* What every part of the page uses: its data, elements, colours of methods, and what is said to screen readers. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs.map((run) => run.label);

/** Makes an element; attributes that are functions become listeners, children that are text become text nodes. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "tone") element.style.setProperty("--tone", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function makeSvg(tag, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text != null) element.textContent = text;
  return element;
}

/** The colour of a run; what runs are compared with has that of text. */
function toneOf(label) {
  const index = RUNS.indexOf(label);
  return index < 0 ? (label === "GT" ? "var(--ink)" : "var(--soft)") : `var(--c${index % 8})`;
}

function swatch(label) {
  return make("span", { class: "swatch", tone: toneOf(label), "aria-hidden": "true" });
}

function say(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  requestAnimationFrame(() => { said.textContent = text; });
}

/** A row of buttons of which one is pressed. */
function choice(name, options, chosen, onChoose) {
  const buttons = options.map(([value, text]) => make("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value,
    click: () => { press(value); onChoose(value); } }, text));
  function press(value) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === String(value)));
  }
  const group = make("div", { class: "group", role: "group", "aria-label": name }, ...buttons);
  group.press = press;
  return group;
}

function format(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** A section of the page with an entry in its contents. */
function addSection(id, title, ...children) {
  const section = make("section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, title), ...children);
  document.getElementById("main").append(section);
  document.getElementById("contents").append(make("a", { href: `#${id}` }, title));
  return section;
}

function notes(lines) {
  return lines.map((line) => make("p", { class: "note" }, line));
}

/** Calls a function at most once for each picture that the screen shows. */
function perFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
}
