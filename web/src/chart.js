// The charts of a gateway's page: drawn from the series of the API, kept current by its live stream. What to ask, and
// every text, is in the page.
"use strict";
(() => {
  const root = document.getElementById("charts");
  const config = JSON.parse(root.dataset.config);
  const labels = config.labels;
  const live = config.live !== "";
  const reloadEvery = 30_000; // buckets and gaps are worked out by the server
  const charts = new Map();
  let skew = 0; // the server's clock less ours, in ms
  let fixed = null; // [from, to] in seconds, of a range that has ended

  const text = (key, values = {}) => (labels[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const number = new Intl.NumberFormat(config.locale, { maximumSignificantDigits: 12 });
  const whole = new Intl.NumberFormat(config.locale, { maximumSignificantDigits: 21 });
  const decided = (decimals) => (decimals === "" ? null : new Intl.NumberFormat(config.locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  const average = new Intl.NumberFormat(config.locale, { maximumSignificantDigits: 6 });
  const day = { year: "numeric", month: "short", day: "numeric" }, time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const written = (parts) => {
    const format = new Intl.DateTimeFormat(config.locale, { timeZone: config.zone, ...parts });
    return (ms) => format.format(new Date(ms));
  };
  const at = written({ ...day, ...time }), dayOf = written(day), timeOf = written(time), shortDayOf = written({ ...day, year: undefined });
  const value = (v) => (typeof v === "number" ? v : null); // "NaN" and "+Inf" are texts and cannot be drawn
  const now = () => Date.now() + skew;
  const window_ = () => fixed ?? [(now() - config.span_ms) / 1000, (now() + config.span_ms / 100) / 1000];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function parameters(more = {}) {
    const p = new URLSearchParams(more);
    for (const sensor of config.sensors) p.append("sensor", sensor);
    return p;
  }

  // Gaps become breaks in the line: a point without a value between two that are too far apart.
  function aligned(c) {
    const data = [[], [], [], []];
    const put = (x, max, min, mean) => { data[0].push(x); data[1].push(max); data[2].push(min); data[3].push(mean); };
    for (let i = 0; i < c.time.length; i++) {
      const x = c.time[i] / 1000;
      const before = data[0].at(-1);
      if (before !== undefined && c.gap > 0 && x - before > c.gap) put((x + before) / 2, null, null, null);
      if (x === before) {
        data[1][data[1].length - 1] = c.max[i]; data[2][data[2].length - 1] = c.min[i]; data[3][data[3].length - 1] = c.mean[i];
      } else {
        put(x, c.raw ? null : c.max[i], c.raw ? null : c.min[i], c.mean[i]);
      }
    }
    return data;
  }

  const axisSize = (u, values) => {
    if (!values) return 44;
    u.ctx.font = u.axes[1].font[0];
    const widest = Math.max(0, ...values.map((v) => u.ctx.measureText(v ?? "").width));
    return Math.max(44, Math.ceil(widest / devicePixelRatio) + 18);
  };

  function options(c) {
    const font = `12px ${color("--font") || "sans-serif"}`;
    const axis = { stroke: color("--muted"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1, size: 5 } };
    const bool = c.kind === "bool";
    const print = (v) => (v == null ? "–" : c.number.format(v));
    const edge = { stroke: color("--band-edge"), width: 1, points: { show: false }, ...(bool ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}) };
    // Steps begin with a line up or down, which after a gap must not be seen.
    const stepped = bool ? { paths: uPlot.paths.stepped({ align: 1 }), gaps: (u, i, from, to, gaps) => gaps.map(([a, b]) => [a, b + 1]) } : {};
    return {
      width: Math.max(c.plot.clientWidth, 200),
      height: window.innerWidth < 600 ? 190 : 230,
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), config.zone),
      fmtDate: (template) => uPlot.fmtDate(template),
      cursor: {
        sync: { key: "gateway", setSeries: false },
        drag: { x: true, y: false, setScale: false },
        bind: { mousedown: (u, target, handle) => (event) => { if (event.shiftKey) pan(u, event); else handle(event); } },
        points: { size: 7, fill: color("--accent") },
      },
      legend: { live: true },
      scales: {
        x: { time: true, auto: false },
        y: {
          range: (u, min, max) => {
            if (bool) return [-0.1, 1.1];
            if (min == null) return [0, 1];
            if (min === max) { const pad = Math.abs(min) * 0.05 || 1; return [min - pad, max + pad]; }
            return uPlot.rangeNum(min, max, 0.1, false);
          },
        },
      },
      axes: [
        { ...axis, space: 70, values: timeAxis },
        { ...axis, size: axisSize, ...(bool ? { splits: () => [0, 1] } : {}), values: (u, splits) => splits.map((v) => number.format(v)) },
      ],
      series: [
        { label: text("time"), value: (u, v, s, i) => (i == null ? (c.time.length ? at(c.time.at(-1)) : "–") : at(v * 1000)) },
        { ...edge, label: "" },
        {
          ...edge, label: text("band"),
          value: (u, v, s, i) => (i == null || v == null ? "–" : `${print(v)} – ${print(u.data[1][i])}`),
        },
        {
          label: text(c.raw ? "value" : "mean"), stroke: color("--accent"), width: 1.75, spanGaps: false, ...stepped,
          points: { size: 5, fill: color("--accent"), ...(c.time.length <= 60 ? { show: true } : {}) },
          value: (u, v) => (v == null ? "–" : (c.raw ? c.number : c.average).format(v)),
        },
      ],
      bands: [{ series: [1, 2], fill: color("--band") }],
      hooks: {
        drawClear: [(u) => notes(u)],
        setCursor: [(u) => { if (u.cursor.idx == null) u.setLegend({ idx: u.data[0].length - 1 }, false); }],
        setSelect: [(u) => {
          if (u.select.width < 8) return;
          const from = Math.round(u.posToVal(u.select.left, "x") * 1000);
          const to = Math.round(u.posToVal(u.select.left + u.select.width, "x") * 1000);
          location.assign(`?${parameters({ from, to })}`);
        }],
      },
    };
  }

  // Dragging with the shift key held moves all charts along; what was out of sight is loaded at its end.
  let panning = false;
  function pan(u, { clientX: begin }) {
    const [min, max] = window_();
    const scale = (max - min) / u.over.clientWidth; // seconds a pixel
    let by = 0;
    panning = true;
    const move = (event) => {
      by = (begin - event.clientX) * scale;
      for (const c of charts.values()) c.u?.setScale("x", { min: min + by, max: max + by });
    };
    const end = () => {
      panning = false;
      window.removeEventListener("mousemove", move);
      if (Math.abs(by) > 8 * scale) location.assign(`?${parameters({ from: Math.round((min + by) * 1000), to: Math.round((max + by) * 1000) })}`);
    };
    window.addEventListener("mousemove", move);
    window.addEventListener("mouseup", end, { once: true });
  }

  // The keyboard's cursor: a chart is a slider along its points, and a screen reader speaks the value of each.
  function speak(c) {
    const data = c.u.data, last = data[0].length - 1;
    const i = Math.max(0, Math.min(c.pointed ?? last, last));
    const mean = data[3][i];
    const words = [at(data[0][i] * 1000), mean == null ? "–" : (c.raw ? c.number : c.average).format(mean)];
    if (!c.raw && data[1][i] != null) words.push(`${text("band")} ${c.number.format(data[2][i])} – ${c.number.format(data[1][i])}`);
    if (c.unit && mean != null) words.push(c.unit);
    for (const [name, v] of [["role", "slider"], ["tabindex", "0"], ["aria-valuemin", 0], ["aria-valuemax", last], ["aria-valuenow", i], ["aria-valuetext", words.join(", ")]]) {
      c.plot.setAttribute(name, v);
    }
  }

  const strides = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20, Home: -Infinity, End: Infinity };
  function walk(c, event) {
    const stride = strides[event.key];
    if (!stride || !c.u || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const data = c.u.data, last = data[0].length - 1, way = Math.sign(stride);
    let i = Math.max(0, Math.min((c.pointed ?? last) + stride, last));
    while (data[3][i] == null && data[3][i + way] !== undefined) i += way; // a gap is no point
    c.pointed = i;
    c.u.setCursor({ left: c.u.valToPos(data[0][i], "x"), top: c.u.valToPos(data[3][i] ?? 0, "y") });
    speak(c);
  }

  // The same as a table, the newest first, while somebody looks at it.
  function tabulate(c) {
    if (!c.table.open) return;
    const cell = (name, words) => Object.assign(document.createElement(name), { textContent: words });
    const print = (v) => (v == null ? "–" : (c.raw ? c.number : c.average).format(v));
    const heads = ["time", ...(c.raw ? ["value"] : ["mean", "min", "max"])];
    const head = document.createElement("tr");
    head.append(...heads.map((h) => Object.assign(cell("th", text(h)), { scope: "col" })));
    const rows = c.time.map((ms, i) => {
      const row = document.createElement("tr");
      const time = Object.assign(cell("th", at(ms)), { scope: "row" });
      row.append(time, cell("td", print(c.mean[i])), ...(c.raw ? [] : [cell("td", print(c.min[i])), cell("td", print(c.max[i]))]));
      return row;
    });
    c.table.querySelector("thead").replaceChildren(head);
    c.table.querySelector("tbody").replaceChildren(...rows.reverse());
  }

  // What people have noted: a stretch behind the line, with its number in the list below.
  function notes(u) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    u.ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    let free = left; // from here on, for a number
    for (const note of config.notes) {
      const from = u.valToPos(note.from_ms / 1000, "x", true);
      const wide = Math.max(u.valToPos(note.to_ms / 1000, "x", true) - from, 2 * devicePixelRatio);
      u.ctx.globalAlpha = 0.2;
      u.ctx.fillStyle = color("--warn");
      u.ctx.fillRect(from, top, wide, height);
      u.ctx.globalAlpha = 1;
      const x = Math.max(from, free) + 3 * devicePixelRatio;
      u.ctx.fillText(String(note.n), x, top + 12 * devicePixelRatio);
      free = x + u.ctx.measureText(String(note.n)).width;
    }
    u.ctx.restore();
  }

  // 24-hour times; the date where the day changes, and at the left.
  function timeAxis(u, splits, index, space, step) {
    let before = "";
    return splits.map((s) => {
      const date = dayOf(s * 1000);
      const changed = date !== before;
      before = date;
      if (step >= 86400) return shortDayOf(s * 1000);
      const short = step < 60 ? timeOf(s * 1000) : timeOf(s * 1000).slice(0, 5);
      return changed ? `${short}\n${shortDayOf(s * 1000)}` : short;
    });
  }

  function draw(c) {
    const empty = c.time.length === 0;
    c.figure.querySelector(".last").textContent = "";
    const none = c.figure.querySelector(".none");
    none.hidden = !empty || !c.loaded;
    none.textContent = c.kind === "text" ? text("text") : text("none");
    c.plot.hidden = c.table.hidden = empty;
    tabulate(c);
    if (empty || c.kind === "text") { c.u?.destroy(); c.u = null; return; }
    const [min, max] = window_();
    const look = `${c.raw} ${c.time.length <= 60}`; // what the options depend on
    if (!c.u || c.look !== look) {
      c.u?.destroy();
      c.plot.replaceChildren();
      c.u = new uPlot(options(c), aligned(c), c.plot);
      c.look = look;
    } else {
      c.u.setData(aligned(c), false);
    }
    c.u.setScale("x", { min, max });
    speak(c);
    if (!(c.u.cursor.left >= 0)) c.u.setLegend({ idx: c.u.data[0].length - 1 }); // nobody points: show the newest
    c.figure.classList.toggle("raw", c.raw);
    c.figure.querySelector(".last").textContent = c.row?.querySelector(".value").textContent ?? "";
    c.figure.dataset.points = c.time.length; // for tests
  }

  function take(c, s) {
    c.loaded = true;
    c.raw = s?.raw ?? true;
    c.gap = s?.gap_seconds ?? 0;
    c.time = s?.time_ms ? [...s.time_ms] : [];
    for (const k of ["min", "max", "mean"]) c[k] = (s?.[k] ?? []).map(value);
    draw(c);
  }

  // A reading that came live: usually the newest, but a late one finds its place, and a repeated one replaces.
  function add(c, r) {
    const v = typeof r.value === "boolean" ? Number(r.value) : value(r.value);
    let i = c.time.length;
    while (i > 0 && c.time[i - 1] > r.time_ms) i--;
    const replace = i > 0 && c.time[i - 1] === r.time_ms ? 1 : 0;
    c.time.splice(i - replace, replace, r.time_ms);
    for (const k of ["min", "max", "mean"]) c[k].splice(i - replace, replace, v);
    const oldest = now() - config.span_ms;
    while (c.time.length > 1 && c.time[1] < oldest) for (const k of ["time", "min", "max", "mean"]) c[k].shift();
  }

  function asOf(complete, upTo, ms) {
    const notice = document.getElementById("incomplete");
    notice.hidden = complete;
    if (!complete) notice.textContent = upTo ? text("incomplete_up_to", { time: at(Date.parse(upTo)) }) : text("incomplete");
    document.getElementById("as-of").textContent = text("as_of", { time: at(complete || !upTo ? ms : Date.parse(upTo)) });
  }

  let loading = null, again = false;
  async function load() {
    if (loading) { again = true; return; }
    if (config.sensors.length === 0) return;
    const widest = Math.max(...[...charts.values()].map((c) => c.figure.clientWidth)); // a point to a pixel
    const points = Math.min(2000, Math.max(200, Math.round(widest)));
    const asked = parameters({ from: config.from, to: config.to, points });
    for (const value of ["min", "max", "mean"]) asked.append("value", value);
    loading = fetch(`${config.series}?${asked}`, { headers: { Accept: "application/json" } });
    try {
      const answer = await loading;
      if (!answer.ok) throw new Error(answer.statusText);
      const body = await answer.json();
      const to = Date.parse(body.to);
      if (live) skew = to - Date.now(); else fixed = [Date.parse(body.from) / 1000, to / 1000];
      for (const c of charts.values()) take(c, body.series.find((s) => s.sensor === c.sensor));
      asOf(body.complete, body.complete_up_to, live ? to : now());
    } catch {
      document.getElementById("as-of").textContent = text("failed");
      setTimeout(load, 3000);
    } finally {
      loading = null;
      if (again) { again = false; load(); }
    }
  }

  const rows = new Map([...document.querySelectorAll("#latest tr")].map((row) => [row.dataset.sensor, row]));
  function showLatest(r) {
    const row = rows.get(r.sensor);
    if (row) {
      const time = row.querySelector("time");
      if (Date.parse(time.dateTime) > r.time_ms) return;
      const cell = row.querySelector(".value");
      cell.textContent = cell.title = typeof r.value === "number" ? (decided(row.dataset.decimals) ?? whole).format(r.value) : String(r.value);
      time.dateTime = r.time;
      time.textContent = at(r.time_ms);
      row.classList.remove("fresh");
      void row.offsetWidth; // begins the animation anew
      row.classList.add("fresh");
    }
  }

  // A stream that has nothing to say says so every 15 s: one that is silent for longer may hang, and is begun anew at last.
  const silentAfter = 20_000, anewAfter = 45_000;
  let source = null, retry = 0, heard = 0;
  function watch() {
    const state = document.getElementById("live"), silent = Date.now() - heard;
    if (!source || !state.classList.contains("on") && !state.classList.contains("silent")) return;
    if (silent > anewAfter) { listen(); return; }
    if (silent > silentAfter) { state.textContent = text("live_silent"); state.className = "live silent"; }
  }

  function deafen() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function listen() {
    deafen();
    source = new EventSource(config.live);
    const state = document.getElementById("live");
    let first = true;
    heard = Date.now();
    const event = (message) => {
      const e = JSON.parse(message.data);
      heard = Date.now();
      state.textContent = text("live");
      state.className = "live on";
      const changed = new Set();
      for (const r of e.readings ?? []) {
        showLatest(r);
        const c = charts.get(r.sensor);
        if (c) { add(c, r); changed.add(c); }
      }
      if (first) { first = false; load(); } // what came before the stream began is in the series
      else for (const c of changed) draw(c);
      asOf(e.complete, e.complete_up_to, Date.parse(e.at));
    };
    source.addEventListener("readings", event);
    source.addEventListener("message", event);
    source.addEventListener("error", () => {
      state.textContent = text("live_lost");
      state.className = "live lost";
      first = true;
      if (source?.readyState === EventSource.CLOSED) { // an error's status; it does not try again by itself
        retry = setTimeout(listen, 3000);
      }
    });
  }

  for (const figure of root.querySelectorAll(".chart")) {
    const { decimals, unit } = figure.dataset; // as people say that it is shown
    const said = decided(decimals);
    const c = { number: said ?? number, average: said ?? average, unit, figure, sensor: figure.dataset.sensor, kind: figure.dataset.kind, plot: figure.querySelector(".plot"), table: figure.querySelector("details"),
      row: rows.get(figure.dataset.sensor), time: [], min: [], max: [], mean: [], raw: true, gap: 0, u: null, loaded: false };
    charts.set(c.sensor, c);
    c.plot.addEventListener("keydown", (event) => walk(c, event));
    c.plot.addEventListener("blur", () => { c.pointed = undefined; if (c.u) { c.u.setCursor({ left: -10, top: -10 }); speak(c); } });
    c.plot.addEventListener("dblclick", () => { if (document.referrer.startsWith(location.origin + location.pathname)) history.back(); });
    c.table.addEventListener("toggle", () => tabulate(c));
  }
  load();
  if (live) {
    if (!document.hidden) listen();
    // A page that nobody looks at holds no connection: browsers allow six to a host, for all their tabs together.
    document.addEventListener("visibilitychange", () => { if (document.hidden) deafen(); else listen(); });
    window.addEventListener("pagehide", deafen);
    window.addEventListener("pageshow", (e) => { if (e.persisted && !source) listen(); });
    setInterval(() => {
      if (document.hidden) return;
      watch();
      if (panning) return;
      const [min, max] = window_();
      for (const c of charts.values()) c.u?.setScale("x", { min, max });
    }, 1000);
    setInterval(() => { if (!document.hidden) load(); }, reloadEvery);
  }
  const redraw = () => { for (const c of charts.values()) { c.u?.destroy(); c.u = null; draw(c); } };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    redraw();
  }).observe(root);
})();
