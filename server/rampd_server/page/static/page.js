// What every page does: shows how long ago times are, follows the stream of changes, filters the rows, opens dialogs.
import { dialogs } from "./dialog.js";
import { follow } from "./live.js";
import { filter } from "./filter.js";
import { again, hear, person, tell } from "./session.js";
import { tellTimes } from "./times.js";

tellTimes(document);
setInterval(() => tellTimes(document), 10_000);
const live = document.getElementById("live");
if (live) follow(live);
// Somebody has signed in as somebody else in another tab.
hear((other) => other && person !== undefined && other !== person && again());
tell();
const field = document.getElementById("filter");
if (field) filter(field);
dialogs();
