// Fetches the page anew and exchanges what changed: no flicker, scroll position and open details stay.
"use strict";
const EVERY_MS = 5000;
const banner = document.getElementById("lost");

function exchange(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (other && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
    if (other) part.className = other.className;
  }
  document.title = fresh.title;
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    if (!answer.ok) throw new Error(answer.status);
    exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
    banner.hidden = true;
  } catch {
    banner.hidden = false;
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
