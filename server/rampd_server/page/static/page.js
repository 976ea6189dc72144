// What every page does: shows times in the zone of the browser, follows the stream of changes, filters the rows, opens dialogs.
import { dialogs } from "./dialog.js";
import { follow, SESSION } from "./live.js";
import { filter } from "./filter.js";
import { tellTimes } from "./times.js";

tellTimes(document);
setInterval(() => tellTimes(document), 10_000);
const live = document.getElementById("live");
if (live) follow(live);
// Who signs out comes to the page of signing in. Then the other tabs of this browser open their streams again, if they may.
if (document.querySelector(".sign-in")) new BroadcastChannel(SESSION).postMessage("");
const field = document.getElementById("filter");
if (field) filter(field);
dialogs();
