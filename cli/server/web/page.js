"use strict";
// Everything that a server or a model says goes into the page as text, but for the drawing, which is parsed as XML
// and cannot run anything: the page's content security policy allows this script alone.

const TEXTS = {
  bn: {
    title: "অঙ্কের সমাধান", language: "English", question: "প্রশ্ন", solve: "সমাধান করো", stop: "থামাও",
    hint: "এখানে একটি গাণিতিক প্রশ্ন লেখো", answer: "উত্তর", graph: "গ্রাফ", steps: "ধাপ", what: "কী",
    calculation: "হিসাব", value: "মান", warnings: "সতর্কতা", given: "দেওয়া", token: "প্রবেশ-সংকেত", unlock: "খোলো",
    waiting: "অপেক্ষা করছে…", writing: "লিখছে…", done: "সময় লেগেছে {s} সেকেন্ড", stopped: "থামানো হয়েছে",
    unused: "প্রয়োজন নেই", model: "মডেল: {name}",
    demo: "মডেল: {name} (শুধু দেখানোর জন্য ছোট মডেল; ভুল হতে পারে)",
    errors: {
      no_answer: "এই প্রশ্নের উত্তর পাওয়া গেল না।", unprocessable: "প্রশ্নটি পড়া গেল না।",
      overloaded: "এখন অনেক প্রশ্ন জমে আছে। একটু পরে আবার চেষ্টা করো।", starting: "মডেল এখনও চালু হচ্ছে।",
      stopping: "সার্ভার বন্ধ হচ্ছে।", timeout: "সময় শেষ হয়ে গেছে।", unauthorized: "প্রবেশ-সংকেত দরকার।",
      offline: "সার্ভারের সঙ্গে যোগাযোগ নেই।", other: "সমস্যা হয়েছে।",
    },
  },
  en: {
    title: "Maths word problems", language: "বাংলা", question: "Question", solve: "Solve", stop: "Stop",
    hint: "Type a maths word problem in Bengali", answer: "Answer", graph: "Graph", steps: "Steps", what: "What",
    calculation: "Calculation", value: "Value", warnings: "Warnings", given: "given", token: "Access token",
    unlock: "Open", waiting: "Waiting in line…", writing: "Writing…", done: "{s} seconds", stopped: "Stopped",
    unused: "not needed", model: "Model: {name}",
    demo: "Model: {name} (a small demo model: it may be wrong)",
    errors: {
      no_answer: "There is no answer to this question.", unprocessable: "The question cannot be read.",
      overloaded: "Many questions are waiting. Try again in a moment.", starting: "The model is still being loaded.",
      stopping: "The server is stopping.", timeout: "The time is up.", unauthorized: "An access token is needed.",
      offline: "The server cannot be reached.", other: "Something went wrong.",
    },
  },
};
const EXAMPLES = [
  "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?",
  "রজারের 5টি টেনিস বল আছে। সে আরও 2 ক্যান টেনিস বল কিনেছে। প্রতিটি ক্যানে 3টি করে টেনিস বল আছে। তার কাছে এখন কতগুলি টেনিস বল আছে?",
];

const at = (id) => document.getElementById(id);
let language = kept("localStorage", "language") === "en" ? "en" : "bn";
let bundle = null;
let status = null; // what the status line says: a text's name, and how long it took
let failure = null;
let running = null;

function kept(storage, name) {
  try { return window[storage].getItem(`dagger-edge-${name}`); } catch { return null; }
}

function keep(storage, name, value) {
  try { window[storage].setItem(`dagger-edge-${name}`, value); } catch { /* storage may be switched off */ }
}

function text(name, values = {}) {
  return TEXTS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

function seconds(number) {
  return language === "bn" ? bengali(number.toFixed(1)) : number.toFixed(1);
}

function show() {
  document.documentElement.lang = language;
  document.title = text("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = text(element.dataset.hint);
  at("language").textContent = text("language");
  at("language").lang = language === "bn" ? "en" : "bn";
  at("model").textContent = bundle ? text(bundle.demo ? "demo" : "model", { name: bundle.manifest.name }) : "";
  at("status").textContent = status ? text(status.name, { s: seconds(status.took) }) : "";
  for (const note of document.querySelectorAll("[data-note]")) note.textContent = text(note.dataset.note);
  at("missing").hidden = !failure;
  if (failure) {
    const errors = TEXTS[language].errors;
    at("missing").replaceChildren(errors[failure.code] ?? errors.other, made("small", failure.message ?? ""));
  }
}

function made(tag, content, name = "") {
  const element = document.createElement(tag);
  element.textContent = content;
  if (name) element.className = name;
  return element;
}

function say(name, took = 0) {
  status = name ? { name, took } : null;
  show();
}

function fail(error) {
  failure = error;
  at("result").hidden = false;
  if (error.code === "unauthorized") at("locked").hidden = false;
  say(null);
}

function headers(more) {
  const token = kept("sessionStorage", "token");
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function describe() {
  try {
    const answer = await fetch("/v1/bundle", { headers: headers({}) });
    at("locked").hidden = answer.status !== 401;
    if (answer.ok) bundle = await answer.json();
    else if (answer.status === 503) setTimeout(describe, 2000);
  } catch { /* it is told when something is asked */ }
  show();
}

function clear() {
  failure = null;
  for (const id of ["result", "answer", "drawn", "steps", "warned"]) at(id).hidden = true;
  for (const id of ["answer", "graph", "rows", "warnings"]) at(id).replaceChildren();
}

function draw(svg) {
  const drawing = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  // Smaller letters could not be read: below this it scrolls.
  drawing.style.minWidth = `${Math.round(parseFloat(drawing.getAttribute("width")) * 0.72)}px`;
  at("graph").replaceChildren(document.adoptNode(drawing));
  at("drawn").hidden = false;
}

function addStep({ node, step }) {
  const row = made("tr", "", node.distractor ? "aside" : node.id === "final_result" ? "final" : "");
  const name = made("td", "");
  const note = made("small", [node.label ? node.id : "", node.op].filter(Boolean).join(" · "));
  name.append(made("bdi", node.label || node.id), note);
  if (node.distractor) name.append(noted("unused"));
  const calculation = made("td", step.expression === step.text ? "" : step.expression);
  if (node.op === "const") calculation.append(noted("given"));
  const value = made("td", step.text || "–", "number");
  value.append(made("small", bengali(step.text)));
  row.append(made("td", String(at("rows").children.length + 1)), name, calculation, value);
  at("rows").append(row);
  at("steps").hidden = false;
}

function noted(name) {
  const note = made("small", text(name));
  note.dataset.note = name;
  return note;
}

function bengali(digits) {
  return digits.replace(/[0-9]/g, (digit) => "০১২৩৪৫৬৭৮৯"[digit]);
}

function finish(solution, took) {
  const { result } = solution;
  const size = result.answer_text.length > 16 ? "long" : "";
  at("answer").replaceChildren(made("span", result.answer_text_bn, size), made("span", result.answer_text, size));
  at("answer").hidden = at("result").hidden = false;
  for (const warning of result.warnings) at("warnings").append(made("li", warning.message));
  at("warned").hidden = result.warnings.length === 0;
  say("done", took);
}

// The events of a stream of server-sent events: [name, document].
async function* events(body) {
  let rest = "";
  for await (const piece of pieces(body.pipeThrough(new TextDecoderStream()))) {
    const frames = (rest + piece).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// Not every browser iterates over a stream.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

async function solve(question) {
  clear();
  running = new AbortController();
  at("solve").disabled = true;
  at("stop").hidden = false;
  say("waiting");
  const began = performance.now();
  try {
    const answer = await fetch("/v1/solve", {
      method: "POST",
      signal: running.signal,
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify({ question, stream: true, drawing: true }),
    });
    if (!answer.ok) return fail((await answer.json()).error);
    let ended = false;
    for await (const event of events(answer.body)) {
      if (event.type === "text" && status?.name === "waiting") say("writing");
      if (event.type === "node") addStep(event);
      if (event.type === "drawing") draw(event.svg);
      if (event.type === "solution") finish(event.solution, (performance.now() - began) / 1000);
      if (event.type === "error") fail(event.error);
      ended ||= event.type === "solution" || event.type === "error";
    }
    if (!ended) fail({ code: "offline" });
  } catch (error) {
    if (error.name === "AbortError") say("stopped");
    else fail({ code: "offline" });
  } finally {
    running = null;
    at("solve").disabled = false;
    at("stop").hidden = true;
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = at("question").value.trim();
  if (question && !running) solve(question);
});
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
});
at("stop").addEventListener("click", () => running?.abort());
at("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  keep("sessionStorage", "token", at("token").value.trim());
  describe();
});
at("language").addEventListener("click", () => {
  language = language === "bn" ? "en" : "bn";
  keep("localStorage", "language", language);
  show();
});
for (const example of EXAMPLES) {
  const button = made("button", example);
  button.type = "button";
  button.lang = "bn";
  button.addEventListener("click", () => {
    at("question").value = example;
    at("question").focus();
  });
  at("examples").append(button);
}
show();
describe();
