// Filters the rows by typing. The filter is in the address, so that it can be linked and survives a reload.
const words = () => (document.getElementById("filter")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);

export const fits = (row, wanted = words()) => {
  const text = row.dataset.text;
  return text === undefined || wanted.every((word) => text.includes(word));
};

// Hides the headings without rows, and says that nothing is left.
export const tidy = () => {
  const none = document.getElementById("none");
  if (!none) return;
  let rows = 0;
  for (const group of document.querySelectorAll("section.group")) {
    const shown = group.querySelectorAll(".row:not([hidden])").length;
    group.hidden = !shown;
    rows += shown;
  }
  const isEmpty = !document.querySelector(".row");
  document.getElementById("empty").hidden = !isEmpty;
  document.querySelector("form.filter").hidden = isEmpty;
  none.hidden = isEmpty || rows > 0;
};

export const filter = (field) => {
  field.addEventListener("input", () => {
    const wanted = words();
    for (const row of document.querySelectorAll(".row[data-text]")) row.hidden = !fits(row, wanted);
    tidy();
    const address = new URL(location);
    if (field.value) address.searchParams.set("filter", field.value);
    else address.searchParams.delete("filter");
    history.replaceState(null, "", address);
  });
  field.form.addEventListener("submit", (event) => event.preventDefault());
};
