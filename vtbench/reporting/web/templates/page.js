"use strict";
(() => {
  const SECONDS = { d: 86400, h: 3600, min: 60, s: 1 };
  const SIZES = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
  const NUMBER = /[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?/i;
  const measure = text => {
    const plain = text.replace(/,(?=\d{3})/g, "").replace(/−/g, "-");
    const times = [...plain.matchAll(/(\d+(?:\.\d+)?) (d|h|min|s)\b/g)];
    if (times.length) return times.reduce((sum, [, value, unit]) => sum + value * SECONDS[unit], 0);
    const found = plain.match(NUMBER);
    if (!found) return null;
    const size = plain.match(/\d (KiB|MiB|GiB|TiB)/);
    const value = parseFloat(found[0]) * (size ? SIZES[size[1]] : 1);
    return /^<\s*\d/.test(plain) ? value * (1 - 1e-9) : value;
  };
  const isHash = text => /^[0-9a-f]{8,}$/.test(text);
  const compareText = (a, b) => {
    if (isHash(a) && isHash(b)) return a < b ? -1 : a > b ? 1 : 0;
    const [ours, theirs] = [a, b].map(text => text.split(/(\d+(?:\.\d+)?(?:e[-+]?\d+)?)/i));
    for (let at = 0; at < Math.min(ours.length, theirs.length); at++) {
      const order = at % 2 ? ours[at] - theirs[at] : ours[at].localeCompare(theirs[at], "en");
      if (order) return order;
    }
    return ours.length - theirs.length;
  };
  const compare = (at, numeric, sign) => (one, other) => {
    const [a, b] = [one, other].map(row => row.cells[at].textContent.trim());
    const [x, y] = numeric ? [measure(a), measure(b)] : [a === "–" ? null : a, b === "–" ? null : b];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (numeric ? x - y : compareText(x, y));
  };
  const sort = (table, at, rows) => {
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads[at].classList.contains("num");
    const turns = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
    const now = turns[(turns.indexOf(heads[at].getAttribute("aria-sort")) + 1) % 3];
    heads.forEach(head => head.removeAttribute("aria-sort"));
    if (now) heads[at].setAttribute("aria-sort", now);
    const order = now ? [...rows].sort(compare(at, numeric, now === "ascending" ? 1 : -1)) : rows;
    table.tBodies[0].append(...order);
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const rows = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, at, rows));
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
      const names = new Set(rows.filter(row => !row.hidden).map(row => row.dataset.arm));
      document.querySelectorAll(`[data-filtered="${id}"]`).forEach(part => { part.hidden = !names.has(part.dataset.name); });
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
  for (const box of document.querySelectorAll(".scroll")) {
    const show = () => {
      const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 4;
      const down = box.scrollHeight - box.clientHeight - box.scrollTop > 4;
      box.parentElement.classList.toggle("more-right", right);
      box.parentElement.classList.toggle("more-down", down);
    };
    box.addEventListener("scroll", show, { passive: true });
    new ResizeObserver(show).observe(box);
    box.closest("details")?.addEventListener("toggle", show);
  }
  const tip = document.getElementById("tip");
  const arms = [...document.querySelectorAll("[data-arm]")];
  const point = name => {
    arms.forEach(one => one.classList.toggle("on", name !== null && one.dataset.arm === name));
    document.querySelectorAll("svg").forEach(svg => svg.classList.toggle("pointed", name !== null && svg.querySelector(".arm.on") !== null));
  };
  const tell = (words, x, y) => {
    if (!tip) return;
    tip.hidden = !words;
    tip.textContent = words;
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - tip.offsetHeight - 8))}px`;
  };
  const leave = () => { point(null); tell("", 0, 0); };
  for (const title of document.querySelectorAll("svg title")) {
    const mark = title.parentElement;
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  const tellOf = event => {
    const arm = event.target.closest("svg .arm, tbody tr[data-arm]");
    if (!arm) return leave();
    point(arm.dataset.arm);
    tell(event.target.closest("[data-tip]")?.dataset.tip ?? "", event.clientX, event.clientY);
  };
  document.addEventListener("pointerover", event => { if (event.pointerType !== "touch") tellOf(event); });
  document.addEventListener("click", tellOf);
  document.addEventListener("keydown", event => { if (event.key === "Escape") leave(); });
  for (const svg of document.querySelectorAll("svg")) {
    const marks = [...svg.querySelectorAll(".arm[data-tip]")].filter(mark => mark.querySelector("circle, polyline, rect"));
    if (!marks.length) continue;
    svg.setAttribute("role", "group");
    marks.forEach((mark, at) => {
      mark.setAttribute("tabindex", at ? "-1" : "0");
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", mark.dataset.tip);
      mark.addEventListener("focus", () => {
        if (!mark.matches(":focus-visible")) return;
        const place = mark.getBoundingClientRect();
        point(mark.dataset.arm);
        tell(mark.dataset.tip, place.left + place.width / 2, place.top + place.height / 2);
      });
      mark.addEventListener("blur", leave);
      mark.addEventListener("keydown", event => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = marks[(at + step + marks.length) % marks.length];
        marks.forEach(one => one.setAttribute("tabindex", one === next ? "0" : "-1"));
        next.focus();
      });
    });
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
})();
