package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// The folders of the queue. A job is one file, and moves from one folder to the next.
const (
	waiting    = "jobs"
	running    = "running"
	unreported = "unreported" // the job has run, and no server has taken its outcome yet
	finished   = "done"
)

var (
	errNoJob   = errors.New("there is no job")
	errPutBack = errors.New("the job waits")
)

// A job is the content of its file while it waits.
type job struct {
	ID   string `json:"id"`
	Repo string `json:"repo"`
	path string
}

func (j job) wrong(why error) error {
	return fmt.Errorf("the job %s is wrong, and waits until you correct or remove it: %w", j.path, why)
}

// A done is the content of the file of a job that has run.
type done struct {
	job
	version
	Code    int     `json:"code"`
	Output  string  `json:"output"`
	Seconds float64 `json:"seconds"`
}

// A queue of jobs as files, so that this launcher needs nothing but rampd. It belongs to one process.
type queue struct {
	folder string
	lock   sync.Mutex
	found  []string
	said   sync.Map // why jobs wait
}

// openQueue also returns the jobs to the queue that a killed launcher was running.
func openQueue(folder string) (*queue, error) {
	q := &queue{folder: folder}
	for _, name := range []string{waiting, running, unreported, finished} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	names, err := q.names(running)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, _, err := q.done(name); err == nil {
			err = os.Remove(q.path(running, name)) // it was killed right after the job
			if err != nil {
				return nil, err
			}
		} else if err := os.Rename(q.path(running, name), q.path(waiting, name)); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// take moves a job to the running ones.
func (q *queue) take() (string, job, error) {
	name, err := q.next()
	if err != nil {
		return "", job{}, err
	}
	taken := job{path: q.path(waiting, name)}
	text, err := os.ReadFile(q.path(running, name))
	if err == nil {
		err = json.Unmarshal(text, &taken)
	}
	if err != nil {
		return "", job{}, q.putBack(name, taken.wrong(err))
	}
	return name, taken, nil
}

func (q *queue) next() (string, error) {
	q.lock.Lock()
	defer q.lock.Unlock()
	if len(q.found) == 0 {
		var err error
		if q.found, err = q.names(waiting); err != nil {
			return "", err
		}
	}
	if len(q.found) == 0 {
		return "", errNoJob
	}
	name := q.found[0]
	q.found = q.found[1:]
	return name, os.Rename(q.path(waiting, name), q.path(running, name))
}

// putBack returns a job to the queue, and says why, once for each reason: the job is tried again and again.
func (q *queue) putBack(name string, why error) error {
	if _, isSaid := q.said.LoadOrStore(why.Error(), true); !isSaid {
		log.Print(why)
	}
	if err := os.Rename(q.path(running, name), q.path(waiting, name)); err != nil {
		return err
	}
	return errPutBack
}

// finish writes what a job did, and then forgets that it runs. What ran without an answer of rampd is not reported.
func (q *queue) finish(name string, what done) error {
	folder := unreported
	if what.isFallback() || what.Release == 0 {
		folder = finished
	}
	if err := writeJSON(q.path(folder, name), what); err != nil {
		return err
	}
	return os.Remove(q.path(running, name))
}

// done reads a job that has run, and says in which folder it is.
func (q *queue) done(name string) (done, string, error) {
	var errs error
	for _, folder := range []string{unreported, finished} {
		var found done
		text, err := os.ReadFile(q.path(folder, name))
		if err == nil {
			err = json.Unmarshal(text, &found)
			return found, folder, err
		}
		errs = errors.Join(errs, err)
	}
	return done{}, "", errs
}

func (q *queue) path(folder, name string) string { return filepath.Join(q.folder, folder, name) }

// names returns the files of a folder in order. Files that are not written yet begin with a dot.
func (q *queue) names(folder string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(q.folder, folder))
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// writeJSON writes a whole file or nothing, also if the process is killed.
func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s was not written: %w", path, errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
