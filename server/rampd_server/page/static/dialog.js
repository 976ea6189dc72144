// Opens the form of a verb in a dialog over the page, and shows again what would happen while somebody fills it in. Without
// JavaScript, each of these links leads to a page with the same form.
import { tellTimes } from "./times.js";

const PART = "x-rampd-part";
const TYPING_MS = 300;

// The part of a page that stands in a dialog; null if the server has answered with something else, such as its sign-in page.
const part = async (address, options) => {
  const answer = await fetch(address, { ...options, headers: { [PART]: "dialog" } });
  return answer.headers.get(PART) === "dialog" ? answer.text() : null;
};

const parsed = (html) => {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content;
};

// What a part says that is no form, such as that the store does not answer; null if it is one.
const refusal = (content) => content.querySelector(".refusal p")?.textContent ?? null;

const say = (form, text) => {
  const line = document.createElement("p");
  line.className = "notice bad lost";
  line.textContent = text;
  form.querySelector(".lost")?.remove();
  form.querySelector(".would").append(line);
};

// Keeps what would happen beside the button as the form says. `post` makes the change; without it, the browser does.
const enliven = (form, post) => {
  const would = form.querySelector(".would");
  const shows = form.querySelector("button.show");
  if (shows) shows.hidden = true;
  let asked = 0;
  let timer = null;

  const look = async () => {
    clearTimeout(timer);
    const mine = ++asked;
    const given = new URLSearchParams(new FormData(form));
    given.delete("note");
    try {
      const html = await part(`${form.getAttribute("action")}?${given}`);
      if (mine !== asked) return;
      if (html === null) return location.reload();
      const content = parsed(html);
      const why = refusal(content);
      if (why !== null) return say(form, why);
      would.replaceChildren(...content.querySelector(".would").childNodes);
      // The change is made from what the person saw when the form was opened. So the server refuses it if that has changed, and the
      // warning stays, whatever the person types meanwhile.
      for (const name of ["revision", "tag"]) {
        const seen = would.querySelector(`input[name=${name}]`);
        if (seen && given.has(name)) seen.value = given.get(name);
      }
      tellTimes(would);
    } catch {
      if (mine === asked) say(form, "The server does not answer. Change something, or press Enter, to ask again.");
    }
  };
  form.addEventListener("input", (event) => {
    if (event.target.name === "note") return;
    // What is shown is not what would happen any more.
    asked += 1;
    would.querySelector("button.do")?.setAttribute("disabled", "");
    clearTimeout(timer);
    if (form.checkValidity()) timer = setTimeout(look, TYPING_MS);
  });
  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.classList.contains("do")) {
      event.preventDefault();
      look();
    } else if (post) {
      event.preventDefault();
      post(form, button);
    }
  });
};

const open = async (link) => {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "verb-title");
  const place = link.closest("[id]")?.id;

  const fill = (html) => {
    dialog.replaceChildren(parsed(html));
    tellTimes(dialog);
    const form = dialog.querySelector("form.verb");
    if (form) enliven(form, post);
    if (dialog.open) focus();
  };
  const focus = () => (dialog.querySelector("[autofocus]") ?? dialog.querySelector("#verb-title"))?.focus();
  const post = async (form, button) => {
    const body = new URLSearchParams(new FormData(form));
    body.set(button.name, button.value);
    button.disabled = true;
    try {
      const html = await part(form.getAttribute("action"), { method: "POST", body });
      if (html === null) return location.assign(link.href);
      const why = refusal(parsed(html));
      if (why === null) return fill(html);
      button.disabled = false;
      say(form, why);
    } catch {
      // The form keeps the id of its request.
      button.disabled = false;
      say(form, "The answer did not come. Send it again: the change is made once at most.");
    }
  };

  const html = await part(link.href).catch(() => null);
  if (html === null) return location.assign(link.href);
  fill(html);
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("a.cancel")) return;
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    // The link may have been drawn again, or be gone because it makes no sense any more.
    const again = [...document.querySelectorAll("a.act")].find((each) => each.pathname === link.pathname);
    (link.isConnected ? link : again ?? document.getElementById(place)?.querySelector("a"))?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  focus();
};

export const dialogs = () => {
  const form = document.querySelector("main form.verb");
  if (form) enliven(form);
  let isOpening = false;
  document.addEventListener("click", async (event) => {
    // The link to an issuer, the main one of its page, leads away and not to a form.
    const link = event.target.closest?.("a.act:not(.main)");
    const isPlain = !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.defaultPrevented) return;
    event.preventDefault();
    if (isOpening || document.querySelector("dialog[open]")) return;
    isOpening = true;
    await open(link).finally(() => (isOpening = false));
  });
};
