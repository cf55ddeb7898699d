// The pages are whole without this. It asks for parts of them again as you type, and keeps the focus where it belongs.
"use strict";
{
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  /** A part of a page, as HTML; of a form's page if a form is given. */
  const part = async (name, url, form = null) => {
    try {
      const options = { headers: { "X-Part": name }, ...(form && { method: "POST", body: new URLSearchParams(form) }) };
      const answer = await fetch(url, options);
      if (answer.ok || answer.headers.get("content-type").startsWith("text/html")) return await answer.text();
      return `<p class="told" data-told>The console answered ${answer.status}.</p>`;
    } catch {
      return '<p class="told" data-told>The console does not answer. Is it still running? <code>dialpad-ivr dev</code></p>';
    }
  };

  const say = (text) => { const told = $("#told"); if (told && told.textContent !== text) told.textContent = text; };

  // ---- the form: checked as you type, by the same code as the worker's

  const form = $("form[data-check]"), request = $(".request");
  const tabs = $$("[role=tab]");
  const select = (tab, focus = false) => {
    request.dataset.tab = tab.getAttribute("aria-controls");
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    if (focus) tab.focus();
  };

  let newest = 0;
  const check = async () => {
    const number = ++newest;
    const html = await part("prepared", form.action, new FormData(form));
    if (number !== newest) return;
    $("#prepared").innerHTML = html;
    for (const field of $$(".field", form)) {
      const name = field.id.replace("field-", "");
      const error = $(`template[data-error="${name}"]`);
      const told = $(".error", field);
      told.replaceChildren(...(error ? [error.content.cloneNode(true)] : []));
      const input = $("input, select", field);
      if (error) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    const mistakes = $$("template[data-error]").length;
    say(mistakes ? `${mistakes} mistake${mistakes > 1 ? "s" : ""}` : "");
  };

  const respond = async (data) => {
    const response = $("#response"), button = $("button.primary", request);
    button.disabled = true;
    response.setAttribute("aria-busy", "true");
    say("Asking ...");
    response.innerHTML = await part("response", form.action, data);
    response.removeAttribute("aria-busy");
    button.disabled = false;
    say("");
    tell(response);
    again(response, "response");
  };

  /** Say what has come, and put the focus where the next step is. */
  const tell = (within) => {
    const focus = $("[data-focus]", within);
    if (focus) focus.focus();
    else $("#came").replaceChildren($("[data-told]", within)?.textContent.trim().replace(/\s+/g, " ") ?? "");
  };

  if (form) {
    let timer;
    const soon = () => { clearTimeout(timer); timer = setTimeout(check, 120); };
    form.addEventListener("input", soon);
    document.addEventListener("submit", (event) => {
      if (event.target !== form && !event.target.closest("#response")) return;
      event.preventDefault();
      const data = new FormData(event.target, event.submitter);
      if (event.target === form) check();
      respond(data);
    });
    document.addEventListener("click", async (event) => {
      const set = event.target.closest("[data-set]"), dismiss = event.target.closest("[data-dismiss]");
      if (set) {
        const input = document.getElementById(set.dataset.set);
        input.value = set.textContent;
        input.focus();
        check();
      } else if (dismiss) {
        $("#response").innerHTML = '<p class="empty">Nothing was sent.</p>';
        $("button.primary", request).focus();
      } else if (event.target.closest("[data-copy]")) {
        await navigator.clipboard.writeText(document.getElementById(request.dataset.tab).textContent);
        say("Copied");
      }
    });
    for (const tab of tabs) {
      tab.addEventListener("click", () => select(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) select(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length], true);
      });
    }
  }

  // ---- the reference's filters, and the search

  for (const filter of $$("[data-filter]")) {
    const items = $$(`#${filter.dataset.filter} li`), told = $("[role=status]", filter.parentElement);
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/[\s_-]+/);
      for (const item of items) item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
      told.textContent = `${items.filter((item) => !item.hidden).length} of ${items.length}`;
    });
  }

  const q = $("#q"), results = $("[data-search]");
  let asked = 0;
  q.addEventListener("input", async () => {
    const number = ++asked;
    const html = q.value.trim() ? await part("results", `/search?q=${encodeURIComponent(q.value)}`) : "";
    if (number !== asked) return;
    results.innerHTML = html;
    $("#found").textContent = $("[data-told]", results)?.textContent ?? "";
  });
  const close = () => { asked++; results.replaceChildren(); };
  q.form.addEventListener("keydown", (event) => {
    const links = $$("a", results), at = links.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { close(); q.focus(); }
    else if (step && links.length) {
      event.preventDefault();
      (links[at + step] ?? q).focus();
    }
  });
  q.form.addEventListener("focusout", (event) => { if (!q.form.contains(event.relatedTarget)) close(); });
  results.addEventListener("click", (event) => { if (event.target.closest("a")) close(); });

  // ---- what is under way is asked for again until it has ended

  const again = async (within, name) => {
    for (let wait = 300; $("[data-again]", within); wait = Math.min(wait * 1.5, 3000)) {
      const element = $("[data-again]", within);
      await pause(wait);
      if ($("[data-again]", within) !== element) return;  // another one was begun meanwhile
      const html = await part(name, element.dataset.again);
      if ($("[data-again]", within) !== element) return;
      within.innerHTML = html;
      if (!$("[data-again]", within)) tell(within);
    }
  };
  for (const name of ["response", "run"]) if (document.getElementById(name)) again(document.getElementById(name), name);
  for (const element of $$("[data-load]")) part("engine", element.dataset.load).then((html) => { element.innerHTML = html; });
}
