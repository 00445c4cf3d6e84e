// The live chip, and refreshing the page's content when something it shows has changed.
import { age } from "./ages.js";
import { Stream } from "./stream.js";

const STALE = 20000; // a server beats every few seconds; longer silence on an open stream is a delay
const WORDS = { live: "Live", delayed: "Delayed", reconnecting: "Reconnecting", paused: "Paused", waiting: "Waiting" };
const SHAPES = { live: "normal", delayed: "warning", reconnecting: "unknown", paused: "paused", waiting: "unknown" };

export class Live {
  constructor(content) {
    this.content = content;
    this.chip = document.getElementById("live");
    this.icons = this.chip.querySelector("use").getAttribute("href").split("#")[0];
    this.state = "waiting";
    this.heard = 0;
    this.waiting = 0;
    this.paused = false;
    this.next = 0;
    this.button = document.getElementById("live-pause");
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.pause(!this.paused));
    document.addEventListener("visibilitychange", () => this.owed && this.refresh());
    addEventListener("pagehide", () => this.port?.postMessage({ bye: true }));
    addEventListener("pageshow", (event) => event.persisted && this.follow());
    this.connect();
    setInterval(() => this.draw(), 500);
    this.draw();
  }

  get topics() {
    return (this.content.dataset.topics ?? "").split(" ").filter(Boolean).map(decodeURIComponent);
  }

  connect() {
    const hear = (message) => this.hear(message);
    try {
      const worker = new SharedWorker(document.body.dataset.worker, { type: "module", name: "weftline-live" });
      worker.onerror = () => this.alone(hear);
      worker.port.onmessage = ({ data }) => hear(data);
      this.port = worker.port;
      this.follow();
    } catch {
      this.alone(hear);
    }
  }

  alone(hear) {
    if (this.stream) return;
    this.port = null;
    this.stream = new Stream(hear);
    this.follow();
  }

  follow() {
    // Every page follows the tower: the chip needs a heartbeat even where the page itself shows nothing live.
    const topics = [...new Set([...this.topics, "tower"])];
    if (this.port) this.port.postMessage({ topics });
    else this.stream?.follow(topics);
  }

  hear(message) {
    if (message.heard) this.heard = message.heard;
    if (message.type === "state") {
      const back = message.state === "live" && this.state === "reconnecting";
      this.state = message.state;
      if (back) this.changed();
    } else if (message.type === "event" && (this.topics.includes(message.topic) || message.topic === "gap")) this.changed();
    this.draw();
  }

  changed() {
    if (this.paused) this.waiting += 1;
    else this.refresh();
  }

  pause(paused) {
    this.paused = paused;
    this.button.setAttribute("aria-pressed", String(paused));
    this.button.setAttribute("aria-label", paused ? "Resume live updates" : "Pause live updates");
    this.button.querySelector("use").setAttribute("href", `${this.icons}#${paused ? "i-play" : "i-pause"}`);
    if (!paused && this.waiting) this.refresh();
    if (!paused) this.waiting = 0;
    this.draw();
  }

  // At most one refresh a second, none while hidden, while text is selected or a request runs.
  refresh() {
    if (!this.topics.length) return;
    const selecting = String(getSelection()).length > 0;
    if (document.hidden) {
      this.owed = true;
      return;
    }
    const wait = Math.max(this.next - Date.now(), this.running || selecting ? 1000 : 0);
    if (wait > 0) {
      this.timer ??= setTimeout(() => {
        this.timer = null;
        this.refresh();
      }, wait);
      return;
    }
    this.owed = false;
    this.next = Date.now() + 1000;
    this.running = true;
    htmx
      .ajax("GET", location.pathname + location.search, { target: "#content", source: "#content", swap: "innerMorph" })
      .finally(() => (this.running = false));
  }

  draw() {
    const silent = Date.now() - this.heard;
    let state = this.state;
    if (this.paused) state = "paused";
    else if (state === "live" && silent > STALE) state = "delayed";
    const more = {
      live: age(silent / 1000),
      delayed: age(silent / 1000),
      reconnecting: this.heard ? `last ${age(silent / 1000)}` : "",
      paused: `${this.waiting} waiting`,
      waiting: "",
    }[state];
    document.getElementById("live-more").textContent = more;
    if (this.chip.dataset.state === state) return;
    this.chip.dataset.state = state;
    document.getElementById("live-word").textContent = WORDS[state];
    document.getElementById("live-status").textContent = `Updates: ${WORDS[state]}`;
    this.chip.querySelector("#live-shape use").setAttribute("href", `${this.icons}#${SHAPES[state]}`);
  }
}
