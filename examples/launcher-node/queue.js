// A queue of jobs as files, so that this launcher needs nothing but rampd. It belongs to one process.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

// The folders of the queue. A job is one file, and moves from one folder to the next.
const WAITING = "jobs";
const RUNNING = "running";
const UNREPORTED = "unreported"; // the job has run, and no server has taken its outcome yet
const DONE = "done";

export class Queue {
  #found = [];
  #said = new Set(); // why jobs wait

  // Also returns the jobs to the queue that a killed launcher was running.
  constructor(folder) {
    this.folder = folder;
    for (const name of [WAITING, RUNNING, UNREPORTED, DONE]) mkdirSync(join(folder, name), { recursive: true });
    for (const name of this.#names(RUNNING)) {
      if (this.#placeOf(name) === undefined) this.#return(name);
      else unlinkSync(this.#path(RUNNING, name)); // it was killed right after the job
    }
  }

  // Moves a job to the running ones. Returns its name, or undefined if there is no job.
  take() {
    if (this.#found.length === 0) this.#found = this.#names(WAITING).reverse();
    const name = this.#found.pop();
    if (name !== undefined) renameSync(this.#path(WAITING, name), this.#path(RUNNING, name));
    return name;
  }

  read(name) {
    return readJson(this.#path(RUNNING, name));
  }

  // Says why a job waits, once for each reason: the job is tried again and again.
  putBack(name, why) {
    if (!this.#said.has(why)) console.error(why);
    this.#said.add(why);
    this.#return(name);
  }

  // Where a job is while it waits.
  pathOf(name) {
    return this.#path(WAITING, name);
  }

  // Writes what a job did, and then forgets that it runs. What ran without an answer of rampd is not reported.
  finish(name, done) {
    writeJson(this.#path(done.release === 0 ? DONE : UNREPORTED, name), done);
    unlinkSync(this.#path(RUNNING, name));
  }

  // The names of jobs whose outcome no server has taken yet.
  unreported() {
    return this.#names(UNREPORTED);
  }

  done(name) {
    return readJson(this.#path(this.#placeOf(name) ?? DONE, name));
  }

  reported(name) {
    if (this.#placeOf(name) === UNREPORTED) renameSync(this.#path(UNREPORTED, name), this.#path(DONE, name));
  }

  #return(name) {
    renameSync(this.#path(RUNNING, name), this.#path(WAITING, name));
  }

  #placeOf(name) {
    return [UNREPORTED, DONE].find((place) => existsSync(this.#path(place, name)));
  }

  #path(place, name) {
    return join(this.folder, place, name);
  }

  // The files of a folder in order. Files that are not written yet begin with a dot.
  #names(place) {
    return readdirSync(join(this.folder, place))
      .filter((name) => !name.startsWith("."))
      .sort();
  }
}

export function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

// Writes a whole file or nothing, also if the process is killed.
export function writeJson(path, value) {
  const draft = join(dirname(path), `.new-${basename(path)}`);
  const file = openSync(draft, "w");
  try {
    writeFileSync(file, JSON.stringify(value)); // writeSync may write only a part
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
}
