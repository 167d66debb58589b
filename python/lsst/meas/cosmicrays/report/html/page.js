"use strict";
// Tables are sorted by the buttons in their heads; figures and lists that
// are folded away are printed too.
const announce = document.getElementById("announce");

function keyOf(cell) {
  const key = cell.dataset.key ?? cell.textContent.trim();
  return cell.classList.contains("number") && key !== "" ? Number(key) : key;
}

function compare(first, second, direction) {
  // What is not known stays at the end, whichever way the column is sorted.
  if (first === "" || second === "") return (first === "") - (second === "");
  if (typeof first === "number" && typeof second === "number") return direction * (first - second);
  return direction * String(first).localeCompare(String(second), "en", { numeric: true });
}

function sortBy(table, index, button) {
  const head = button.closest("th");
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [keyOf(row.cells[index]), row]);
  rows.sort((first, second) => compare(first[0], second[0], ascending ? 1 : -1));
  body.append(...rows.map(([, row]) => row));
  announce.textContent = `Sorted by ${button.textContent}, ${ascending ? "ascending" : "descending"}`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, index, button));
    head.append(button);
  });
}

for (const block of document.querySelectorAll("details.latex")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${block.querySelector("summary").textContent}`);
  button.addEventListener("click", async () => {
    const text = block.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      announce.textContent = "Copied";
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      announce.textContent = "Selected: copy it with the keyboard";
      button.textContent = "Selected";
    }
  });
  block.append(button);
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = Array.from(document.querySelectorAll("details:not(.latex):not([open])"));
  for (const block of opened) block.open = true;
  for (const image of document.images) image.loading = "eager";
});
addEventListener("afterprint", () => {
  for (const block of opened) block.open = false;
});
