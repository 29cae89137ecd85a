// Enhancements of pages that work without scripts: dragging time sliders and the chart's crosshair, opening sources in a
// panel, copying links, suggestions in the search field, which / focuses. It makes no markup from announcements and stores nothing.
"use strict";
(() => {
  let at = location.pathname + location.search;
  const go = (href) => {
    const swapped = document.querySelector("#page") && window.htmx && new URL(href, location.href).pathname === location.pathname;
    if (!swapped) { location.href = href; return; }
    const held = document.activeElement;
    hold = held && held.type === "range" ? held.getAttribute("aria-label") : "";
    const unfolded = !!document.querySelector("#as-of details[open]");
    htmx.ajax("GET", href, { target: "#page", select: "#page", swap: "outerHTML show:none" })
      .then(() => {
        // The date controls stay unfolded while the reader moves through time.
        const controls = document.querySelector("#as-of details");
        if (controls) controls.open = unfolded;
        history.pushState({ page: true }, "", href);
        at = location.pathname + location.search;
      });
  };
  // Keep keyboard focus after a swap: on the same slider, else on the new content.
  let hold = null;
  const handBack = () => {
    if (hold === null || document.activeElement !== document.body) return;
    const ranges = [...document.querySelectorAll("#page input[type=range]")];
    (ranges.find((range) => !range.hidden && range.getAttribute("aria-label") === hold) || document.querySelector("#content")).focus({ preventScroll: true });
    hold = null;
  };
  // Reload swapped pages when the reader goes back to them.
  addEventListener("popstate", () => { if (location.pathname + location.search !== at) location.reload(); });

  const slide = (slider) => {
    const stops = [...slider.querySelectorAll(".ticks a")], range = slider.querySelector("input[type=range]");
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
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
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
    const url = new URL(link.getAttribute("href"), location.href);  // SVG links have no plain .href
    if (link.matches("[data-copy]")) {
      event.preventDefault();
      navigator.clipboard.writeText(url.href).then(() => { link.textContent = "✓ " + link.textContent.replace(/^✓ /, ""); }, () => { location.href = url.href; });
    } else if (link.matches("[data-panel]") && window.htmx) {
      event.preventDefault(); panel(link);
    } else if (link.closest(".as-of, .axes, .past, .stepped") && url.pathname === location.pathname && !url.hash) {
      event.preventDefault(); go(url.href);
    }
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches(".as-of form")) return;
    event.preventDefault();
    const date = form.querySelector("[name=effective_on]");
    if (date && !date.value) date.disabled = true;
    const url = new URL(form.action); url.search = new URLSearchParams(new FormData(form)).toString();
    location.href = url.href;
  });

  // Copy the text of an element.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copies]");
    if (!button) return;
    const said = document.getElementById(button.dataset.copies).textContent;
    navigator.clipboard.writeText(said).then(() => { button.textContent = "✓ " + button.textContent.replace(/^✓ /, ""); }, () => {});
  });

  // Draw a chart's file as a picture, with the fonts of this machine, twice as large as on the page.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-png]");
    if (!button) return;
    const answer = await fetch(button.dataset.png), name = answer.headers.get("Content-Disposition").split('"')[1];
    const picture = new Image();
    picture.src = "data:image/svg+xml," + encodeURIComponent(await answer.text());
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * picture.width; canvas.height = 2 * picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const link = document.createElement("a");
    link.href = canvas.toDataURL("image/png"); link.download = name.replace(/svg$/, "png"); link.click();
  });

  // What the words typed so far may lead to (ARIA combobox): arrows choose, Enter opens, Escape closes.
  const suggest = (form) => {
    const input = form.querySelector("input[type=search]"), list = form.querySelector("[role=listbox]");
    let chosen = -1, timer = 0, asked = 0;
    for (const [name, text] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id]]) input.setAttribute(name, text);
    const choose = (i) => {
      chosen = i;
      [...list.children].forEach((option, j) => option.setAttribute("aria-selected", j === i));
      if (i < 0) input.removeAttribute("aria-activedescendant");
      else { input.setAttribute("aria-activedescendant", list.children[i].id); list.children[i].scrollIntoView({ block: "nearest" }); }
    };
    const show = (is) => { list.hidden = !is; input.setAttribute("aria-expanded", is); choose(-1); };
    const load = async () => {
      const number = ++asked;
      if (!input.value.trim()) { show(false); return; }
      const url = new URL(form.dataset.suggest, location.href);
      url.searchParams.set("q", input.value);
      const answer = await fetch(url);
      if (!answer.ok || number !== asked) return;
      list.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.children);
      show(list.children.length > 0 && document.activeElement === input);
    };
    show(false);
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(load, 120); });
    input.addEventListener("blur", () => { asked++; show(false); });
    input.addEventListener("keydown", (event) => {
      const last = list.children.length - 1;
      if (event.key === "Escape" && !list.hidden) { show(false); event.preventDefault(); }
      else if (list.hidden || event.isComposing) return;
      else if (event.key === "ArrowDown") { choose(chosen < last ? chosen + 1 : -1); event.preventDefault(); }
      else if (event.key === "ArrowUp") { choose(chosen < 0 ? last : chosen - 1); event.preventDefault(); }
      else if (event.key === "Enter" && chosen >= 0) { location.href = list.children[chosen].dataset.href; event.preventDefault(); }
    });
    // A press would take the focus from the field, which hides the list.
    list.addEventListener("mousedown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => { const option = event.target.closest("[data-href]"); if (option) location.href = option.dataset.href; });
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])");
    const input = document.querySelector("#q");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !input) return;
    event.preventDefault();
    input.focus(); input.select();
  });

  const wake = (root) => {
    root.querySelectorAll("[data-copies], [data-png]").forEach((button) => { button.hidden = false; });
    root.querySelectorAll("[data-slider]").forEach(slide);
    root.querySelectorAll("[data-axes]").forEach(cross);
  };
  addEventListener("DOMContentLoaded", () => { wake(document); document.querySelectorAll("form[data-suggest]").forEach(suggest); });
  document.addEventListener("htmx:afterSettle", (event) => { if (event.target.id === "page" || event.detail.elt.id === "page") { wake(document.querySelector("#page")); handBack(); } });
})();

// Verify an inclusion proof in the browser: leaf, path and root (RFC 6962 §2.1), and the checkpoint's Ed25519 signature.
(() => {
  const bytes = (hex) => Uint8Array.from(hex.match(/../g) || [], (pair) => parseInt(pair, 16));
  const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const sha = async (prefix, ...parts) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob([Uint8Array.of(...prefix), ...parts]).arrayBuffer()));
  const raw = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  // RFC 9162 §2.1.3.2: fold the path into the leaf.
  const climb = async (leaf, position, size, path) => {
    let index = position - 1, last = size - 1, node = leaf;
    for (const beside of path) {
      if (last === 0) return null;
      if (index % 2 === 1 || index === last) {
        node = await sha([1], beside, node);
        while (index % 2 === 0 && index !== 0) { index = Math.floor(index / 2); last = Math.floor(last / 2); }
      } else {
        node = await sha([1], node, beside);
      }
      index = Math.floor(index / 2); last = Math.floor(last / 2);
    }
    return last === 0 ? node : null;
  };

  const signed = async (note, verifier) => {
    const cut = note.indexOf("\n\n"), body = note.slice(0, cut + 1);
    const name = verifier.split("+")[0], material = raw(verifier.split("+").slice(2).join("+"));
    const lines = note.slice(cut + 2).split("\n").filter((line) => line.startsWith("— " + name + " "));
    const key = await crypto.subtle.importKey("raw", material.slice(1), { name: "Ed25519" }, false, ["verify"]);
    for (const line of lines) {
      const signature = raw(line.split(" ")[2]).slice(4);
      if (await crypto.subtle.verify("Ed25519", key, signature, new TextEncoder().encode(body))) return true;
    }
    return false;
  };

  const verdict = async (place) => {
    const words = JSON.parse(place.dataset.words), said = document.createElement("p");
    const say = (kind, text) => { said.className = "verdict " + kind; said.textContent = text; };
    place.replaceChildren(said); said.setAttribute("role", "status"); say("wait", words.wait);
    try {
      const proof = await (await fetch(place.dataset.proof)).json();
      const leaf = await sha([0], new TextEncoder().encode(proof.entry));
      const root = await climb(leaf, proof.position, proof.size, proof.path.map(bytes));
      const content = proof.content === null || hex(await crypto.subtle.digest("SHA-256", await new Blob([bytes(proof.salt), proof.content]).arrayBuffer())) === JSON.parse(proof.entry).content;
      const lines = proof.checkpoint.split("\n");
      const same = root && hex(root) === proof.root && +lines[1] === proof.size && hex(raw(lines[2])) === proof.root && content;
      if (!same) { say("bad", "✗ " + words.bad); return; }
      let known = null;
      try { known = await signed(proof.checkpoint, place.dataset.key); } catch { known = null; }
      if (known === false) say("bad", "✗ " + words.bad); else say("", "✓ " + (known ? words.good : words.unsigned));
    } catch { say("wait", words.unsigned); }
  };
  addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-proof]").forEach(verdict));
})();
