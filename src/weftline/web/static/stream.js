// The stream of /events: topics in, messages out, reconnecting with jittered back-off where the browser gives up.
export class Stream {
  constructor(tell) {
    this.tell = tell;
    this.topics = "";
    this.source = null;
    this.state = "waiting";
    this.heard = 0;
    this.last = "";
    this.failures = 0;
  }

  report() {
    return { type: "state", state: this.state, heard: this.heard };
  }

  follow(topics) {
    const wanted = topics.join(",");
    if (wanted === this.topics) return;
    this.topics = wanted;
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    if (!this.topics) return this.become("waiting");
    const query = new URLSearchParams({ topics: this.topics });
    if (this.last) query.set("after", this.last);
    const source = new EventSource(`/events?${query}`);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.heard = Date.now();
      this.become("live");
    };
    source.onerror = () => {
      this.become("reconnecting");
      // CLOSED: the server answered something that is no stream; the browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) {
        this.failures += 1;
        const wait = Math.min(10000, 500 * 2 ** this.failures) * (0.5 + Math.random() / 2);
        this.timer = setTimeout(() => this.open(), wait);
      }
    };
    for (const name of ["message", "change", "beat", "gap", "feeds", "tower", "ledger", "feed"])
      source.addEventListener(name, (event) => this.receive(name, event));
  }

  receive(name, event) {
    if (event.lastEventId) this.last = event.lastEventId;
    this.heard = Date.now();
    if (this.state !== "live") this.become("live");
    let data = {};
    try {
      data = JSON.parse(event.data);
    } catch {
      data = { topic: name };
    }
    this.tell({ type: name === "beat" ? "beat" : "event", topic: data.topic ?? name, data, heard: this.heard });
  }

  become(state) {
    this.state = state;
    this.tell(this.report());
  }
}
