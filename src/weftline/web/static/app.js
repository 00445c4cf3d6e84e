// What a page gains with scripts: live updates, growing ages, keys. Every page works without.
import { keepAges } from "./ages.js";
import { Live } from "./live.js";

const content = document.getElementById("content");
const skew = Number(document.body.dataset.now) - Date.now();
const live = document.getElementById("live") ? new Live(content) : null;
keepAges(skew, () => live?.paused ?? false);

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    const find = document.getElementById("find");
    if (!find) return;
    event.preventDefault();
    find.focus();
    find.select();
  }
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) close(menu);
});

function close(menu) {
  menu.open = false;
  menu.querySelector("summary").focus();
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

function toast(text) {
  document.getElementById("toast-text").textContent = text;
  document.getElementById("toast").hidden = !text;
}

// A refresh that fails leaves the page as it is and says so; the values then show their age.
document.addEventListener("htmx:before:response", (event) => {
  const { status } = event.detail.ctx.response;
  if (status === 401) {
    event.preventDefault();
    toast("Your session has ended. What you typed is still here. Open Weftline in another tab, sign in, then go on.");
  } else if (status >= 500) {
    event.preventDefault();
    toast("The server could not refresh this page. It tries again with the next change.");
  } else toast("");
});
