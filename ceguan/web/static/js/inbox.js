// Keys of the inbox: j opens the next alarm, k the one before, e claims the open one.

const rows = () => [...document.querySelectorAll("[data-finding]")];

function choose(row) {
  if (!row) return;
  for (const other of rows()) other.setAttribute("aria-selected", String(other === row));
  row.scrollIntoView({ block: "nearest" });
  row.querySelector("a")?.focus({ preventScroll: true });
}

function move(step) {
  const all = rows(), here = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
  choose(all[Math.min(Math.max(here + step, 0), all.length - 1)]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
  if (event.key === "j" || event.key === "k") rows().find((row) => row.getAttribute("aria-selected") === "true")?.querySelector("a")?.click();
  if (event.key === "e") document.getElementById("claim")?.requestSubmit();
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-finding]");
  if (row) for (const other of rows()) other.setAttribute("aria-selected", String(other === row));
});
