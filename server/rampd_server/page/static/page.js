// What every page does: shows times in the zone of the browser, follows the stream of changes, filters the rows, opens dialogs.
import { dialogs } from "./dialog.js";
import { follow } from "./live.js";
import { filter } from "./filter.js";
import { tellTimes } from "./times.js";

tellTimes(document);
setInterval(() => tellTimes(document), 10_000);
const live = document.getElementById("live");
if (live) follow(live);
const field = document.getElementById("filter");
if (field) filter(field);
dialogs();
