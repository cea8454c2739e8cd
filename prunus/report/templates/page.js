"use strict";
// Tables that can be sorted get a button in each heading; what is folded away is opened for print.
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function keyOf(row, place) {
  const cell = row.cells[place];
  const given = cell.dataset.sort;
  if (given === undefined) return cell.textContent.trim();
  if (given === "") return null;
  const number = Number(given);
  return Number.isNaN(number) ? given : number;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return collator.compare(String(one), String(other));
}

function sort(table, heading, place) {
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row, place) }));
  rows.sort((one, other) => {
    if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
    return rising ? compare(one.key, other.key) : compare(other.key, one.key);
  });
  table.tBodies[0].append(...rows.map((entry) => entry.row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading, place));
    heading.append(button);
  });
}

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
});
