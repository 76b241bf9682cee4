// The few things every page needs: closing the drawer, printing, copying, leaving a menu.

const drawer = document.getElementById("drawer");

function closeDrawer() {
  drawer.replaceChildren();
  const address = new URL(location.href);
  if (address.searchParams.has("at")) {
    address.searchParams.delete("at");
    history.replaceState(history.state, "", address);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-close], [data-print], [data-copy]");
  if (button?.matches("[data-close]")) { event.preventDefault(); closeDrawer(); }
  if (button?.matches("[data-print]")) window.print();
  if (button?.matches("[data-copy]")) navigator.clipboard?.writeText(button.dataset.copy);
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDrawer();
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    document.getElementById("q-top")?.focus();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.closest("form[data-autosubmit]")) event.target.form.requestSubmit();
});
