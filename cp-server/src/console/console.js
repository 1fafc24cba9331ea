// Copying, the shortcut of the search field, and a warning before entries are lost. Every page works
// without this file.
"use strict";
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button || !navigator.clipboard) return;
  const source = document.getElementById(button.dataset.copyFrom || "");
  const text = button.dataset.copy || (source && source.textContent) || "";
  navigator.clipboard.writeText(text).then(() => {
    const before = button.getAttribute("aria-label");
    button.setAttribute("aria-label", "Copied");
    button.classList.add("up");
    setTimeout(() => {
      button.setAttribute("aria-label", before);
      button.classList.remove("up");
    }, 1500);
  });
});
document.addEventListener("keydown", (event) => {
  const field = document.getElementById("q");
  const writes = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && field && !writes && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    field.focus();
  }
  if (event.key === "Escape") {
    document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });
  }
});
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
});
let isChanged = false;
document.addEventListener("input", (event) => {
  if (event.target.closest("form.form")) isChanged = true;
});
document.addEventListener("submit", () => { isChanged = false; });
window.addEventListener("beforeunload", (event) => {
  if (isChanged) event.preventDefault();
});
document.addEventListener("DOMContentLoaded", () => {
  const errors = document.getElementById("errors");
  if (errors) errors.focus();
});
// A token that is pasted into the search field is posted to the inspection: it belongs in no address.
document.addEventListener("paste", (event) => {
  const text = event.clipboardData ? event.clipboardData.getData("text").trim() : "";
  if (event.target.id !== "q" || !text.startsWith("eyJ")) return;
  event.preventDefault();
  const form = document.createElement("form");
  const entry = document.createElement("textarea");
  form.method = "post";
  form.action = event.target.form.dataset.inspect;
  form.hidden = true;
  entry.name = "token";
  entry.value = text;
  form.append(entry);
  document.body.append(form);
  form.submit();
});
// Times in the zone that the person chose; an unknown zone leaves UTC.
document.addEventListener("DOMContentLoaded", () => {
  const zone = document.documentElement.dataset.zone;
  if (!zone) return;
  const options = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  if (zone !== "browser") options.timeZone = zone;
  let format;
  try { format = new Intl.DateTimeFormat("en-GB", options); } catch { return; }
  document.querySelectorAll("time[datetime]").forEach((time) => {
    if (/[A-Z][a-z]{2}/.test(time.textContent)) time.textContent = format.format(new Date(time.dateTime));
  });
});
