// What the pages need beyond what makes them: a way in for the keyboard, where only a mouse would get.
(() => {
  "use strict";
  const all = sel => Array.from(document.querySelectorAll(sel));

  // A wide figure scrolls on a narrow screen, rather than shrink until its words can't be read
  const figures = new ResizeObserver(entries => entries.forEach(({target}) => target.querySelectorAll("img").forEach(img => {
    const least = Math.round(.7 * img.naturalWidth);
    img.style.minWidth = least > target.clientWidth ? least + "px" : "";
  })));
  window.addEventListener("load", () => all("main figure.figure").forEach(el => figures.observe(el)));

  // What scrolls sideways takes the focus, so that the arrow keys can move it; what fits is no stop on the way
  const named = el => el.closest(".sourceCode") ? "Code" : el.querySelector("table") ? "Table" : el.querySelector("math") ? "Formula" : el.querySelector("img") ? "Figure" : "Output";
  const scrolls = el => ["auto", "scroll"].includes(getComputedStyle(el).overflowX) && el.scrollWidth > el.clientWidth + 1;
  const mark = el => {
    if (!scrolls(el)) return ["tabindex", "role", "aria-label"].forEach(name => el.removeAttribute(name));
    el.tabIndex = 0;
    el.setAttribute("role", "group");
    el.setAttribute("aria-label", named(el) + ", scrolls sideways");
  };
  const boxes = all("main pre, main figure.figure > p, main .cell-output-display, main .cell-output-display > div, main .sd-table, main .table-responsive, main .math.display");
  const watch = new ResizeObserver(entries => entries.forEach(e => mark(e.target)));
  boxes.forEach(el => watch.observe(el));
  all("main details, main .callout-collapse").forEach(el => ["toggle", "shown.bs.collapse"].forEach(event =>
    el.addEventListener(event, () => boxes.filter(box => el.contains(box)).forEach(mark))));

  // On a narrow screen the list of pages opens over the page: say so, go there, and come back with Escape
  const sidebar = document.getElementById("quarto-sidebar"), button = document.querySelector(".quarto-btn-toggle");
  if (sidebar && button) {
    const open = () => sidebar.classList.contains("show");
    new MutationObserver(() => {
      if (button.getAttribute("aria-expanded") === String(open())) return;
      button.setAttribute("aria-expanded", open());
      if (open()) sidebar.querySelector("a").focus();
    }).observe(sidebar, {attributes: true, attributeFilter: ["class"]});
    sidebar.addEventListener("keydown", e => { if (e.key === "Escape" && open()) { button.click(); button.focus(); } });
  }

  // The current page is in sight in a long list
  const active = document.querySelector(".sidebar-link.active");
  if (active && sidebar && active.offsetTop > sidebar.clientHeight - 60) sidebar.scrollTop = active.offsetTop - sidebar.clientHeight / 2;
})();
