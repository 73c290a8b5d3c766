package demo

import (
	"context"
	"time"
)

// story tells the story, promise by promise.
type story struct {
	stage  *stage
	say    *teller
	now    func() time.Time
	report Report

	made    string        // id of the first backup
	pause   time.Duration // of the application, in the last promotion
	starts  int           // of host-b's application, before the crash
	frozen  ledger        // as it was at the crash
	lost    loss          // by the failover
	stepped time.Duration // how long host-b took to step down
}

// Check is one promise, and what came of it.
type Check struct {
	Chapter string  `json:"chapter"`
	Promise string  `json:"promise"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"` // what was found, or what went wrong
}

// Figure is a number that people ask for first.
type Figure struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
	Result  string  `json:"result"`
}

// tell tells the story to its end, or to the first promise that does not hold:
// what follows would build on it.
func (s *story) tell(ctx context.Context) Report {
	begin := s.now()
	s.say.opening(s.stage)
	s.report.OK = s.tellAll(ctx)
	s.report.Seconds = s.now().Sub(begin).Seconds()
	s.report.Dir = s.stage.dir
	for _, h := range s.stage.hosts {
		s.report.Hosts = append(s.report.Hosts, Host{Name: h.name, URL: h.url(), Environment: h.path("env"), Log: h.path("agent.log")})
	}
	return s.report
}

// tellAll reports whether all promises held.
func (s *story) tellAll(ctx context.Context) bool {
	for _, chapter := range s.script() {
		s.say.chapter(chapter.title, chapter.text)
		for _, p := range chapter.promises {
			if !s.keep(ctx, chapter.title, p) {
				return false
			}
		}
	}
	return true
}

// keep does what was promised, and notes whether it held and how long it took.
func (s *story) keep(ctx context.Context, chapter string, p promise) bool {
	s.say.doing(p.text)
	begin := s.now()
	detail, err := p.do(ctx)
	c := Check{Chapter: chapter, Promise: p.text, OK: err == nil, Seconds: s.now().Sub(begin).Seconds(), Detail: detail}
	if ctx.Err() != nil {
		s.say.quiet()
		return false // interrupted, which says nothing of the promise
	}
	if err != nil {
		c.Detail = err.Error()
	}
	s.report.Checks = append(s.report.Checks, c)
	s.say.verdict(c)
	if err != nil {
		s.say.log(p.host)
	}
	return err == nil
}

// figure notes a number for the summary.
func (s *story) figure(what string, took time.Duration, result string) {
	s.report.Figures = append(s.report.Figures, Figure{What: what, Seconds: took.Seconds(), Result: result})
}

// inOrder runs steps until one fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
