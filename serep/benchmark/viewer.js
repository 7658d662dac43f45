// Shows posed heads in the report: plain WebGL2, no library, nothing loaded. How the data are laid out: report_viewer.py.
"use strict";
(async () => {
  const root = document.getElementById("viewer-root");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const make = (tag, parent, text = "") => { const one = document.createElement(tag); one.textContent = text; parent.append(one); return one; };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const canvas = part("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true });
  const still = (reason) => { root.dataset.state = "still"; part("message").textContent = `${reason} A still picture stands in its place.`; };
  if (!gl) { still("This browser offers no WebGL 2 for the moving view."); return; }
  if (!globalThis.DecompressionStream) { still("This browser is too old for the moving view."); return; }

  const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, f4: Float32Array };
  const STEP_MS = 1500, NARROWEST_PX = 165, TALLEST_PX = 520;
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  const SHADERS = [`#version 300 es
    in vec3 position; in vec3 normal; in float tone; in float error;
    uniform mat4 toScreen; uniform mat3 turn;
    out vec3 seen; out float grey; out float amount;
    void main() { seen = turn * normal; grey = tone; amount = error; gl_Position = toScreen * vec4(position, 1.0); }`, `#version 300 es
    precision highp float;
    in vec3 seen; in float grey; in float amount;
    uniform sampler2D scale; uniform float limit; uniform bool coloured;
    out vec4 colour;
    void main() {
      vec3 n = normalize(gl_FrontFacing ? seen : -seen);
      float lamp = max(dot(n, normalize(vec3(-0.5, 0.55, 0.75))), 0.0), fill = max(dot(n, normalize(vec3(0.8, 0.1, 0.45))), 0.0);
      vec3 clay = grey * (vec3(0.16, 0.17, 0.19) + 0.08 * n.y + 1.1 * lamp * vec3(1.0, 0.96, 0.91) + 0.28 * fill * vec3(0.88, 0.95, 1.0));
      vec3 map = texture(scale, vec2(clamp(amount / limit, 0.0, 1.0) * 63.0 / 64.0 + 0.5 / 64.0, 0.5)).rgb;
      colour = coloured ? vec4(map * (0.72 + 0.28 * max(n.z, 0.0)), 1.0) : vec4(pow(clay, vec3(0.8)), 1.0);
    }`];

  let data, buffer, triangles, face, colours, program, clip, limit, frame, playing = false, visible = true, last = 0, pending = 0;
  const ATTRIBUTES = ["position", "normal", "tone", "error"], buffers = [];
  const view = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };

  const array = (place) => new TYPES[place.type](buffer, place.offset, place.length);

  async function load() {
    data = JSON.parse(document.getElementById("viewer-data").textContent);
    const packed = new Blob([Uint8Array.from(atob(data.bytes), (letter) => letter.charCodeAt(0))]);
    buffer = await new Response(packed.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
    [triangles, face, colours] = [data.triangles, data.face, data.colours].map(array);
  }

  function build() {
    program = gl.createProgram();
    [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, n) => {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, SHADERS[n]);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    });
    ATTRIBUTES.forEach((name, n) => gl.bindAttribLocation(program, n, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "the shaders do not link");
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.SCISSOR_TEST);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, colours.length / 3, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, colours);
    for (const [name, value] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE]])
      gl.texParameteri(gl.TEXTURE_2D, name, value);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    send("tone", array(data.tones), 1);
  }

  // One set of buffers serves all heads: each is posed, sent and drawn in turn.
  function send(name, values, size) {
    const place = ATTRIBUTES.indexOf(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[place] ??= gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, values instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.FLOAT, true, 0, 0);
  }

  function pose(head, at) {
    const { shapes, weights, modes, posed } = head, count = posed.length;
    const before = Math.floor(at), after = Math.min(before + 1, clip.frames - 1), share = at - before;
    posed.set(head.base);
    for (let k = 0; k < modes; k++) {
      const weight = (1 - share) * weights[before * modes + k] + share * weights[after * modes + k], start = k * count;
      if (weight) for (let i = 0; i < count; i++) posed[i] += weight * shapes[start + i];
    }
    return posed;
  }

  function normals(points, out) {
    out.fill(0);
    for (let t = 0; t < triangles.length; t += 3) {
      const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
      const ux = points[b] - points[a], uy = points[b + 1] - points[a + 1], uz = points[b + 2] - points[a + 2];
      const vx = points[c] - points[a], vy = points[c + 1] - points[a + 1], vz = points[c + 2] - points[a + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      for (const i of [a, b, c]) { out[i] += nx; out[i + 1] += ny; out[i + 2] += nz; }
    }
    return out;
  }

  function distances(points, truth, out) {
    let sum = 0, count = 0, worst = 0;
    for (let v = 0; v < out.length; v++) {
      out[v] = Math.hypot(points[3 * v] - truth[3 * v], points[3 * v + 1] - truth[3 * v + 1], points[3 * v + 2] - truth[3 * v + 2]);
      if (face[v]) { sum += out[v]; count++; worst = Math.max(worst, out[v]); }
    }
    return { mean: sum / count, worst };
  }

  // Column-major matrices of a camera that circles the head's centre; `turn` is its rotation alone.
  function camera(head, aspect) {
    const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    const turn = [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
    const focal = 1 / Math.tan(0.175), distance = 1.02 * head.radius * focal / view.zoom / Math.min(0.88, aspect);
    const near = 0.05 * distance, far = distance + 6 * head.radius, [x, y, z] = head.centre;
    const move = [0, 1, 2].map((row) => -(turn[row] * x + turn[3 + row] * y + turn[6 + row] * z));
    move[0] += view.x * head.radius; move[1] += view.y * head.radius; move[2] -= distance;
    const depth = (far + near) / (near - far), shift = 2 * far * near / (near - far), fx = focal / aspect;
    const column = (a, b, c, w) => [fx * a, focal * b, depth * c + shift * w, -c];
    return { turn, toScreen: [...column(turn[0], turn[1], turn[2], 0), ...column(turn[3], turn[4], turn[5], 0), ...column(turn[6], turn[7], turn[8], 0),
      ...column(move[0], move[1], move[2], 1)] };
  }

  function draw() {
    const ratio = Math.min(devicePixelRatio || 1, 2), width = canvas.clientWidth, height = canvas.clientHeight;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    gl.scissor(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const truth = clip.heads.find((head) => head.truth), coloured = part("errors").checked && truth !== undefined;
    if (truth) pose(truth, frame);
    const bounds = canvas.getBoundingClientRect();
    for (const head of clip.heads) {
      if (!head.box.checked) continue;
      const points = head === truth ? head.posed : pose(head, frame);
      const found = head.error ? distances(points, truth.posed, head.errors) : null;
      head.cell.lastChild.textContent = found ? `mean ${found.mean.toFixed(2)}, worst ${found.worst.toFixed(2)} mm` : "";
      const place = head.cell.getBoundingClientRect();
      const corner = [place.left - bounds.left, bounds.bottom - place.bottom, place.width, place.height].map((value) => Math.round(value * ratio));
      gl.viewport(...corner); gl.scissor(...corner);
      send("position", points, 3); send("normal", normals(points, head.normals), 3); send("error", head.errors, 1);
      const seen = camera(head, place.width / place.height);
      gl.uniformMatrix4fv(gl.getUniformLocation(program, "toScreen"), false, seen.toScreen);
      gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, seen.turn);
      gl.uniform1f(gl.getUniformLocation(program, "limit"), limit);
      gl.uniform1i(gl.getUniformLocation(program, "coloured"), coloured && head.error ? 1 : 0);
      gl.drawElements(gl.TRIANGLES, triangles.length, triangles.BYTES_PER_ELEMENT === 2 ? gl.UNSIGNED_SHORT : gl.UNSIGNED_INT, 0);
    }
    tell(coloured);
  }

  function tell(coloured) {
    const shown = Math.round(frame), mark = clip.marks.reduce((best, one) => Math.abs(one[0] - shown) < Math.abs(best[0] - shown) ? one : best);
    part("frame").value = shown;
    part("frame").setAttribute("aria-valuetext", `frame ${shown + 1} of ${clip.frames}, ${mark[1]}`);
    part("where").textContent = `${mark[1]}, frame ${shown + 1} of ${clip.frames}`;
    part("bar").hidden = !coloured;
    if (clip.film) {
      const column = shown % clip.film.columns, row = Math.floor(shown / clip.film.columns);
      clip.screen.style.backgroundPosition = `${column / Math.max(1, clip.film.columns - 1) * 100}% ${row / Math.max(1, clip.film.rows - 1) * 100}%`;
    }
    root.dataset.frame = shown;
  }

  function wake() { if (!pending) pending = requestAnimationFrame(tick); }

  function tick(now) {
    pending = 0;
    const passed = Math.min((now - last) / 1000, 0.1);
    if (!playing || !visible) last = now;
    else if (!reduced.matches) { frame = (frame + passed * clip.fps) % (clip.frames - 1 || 1); last = now; }
    else if (now - last > STEP_MS) { jump(1); last = now; }  // no motion: from one expression to the next
    draw();
    if (playing) wake();
  }

  function play(on) {
    playing = on;
    last = performance.now();
    part("play").textContent = on ? "Pause" : "Play";
    wake();
  }

  // To the next mark (step 1) or the one before (step -1), around the end.
  function jump(step) {
    const ordered = clip.marks.map((mark) => mark[0]).sort((a, b) => step * (a - b));
    const next = ordered.find((one) => step * (one - Math.round(frame)) > 0);
    frame = next === undefined ? ordered[0] : next;
    wake();
  }

  function show(number) {
    clip = data.clips[number];
    part("title").textContent = clip.title;
    frame = clip.marks[0][0];
    for (const name of ["heads", "cells"]) part(name).replaceChildren();
    make("legend", part("heads"), "Show");
    if (clip.film) {
      const cell = make("div", part("cells"));
      clip.screen = make("i", cell);
      Object.assign(clip.screen.style, { backgroundImage: `url(${clip.film.source})`, backgroundSize: `${100 * clip.film.columns}% ${100 * clip.film.rows}%` });
      make("b", cell, "camera");
    }
    for (const head of clip.heads) {
      if (!head.posed) {
        for (const name of ["base", "shapes", "weights"]) head[name] = array(head[name]);
        Object.assign(head, { posed: new Float32Array(head.base.length), normals: new Float32Array(head.base.length), errors: new Float32Array(data.vertices) });
      }
      const label = make("label", part("heads"));
      head.box = make("input", label);
      Object.assign(head.box, { type: "checkbox", checked: true });
      label.append(` ${head.name}`);
      head.cell = make("div", part("cells"));
      make("b", head.cell, head.name);
      make("span", head.cell);
      head.box.addEventListener("change", () => { if (!clip.heads.some((one) => one.box.checked)) head.box.checked = true; arrange(); });
    }
    part("frame").max = clip.frames - 1;
    part("errors").disabled = !clip.heads.some((head) => head.error);
    arrange();
  }

  function arrange() {
    for (const head of clip.heads) head.cell.hidden = !head.box.checked;
    const cells = part("cells"), count = [...cells.children].filter((cell) => !cell.hidden).length;
    const columns = clamp(Math.floor(cells.clientWidth / NARROWEST_PX), 1, count), width = cells.clientWidth / columns;
    cells.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    cells.style.gridAutoRows = `${Math.round(Math.min(1.2 * width, TALLEST_PX))}px`;
    wake();
  }

  function setLimit(mm) {
    limit = mm;
    part("ticks").replaceChildren();
    for (const text of ["0", `${mm / 2}`, `≥ ${mm} mm`]) make("span", part("ticks"), text);
    wake();
  }

  const turn = (x, y) => { view.yaw += x; view.pitch = clamp(view.pitch + y, -1.4, 1.4); wake(); };
  const move = (x, y) => { view.x = clamp(view.x + x, -2, 2); view.y = clamp(view.y + y, -2, 2); wake(); };
  const zoom = (factor) => { view.zoom = clamp(view.zoom * factor, 0.4, 8); wake(); };
  const reset = () => { Object.assign(view, { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 }); wake(); };

  function listen() {
    const fingers = new Map();
    const span = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y) || 1; };
    canvas.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (event.isTrusted) canvas.setPointerCapture(event.pointerId);  // a made-up pointer cannot be held
    });
    canvas.addEventListener("pointermove", (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger) return;
      const x = event.clientX - finger.x, y = event.clientY - finger.y, before = fingers.size > 1 ? span() : 0;
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      const slide = 2.4 / (view.zoom * parseFloat(part("cells").style.gridAutoRows));
      if (before) { zoom(span() / before); move(0.5 * slide * x, -0.5 * slide * y); }
      else if (event.shiftKey || event.buttons & 2) move(slide * x, -slide * y);
      else turn(0.008 * x, 0.008 * y);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return;  // the page scrolls until the view is chosen
      event.preventDefault();
      zoom(Math.exp(-0.0015 * event.deltaY));
    }, { passive: false });
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keys = { "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15), Home: reset, " ": () => play(!playing),
      ",": () => jump(-1), ".": () => jump(1) };
    canvas.addEventListener("keydown", (event) => {
      const [x, y] = arrows[event.key] || [0, 0];
      if (event.ctrlKey || event.metaKey || event.altKey || !(x || y || keys[event.key])) return;
      event.preventDefault();
      if (!(x || y)) keys[event.key](); else if (event.shiftKey) move(0.08 * x, -0.08 * y); else turn(0.12 * x, 0.12 * y);
    });
    const press = { play: () => play(!playing), before: () => jump(-1), after: () => jump(1), closer: () => zoom(1.25), further: () => zoom(0.8), reset };
    for (const [name, act] of Object.entries(press)) part(name).addEventListener("click", act);
    part("frame").addEventListener("input", () => { play(false); frame = Number(part("frame").value); });
    part("errors").addEventListener("change", wake);
    part("limit").addEventListener("change", () => setLimit(Number(part("limit").value)));
    part("clip").addEventListener("change", () => { play(false); show(Number(part("clip").value)); });
    canvas.addEventListener("webglcontextlost", () => { play(false); still("The graphics of this browser stopped."); });
    new ResizeObserver(arrange).observe(part("cells"));
    new IntersectionObserver((entries) => { visible = entries[entries.length - 1].isIntersecting; }).observe(canvas);
  }

  try {
    await load();
    build();
    data.clips.forEach((one, n) => { make("option", part("clip"), one.name).value = n; });
    part("choice").hidden = data.clips.length < 2;
    for (const factor of [0.5, 1, 2, 4]) {
      const value = factor * data.limit_mm;
      Object.assign(make("option", part("limit"), `${value} mm`), { value, selected: factor === 1 });
    }
    const stops = Array.from({ length: colours.length / 3 }, (_, n) => `rgb(${colours.slice(3 * n, 3 * n + 3).join(",")})`);
    part("ramp").style.backgroundImage = `linear-gradient(to right, ${stops.join(",")})`;
    root.dataset.state = "ready";
    setLimit(data.limit_mm);
    show(0);
    listen();
  } catch (error) {
    still(`The moving view failed (${error.message}).`);
    throw error;
  }
})();
