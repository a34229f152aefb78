"use strict";
(() => {
  const number = text => {
    const found = text.replace(/,/g, "").replace(/−/g, "-").match(/[-+]?\d+(\.\d+)?/);
    return found ? parseFloat(found[0]) : null;
  };
  const compare = (at, numeric, sign) => (one, other) => {
    const [a, b] = [one, other].map(row => row.cells[at].textContent.trim());
    if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
    const [x, y] = [number(a), number(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };
  const sort = (table, at) => {
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads[at].classList.contains("num");
    const before = heads[at].getAttribute("aria-sort");
    const now = before === null ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[at].setAttribute("aria-sort", now);
    const rows = [...table.tBodies[0].rows].sort(compare(at, numeric, now === "ascending" ? 1 : -1));
    table.tBodies[0].append(...rows);
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, at));
      head.append(button);
    });
  }
  for (const box of document.querySelectorAll("input[data-filter]")) {
    const id = box.dataset.filter;
    const rows = [...document.getElementById(id).tBodies[0].rows];
    const count = document.querySelector(`[data-count="${id}"]`);
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach(row => { row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word)); });
      const shown = rows.filter(row => !row.hidden).length;
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
  const tip = document.getElementById("tip");
  const arms = [...document.querySelectorAll("[data-arm]")];
  const point = name => {
    arms.forEach(one => one.classList.toggle("on", name !== null && one.dataset.arm === name));
    document.querySelectorAll("svg").forEach(svg => svg.classList.toggle("pointed", name !== null && svg.querySelector(".arm.on") !== null));
  };
  for (const arm of document.querySelectorAll("svg .arm, tbody tr[data-arm]")) {
    const title = arm.querySelector(":scope > title");
    const words = title ? title.textContent : "";
    arm.addEventListener("pointerenter", event => {
      if (title) title.remove();
      point(arm.dataset.arm);
      if (!words || !tip) return;
      tip.textContent = words;
      tip.hidden = false;
      tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8))}px`;
      tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8))}px`;
    });
    arm.addEventListener("pointerleave", () => {
      if (title) arm.prepend(title);
      point(null);
      if (tip) tip.hidden = true;
    });
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
})();
