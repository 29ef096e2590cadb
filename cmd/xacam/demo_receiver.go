package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

// receiver is the demo's province: a webhook receiver on this machine that
// verifies signatures and shows what came. It is safe for concurrent use.
type receiver struct {
	listener net.Listener

	mu       sync.Mutex
	verifier *webhook.Verifier // nil before the secret is known: everything is refused
	answer   int               // status of verified messages; 0 is 204
	got      []demoReceived
	refused  int
}

// demoReceived is a message that was verified.
type demoReceived struct {
	ID   string          `json:"webhook_id"`
	At   time.Time       `json:"received_at"`
	Body json.RawMessage `json:"body"`
}

// Limits of the receiver.
const (
	maxReceived     = 1000
	maxReceivedBody = 64 << 10
)

func newReceiver(ctx context.Context) (*receiver, error) {
	l, err := listen(ctx, freeAddress(ctx, "127.0.0.1:8090"))
	return &receiver{listener: l}, err
}

// URL is where messages go; its parent shows them.
func (r *receiver) URL() string { return "http://" + r.listener.Addr().String() + "/hook" }

// Trust makes the receiver accept what is signed with the endpoint's secrets.
func (r *receiver) Trust(secrets []outbox.Secret) error {
	var keys []string
	for _, k := range secrets {
		keys = append(keys, k.Text())
	}
	v, err := webhook.NewVerifier(keys...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verifier = v
	return nil
}

// Run serves until ctx is done.
func (r *receiver) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", r.take)
	mux.HandleFunc("GET /{$}", r.show)
	srv := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // nothing waits for an answer any more
	defer stop()
	if err := srv.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the receiver: %w", err)
	}
	return nil
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceivedBody))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.verifier == nil {
		err = errors.New("no secret yet")
	}
	if err == nil {
		err = r.verifier.Verify(req.Header, body, time.Now())
	}
	if err == nil && !json.Valid(body) {
		err = errors.New("not JSON")
	}
	switch {
	case err != nil:
		r.refused++
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case r.answer != 0:
		w.WriteHeader(r.answer)
	default:
		r.got = append(r.got, demoReceived{ID: req.Header.Get(webhook.HeaderID), At: time.Now(), Body: body})
		if len(r.got) > maxReceived {
			r.got = slices.Clone(r.got[len(r.got)-maxReceived/2:])
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// Answer makes the receiver answer verified messages with a status; 0 takes them.
func (r *receiver) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = status
}

// Got returns what was verified and taken, oldest first.
func (r *receiver) Got() []demoReceived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// show answers what came, newest first.
func (r *receiver) show(w http.ResponseWriter, _ *http.Request) {
	got := r.Got()
	slices.Reverse(got)
	r.mu.Lock()
	out := map[string]any{"verified": got, "refused": r.refused}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(out) // the client's error
}

// demoEndpoint sends everything to the demo's receiver.
const demoEndpoint = "demo"

// connectReceiver stores the endpoint, whose receiver has another port at each
// start, and tells the receiver its secret.
func connectReceiver(ctx context.Context, srv *server, r *receiver) error {
	spec := outbox.Spec{
		Name: demoEndpoint, URL: r.URL(), AllowCIDRs: []string{"127.0.0.0/8"}, Heartbeat: "1m",
	}
	e, err := spec.Endpoint()
	if err != nil {
		return err
	}
	stored, _, err := srv.store.ReplaceEndpoints(ctx, []outbox.Endpoint{e}, false, outbox.Act{By: "demo"})
	if err != nil {
		return err
	}
	return r.Trust(stored[0].Endpoint.Secrets)
}
