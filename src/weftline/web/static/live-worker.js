// One stream of /events for all tabs of this browser (HTTP/1.1 allows six connections to a host).
// Owns the EventSource; each tab tells its topics and hears every event and every change of the stream's state.
import { Stream } from "./stream.js";

const tabs = new Map();
const stream = new Stream((message) => {
  for (const port of tabs.keys()) port.postMessage(message);
});

function retopic() {
  const topics = new Set();
  for (const tab of tabs.values()) for (const topic of tab.topics) topics.add(topic);
  stream.follow([...topics].sort());
}

self.onconnect = (event) => {
  const port = event.ports[0];
  tabs.set(port, { topics: [] });
  port.onmessage = ({ data }) => {
    if (data.bye) tabs.delete(port);
    else tabs.set(port, { topics: data.topics });
    retopic();
    if (!data.bye) port.postMessage(stream.report());
  };
  port.start();
};
