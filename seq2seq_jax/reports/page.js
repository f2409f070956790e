// A click on a header sorts by it, a second one the other way; what has no value stays last.
// Headers hold buttons, so that the keyboard does it too.
for (const header of document.querySelectorAll(".sortable th")) {
  header.querySelector("button").addEventListener("click", () => {
    const table = header.closest("table");
    const column = header.cellIndex;
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const order = (row) => row.cells[column].dataset.order;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = order(a), y = order(b);
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      const compared = isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
      return ascending ? compared : -compared;
    });
    table.tBodies[0].append(...rows);
  });
}

const picker = document.getElementById("sentence");
if (picker) {
  const sentences = document.querySelectorAll(".sentence");
  picker.addEventListener("change", () => {
    sentences.forEach((part, index) => { part.hidden = index !== picker.selectedIndex; });
  });
}
