/* Charts as SVG: curves over iterations or frequency, and points. */
const CHART = { width: 480, height: 270, left: 58, right: 12, top: 12, bottom: 38 };

/** Round numbers between two others. */
function ticksBetween(low, high, number = 5) {
  const rough = (high - low) / number, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) ticks.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return ticks;
}

function powersBetween(low, high) {
  const ticks = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of high - low > 2 ? [1] : [1, 2, 5]) {
      const at = power + Math.log10(factor);
      if (at >= low - 1e-9 && at <= high + 1e-9) ticks.push(at);
    }
  }
  return ticks.length > 2 ? ticks : ticksBetween(10 ** low, 10 ** high).filter((tick) => tick > 0).map(Math.log10);
}

/** Exponential moving average without the bias of its beginning; strength from 0 to 1. */
function smooth(points, strength) {
  let sum = 0, weight = 0;
  return points.map(([x, y]) => {
    sum = strength * sum + (1 - strength) * y;
    weight = strength * weight + (1 - strength);
    return [x, sum / weight];
  });
}

function rangeOf(values, margin) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!(high > low)) { const half = Math.abs(low) * 0.1 || 1; low -= half; high += half; }
  return [low - margin * (high - low), high + margin * (high - low)];
}

/** Axes of a chart, and where numbers lie on them. */
function drawAxes(svg, xs, ys, labels, isLog) {
  const { width, height, left, right, top, bottom } = CHART;
  const [x0, x1] = xs, [y0, y1] = ys;
  const xAt = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const yAt = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  for (const tick of isLog ? powersBetween(y0, y1) : ticksBetween(y0, y1)) {
    svg.append(makeSvg("line", { class: "grid", x1: left, x2: width - right, y1: yAt(tick), y2: yAt(tick) }));
    svg.append(makeSvg("text", { x: left - 7, y: yAt(tick) + 4, "text-anchor": "end" }, format(isLog ? 10 ** tick : tick)));
  }
  for (const tick of ticksBetween(x0, x1)) {
    svg.append(makeSvg("text", { x: xAt(tick), y: height - bottom + 17, "text-anchor": "middle" }, Math.abs(tick) >= 1000 ? `${tick / 1000}k` : format(tick)));
  }
  svg.append(makeSvg("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  if (labels.x) svg.append(makeSvg("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, labels.x));
  if (labels.y) svg.append(makeSvg("text", { transform: `translate(13 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, labels.y));
  return { xAt, yAt, xOf: (at) => x0 + ((at - left) / (width - left - right)) * (x1 - x0) };
}

function newChart(title, summary) {
  const svg = makeSvg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": summary });
  const figure = make("figure", { class: "chart" }, make("figcaption", {}, title), svg);
  return { svg, figure };
}

const pathOf = (points) => points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const nameOf = (series) => series.label + (series.part ? `, ${series.part}` : "");

/** Curves; settings: hidden labels, isLog, smoothing, x and y labels, and a fixed range of y. */
function lineChart(chart, settings) {
  const shown = chart.series.filter((series) => !settings.hidden.has(series.label) && series.points.length);
  const isLog = settings.isLog && shown.every((series) => series.points.every(([, y]) => y > 0));
  const drawn = shown.map((series) => {
    const raw = series.points.map(([x, y]) => [x, isLog ? Math.log10(y) : y]);
    return { ...series, raw, curve: settings.smoothing ? smooth(raw, settings.smoothing) : raw };
  });
  const last = drawn.map((series) => `${nameOf(series)} ends at ${format(series.points[series.points.length - 1][1])}`);
  const { svg, figure } = newChart(chart.title, `${chart.title}: ${last.join("; ") || "nothing is shown"}`);
  if (!drawn.length) return figure;
  const points = drawn.flatMap((series) => series.raw);
  const scale = drawAxes(svg, settings.xs ?? rangeOf(points.map(([x]) => x), 0), settings.ys ?? rangeOf(points.map(([, y]) => y), 0.05), settings, isLog);
  const place = (list) => list.map(([x, y]) => [scale.xAt(x), scale.yAt(y)]);
  for (const series of drawn) {
    const style = `stroke:${toneOf(series.label)}`, dash = series.part === "generated" || series.label === "bicubic" ? "5 4" : "none";
    if (settings.smoothing) svg.append(makeSvg("path", { class: "raw", style, d: pathOf(place(series.raw)) }));
    svg.append(makeSvg("path", { class: "curve", style, "stroke-dasharray": dash, d: pathOf(place(series.curve)) }));
    if (series.points.length < 12) for (const [x, y] of place(series.curve)) svg.append(makeSvg("circle", { cx: x, cy: y, r: 3, style: `fill:${toneOf(series.label)}` }));
  }
  follow(svg, figure, drawn, scale, settings, isLog);
  return figure;
}

/** Shows the numbers of all curves below the pointer. */
function follow(svg, figure, drawn, scale, settings, isLog) {
  const rule = makeSvg("line", { class: "rule", y1: CHART.top, y2: CHART.height - CHART.bottom, visibility: "hidden" });
  const tip = make("div", { class: "tip", hidden: true });
  svg.append(rule);
  figure.append(tip);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = scale.xOf(((event.clientX - box.left) / box.width) * CHART.width);
    const nearest = (points) => points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
    const found = drawn.map((series) => [series, nearest(series.curve)]), x = scale.xAt(found[0][1][0]);
    rule.setAttribute("x1", x);
    rule.setAttribute("x2", x);
    rule.setAttribute("visibility", "visible");
    tip.hidden = false;
    tip.replaceChildren(make("p", {}, `${settings.x} ${format(found[0][1][0])}`), ...found.map(([series, [, y]]) =>
      make("p", {}, swatch(series.label), `${nameOf(series)}: ${format(isLog ? 10 ** y : y)}`)));
    const isRight = x > CHART.width / 2, side = (x / CHART.width) * box.width;
    tip.style.left = isRight ? "" : `${side + 12}px`;
    tip.style.right = isRight ? `${box.width - side + 12}px` : "";
    tip.style.top = "34px";
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); });
}

/** Means of methods as large points, their images as small ones. */
function scatterChart(plot, x, y) {
  const arrow = (metric) => metric + ({ higher: " (higher is better)", lower: " (lower is better)" }[plot.better[metric]] ?? "");
  const known = plot.points.filter((point) => point.means[x] != null && point.means[y] != null);
  const summary = known.map((point) => `${point.label}: ${x} ${format(point.means[x])}, ${y} ${format(point.means[y])}`).join("; ");
  const { svg, figure } = newChart(plot.title, `${plot.title}, means of ${summary}`);
  const images = (point) => point.images.filter((values) => values[x] != null && values[y] != null).map((values) => [values[x], values[y]]);
  const all = known.flatMap((point) => [[point.means[x], point.means[y]], ...images(point)]);
  if (!all.length) return figure;
  const scale = drawAxes(svg, rangeOf(all.map(([at]) => at), 0.08), rangeOf(all.map(([, at]) => at), 0.08), { x: arrow(x), y: arrow(y) }, false);
  for (const point of known) {
    const style = `fill:${toneOf(point.label)}`;
    for (const [a, b] of images(point)) svg.append(makeSvg("circle", { cx: scale.xAt(a), cy: scale.yAt(b), r: 3, style, opacity: 0.35 }));
  }
  for (const point of known) {
    const at = [scale.xAt(point.means[x]), scale.yAt(point.means[y])], isRight = at[0] > CHART.width * 0.66;
    const dot = makeSvg("circle", { cx: at[0], cy: at[1], r: 7, style: `fill:${toneOf(point.label)};stroke:var(--sheet);stroke-width:2` });
    dot.append(makeSvg("title", {}, `${point.label}: ${x} ${format(point.means[x])}, ${y} ${format(point.means[y])}`));
    svg.append(dot, makeSvg("text", { x: at[0] + (isRight ? -12 : 12), y: at[1] - 8, "text-anchor": isRight ? "end" : "start", style: "fill:var(--ink);font-weight:600" }, point.label));
  }
  return figure;
}
