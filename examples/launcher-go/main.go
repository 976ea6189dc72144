// Command launcher-go runs jobs in the versions that rampd names, and reports how they went. README.md says how it is used.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	rampdv1 "example.com/launcher-go/gen/rampd/v1"
)

//go:generate buf generate

const idlePause = 20 * time.Millisecond

// A launcher has what all of its workers share.
type launcher struct {
	component string
	programs  string // a folder with a program for each version
	queue     *queue
	versions  *versions
}

func main() {
	component := flag.String("component", "restyler", "the component that runs the jobs")
	workers := flag.Int("workers", 4, "how many jobs run at the same time")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: launcher-go [flags] FOLDER VERSIONS")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*component, *workers, flag.Arg(0), flag.Arg(1)); err != nil {
		log.Fatal(err)
	}
}

func run(component string, workers int, folder, programs string) error {
	connection, err := connect(os.Getenv("RAMPD_SERVER"), os.Getenv("RAMPD_TOKEN"), os.Getenv("RAMPD_CA_FILE"))
	if err != nil {
		return err
	}
	defer connection.Close()
	queue, err := openQueue(folder)
	if err != nil {
		return err
	}
	resolver := rampdv1.NewResolverServiceClient(connection)
	reporter, err := newReporter(component, queue, resolver)
	if err != nil {
		return err
	}
	versions, err := newVersions(filepath.Join(folder, "answers.json"), resolver)
	if err != nil {
		return err
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(stopping, stop) // a second signal ends the launcher at once

	log.Printf("runs jobs of %s from %s", component, queue.path(waiting, ""))
	var all sync.WaitGroup
	all.Add(workers + 1)
	this := launcher{component, programs, queue, versions}
	for range workers {
		go func() {
			defer all.Done()
			this.work(stopping)
		}()
	}
	go func() {
		defer all.Done()
		reporter.run(stopping)
	}()
	all.Wait()
	return reporter.flush()
}

// work runs jobs until the launcher stops. A job that has begun is finished.
func (l *launcher) work(stopping context.Context) {
	for stopping.Err() == nil {
		name, job, err := l.queue.take()
		if err == nil {
			err = l.runJob(name, job)
		}
		if errors.Is(err, errNoJob) {
			pause(stopping, idlePause)
		} else if err != nil {
			if !errors.Is(err, errPutBack) {
				log.Print(err)
			}
			pause(stopping, time.Second)
		}
	}
}

func (l *launcher) runJob(name string, job job) error {
	version, err := l.versions.of(l.component, job)
	if err != nil {
		return l.queue.putBack(name, err)
	}
	began := time.Now()
	// A tag is data: it may have a / in it. It is one argument or one file name, never a part of a shell command.
	program := exec.Command(filepath.Join(l.programs, url.QueryEscape(version.Tag)), job.Repo)
	// In a process group of its own: Ctrl-C stops the launcher, and says nothing about the version.
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := program.Output()
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		log.Print(err)
		code = 127
	}
	return l.queue.finish(name, done{job, version, code, string(output), time.Since(began).Seconds()})
}

// pause waits for a time, or until the launcher stops.
func pause(stopping context.Context, length time.Duration) {
	select {
	case <-stopping.Done():
	case <-time.After(length):
	}
}
