// Follows the stream of changes of a page: one connection for a tab, closed while the tab is hidden.
import { tellTimes, exactly } from "./times.js";
import { fits, tidy } from "./filter.js";
import { again, hear } from "./session.js";

const LOST_AFTER_MS = 3_000;
// The server says something every 40 s at the latest.
const SILENT_AFTER_MS = 90_000;

const place = (list, element) => {
  // The rows are sorted by their order. Only the changed row moves.
  for (const other of list.children) {
    if (other !== element && other.dataset.order > element.dataset.order) return list.insertBefore(element, other);
  }
  return list.appendChild(element);
};

// What the server has drawn inside of each element that stays, as the browser writes it.
const drawn = new Map([...document.querySelectorAll(".section")].map((each) => [each.id, each.innerHTML.trim()]));

const FOCUSABLE = "a[href], button, summary, input, select, textarea";
const nameOf = (element) => element.getAttribute("aria-label") ?? element.textContent;

// Draws the inside of an element that stays. What is open stays open, and the focus stays where it is.
const refill = (old, content) => {
  const open = [...old.querySelectorAll("details[id][open]")].map((each) => each.id);
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const place = [...old.querySelectorAll(FOCUSABLE)].indexOf(focused);
  old.replaceChildren(content);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  // A browser looks for the target of a link only once.
  if (location.hash.length > 1) old.querySelector(`#${CSS.escape(location.hash.slice(1))}`)?.classList.add("linked");
  if (!focused) return;
  const now = [...old.querySelectorAll(FOCUSABLE)];
  const same = now.find((each) => each.href && each.href === focused.href) ?? now[place];
  // Another button in its place must not get the key that somebody presses now.
  const isSame = same?.tagName === focused.tagName && nameOf(same) === nameOf(focused);
  if (!isSame) old.tabIndex = -1;
  (isSame ? same : old).focus({ preventScroll: true });
};

const put = (key, html) => {
  const old = document.getElementById(key);
  if (!html) {
    old?.remove();
    return;
  }
  const made = document.createElement("template");
  made.innerHTML = html.trim();
  const content = made.content;
  const element = content.firstElementChild;
  if (element.id !== key) {
    // The component was gone, and is there again.
    if (!old && document.getElementById("gone")) return again();
    if (old && drawn.get(key) !== made.innerHTML) {
      drawn.set(key, made.innerHTML);
      refill(old, content);
    }
    return;
  }
  element.hidden = !fits(element);
  const group = element.dataset.group;
  const list = group === undefined ? null : document.querySelector(`section.group[data-group="${group}"] > ul`);
  const focused = old?.contains(document.activeElement) ? document.activeElement.className : null;
  if (old && (!list || (old.parentElement === list && old.dataset.order === element.dataset.order))) old.replaceWith(element);
  else {
    old?.remove();
    if (list) place(list, element);
  }
  if (focused) (element.getElementsByClassName(focused)[0] ?? element.querySelector("a"))?.focus();
};

const tellTop = () => {
  const counts = document.querySelector("[data-title]");
  if (!counts) return;
  document.title = counts.dataset.title;
  const icon = document.getElementById("icon");
  if (icon.getAttribute("href") !== counts.dataset.icon) icon.setAttribute("href", counts.dataset.icon);
};

export const follow = (live) => {
  let source = null;
  let cursor = live.dataset.cursor;
  let seen = new Date(live.dataset.shown);
  let lostTimer = null;
  let silentTimer = null;
  let why = "";
  let isOver = false;
  const lost = document.getElementById("lost");

  const isHere = () => {
    clearTimeout(lostTimer);
    lostTimer = null;
    why = "";
    seen = new Date();
    lost.hidden = true;
  };
  const tell = () => {
    const text = `Connection lost, as of ${exactly(seen)}. ${why}`;
    // A screen reader reads a text again that is put there again.
    if (lost.textContent !== text) lost.textContent = text;
    lost.hidden = false;
  };
  const isLost = () => {
    if (lost.hidden) lostTimer ??= setTimeout(tell, LOST_AFTER_MS);
    else tell();
  };
  const close = () => {
    clearTimeout(silentTimer);
    source?.close();
    source = null;
  };
  // A network can break without a word, and then a browser waits for many minutes.
  const hears = () => {
    clearTimeout(silentTimer);
    silentTimer = setTimeout(() => {
      isLost();
      close();
      open();
    }, SILENT_AFTER_MS);
  };
  const open = () => {
    if (source || isOver || document.hidden) return;
    const address = new URL(live.dataset.stream, location);
    address.searchParams.set("cursor", cursor);
    source = new EventSource(address);
    hears();
    source.addEventListener("patch", (event) => {
      const { key, html } = JSON.parse(event.data);
      put(key, html);
      tellTop();
      tidy();
      tellTimes(document.getElementById(key) ?? document);
    });
    source.addEventListener("only", (event) => {
      const keys = new Set(JSON.parse(event.data));
      for (const row of document.querySelectorAll(".row[id]")) if (!keys.has(row.id)) row.remove();
      tidy();
    });
    source.addEventListener("seen", (event) => {
      cursor = event.lastEventId || cursor;
      hears();
      isHere();
    });
    source.addEventListener("refused", (event) => {
      why = JSON.parse(event.data);
      hears();
      isLost();
    });
    source.addEventListener("ended", (event) => {
      // The server does not know the person any more, and to come back would not help.
      isOver = true;
      close();
      clearTimeout(lostTimer);
      const link = document.createElement("a");
      link.href = `/sign-in?${new URLSearchParams({ to: location.pathname + location.search })}`;
      link.textContent = "Sign in again";
      lost.replaceChildren(`${JSON.parse(event.data)} `, link);
      lost.hidden = false;
    });
    source.addEventListener("error", () => {
      isLost();
      // A browser does not come back by itself after an answer that is no stream, as while a server starts.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 2_000);
      }
    });
  };
  hear((other) => {
    if (other && isOver) again();
    if (other) return;
    // Somebody may have signed out in another tab.
    close();
    open();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
};
