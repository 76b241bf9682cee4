// The map island. It draws what the list's answer carries (#objects), nothing else: list, address and map stay one.

import * as maplibre from "../vendor/maplibre-gl-6.17.0.js";


const box = document.getElementById("map");
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const RING = { live: ["#2f8f6b", []], late: ["#c98a00", [5, 2]], silent: ["#c0392b", [2, 2]], fault: ["#c0392b", [4, 3]],
  maintenance: ["#1f6d8c", [1, 2]], planned: ["#8b9894", [1, 3]] };
const SIZE = 30;

function objects() {
  const columns = JSON.parse(document.getElementById("objects").textContent);
  return { type: "FeatureCollection", features: columns.code.map((code, i) => ({
    type: "Feature", geometry: { type: "Point", coordinates: [columns.lon[i], columns.lat[i]] },
    properties: { code, name: columns.name[i], icon: columns.icons[columns.icon[i]], rank: columns.rank[i] },
  })) };
}

/** One symbol: shape by kind, fill and mark by verdict, ring by freshness. */
function symbol(id) {
  const [kind, fill, ink, mark, status] = id.split("|");
  const canvas = document.createElement("canvas"), scale = 2;
  canvas.width = canvas.height = SIZE * scale;
  const c = canvas.getContext("2d");
  c.scale(scale, scale);
  c.translate(SIZE / 2, SIZE / 2);
  const [colour, dash] = RING[status] ?? RING.planned;
  c.beginPath(); c.arc(0, 0, 13, 0, 7); c.fillStyle = "rgba(255,255,255,.82)"; c.fill();
  c.setLineDash(dash); c.lineWidth = 2.2; c.strokeStyle = colour; c.stroke(); c.setLineDash([]);
  c.lineWidth = 1; c.strokeStyle = "#1d2b2a"; c.fillStyle = fill;
  shape(c, kind);
  c.fillStyle = ink; c.font = `600 10px ${tone("--font")}`; c.textAlign = "center"; c.textBaseline = "middle";
  if (kind !== "radiation") c.fillText(mark, 0, kind === "water" ? 2 : 0.5);
  return { image: c.getImageData(0, 0, canvas.width, canvas.height), scale };
}

function shape(c, kind) {
  c.beginPath();
  if (kind === "air") c.arc(0, 0, 8.5, 0, 7);
  else if (kind === "water") { c.moveTo(0, -10); c.bezierCurveTo(3, -6, 7, -2, 7, 2.500); c.arc(0, 2.500, 7, 0, Math.PI); c.bezierCurveTo(-7, -2, -3, -6, 0, -10); }
  else if (kind === "noise") { c.rect(-9, -2, 4, 9); c.rect(-4, -6, 8, 13); c.rect(5, -9, 4, 16); }
  else if (kind === "radiation") {
    for (const turn of [0, 1, 2]) {
      const middle = -Math.PI / 2 + turn * 2 * Math.PI / 3;
      c.moveTo(3 * Math.cos(middle - .52), 3 * Math.sin(middle - .52));
      c.arc(0, 0, 9.500, middle - .52, middle + .52); c.arc(0, 0, 3, middle + .52, middle - .52, true); c.closePath();
    }
    c.moveTo(2, 0); c.arc(0, 0, 2, 0, 7);
  } else c.rect(-8, -8, 16, 16);
  c.fill(); c.stroke();
}

/** A name as a picture: no glyph server, any language. */
function label(id) {
  const text = id.slice(5), canvas = document.createElement("canvas"), scale = 2;
  let c = canvas.getContext("2d");
  c.font = `13px ${tone("--font")}`;
  canvas.width = (c.measureText(text).width + 8) * scale; canvas.height = 20 * scale;
  c = canvas.getContext("2d");
  c.scale(scale, scale); c.font = `13px ${tone("--font")}`; c.textBaseline = "middle";
  c.lineWidth = 3; c.strokeStyle = tone("--paper"); c.strokeText(text, 4, 10);
  c.fillStyle = tone("--ink-2"); c.fillText(text, 4, 10);
  return { image: c.getImageData(0, 0, canvas.width, canvas.height), scale };
}

function style(base) {
  const fill = ["match", ["get", "fill"], ...[1, 2, 3, 4].flatMap((n) => [n, tone(`--district-${n}`)]), tone("--district-5")];
  const only = (kind) => ["==", ["get", "kind"], kind];
  const line = (id, kind, colour, width, more = {}) => ({ id, type: "line", source: "features", filter: only(kind),
    layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": colour, "line-width": width, ...more } });
  return { version: 8, sources: {
      regions: { type: "geojson", data: base.regions }, features: { type: "geojson", data: base.features },
      names: { type: "geojson", data: names(base.regions) }, objects: { type: "geojson", data: objects() } },
    layers: [
      { id: "paper", type: "background", paint: { "background-color": tone("--paper") } },
      { id: "districts", type: "fill", source: "regions", paint: { "fill-color": fill } },
      { id: "parks", type: "fill", source: "features", filter: only("park"), paint: { "fill-color": tone("--gamboge"), "fill-opacity": .1 } },
      { id: "lakes", type: "fill", source: "features", filter: only("lake"), paint: { "fill-color": "#1f6d8c", "fill-opacity": .28 } },
      line("roads", "road", tone("--line-strong"), 1.600),
      line("rivers", "river", "#3d8aa8", ["+", 1, ["*", 0.8, ["to-number", ["get", "width"], 1]]], { "line-opacity": .8 }),
      { id: "borders", type: "line", source: "regions", paint: { "line-color": tone("--ink-2"), "line-width": 1, "line-dasharray": [4, 2], "line-opacity": .7 } },
      { id: "names", type: "symbol", source: "names", layout: { "icon-image": ["concat", "name|", ["get", "name"]], "icon-allow-overlap": true } },
      { id: "objects", type: "symbol", source: "objects", layout: { "icon-image": ["get", "icon"], "icon-allow-overlap": true,
        "icon-ignore-placement": true, "symbol-sort-key": ["get", "rank"],
        "icon-size": ["interpolate", ["linear"], ["zoom"], 8, .55, 10, .8, 12, 1] } },
    ] };
}

function names(regions) {
  return { type: "FeatureCollection", features: regions.features.map((region) => ({
    type: "Feature", properties: { name: region.properties.name }, geometry: { type: "Point", coordinates: middle(region.geometry) } })) };
}

/** Centre of gravity of a polygon's outer ring. */
function middle(geometry) {
  const ring = geometry.type === "Polygon" ? geometry.coordinates[0] : geometry.coordinates[0][0];
  let area = 0, x = 0, y = 0;
  for (let i = 0; i + 1 < ring.length; i++) {
    const cross = ring[i][0] * ring[i + 1][1] - ring[i + 1][0] * ring[i][1];
    area += cross; x += (ring[i][0] + ring[i + 1][0]) * cross; y += (ring[i][1] + ring[i + 1][1]) * cross;
  }
  return area ? [x / (3 * area), y / (3 * area)] : ring[0];
}

function bounds(base) {
  const all = new maplibre.LngLatBounds();
  const walk = (part) => typeof part[0] === "number" ? all.extend(part) : part.forEach(walk);
  const shown = objects().features;
  const source = base.regions.features.length ? base.regions.features : shown;
  source.forEach((feature) => walk(feature.geometry.coordinates));
  return all.isEmpty() ? [[73, 18], [135, 54]] : all;
}

/** Room for the legend where it lies on the map. */
function margins() {
  const legend = document.querySelector(".map-legend"), over = getComputedStyle(legend).position === "absolute";
  return { top: 24, left: 24, right: 24, bottom: over ? legend.offsetHeight + 16 : 24 };
}

function openCard(code) {
  const address = new URL(location.href);
  address.searchParams.set("at", code);
  history.replaceState(history.state, "", address);
  for (const row of document.querySelectorAll("#results tr[data-code]")) row.classList.toggle("selected", row.dataset.code === code);
}

async function draw() {
  const base = await (await fetch(box.dataset.base)).json();
  maplibre.setWorkerUrl(new URL(box.dataset.worker, location.href).href);
  const map = new maplibre.Map({ container: box, style: style(base), bounds: bounds(base), fitBoundsOptions: { padding: margins() },
    attributionControl: false, dragRotate: false, pitchWithRotate: false, fadeDuration: 0, maxZoom: 16 });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibre.ScaleControl({ maxWidth: 96 }), "bottom-right");
  map.setMissingStyleImageResolver((id) => {
    const { image, scale } = id.startsWith("name|") ? label(id) : symbol(id);
    map.addImage(id, image, { pixelRatio: scale });
  });
  let loading = 0; // an idle that belongs to the data before does not count
  map.on("idle", () => { if (!loading) box.dataset.idle = "true"; });
  map.on("mousemove", "objects", () => { map.getCanvas().style.cursor = "pointer"; });
  map.on("mouseleave", "objects", () => { map.getCanvas().style.cursor = ""; });
  map.on("click", "objects", ({ features }) => {
    const { code } = features[0].properties;
    openCard(code);
    window.htmx.ajax("GET", box.dataset.card.replace("__code__", encodeURIComponent(code)), { target: "#drawer", swap: "innerHTML" });
  });
  document.addEventListener("htmx:after:swap", () => {
    if (!document.getElementById("objects")) return;
    delete box.dataset.idle;
    loading += 1;
    map.getSource("objects").setData(objects()).finally(() => { loading -= 1; map.triggerRepaint(); });
  });
  const visible = document.getElementById("visible-area");
  visible?.addEventListener("click", () => {
    const seen = map.getBounds(), form = document.getElementById("filters");
    form.elements.bbox.value = [seen.getWest(), seen.getSouth(), seen.getEast(), seen.getNorth()].map((n) => n.toFixed(4)).join(",");
    form.requestSubmit();
  });
  window.ceguanMap = map;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("#results a[data-at]");
  if (link) openCard(link.dataset.at);
});

draw().catch((error) => {
  console.warn("no map:", error);
  box.hidden = true;
  document.getElementById("map-sorry").hidden = false;
});
