/* Tables that sort by their columns and are copied as Markdown or LaTeX in the order shown. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where a page may not use the clipboard, such as in a frame.
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function compareKeys(one, other) {
  if (one == null || other == null) return (one == null) - (other == null);
  return typeof one === typeof other && typeof one === "number" ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
}

function sourceOf(table, rows, form) {
  const { head, foot } = table.around[form];
  return [...head, ...rows.map((row) => row[form]), ...foot].join("\n");
}

/** A table with its buttons; methods have the colours of their runs. */
function drawTable(table) {
  let rows = [...table.rows];
  const body = make("tbody");
  const isNumber = table.header.map((_, index) => table.rows.some((row) => typeof row.keys[index] === "number") &&
    table.rows.every((row) => typeof row.keys[index] !== "string"));
  const method = table.header.indexOf("method");
  const fill = () => body.replaceChildren(...rows.map((row) => make("tr", {}, ...row.cells.map((cell, index) =>
    make("td", { class: [isNumber[index] ? "number" : "", cell.length < 32 ? "short" : "", row.mark && table.header[index] === "difference" ? row.mark : ""].join(" ").trim() || null },
      index === method ? swatch(cell) : null, cell)))));
  const heads = table.header.map((title, index) => {
    const head = make("th", { scope: "col", class: isNumber[index] ? "number" : null, "aria-sort": "none" });
    head.append(make("button", { type: "button", click: () => {
      const isUp = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", isUp ? "descending" : "ascending");
      const known = (row) => row.keys[index] == null;
      rows = [...rows].sort((one, other) => (known(one) || known(other) ? 1 : isUp ? -1 : 1) * compareKeys(one.keys[index], other.keys[index]));
      fill();
      say(`Sorted by ${title}, ${isUp ? "descending" : "ascending"}`);
    } }, title));
    return head;
  });
  fill();
  const copy = (form, name) => make("button", { type: "button", click: async (event) => {
    const button = event.currentTarget;
    await copyText(sourceOf(table, rows, form));
    button.textContent = "Copied";
    say(`${table.title} copied as ${name}`);
    setTimeout(() => { button.textContent = name; }, 1600);
  }, "aria-label": `Copy “${table.title}” as ${name}`, "data-form": form }, name);
  const grid = make("table", {}, make("caption", { class: "unseen" }, table.title), make("thead", {}, make("tr", {}, ...heads)), body);
  const below = [...notes(table.notes), table.how ? make("details", {}, make("summary", {}, "How it was measured"), ...notes(table.how)) : null];
  const region = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.title }, grid);
  const buttons = make("span", {}, copy("markdown", "Markdown"), copy("latex", "LaTeX"));
  if (!table.rows.length) return make("div", {}, make("h3", {}, table.title), ...notes(table.notes));
  if (!table.closed) return make("div", {}, make("div", { class: "tablehead" }, make("h3", {}, table.title), buttons), region, ...below.filter(Boolean));
  return make("details", {}, make("summary", {}, `${table.title} (${table.rows.length} rows)`), make("div", { class: "tablehead" }, make("span"), buttons), region, ...below.filter(Boolean));
}
