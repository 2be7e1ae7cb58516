// The page of `qasr serve`: an upload whose text comes piece by piece, a microphone whose text grows.
"use strict";

const at = (id) => document.getElementById(id);
let ability = {};

function tell(id, text, isBad = false) {
  at(id).textContent = text;
  at(id).classList.toggle("bad", isBad);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map((n) => String(n).padStart(2, "0"));
  return (parts[0] === "00" ? parts.slice(1) : parts).join(":");
}

async function start() {
  try {
    ability = await (await fetch("/page.json")).json();
  } catch {
    tell("upload-state", "The server does not answer; is it still running?", true);
    return;
  }
  at("name").textContent = document.title = ability.name;
  at("most").textContent = `up to ${ability.max_upload_mb} MB and ${clock(ability.max_audio_s)}`;
  for (const name of ability.languages) at("language").add(new Option(name, name));
  at("language-label").hidden = !ability.languages.length;
  at("context-label").hidden = !ability.takes_context;
  at("words-label").hidden = !ability.times_words;
  at("words").checked = ability.times_words;
  readyMicrophone();
}

// ---- a recording

let upload = null;  // what can stop the one under way
let words = [];  // those on the page that have times, for the player

async function send(file) {
  if (upload) upload.abort();
  upload = new AbortController();
  const mine = upload;
  showPlayer(file);
  at("segments").replaceChildren();
  words = [];
  tell("upload-state", "sending ...");
  const form = new FormData();
  form.append("response_format", "verbose_json");
  if (at("language").value) form.append("language", at("language").value);
  if (at("context").value.trim()) form.append("prompt", at("context").value.trim());
  form.append("timestamp_granularities[]", "segment");
  if (at("words").checked && ability.times_words) form.append("timestamp_granularities[]", "word");
  form.append("file", file, "recording");
  const began = performance.now();
  try {
    const answer = await fetch("/page/transcriptions", { method: "POST", body: form, signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    let heard_s = 0;
    let isWhole = false;
    for await (const line of lines(answer.body)) {
      if (line.kind === "error") throw new Error(line.error.message);
      if (line.kind === "piece") {
        heard_s += line.end - line.start;
        showPiece(line);
        tell("upload-state", `${clock(heard_s)} of ${clock(line.duration)} heard ...`);
      } else {
        isWhole = true;
        showFinal(line, (performance.now() - began) / 1000);
      }
    }
    if (!isWhole) throw new Error("the server went away before all was heard; send it again");
  } catch (error) {
    if (mine.signal.aborted) return;
    tell("upload-state", error instanceof TypeError ? "The server does not answer; is it still running?" : error.message, true);
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function showPlayer(file) {
  const player = at("player");
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
}

function row(start, isOpen) {
  const item = document.createElement("li");
  item.dataset.start = start;
  const time = document.createElement("button");
  time.type = "button";
  time.textContent = clock(start);
  time.onclick = () => play(start);
  const text = document.createElement("p");
  text.dir = "auto";
  text.classList.toggle("open", isOpen);
  item.append(time, text);
  return item;
}

// Pieces come longest first; each takes its place by time, and may change yet where it meets its neighbours.
function showPiece(piece) {
  if (!piece.text) return;
  const item = row(piece.start, true);
  item.lastChild.textContent = piece.text;
  const later = [...at("segments").children].find((other) => Number(other.dataset.start) > piece.start);
  at("segments").insertBefore(item, later || null);
}

function showFinal(heard, seconds) {
  at("segments").replaceChildren();
  const timed = heard.words || [];
  let next = 0;
  heard.segments.forEach((segment, number) => {
    const item = row(segment.start, false);
    const own = timed.slice(next, next + heard.num_words[number]);  // none where its language has no times
    next += own.length;
    let rest = segment.text;
    for (const word of own) {
      const found = rest.match(spelling(word.word));
      if (!found) continue;
      item.lastChild.append(rest.slice(0, found.index), wordOf(word, found[0]));
      rest = rest.slice(found.index + found[0].length);
    }
    item.lastChild.append(rest);
    at("segments").append(item);
  });
  const speed = seconds > 0 ? `, RTFx ${Number((heard.duration / seconds).toPrecision(2))}` : "";
  const language = heard.language ? `${heard.language[0].toUpperCase()}${heard.language.slice(1)}, ` : "";
  const numLost = timed.filter((word) => word.start === null).length;
  const lost = numLost ? `${numLost} of ${timed.length} words could not be placed (dotted)` : "";
  const notes = [heard.untimed, lost, heard.truncated].filter(Boolean).map((note) => `; ${note}`).join("");
  const nothing = heard.segments.length ? "" : "Nothing is said in it. ";
  tell("upload-state", `${nothing}${language}${clock(heard.duration)} in ${seconds.toFixed(1)} s${speed}${notes}`);
}

// A word and the mark that stands alone behind it are one word, written as one: "jour!" of "un jour !".
function spelling(word) {
  return new RegExp([...word].map((letter) => letter.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&")).join("\\s*"), "u");
}

function wordOf(timed, shown) {
  const word = document.createElement("span");
  word.textContent = shown;
  word.className = timed.start === null ? "word lost" : "word";
  word.title = timed.start === null ? "could not be placed" : `${timed.start.toFixed(2)} to ${timed.end.toFixed(2)} s`;
  if (timed.start !== null) {
    word.onclick = () => play(timed.start);
    words.push({ word, start: timed.start, end: timed.end });
  }
  return word;
}

function play(seconds) {
  at("player").currentTime = seconds;
  at("player").play().catch(() => tell("upload-state", "This browser does not play such a file.", true));
}

at("player").ontimeupdate = () => {
  const now = at("player").currentTime;
  for (const one of words) one.word.classList.toggle("now", one.start <= now && now < one.end);
};
at("file").onchange = () => { if (at("file").files.length) send(at("file").files[0]); at("file").value = ""; };
at("options").onsubmit = (event) => event.preventDefault();
const drop = at("drop");
drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
drop.ondragleave = () => drop.classList.remove("over");
drop.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
};

// ---- the microphone

let live = null;  // { socket, context, stream, node } while somebody speaks

function readyMicrophone() {
  const why = !ability.listens ? "This model hears whole recordings alone."
    : !navigator.mediaDevices ? "Browsers give the microphone to pages of this machine (localhost) or of https alone; see docs/serving.md."
    : "";
  at("speak").disabled = Boolean(why);
  tell("live-state", why);
}

async function speak() {
  at("speak").disabled = true;
  tell("live-state", "waiting for the microphone ...");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    const why = error.name === "NotFoundError" ? "There is no microphone." : "The browser may not use the microphone.";
    endLive(why, true);
    return;
  }
  live = { stream, isOver: false };
  try {
    await listen();
  } catch {
    endLive("The microphone's sound cannot be had in this browser.", true);
  }
}

async function listen() {
  const mine = live;
  mine.context = new AudioContext();
  await mine.context.audioWorklet.addModule("/page/microphone.js");
  mine.node = new AudioWorkletNode(mine.context, "microphone", { numberOfOutputs: 0 });
  mine.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  mine.socket.onopen = () => mine.socket.send(JSON.stringify({
    sample_rate_hz: mine.context.sampleRate,
    language: at("language").value || null,
    context: at("context").value.trim(),
  }));
  mine.socket.onmessage = (event) => hear(mine, JSON.parse(event.data));
  mine.socket.onclose = () => { if (live === mine) endLive("The server has closed the connection.", true); };
  mine.node.port.onmessage = ({ data }) => {
    if (data.ended) { if (mine.socket.readyState === WebSocket.OPEN) mine.socket.send(JSON.stringify({ end: true })); return; }
    at("level").value = data.peak;
    if (mine.isReady && mine.socket.readyState === WebSocket.OPEN) mine.socket.send(data.sound);
  };
}

function hear(mine, told) {
  if (live !== mine) return;
  if (told.kind === "error") { endLive(told.message, true); return; }
  if (told.kind === "ready") {
    mine.isReady = true;
    show("", 0);
    mine.context.createMediaStreamSource(mine.stream).connect(mine.node);
    at("speak").textContent = "Stop";
    at("speak").classList.add("on");
    at("speak").disabled = false;
    tell("live-state", "listening ...");
    return;
  }
  show(told.text, told.num_stable);
  const language = told.language ? `${told.language}, ` : "";
  if (told.kind === "final") { endLive(`${language}${clock(told.heard_s)} heard${told.note ? `; ${told.note}` : ""}`); return; }
  const behind = told.behind_s >= 1 ? `, ${told.behind_s.toFixed(0)} s behind` : "";
  tell("live-state", `${language}${clock(told.heard_s)} heard${behind}`);
}

// `numStable` counts characters, JavaScript's strings count halves of some of them.
function show(text, numStable) {
  const characters = [...text];
  at("stable").textContent = characters.slice(0, numStable).join("");
  at("open").textContent = characters.slice(numStable).join("");
}

function stop() {
  at("speak").disabled = true;
  tell("live-state", "hearing the end ...");
  live.stream.getTracks().forEach((track) => track.stop());
  live.node.port.postMessage("end");
}

function endLive(text, isBad = false) {
  if (live) {
    live.stream.getTracks().forEach((track) => track.stop());
    if (live.socket) live.socket.close();
    if (live.context) live.context.close();
    live = null;
  }
  at("level").value = 0;
  at("speak").textContent = "Speak";
  at("speak").classList.remove("on");
  at("speak").disabled = false;
  tell("live-state", text, isBad);
}

at("speak").onclick = () => (live ? stop() : speak());
start();
