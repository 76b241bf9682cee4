// The chart island: <div data-chart="address of the JSON">. Raw as a thin line, in force as a thick one, limits labelled,
// flags as ticks below, decisions as seals above; missing is a gap. A long span has the lowest and highest of each day in
// place of raw.

import uPlot from "../vendor/uplot-1.6.32.js";

const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const two = (n) => String(n).padStart(2, "0");
const beijing = (ts) => new Date((ts + 8 * 3600) * 1000);
function clock(ts) { const d = beijing(ts); return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`; }

const LINES = ["raw", "low", "high", "force", "zs"];
const shown = (data) => LINES.filter((line) => data[line]);

/** Insert an empty reading wherever one is due and missing, so that no line crosses a gap. */
function withGaps(data) {
  const lines = shown(data), columns = [[], ...lines.map(() => [])];
  data.t.forEach((t, i) => {
    const before = data.t[i - 1];
    if (data.every && !data.thinned && i && t - before > 1.5 * data.every) { columns[0].push(before + data.every); lines.forEach((_, k) => columns[k + 1].push(null)); }
    columns[0].push(t);
    lines.forEach((line, k) => columns[k + 1].push(data[line][i] ?? null));
  });
  return columns;
}

function draw(box, data) {
  const ink = tone("--ink-2"), line = tone("--line"), font = `12px ${tone("--font")}`;
  const readout = document.createElement("div");
  readout.className = "readout"; readout.textContent = `${data.name} [${data.unit}]`;
  box.replaceChildren(readout);
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const thin = { stroke: tone("--ink-2"), width: 0.8, points: { show: false } };
  const looks = { raw: thin, low: thin, high: thin,
    force: { stroke: tone("--azurite"), width: 2.2, points: { show: data.t.length < 60, size: 4 } },
    zs: { stroke: tone("--malachite"), width: 1.4, dash: [6, 3], points: { show: false } } };
  const series = [{}, ...shown(data).map((line) => ({ label: line, ...looks[line] }))];
  const high = Math.max(...data.limits.filter((one) => !one.low).map((one) => one.value), -Infinity);
  const options = {
    width: box.clientWidth, height: Math.max(220, Math.min(340, Math.round(box.clientWidth * 0.36))), series, legend: { show: false }, tzDate: beijingDate,
    scales: { x: { min: data.start, max: data.end }, y: { range: (_, low, top) => range(low, top, high) } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map(tick(data.end - data.start)) }, { ...axis, label: data.unit, labelFont: font, labelSize: 20, size: 52 }],
    hooks: { draw: [(plot) => over(plot, data, font)], setCursor: [(plot) => say(plot, data, readout)] },
  };
  const plot = new uPlot(options, withGaps(data), box);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: options.height })).observe(box);
  box.dataset.drawn = data.t.length;
}

const beijingDate = (ts) => uPlot.tzDate(new Date(ts * 1000), "Asia/Shanghai");
const tick = (span) => (ts) => { const d = beijing(ts); const day = `${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`; return span > 5 * 86400 || d.getUTCHours() === 0 ? day : `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`; };

/** The axis shows every limit that is within twice the data, so that quiet series are not pressed flat. */
function range(low, top, high) {
  if (low === null || low === undefined) return [0, Number.isFinite(high) ? high * 1.1 : 1];
  const upper = Number.isFinite(high) && high < 3 * Math.max(top, 0) ? Math.max(top, high) : top;
  const pad = (upper - Math.min(0, low)) * 0.08 || 1;
  return [low >= 0 && low < 0.7 * upper ? 0 : low - pad, upper + pad];
}

/** Limits, flags, decisions. */
function over(plot, data, font) {
  const { ctx, bbox } = plot, ratio = devicePixelRatio;
  ctx.save();
  ctx.font = font.replace("12px", `${11 * ratio}px`);
  ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
  ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
  for (const limit of data.limits) {
    const y = plot.valToPos(limit.value, "y", true);
    ctx.strokeStyle = ctx.fillStyle = limit.permit ? tone("--cinnabar") : tone("--gamboge");
    ctx.setLineDash([6 * ratio, 4 * ratio]); ctx.lineWidth = ratio;
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    ctx.fillText(limit.label, bbox.left + 6 * ratio, y - 4 * ratio);
  }
  ctx.setLineDash([]);
  ctx.fillStyle = tone("--gamboge-fill");
  for (const flag of data.flags) ctx.fillRect(plot.valToPos(flag.t, "x", true) - ratio, bbox.top + bbox.height - 8 * ratio, 2 * ratio, 8 * ratio);
  ctx.textAlign = "center"; ctx.textBaseline = "middle";
  for (const decision of data.decisions) {
    const from = plot.valToPos(Math.max(decision.from, data.start), "x", true), to = plot.valToPos(Math.min(decision.to, data.end), "x", true);
    ctx.fillStyle = tone("--malachite"); ctx.globalAlpha = 0.12; ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height); ctx.globalAlpha = 1;
    const x = (from + to) / 2, y = bbox.top + 10 * ratio, half = 8 * ratio;
    ctx.strokeStyle = tone("--malachite"); ctx.lineWidth = 1.5 * ratio; ctx.strokeRect(x - half, y - half, 2 * half, 2 * half);
    ctx.fillText(decision.mark, x, y);
  }
  ctx.restore();
}

/** Exact values under the pointer. */
function say(plot, data, readout) {
  const i = plot.cursor.idx;
  if (i === null || i === undefined) return;
  const t = plot.data[0][i], at = Object.fromEntries(shown(data).map((line, k) => [line, plot.data[k + 1][i]]));
  const figure = (v) => v === null || v === undefined ? "—" : v.toFixed(data.decimals);
  const parts = [clock(t), `${data.name} ${figure(at.force)} ${data.unit}`];
  if ("low" in at) parts.push(`${figure(at.low)}–${figure(at.high)}`);
  else if (at.raw !== at.force) parts.push(`(${figure(at.raw)})`);
  if (at.zs !== undefined && at.zs !== null) parts.push(`zs ${figure(at.zs)}`);
  parts.push(...data.flags.filter((one) => one.t === t).map((one) => one.text));
  parts.push(...data.decisions.filter((one) => one.from <= t && t < one.to).map((one) => one.text));
  parts.push(...data.gaps.filter((one) => one.from <= t && t < one.to).map((one) => one.text));
  readout.textContent = parts.join(" · ");
}

async function show(box) {
  box.dataset.drawn = "";
  try {
    const answer = await fetch(box.dataset.chart, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const data = await answer.json();
    if (data.t.length) draw(box, data);
    else box.textContent = box.dataset.empty ?? "";
  } catch (error) {
    console.warn("no chart:", error);
    box.textContent = box.dataset.failed ?? "";
  }
}

function showAll() {
  for (const box of document.querySelectorAll("[data-chart]:not([data-drawn])")) show(box);
}
showAll();
document.addEventListener("htmx:after:swap", showAll);
