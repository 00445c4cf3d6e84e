// Ages grow between refreshes: the same words as format.py, from the server's clock.
export function age(seconds) {
  if (seconds < 0) return `−${age(-seconds)}`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} d`;
}

export function keepAges(skew, isPaused) {
  const zone = document.body.dataset.zone;
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "medium" });
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now() + skew;
    const shown = document.querySelector("#clock time");
    if (shown) shown.textContent = clock.format(now);
    if (isPaused()) return;
    for (const item of document.querySelectorAll("time[data-since]")) {
      const passed = (now - Number(item.dataset.since)) / 1000;
      const text = age(passed < 0 && passed > -1 ? 0 : passed);
      if (item.textContent !== text) item.textContent = text;
    }
  }, 1000);
}
