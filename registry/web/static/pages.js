// What a script adds to pages that work without one: the sliders drag, the crosshair drags, "why?" opens beside the figure,
// a link is copied. It builds no text from announcements and stores nothing.
"use strict";
(() => {
  const go = (href) => {
    const swapped = document.querySelector("#page") && window.htmx && new URL(href, location.href).pathname === location.pathname;
    if (!swapped) { location.href = href; return; }
    htmx.ajax("GET", href, { target: "#page", select: "#page", swap: "outerHTML show:none" })
      .then(() => history.pushState({ page: true }, "", href));
  };
  // Pages that were swapped are loaded anew when the reader goes back to them.
  addEventListener("popstate", () => location.reload());

  const slide = (rail) => {
    const stops = [...rail.querySelectorAll(".ticks a")], range = rail.querySelector("input[type=range]");
    if (!range || stops.length < 2) return;
    const mark = (i) => {
      stops.forEach((stop, j) => (j === i ? stop.setAttribute("aria-current", "true") : stop.removeAttribute("aria-current")));
      if (stops[i]) range.setAttribute("aria-valuetext", stops[i].title);
    };
    let shown = stops.findIndex((stop) => stop.hasAttribute("aria-current"));
    range.value = Math.max(shown, 0);
    if (shown >= 0) range.setAttribute("aria-valuetext", stops[shown].title);
    range.hidden = false;
    range.addEventListener("input", () => { mark(+range.value); range.title = stops[+range.value].title; });
    range.addEventListener("change", () => { if (+range.value !== shown) go(stops[+range.value].href); });
  };

  const cross = (svg) => {
    const handle = svg.querySelector(".cross circle"), [v, h] = svg.querySelectorAll(".cross line");
    const xs = JSON.parse(svg.dataset.x), ys = JSON.parse(svg.dataset.y);
    if (!handle || !xs.length || !ys.length) return;
    const last = (stops, reached) => stops.filter(([place]) => reached(place)).pop() || stops[0];
    let to = null;
    const move = (event) => {
      const box = svg.getBoundingClientRect(), scale = 960 / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      to = [last(xs, (place) => place <= x + 4), last(ys, (place) => place >= y - 4)];
      for (const [line, name, at] of [[v, "x", to[0][0]], [h, "y", to[1][0]]]) { line.setAttribute(name + "1", at); line.setAttribute(name + "2", at); }
      handle.setAttribute("cx", to[0][0]); handle.setAttribute("cy", to[1][0]);
      event.preventDefault();
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.addEventListener("pointermove", move);
      handle.addEventListener("pointerup", () => {
        handle.removeEventListener("pointermove", move);
        if (!to) return;
        const url = new URL(location.href);
        for (const name of ["published_on", "recorded_at", "position"]) url.searchParams.delete(name);
        url.searchParams.set("effective_on", to[0][1]); url.searchParams.set(svg.dataset.known, to[1][1]);
        go(url.href);
      }, { once: true });
    });
  };

  const panel = async (link) => {
    const dialog = document.querySelector("#panel"), body = document.querySelector("#panel-body");
    await htmx.ajax("GET", link.href, { target: "#panel-body", select: "#blame", swap: "innerHTML" });
    if (!body.childElementCount) { location.href = link.href; return; }
    dialog.showModal();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.matches("[data-copy]")) {
      event.preventDefault();
      navigator.clipboard.writeText(link.href).then(() => { link.textContent = "✓ " + link.textContent.replace(/^✓ /, ""); }, () => { location.href = link.href; });
    } else if (link.matches("[data-panel]") && window.htmx) {
      event.preventDefault(); panel(link);
    } else if (link.closest(".clocks, .axes, .past, .stepped") && link.pathname === location.pathname && !(link.hash && link.search === location.search)) {
      event.preventDefault(); go(link.href);
    }
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches(".clocks form")) return;
    event.preventDefault();
    const date = form.querySelector("[name=effective_on]");
    if (date && !date.value) date.disabled = true;
    const url = new URL(form.action); url.search = new URLSearchParams(new FormData(form)).toString();
    location.href = url.href;
  });

  const wake = (root) => {
    root.querySelectorAll("[data-rail]").forEach(slide);
    root.querySelectorAll("[data-axes]").forEach(cross);
  };
  addEventListener("DOMContentLoaded", () => wake(document));
  document.addEventListener("htmx:afterSettle", (event) => { if (event.target.id === "page" || event.detail.elt.id === "page") wake(document.querySelector("#page")); });
})();
