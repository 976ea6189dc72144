// Runs jobs in the versions that rampd names, and reports how they went. README.md says how it is used.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Queue } from "./queue.js";
import { Reporter } from "./reporter.js";
import { NoVersion, Versions } from "./versions.js";

const IDLE_MS = 20;

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: { component: { type: "string", default: "restyler" }, workers: { type: "string", default: "4" } },
});
const [folder, programs] = positionals;
const server = process.env.RAMPD_SERVER ?? "";
const token = process.env.RAMPD_TOKEN ?? "";
if (programs === undefined) stop("usage: node launcher.js [--component NAME] [--workers N] FOLDER VERSIONS");
if (!/^https?:\/\/[^/]+$/.test(server)) stop("RAMPD_SERVER is the address of --http: RAMPD_SERVER=http://127.0.0.1:8080");
if (token && !/^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|$))/.test(server)) {
  stop(`RAMPD_TOKEN is not sent in the clear to another machine: RAMPD_SERVER=${server.replace("http:", "https:")}`);
}
const headers = token ? { authorization: `Bearer ${token}` } : {};

const queue = new Queue(folder);
const versions = await Versions.open(join(folder, "answers.json"), server, headers);
const reporter = new Reporter(given.component, queue, server, headers);

const stopping = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stopping.abort());

console.error(`runs jobs of ${given.component} from ${queue.pathOf("")}`);
await Promise.all([...Array.from({ length: Number(given.workers) }, work), reporter.run(stopping.signal)]);
await reporter.flush();

// Runs jobs until the launcher stops. A job that has begun is finished.
async function work() {
  while (!stopping.signal.aborted) {
    try {
      const name = queue.take();
      if (name === undefined) await pause(IDLE_MS);
      else if (!(await run(name))) await pauseAfterFailure();
    } catch (error) {
      console.error(error.message);
      await pauseAfterFailure();
    }
  }
}

function pauseAfterFailure() {
  return pause(1000, undefined, { signal: stopping.signal }).catch(() => {});
}

// Runs a job, or puts it back and returns false.
async function run(name) {
  let job, version;
  try {
    job = queue.read(name);
    version = await versions.of(given.component, job);
  } catch (error) {
    const wrong = `the job ${queue.pathOf(name)} is wrong, and waits until you correct or remove it: `;
    queue.putBack(name, (error instanceof NoVersion ? "" : wrong) + error.message);
    return false;
  }
  const began = performance.now();
  // A tag is data: it may have a / in it. It is one argument or one file name, never a part of a shell command.
  const { code, output } = await execute(join(programs, fileName(version.tag)), job.repo);
  queue.finish(name, { ...job, ...version, code, output, seconds: (performance.now() - began) / 1000 });
  return true;
}

// The same name that Go's url.QueryEscape gives, and Python's quote(tag, safe="").
function fileName(tag) {
  return encodeURIComponent(tag).replaceAll("(", "%28").replaceAll(")", "%29");
}

function execute(program, repo) {
  return new Promise((resolve) => {
    // In a process group of its own: Ctrl-C stops the launcher, and says nothing about the version.
    const child = spawn(program, [repo], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    child.once("close", (code) => resolve({ code: code ?? -1, output }));
    child.once("error", (error) => {
      console.error(error.message);
      resolve({ code: 127, output });
    });
  });
}

function stop(why) {
  console.error(why);
  process.exit(2);
}
