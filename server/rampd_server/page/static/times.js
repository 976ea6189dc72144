// Times: how long ago, with the exact moment in the zone of the browser when the pointer is on it. The history has both, and so has
// everything where there is no pointer, as on a phone.
const UNITS = [[86400, "day"], [3600, "h"], [60, "min"], [1, "s"]];
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const HAS_NO_POINTER = matchMedia("(any-hover: none)");

const span = (seconds) => {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS[UNITS.length - 1];
  const count = Math.max(0, Math.floor(seconds / size));
  return `${count} ${unit}${unit === "day" && count !== 1 ? "s" : ""}`;
};

export const exactly = (date) => EXACT.format(date);

export const tellTimes = (root) => {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    const seconds = (now - date) / 1000;
    const about = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
    const text = HAS_NO_POINTER.matches || element.matches(".permalink > time") ? `${about}, ${exactly(date)}` : about;
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = exactly(date);
  }
};
