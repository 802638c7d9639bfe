// Live updates of the page. Donors' messages are set as text, never as HTML.
"use strict";

const RECENT = 10;
// How long the thank-you message is shown, in milliseconds.
const THANKS = 10000;
let thanked;
// The id of the newest payment shown.
let newest = 0;
const byId = (id) => document.getElementById(id);

// The copy buttons need this script, so they are hidden until it runs.
function showCopyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const field = byId(button.dataset.copy);
  try {
    // Available only on https and localhost.
    await navigator.clipboard.writeText(field.value);
  } catch {
    field.select();
    if (!document.execCommand("copy")) return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function showLocalTime(time) {
  const date = new Date(time.dateTime);
  time.textContent = date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

function showSum(sum) {
  byId("total").textContent = sum.total;
  const noun = sum.count === 1 ? "donation" : "donations";
  byId("count").textContent = `${sum.count.toLocaleString("en")} ${noun}`;
  if (sum.percent !== null && byId("goal")) {
    byId("goal").value = sum.percent;
    byId("percent").textContent = `${sum.percent} %`;
  }
}

function rowOf(payment) {
  const row = document.createElement("li");
  row.dataset.id = payment.id;
  const amount = document.createElement("span");
  amount.className = "amount";
  amount.textContent = payment.amount;
  const time = document.createElement("time");
  time.dateTime = payment.time;
  showLocalTime(time);
  row.append(amount, " ", time);
  if (payment.message !== null) {
    const message = document.createElement("bdi");
    message.className = "message";
    message.dir = "auto";
    message.textContent = payment.message;
    row.append(message);
  }
  return row;
}

function showPayment(payment) {
  // A slow page may already have it from a state event.
  if (payment.id <= newest) return;
  newest = payment.id;
  showSum(payment);
  const row = rowOf(payment);
  row.classList.add("new");
  const list = byId("recent");
  list.prepend(row);
  while (list.children.length > RECENT) list.lastElementChild.remove();
  byId("none").hidden = true;
  byId("said").textContent = `Thank you! ${payment.amount} received.`;
  clearTimeout(thanked);
  thanked = setTimeout(() => { byId("said").textContent = ""; }, THANKS);
}

function showState(state) {
  const last = Math.max(0, ...state.recent.map((payment) => payment.id));
  if (last >= newest) {
    newest = last;
    showSum(state);
    byId("recent").replaceChildren(...state.recent.map(rowOf));
    byId("none").hidden = state.recent.length > 0;
  }
  if (state.version !== byId("pay").dataset.version) renew();
}

// The invoice has changed: fetch the page and take the new one from it.
async function renew() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const pay = page.getElementById("pay");
  byId("pay").replaceWith(pay);
  showCopyButtons(pay);
}

function follow() {
  const events = new EventSource("events");
  const on = (name, show) => {
    events.addEventListener(name, (event) => show(JSON.parse(event.data)));
  };
  on("payment", showPayment);
  on("state", showState);
  events.addEventListener("open", () => {
    byId("live").textContent = "New donations appear here automatically.";
  });
  events.addEventListener("error", () => {
    // EventSource reconnects automatically, unless the server refused.
    byId("live").textContent = events.readyState === EventSource.CLOSED
      ? "Reload the page to see new donations."
      : "Connection lost; reconnecting…";
  });
}

showCopyButtons(document);
document.querySelectorAll("#recent time").forEach(showLocalTime);
follow();
