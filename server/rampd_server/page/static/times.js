// Times: how long ago, with the exact moment when the pointer is on it. The history has both, and so has everything where there is no
// pointer, as on a phone. A moment reads as in the sentences of the server: in UTC, of 24 hours.
const UNITS = [[86400, "day"], [3600, "h"], [60, "min"], [1, "s"]];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const HAS_NO_POINTER = matchMedia("(any-hover: none)");

const span = (seconds) => {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS[UNITS.length - 1];
  const count = Math.max(0, Math.floor(seconds / size));
  return `${count} ${unit}${unit === "day" && count !== 1 ? "s" : ""}`;
};

// `14:05:09 UTC`, `27 Nov 14:05:09 UTC` on another day, `27 Nov 2025 14:05:09 UTC` in another year.
export const exactly = (date) => {
  const [day, time] = date.toISOString().split("T");
  const today = new Date().toISOString();
  const year = day.slice(0, 4) === today.slice(0, 4) ? "" : ` ${date.getUTCFullYear()}`;
  const before = today.startsWith(day) ? "" : `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}${year} `;
  return `${before}${time.slice(0, 8)} UTC`;
};

export const tellTimes = (root) => {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    const seconds = (now - date) / 1000;
    const about = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
    const exact = exactly(date);
    const hasBoth = HAS_NO_POINTER.matches || element.matches(".permalink > time");
    const text = element.matches(".exact") ? exact : hasBoth ? `${about}, ${exact}` : about;
    if (element.textContent !== text) element.textContent = text;
    if (element.title !== exact) element.title = exact;
  }
};
