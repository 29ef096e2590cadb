// Command go receives webhooks of xacam. It uses nothing but the standard
// library; copy it and change handle.
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tolerance = 5 * time.Minute
	maxBody   = 64 << 10
)

type receiver struct {
	keys [][]byte

	mu   sync.Mutex
	file *os.File
	seen map[string]bool // of a receiver that runs for years: a table with a unique key
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	r := &receiver{seen: make(map[string]bool)}
	for s := range strings.FieldsSeq(os.Getenv("WEBHOOK_SECRET")) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(key) < 24 {
			return errors.New("WEBHOOK_SECRET is not whsec_…")
		}
		r.keys = append(r.keys, key)
	}
	if len(r.keys) == 0 {
		return errors.New("set WEBHOOK_SECRET")
	}
	path, port := os.Getenv("EVENTS_FILE"), os.Getenv("PORT")
	if path == "" {
		path = "events.jsonl"
	}
	if port == "" {
		port = "9090"
	}
	var err error
	if r.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil { //nolint:gosec // whoever starts it names the file
		return err
	}
	defer r.file.Close()
	if err := r.recall(); err != nil {
		return err
	}
	srv := &http.Server{Addr: "127.0.0.1:" + port, Handler: r, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	return srv.ListenAndServe()
}

// recall reads what was stored before. Half a line, never answered, is ended so
// that the next event does not become part of it.
func (r *receiver) recall() error {
	for in := bufio.NewReader(r.file); ; {
		text, err := in.ReadBytes('\n')
		var line struct {
			ID string `json:"webhook_id"`
		}
		if json.Unmarshal(text, &line) == nil && err == nil {
			r.seen[line.ID] = true
		}
		switch {
		case errors.Is(err, io.EOF) && len(text) > 0:
			_, err = r.file.WriteString("\n")
			return err
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// ServeHTTP answers 204 when the event is on disk.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !r.verified(req.Header, body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := r.handle(req.Header.Get("webhook-id"), body); err != nil {
		w.WriteHeader(http.StatusInternalServerError) // xacam tries again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) verified(h http.Header, body []byte) bool {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" || time.Since(time.Unix(unix, 0)).Abs() > tolerance {
		return false
	}
	for one := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		version, enc, _ := strings.Cut(one, ",")
		sig, err := base64.StdEncoding.DecodeString(enc)
		if err != nil || version != "v1" {
			continue
		}
		for _, key := range r.keys {
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
			if hmac.Equal(sig, mac.Sum(nil)) {
				return true
			}
		}
	}
	return false
}

// handle stores an event once.
func (r *receiver) handle(id string, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[id] {
		return nil
	}
	line, err := json.Marshal(map[string]string{"webhook_id": id, "body": string(body)})
	if err != nil {
		return err
	}
	if n, err := r.file.Write(append(line, '\n')); err != nil {
		if n > 0 {
			_, _ = r.file.WriteString("\n") // ends the half line
		}
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	r.seen[id] = true
	return nil
}
