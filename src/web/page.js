// The live part of the page. Whatever a stranger wrote is set as text, never as HTML.
"use strict";

const RECENT = 10;
// Milliseconds for which thanks are shown.
const THANKS = 10000;
let thanked;
// The number of the newest payment that is shown.
let newest = 0;
const byId = (id) => document.getElementById(id);

// What only works with this script is shown by it.
function showCopyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const field = byId(button.dataset.copy);
  try {
    // Browsers have it on https and on this machine only.
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
  // It may have been told in a state already, to a page that was slow.
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

// The invoice has changed: the new one is in the page as the server has it now.
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
    byId("live").textContent = "New donations appear here by themselves.";
  });
  events.addEventListener("error", () => {
    // It tries again by itself, unless the server has refused.
    byId("live").textContent = events.readyState === EventSource.CLOSED
      ? "Reload the page to see new donations."
      : "The connection is lost; trying again…";
  });
}

showCopyButtons(document);
document.querySelectorAll("#recent time").forEach(showLocalTime);
follow();
