// Sends a video with words to the server that this page comes from, and shows what comes back.
"use strict";
const at = (id) => document.getElementById(id);
const [form, file, status, bar] = ["form", "file", "status", "bar"].map(at);
let sending = null;  // the request of an upload that is under way
let timer = 0;
let warnings = new Map();

const say = (text, failed = false) => {
  status.textContent = text;
  status.classList.toggle("failed", failed);
};
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

function busy(is) {
  at("start").disabled = is;
  at("cancel").hidden = !is;
  bar.hidden = !is;
}

function choose(files) {
  if (!files.length) return;
  if (files !== file.files) file.files = files;
  at("chosen").textContent = `${files[0].name}, ${(files[0].size / 1e6).toFixed(1)} MB`;
}

function show(job) {
  const base = `${job.id}/`;
  at("overlay").src = base + "overlay.mp4";
  at("overlay").poster = base + "sheet.png";
  at("movie").href = base + "overlay.mp4";
  at("masks").href = base + "masks.zip";
  at("found").replaceChildren(...job.found.map((word) => {
    const row = document.createElement("tr");
    row.classList.toggle("absent", !word.frames);
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: word.name });
    const cells = [word.frames, word.tracks].map((n) => Object.assign(document.createElement("td"), { textContent: n || "–" }));
    row.append(head, ...cells);
    return row;
  }));
  at("notes").replaceChildren(...job.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  at("result").hidden = false;
}

function take(job) {
  const words = {
    none: "", receiving: "The video is on its way.", cancelled: "Cancelled; nothing is kept.",
    running: job.total ? `Frame ${job.done} of ${job.total}` : "The model is being loaded.",
    done: `${plural(job.total, "frame")} done.`, failed: job.message,
  };
  say(words[job.state] ?? job.state, job.state === "failed");
  const runs = job.state === "running" || job.state === "receiving";
  busy(runs);
  if (job.total) bar.value = job.done / job.total; else bar.removeAttribute("value");
  if (job.state === "done") show(job);
  clearTimeout(timer);
  if (runs) timer = setTimeout(ask, 400);
}

async function ask() {
  try {
    take(await (await fetch("job")).json());
  } catch {
    busy(false);
    say("The server does not answer. Start ovsbench app again.", true);
  }
}

function send(query, body) {
  const request = new XMLHttpRequest();  // it tells how much of the body has gone
  sending = request;
  request.open("POST", "job?" + query);
  request.upload.onprogress = (event) => { bar.value = event.loaded / event.total; };
  request.onabort = () => { busy(false); say("Cancelled; nothing is kept."); };
  request.onerror = () => { busy(false); say("The server ended the upload: is the video too large, or was the server stopped?", true); };
  request.onload = () => {
    const answer = JSON.parse(request.responseText);
    if (request.status === 202) return take(answer);
    busy(false);
    say(answer.message ?? "The request was not understood.", true);
  };
  request.onloadend = () => { sending = null; };
  request.send(body);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [video] = file.files;
  const query = new URLSearchParams({
    names: at("names").value, stuff: at("stuff").value, model: at("model").value, file: video.name, size: video.size,
  });
  at("result").hidden = true;
  at("overlay").removeAttribute("src");
  busy(true);
  say("The video is on its way.");
  try {
    const answer = await fetch("check?" + query);
    if (answer.ok) return send(query, video);
    say((await answer.json()).message ?? "The request was not understood.", true);
  } catch {
    say("The server does not answer. Start ovsbench app again.", true);
  }
  busy(false);
});
at("cancel").addEventListener("click", async () => {
  if (sending) return sending.abort();
  say("Cancelling …");
  await fetch("job", { method: "DELETE" });
});
file.addEventListener("change", () => choose(file.files));
const drop = document.querySelector(".drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files);
  });
}
const warn = () => {
  at("warning").textContent = warnings.get(at("model").value) ?? "";
  at("warning").hidden = !at("warning").textContent;
};
at("model").addEventListener("change", warn);
fetch("models").then((answer) => answer.json()).then((models) => {
  warnings = new Map(models.map((one) => [one.name, one.warning]));
  at("model").append(...models.map((one) => new Option(one.name, one.name)));
  warn();
});
ask();
