"use strict";
// The gallery: sorts and filters cards, draws those in view, opens one of them larger.
const root = document.documentElement;
const theme = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  theme.setAttribute("aria-pressed", String(dark));
}
setTheme(systemDark.matches);
systemDark.addEventListener("change", (event) => setTheme(event.matches));
theme.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));

if (document.getElementById("gallery")) startGallery();

function startGallery() {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const layers = [{ key: "photo", title: "photograph" }, ...facts.layers];
  const cards = facts.cards.map((card, index) => ({ ...card, index }));
  const grid = document.getElementById("cards");
  const viewer = document.getElementById("viewer");
  const order = document.getElementById("order");
  const classes = document.getElementById("class");
  const text = document.getElementById("text");
  const batch = 60; // cards that are added at once
  let layer = layers.find((one) => one.key === facts.start) || layers[0];
  let strength = 65;
  let listed = []; // cards that the filters leave, in their order
  let open = 0; // place of the viewer's card in that list

  // Pictures lie in blocks, which are read when one of their photographs is seen
  const blocks = new Map();
  function pictures(card) {
    const number = Math.floor(card.index / facts.chunk);
    if (!blocks.has(number)) {
      const block = document.getElementById(`pictures-${number}`);
      if (!block) return null; // not loaded yet
      blocks.set(number, JSON.parse(block.textContent));
      block.remove();
    }
    return blocks.get(number)[card.index % facts.chunk];
  }

  function load(uri) { // not by decode(), which fails where the page is closed meanwhile
    return new Promise((done, failed) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => failed(new Error("a picture cannot be read"));
      image.src = uri;
    });
  }

  async function draw(canvas, card) {
    const drawn = `${card.index} ${layer.key} ${strength}`;
    canvas.dataset.wanted = drawn;
    const found = pictures(card);
    if (!found) return;
    const over = found[layer.key];
    const smooth = Boolean(layer.smooth);
    const [photo, top] = await Promise.all(
      [found.photo, layer.key === "photo" ? null : over].map((uri) => uri && load(uri)));
    if (canvas.dataset.wanted !== drawn) return; // something else is wanted by now
    [canvas.width, canvas.height] = card.size;
    const context = canvas.getContext("2d");
    if (photo) context.drawImage(photo, 0, 0, canvas.width, canvas.height);
    if (top) {
      context.globalAlpha = strength / 100;
      context.imageSmoothingEnabled = smooth;
      context.drawImage(top, 0, 0, canvas.width, canvas.height);
    }
    canvas.dataset.drawn = drawn;
    canvas.setAttribute("aria-label", describe(card));
  }

  function describe(card) {
    const missing = layer.key !== "photo" && !card.layers.includes(layer.key);
    const fault = card.fault && `; ${card.fault}`;
    return `${missing ? `no ${layer.title}` : layer.title} of ${card.name}: ${shown(card)}${fault}`;
  }

  function shown(card) {
    return card.classes.map((c) => facts.classes[c]).join(", ") || "none of the classes";
  }

  function fullName(card) {
    return card.also ? `${card.name} (${card.also})` : card.name;
  }

  function percent(value) {
    return `${(100 * value).toFixed(0)} %`;
  }

  function scores(card) {
    const parts = [];
    if (card.iou !== null) parts.push(`IoU ${percent(card.iou)}`);
    if (card.quality !== null) parts.push(`quality ${percent(card.quality)}`);
    return parts;
  }

  // Cards out of view give their canvas' memory back
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const canvas = target.querySelector("canvas");
      if (isIntersecting) draw(canvas, cards[target.dataset.index]);
      else if (canvas.dataset.wanted) forget(canvas);
    }
  }, { rootMargin: "400px" });

  function forget(canvas) {
    delete canvas.dataset.wanted;
    delete canvas.dataset.drawn;
    const { width, height } = canvas;
    canvas.width = canvas.height = 0;
    [canvas.width, canvas.height] = [width, height];
  }

  const end = document.createElement("div");
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) more();
  }, { rootMargin: "1200px" }).observe(end);
  grid.after(end);

  function element(name, className, content) {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = content;
    return made;
  }

  function cardButton(card, place) {
    const button = element("button", "card", "");
    button.type = "button";
    button.dataset.index = card.index;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = card.size;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", describe(card));
    const line = element("span", "facts", "");
    for (const part of scores(card)) line.append(element("span", "", part));
    for (const c of card.classes) {
      const name = element("span", "", "");
      name.append(element("i", `swatch value${c + 1}`, ""), facts.classes[c]);
      line.append(name);
    }
    const name = element("span", "name", card.name);
    name.title = fullName(card);
    button.append(canvas, name, line);
    if (card.fault) button.append(element("span", "fault", card.fault));
    button.addEventListener("click", () => show(place));
    seen.observe(button);
    return button;
  }

  function more() {
    const from = grid.childElementCount;
    grid.append(...listed.slice(from, from + batch).map((card, i) => cardButton(card, from + i)));
  }

  const known = (value, otherwise) => (value === null ? otherwise : value);
  const goodness = (card) => known(card.iou, known(card.quality, 2)); // 2: last, nothing is known
  const orders = {
    worst: (a, b) => goodness(a) - goodness(b),
    best: (a, b) => (goodness(b) % 2) - (goodness(a) % 2),
    uncertain: (a, b) => known(a.quality, 2) - known(b.quality, 2),
    name: () => 0,
  };
  const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });

  function list() {
    const words = text.value.trim().toLowerCase();
    const wanted = classes.value;
    const fits = (card) => [card.name, card.also].some((name) => name.toLowerCase().includes(words))
      && (wanted === "" || (wanted === "none" ? !card.classes.length : card.classes.includes(Number(wanted))));
    listed = cards.filter(fits).sort((a, b) => orders[order.value](a, b) || byName(a, b));
    document.getElementById("count").textContent =
      `${listed.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")} photographs`;
    seen.disconnect();
    grid.replaceChildren();
    more();
  }

  function redraw() {
    for (const button of grid.children) {
      const canvas = button.querySelector("canvas");
      canvas.setAttribute("aria-label", describe(cards[button.dataset.index]));
      if (canvas.dataset.wanted) draw(canvas, cards[button.dataset.index]);
    }
    if (viewer.open) draw(document.getElementById("viewer-picture"), listed[open]);
  }

  function setLayer(next) {
    layer = next;
    for (const button of document.querySelectorAll(".layers button")) {
      button.setAttribute("aria-pressed", String(button.dataset.layer === layer.key));
    }
    redraw();
  }

  function setStrength(value) {
    strength = Number(value);
    for (const slider of document.querySelectorAll(".strength")) slider.value = value;
    redraw();
  }

  function show(place) {
    open = Math.max(0, Math.min(listed.length - 1, place));
    while (grid.childElementCount <= open && grid.childElementCount < listed.length) more();
    const card = listed[open];
    document.getElementById("viewer-name").textContent = fullName(card);
    document.getElementById("viewer-facts").textContent =
      [shown(card), ...scores(card), card.fault, `${open + 1} of ${listed.length}`]
        .filter(Boolean).join(" · ");
    if (!viewer.open) viewer.showModal();
    draw(document.getElementById("viewer-picture"), card);
  }

  function step(by) {
    if (viewer.open) return show(open + by);
    const at = [...grid.children].indexOf(document.activeElement);
    const next = grid.children[at < 0 ? 0 : at + by];
    if (next) next.focus();
  }

  for (const group of document.querySelectorAll(".layers")) {
    layers.forEach((one, number) => {
      const button = element("button", "", `${number + 1} ${one.title}`);
      button.type = "button";
      button.dataset.layer = one.key;
      button.addEventListener("click", () => setLayer(one));
      group.append(button);
    });
  }
  for (const slider of document.querySelectorAll(".strength")) {
    slider.addEventListener("input", () => setStrength(slider.value));
  }
  for (const chooser of [order, classes]) chooser.addEventListener("change", list);
  text.addEventListener("input", list);
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => grid.children[open] && grid.children[open].focus());

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search], select")) return;
    const chosen = layers[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && chosen) setLayer(chosen);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && !event.target.matches("input")) {
      event.preventDefault();
      step(by);
    }
  });

  setLayer(layer);
  list();
  // blocks of pictures come after this script: draw what is in view once all are there
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of grid.children) {
      const canvas = button.querySelector("canvas");
      if (canvas.dataset.wanted && !canvas.dataset.drawn) draw(canvas, cards[button.dataset.index]);
    }
  });
}
