// Progressive enhancement: the pages work without JavaScript. This reloads parts of them and manages the focus.
"use strict";
{
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  /** Fetch a part of a page as HTML; with a form, by POST. */
  const fetchPart = async (name, url, form = null) => {
    try {
      const options = { headers: { "X-Part": name }, ...(form && { method: "POST", body: new URLSearchParams(form) }) };
      const response = await fetch(url, options);
      if (response.ok || response.headers.get("content-type").startsWith("text/html")) return await response.text();
      return `<p class="status" data-status>The console returned status ${response.status}.</p>`;
    } catch {
      return '<p class="status" data-status>The console is not responding. Is it still running? <code>dialpad-ivr dev</code></p>';
    }
  };

  const setStatus = (text) => { const status = $("#status"); if (status && status.textContent !== text) status.textContent = text; };

  // ---- the form: validated as you type, by the worker's own code

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

  let lastValidation = 0;
  const validate = async () => {
    const number = ++lastValidation;
    const html = await fetchPart("preview", form.action, new FormData(form));
    if (number !== lastValidation) return;
    $("#preview").innerHTML = html;
    $("[data-send]").textContent = $("[data-action]")?.dataset.action ?? "Test request";
    for (const field of $$(".field", form)) {
      const name = field.id.replace("field-", "");
      const error = $(`template[data-error="${name}"]`);
      $(".error", field).replaceChildren(...(error ? [error.content.cloneNode(true)] : []));
      const input = $("input, select", field);
      if (error) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    for (const known of $$(".known", form)) {
      const name = $(`template[data-name="${known.id.replace("name-", "")}"]`);
      known.replaceChildren(...(name ? [name.content.cloneNode(true)] : []));
    }
    const errors = $$("template[data-error]").length;
    setStatus(errors ? `${errors} error${errors > 1 ? "s" : ""}` : "");
  };

  const send = async (data) => {
    const response = $("#response"), button = $("[data-send]");
    button.disabled = true;
    response.setAttribute("aria-busy", "true");
    setStatus("Sending ...");
    response.innerHTML = await fetchPart("response", form.action, data);
    response.removeAttribute("aria-busy");
    button.disabled = false;
    setStatus("");
    if (response.getBoundingClientRect().top > innerHeight) response.scrollIntoView({ block: "end" });
    announce(response);
    poll(response, "response");
  };

  /** Announce the new content to screen readers, or move the focus to the next step. */
  const announce = (within) => {
    const focus = $("[data-focus]", within);
    if (focus) focus.focus();
    else $("#announcer").replaceChildren($("[data-status]", within)?.textContent.trim().replace(/\s+/g, " ") ?? "");
  };

  if (form) {
    let validationTimer;
    const validateSoon = () => { clearTimeout(validationTimer); validationTimer = setTimeout(validate, 120); };
    form.addEventListener("input", validateSoon);
    document.addEventListener("submit", (event) => {
      if (event.target !== form && !event.target.closest("#response")) return;
      event.preventDefault();
      const data = new FormData(event.target, event.submitter);
      if (event.target === form) validate();
      send(data);
    });
    document.addEventListener("click", async (event) => {
      const set = event.target.closest("[data-set]"), dismiss = event.target.closest("[data-dismiss]");
      if (set) {
        const input = document.getElementById(set.dataset.set);
        input.value = set.textContent;
        input.focus();
        validate();
      } else if (dismiss) {
        $("#response").innerHTML = '<p class="empty">Canceled. No request was sent.</p>';
        $("[data-send]").focus();
      } else if (event.target.closest("[data-copy]")) {
        await navigator.clipboard.writeText(document.getElementById(request.dataset.tab).textContent);
        setStatus("Copied");
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

  // ---- an id chosen by name: a button opens a combobox, whose options come from the server

  for (const button of $$("[data-choose]")) {
    const field = button.dataset.choose, input = document.getElementById(`in-${field}`);
    const chooser = document.getElementById(button.getAttribute("aria-controls"));
    const combobox = $("[role=combobox]", chooser), choices = $("[data-choices]", chooser), status = $("[role=status]", chooser);
    const options = () => $$("[role=option]", choices);
    const active = () => $("[aria-selected=true]", choices);
    let lastLoad = 0, loadTimer;

    const activate = (option) => {
      active()?.setAttribute("aria-selected", "false");
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      combobox.setAttribute("aria-activedescendant", option.id);
    };
    const show = (html) => {
      choices.innerHTML = html;
      combobox.removeAttribute("aria-activedescendant");
      combobox.setAttribute("aria-expanded", String(options().length > 0));
      chooser.scrollIntoView({ block: "nearest" });
      const text = $("[data-status]", choices)?.textContent.trim().replace(/\s+/g, " ") ?? "";
      if (status.textContent !== text) status.textContent = text;
    };
    const load = async (opening = false) => {
      const number = ++lastLoad;
      do {
        const data = new FormData(form);
        data.append("filter", combobox.value);
        if (opening) data.append("opening", "");
        opening = false;
        const html = await fetchPart("choices", `${form.action}/choices/${field}`, data);
        if (number !== lastLoad) return;
        show(html);
        if ($("[data-again]", choices)) await pause(300);  // a long list is being read
      } while (number === lastLoad && $("[data-again]", choices));
    };
    const close = () => {
      lastLoad++;
      clearTimeout(loadTimer);
      chooser.hidden = true;
      button.setAttribute("aria-expanded", "false");
      combobox.value = "";
      show("");
    };
    const choose = (option) => {
      const other = document.getElementById("in-ivr_id");
      if (field === "target_id" && other && input.value !== option.dataset.id) other.value = "";  // it is another target's
      input.value = option.dataset.id;
      if (option.dataset.ivrType) document.getElementById("in-ivr_type").value = option.dataset.ivrType;
      $("#announcer").textContent = option.textContent.trim().replace(/\s+/g, " ");
      close();
      input.focus();
      validate();
    };
    button.addEventListener("click", () => {
      if (!chooser.hidden) return close();
      chooser.hidden = false;
      button.setAttribute("aria-expanded", "true");
      show('<p class="status" data-status>Reading ...</p>');
      combobox.focus();
      load(true);
    });
    chooser.addEventListener("input", (event) => {
      event.stopPropagation();  // it is no field of the form
      clearTimeout(loadTimer);
      loadTimer = setTimeout(() => load(), 150);
    });
    combobox.addEventListener("keydown", (event) => {
      const all = options(), step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && all.length) {
        const at = all.indexOf(active());
        activate(all[at < 0 && step < 0 ? all.length - 1 : (at + step + all.length) % all.length]);
      } else if (event.key === "Enter") {
        if (active()) choose(active());
      } else if (event.key === "Escape") {
        close();
        button.focus();
      } else return;
      event.preventDefault();
    });
    // A click on an option leaves the focus where it is; what takes the focus elsewhere closes the list.
    choices.addEventListener("mousedown", (event) => { if (event.target.closest("[role=option]")) event.preventDefault(); });
    choices.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) choose(option);
    });
    chooser.addEventListener("focusout", ({ relatedTarget: to }) => { if (to !== button && !chooser.contains(to)) close(); });
  }

  // ---- the reference's filters and the search

  for (const filter of $$("[data-filter]")) {
    const items = $$(`#${filter.dataset.filter} li`), status = $("[role=status]", filter.parentElement);
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/[\s_-]+/);
      for (const item of items) item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
      status.textContent = `${items.filter((item) => !item.hidden).length} of ${items.length}`;
    });
  }

  const q = $("#q"), results = $("[data-search]");
  let lastSearch = 0;
  q.addEventListener("input", async () => {
    const number = ++lastSearch;
    const html = q.value.trim() ? await fetchPart("results", `/search?q=${encodeURIComponent(q.value)}`) : "";
    if (number !== lastSearch) return;
    results.innerHTML = html;
    $("#search-status").textContent = $("[data-status]", results)?.textContent ?? "";
  });
  const close = () => { lastSearch++; results.replaceChildren(); };
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

  // ---- countdowns: how long until something happens, in its two largest units

  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const remaining = (seconds) => {
    const first = Math.max(UNITS.findIndex(([, size]) => seconds >= size), 0);
    return UNITS.slice(first, first + 2).map(([name, size], at) =>
      `${Math.floor(at ? (seconds % UNITS[first][1]) / size : seconds / size)} ${name}`).join(" ");
  };
  const countDown = () => {
    for (const element of $$("[data-countdown]")) {
      const seconds = Math.ceil((Number(element.dataset.countdown) - Date.now()) / 1000);
      const text = seconds > 0 ? `in ${remaining(seconds)}` : "now";
      if (element.textContent !== text) element.textContent = text;
    }
  };
  if ($("[data-countdown], [data-due]")) {
    countDown();
    setInterval(countDown, 1000);
  }

  // ---- poll whatever is in progress until it has ended; where nothing is due, seldom

  const SELDOM = 30000;
  const poll = async (within, name) => {
    let last = null;
    for (let wait = 300; $("[data-poll]", within); wait = Math.min(wait * 1.5, 3000)) {
      const element = $("[data-poll]", within), due = element.dataset.due;
      await pause(due ? Math.max(wait, Math.min(Number(due) - Date.now(), SELDOM)) : wait);
      if ($("[data-poll]", within) !== element) return;  // replaced by another request meanwhile
      const html = await fetchPart(name, element.dataset.poll);
      if ($("[data-poll]", within) !== element) return;
      if (html === last) continue;  // what is selected and what has the focus stays
      last = html;
      const focused = within.contains(document.activeElement) && document.activeElement.id;
      within.innerHTML = html;
      countDown();
      if (focused) document.getElementById(focused)?.focus();
      if (!$("[data-poll]", within)) announce(within);
    }
  };
  for (const name of ["response", "run", "limits", "targets", "overrides", "override", "rehearsal"]) {
    if (document.getElementById(name)) poll(document.getElementById(name), name);
  }
  for (const element of $$("[data-load]")) fetchPart("engine", element.dataset.load).then((html) => { element.innerHTML = html; });
}
