package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fault is how a receiver fails on purpose. The zero value does not.
type fault struct {
	mode   string // "ok", "fail", "stall", "drop"
	status int
	after  string // Retry-After
	stall  time.Duration
	rate   float64 // of the requests that fail
	count  int     // that fail before all is well; 0: no end
}

// faultOf reads the flags.
func faultOf(c listenConfig) (fault, error) {
	f := fault{mode: "ok", status: c.status, after: c.after, stall: c.stall, rate: 1}
	if c.status != 0 && (c.status < 200 || c.status > 599) {
		return f, fmt.Errorf("--status %d: give 200 to 599", c.status)
	}
	if f.status == 0 {
		f.status = http.StatusInternalServerError
	}
	if c.stall < 0 || c.stall > time.Hour {
		return f, fmt.Errorf("--stall %s: give up to 1h", c.stall)
	}
	switch {
	case c.stall > 0:
		f.mode = "stall"
	case c.fail != "" || c.status != 0 || c.after != "":
		f.mode = "fail"
	}
	if c.fail == "" {
		return f, nil
	}
	if n, err := strconv.Atoi(c.fail); err == nil && n > 0 {
		f.count = n
		return f, nil
	}
	text, percent := strings.CutSuffix(c.fail, "%")
	rate, err := strconv.ParseFloat(text, 64)
	if percent {
		rate /= 100
	}
	if err != nil || !(rate > 0 && rate <= 1) {
		return f, fmt.Errorf("--fail %q: give a number of events (5) or a part of them (0.2 or 20%%)", c.fail)
	}
	f.rate = rate
	return f, nil
}

// readFault reads what is posted to /control.
func readFault(r io.Reader) (fault, error) {
	in := struct {
		Mode       string   `json:"mode"`
		Status     int      `json:"status"`
		RetryAfter string   `json:"retry_after"`
		Seconds    float64  `json:"seconds"`
		Rate       *float64 `json:"rate"`
		Count      int      `json:"count"`
	}{}
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return fault{}, fmt.Errorf("read the mode: %w", err)
	}
	f := fault{mode: in.Mode, status: in.Status, after: in.RetryAfter, rate: 1, count: in.Count}
	if in.Rate != nil {
		f.rate = *in.Rate
	}
	if n, ok := parseStatus(in.Mode); ok {
		f.mode, f.status = "fail", n
	}
	if f.status == 0 {
		f.status = http.StatusInternalServerError
	}
	if in.Seconds == 0 {
		in.Seconds = 30
	}
	f.stall = time.Duration(in.Seconds * float64(time.Second))
	switch {
	case f.mode != "ok" && f.mode != "fail" && f.mode != "stall" && f.mode != "drop":
		return f, fmt.Errorf("mode %q is not one of ok, fail, stall, drop, or a status such as 410", in.Mode)
	case f.status < 200 || f.status > 599:
		return f, errors.New("status must be 200 to 599")
	case !(f.rate >= 0 && f.rate <= 1) || f.count < 0 || !(in.Seconds >= 0 && in.Seconds <= 3600):
		return f, errors.New("rate must be 0 to 1, count 0 or more, seconds 0 to 3600")
	}
	return f, nil
}

// next reports whether the next request fails, and how.
func (f *fault) next() (fault, bool) {
	if f.mode == "ok" || f.rate < 1 && rand.Float64() >= f.rate { //nolint:gosec // a fault, not a secret
		return *f, false
	}
	now := *f
	if f.count > 0 {
		if f.count--; f.count == 0 {
			f.mode = "ok"
		}
	}
	return now, true
}

// act does what was asked for. It reports false when the message is to be
// accepted all the same, after a stall.
func (f fault) act(w http.ResponseWriter, r *http.Request) bool {
	switch f.mode {
	case "stall":
		t := time.NewTimer(f.stall)
		defer t.Stop()
		select {
		case <-t.C:
			return false
		case <-r.Context().Done():
			return true
		}
	case "drop":
		panic(http.ErrAbortHandler) // net/http hangs up and says nothing
	}
	if f.after != "" {
		w.Header().Set("Retry-After", f.after)
	}
	w.WriteHeader(f.status)
	return true
}
