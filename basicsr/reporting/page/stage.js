/* Panes that show pictures at the same place and zoom: one with a divider, or one for each method. */
const ZOOMS = [0.125, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16];
const NEAR = 28;

class Stage {
  /** onChange is called with this stage when place, zoom or divider have changed. */
  constructor(onChange) {
    this.element = make("div", { class: "stage" });
    this.onChange = onChange;
    this.panes = [];
    this.world = [1, 1];
    this.centre = [0.5, 0.5];
    this.zoom = 1;
    this.isFitted = true;
    this.split = 0.5;
    this.pointers = new Map();
    this.draw = perFrame(() => this.drawNow());
    new ResizeObserver(() => { if (this.isFitted) this.fit(); this.draw(); }).observe(this.element);
  }

  /** Shows layers: pairs of a picture to draw and of what its tags say; isSplit: two of them in one pane. */
  show(layers, isSplit) {
    this.isSplit = isSplit;
    this.layers = layers;
    const world = [layers[0].canvas.width, layers[0].canvas.height];
    const isSame = String(world) === String(this.world);
    this.world = world;
    // The pane hugs the picture, so that the divider goes over it from end to end.
    const aspect = Math.max(0.5, Math.min(2.4, world[0] / world[1]));
    this.element.parentElement.style.setProperty("--aspect", aspect);
    const number = isSplit ? 1 : layers.length;
    this.element.classList.toggle("side", !isSplit);
    if (this.panes.length !== number || this.wasSplit !== isSplit) {
      this.wasSplit = isSplit;
      this.panes = Array.from({ length: number }, () => this.makePane());
      this.element.replaceChildren(...this.panes.map((pane) => pane.figure));
    }
    for (const [index, pane] of this.panes.entries()) {
      pane.figure.style.aspectRatio = String(aspect);
      pane.layers = isSplit ? layers : [layers[index]];
      const names = pane.layers.map((layer) => layer.label);
      pane.tags.forEach((tag, side) => {
        const layer = pane.layers[side];
        tag.hidden = !layer;
        if (layer) tag.replaceChildren(layer.label, ...(layer.detail ? [make("small", {}, layer.detail)] : []));
      });
      pane.canvas.setAttribute("aria-label", `${isSplit ? `${names[0]} to the left of the divider, ${names[1]} to the right` : names[0]}. ` +
        "Arrow keys move the divider, with Shift the picture; plus and minus zoom.");
    }
    if (!isSame || this.isFitted) this.fit();
    this.draw();
  }

  makePane() {
    const canvas = make("canvas", { tabindex: 0, role: "img" }), knob = make("div", { class: "knob" });
    const tags = [make("figcaption", { class: "tag left" }), make("figcaption", { class: "tag right" })];
    const figure = make("figure", { class: "pane" }, canvas, ...tags, ...(this.isSplit ? [knob] : []));
    const pane = { figure, canvas, knob, tags };
    canvas.addEventListener("pointerdown", (event) => this.grab(event, pane));
    canvas.addEventListener("pointermove", (event) => this.move(event, pane));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.release(event, pane));
    canvas.addEventListener("pointerleave", () => this.onChange(this));
    canvas.addEventListener("dblclick", (event) => {
      if (this.isFitted) this.zoomTo(4, this.placeOf(event, pane)); else this.fit();
    });
    // A page must scroll past a picture: the wheel zooms one that has the focus, or with Ctrl.
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      this.step(event.deltaY < 0 ? 1 : -1, this.placeOf(event, pane));
    }, { passive: false });
    return pane;
  }

  /** Whether every pixel of the picture is a square of whole pixels of the screen. */
  get isExact() { return this.zoom >= 1 && Math.abs(this.zoom - Math.round(this.zoom)) < 1e-6; }

  /** Pixels of the screen for one that CSS counts. */
  get ratio() { return window.devicePixelRatio || 1; }

  /** The zoom that shows all. */
  fittingZoom() {
    const pane = this.panes[0], box = pane && pane.canvas.getBoundingClientRect();
    if (!box || !box.width) return 1;
    return Math.min(16, box.width * this.ratio / this.world[0], box.height * this.ratio / this.world[1]);
  }

  fit() {
    this.isFitted = true;
    this.centre = this.world.map((side) => side / 2);
    this.zoom = this.fittingZoom();
    this.draw();
    this.onChange(this);
  }

  /** Zooms; the picture stays where it is under a place, (x, y) in its pixels. */
  zoomTo(zoom, place) {
    const fitting = this.fittingZoom(), target = Math.max(Math.min(fitting, 1), Math.min(16, zoom)); // all of it, or 1:1
    if (place) this.centre = this.centre.map((centre, axis) => place[axis] + (centre - place[axis]) * (this.zoom / target));
    this.isFitted = Math.abs(target - fitting) < 1e-9;
    this.zoom = target;
    this.keepInside();
    this.draw();
    this.onChange(this);
  }

  step(direction, place) {
    const others = ZOOMS.filter((zoom) => (direction > 0 ? zoom > this.zoom * 1.001 : zoom < this.zoom * 0.999));
    this.zoomTo(direction > 0 ? others[0] ?? 16 : others[others.length - 1] ?? 0, place);
  }

  pan(x, y) {
    this.centre = [this.centre[0] + x / this.zoom, this.centre[1] + y / this.zoom];
    this.keepInside();
    this.draw();
    this.onChange(this);
  }

  keepInside() {
    const box = this.panes[0].canvas.getBoundingClientRect();
    this.centre = this.centre.map((centre, axis) => {
      const half = (axis ? box.height : box.width) * this.ratio / 2 / this.zoom, side = this.world[axis];
      return half * 2 >= side ? side / 2 : Math.max(half, Math.min(side - half, centre));
    });
  }

  setSplit(split) {
    this.split = Math.max(0, Math.min(1, split));
    this.draw();
    this.onChange(this);
  }

  originOf(pane) {
    return [0, 1].map((axis) => Math.round((axis ? pane.canvas.height : pane.canvas.width) / 2 - this.centre[axis] * this.zoom));
  }

  /** Where a pointer is, in pixels of the picture. */
  placeOf(event, pane) {
    const box = pane.canvas.getBoundingClientRect(), origin = this.originOf(pane);
    return [(event.clientX - box.left) * this.ratio - origin[0], (event.clientY - box.top) * this.ratio - origin[1]].map((side) => side / this.zoom);
  }

  isNearDivider(event, pane) {
    if (!this.isSplit) return false;
    const box = pane.canvas.getBoundingClientRect();
    return this.isFitted || Math.abs(event.clientX - box.left - this.split * box.width) < NEAR;
  }

  grab(event, pane) {
    pane.canvas.setPointerCapture(event.pointerId);
    pane.canvas.focus({ preventScroll: true });
    this.pointers.set(event.pointerId, event);
    this.moves = this.isNearDivider(event, pane) ? "divider" : "picture";
    if (this.moves === "divider") this.splitAt(event, pane);
    pane.canvas.classList.toggle("moving", this.moves === "picture");
  }

  move(event, pane) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      pane.canvas.classList.toggle("split", this.isNearDivider(event, pane));
      this.onChange(this, this.placeOf(event, pane));
      return;
    }
    const others = [...this.pointers.values()].filter((other) => other.pointerId !== event.pointerId);
    if (others.length) {
      // Two fingers: their distance is the zoom, their middle the place.
      const gap = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      const middle = { clientX: (event.clientX + others[0].clientX) / 2, clientY: (event.clientY + others[0].clientY) / 2 };
      this.zoomTo(this.zoom * gap(event) / Math.max(1, gap(before)), this.placeOf(middle, pane));
      this.pan((before.clientX - event.clientX) * this.ratio / 2, (before.clientY - event.clientY) * this.ratio / 2);
    } else if (this.moves === "divider") this.splitAt(event, pane);
    else this.pan((before.clientX - event.clientX) * this.ratio, (before.clientY - event.clientY) * this.ratio);
    this.pointers.set(event.pointerId, event);
  }

  release(event, pane) {
    this.pointers.delete(event.pointerId);
    pane.canvas.classList.remove("moving");
  }

  splitAt(event, pane) {
    const box = pane.canvas.getBoundingClientRect();
    this.setSplit((event.clientX - box.left) / box.width);
  }

  drawNow() {
    for (const pane of this.panes) {
      const box = pane.canvas.getBoundingClientRect(), width = Math.round(box.width * this.ratio), height = Math.round(box.height * this.ratio);
      if (!width || !height) continue;
      if (pane.canvas.width !== width || pane.canvas.height !== height) Object.assign(pane.canvas, { width, height });
      const context = pane.canvas.getContext("2d"), [left, top] = this.originOf(pane), edge = Math.round(this.split * width);
      context.clearRect(0, 0, width, height);
      context.imageSmoothingEnabled = !this.isExact;
      context.imageSmoothingQuality = "high";
      const parts = this.isSplit ? [[0, edge], [edge, width - edge]] : [[0, width]];
      parts.forEach(([from, wide], index) => {
        context.save();
        context.beginPath();
        context.rect(from, 0, wide, height);
        context.clip();
        context.drawImage(pane.layers[index].canvas, left, top, this.world[0] * this.zoom, this.world[1] * this.zoom);
        context.restore();
      });
      pane.knob.style.left = `${this.split * 100}%`;
    }
  }
}
