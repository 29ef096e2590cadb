package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/webhook"
)

func newWebhookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "Tools for those who receive events", Args: usageArgs(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error {
		return cmd.Help()
	}}
	cmd.AddCommand(newWebhookListenCommand())
	return cmd
}

func newWebhookListenCommand() *cobra.Command {
	var cfg listenConfig
	cmd := &cobra.Command{
		Use:   "listen --secret whsec_…",
		Short: "Receive events as a provincial centre would: verify, show and store them, or fail on purpose",
		Long: `Receive events as a provincial centre would: verify their signatures, drop what was
seen before, show and store the rest, or fail on purpose.

While it runs, GET /stats counts what came and POST /control changes how it answers, both
from this machine only:

  curl -d '{"mode":"fail","status":503,"retry_after":"60"}' http://127.0.0.1:9090/control

Modes: ok; fail (status, default 500); stall (seconds; answers nothing for so long); drop
(hangs up); 410, 429 or any other status. "rate" from 0 to 1 is how often, "count" how
many times before it is ok again.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := newListener(cfg, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return l.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.listen, "listen", "127.0.0.1:9090", "address to receive on; :9090 receives on every interface")
	f.StringArrayVar(&cfg.keys, "secret", nil, "whsec_… of the endpoint; several while one is changed")
	f.StringArrayVar(&cfg.public, "public-key", nil, "whpk_… of the endpoint, instead of a secret; several are possible")
	f.BoolVar(&cfg.json, "json", false, "show events as JSON lines")
	f.StringVar(&cfg.lang, "lang", "vi", "language of the lines: vi or en")
	f.StringVar(&cfg.store, "store", "", "file to which events are appended as JSON lines, on disk before they are answered")
	f.StringVar(&cfg.fail, "fail", "", "fail the first N events (5), or so many of them (0.2 or 20%)")
	f.IntVar(&cfg.status, "status", 0, "HTTP status of failures; alone, every event fails with it")
	f.DurationVar(&cfg.stall, "stall", 0, "answer nothing for so long")
	f.StringVar(&cfg.after, "retry-after", "", "Retry-After of failures: seconds or a date")
	return cmd
}

type listenConfig struct {
	listen       string
	keys, public []string
	json         bool
	lang         string
	store        string
	fail         string
	status       int
	stall        time.Duration
	after        string
}

// listener is the receiver.
type listener struct {
	cfg    listenConfig
	verify *webhook.Verifier
	now    func() time.Time

	mu    sync.Mutex
	out   io.Writer
	store *os.File // nil when events are not stored
	torn  bool     // the last line of store was written in part
	seen  *recent
	fault fault
	stats listenStats
}

// listenStats is what GET /stats says.
type listenStats struct {
	Requests   int64            `json:"requests"`
	Accepted   int64            `json:"accepted"`   // answered 2xx for the first time
	Duplicates int64            `json:"duplicates"` // answered 2xx again
	Refused    int64            `json:"refused"`    // wrong signature, too large
	Failed     int64            `json:"failed"`     // on purpose
	Types      map[string]int64 `json:"types"`
	LastID     string           `json:"last_id"`
	Mode       string           `json:"mode"`
}

func newListener(cfg listenConfig, out io.Writer) (*listener, error) {
	if len(cfg.keys)+len(cfg.public) == 0 {
		return nil, usagef("give --secret whsec_… or --public-key whpk_…, as shown when the endpoint was made")
	}
	for _, k := range cfg.keys {
		if !strings.HasPrefix(k, "whsec_") {
			return nil, usagef("--secret must begin with whsec_")
		}
	}
	for _, k := range cfg.public {
		if !strings.HasPrefix(k, "whpk_") {
			return nil, usagef("--public-key must begin with whpk_")
		}
	}
	if cfg.lang != "vi" && cfg.lang != "en" {
		return nil, usagef("--lang %q: give vi or en", cfg.lang)
	}
	v, err := webhook.NewVerifier(append(append([]string{}, cfg.keys...), cfg.public...)...)
	if err != nil {
		return nil, usagef("%w", err)
	}
	f, err := faultOf(cfg)
	if err != nil {
		return nil, usagef("%w", err)
	}
	l := &listener{cfg: cfg, verify: v, now: time.Now, out: out, seen: newRecent(100_000), fault: f}
	l.stats.Types = make(map[string]int64)
	if cfg.store != "" {
		if l.store, err = os.OpenFile(cfg.store, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
			return nil, fmt.Errorf("open the file of events: %w", err)
		}
		if err := l.recall(); err != nil {
			return nil, errors.Join(err, l.store.Close())
		}
	}
	return l, nil
}

// recall learns from the file what was received before. A last line that was
// not written whole is cut off: it was never answered.
func (l *listener) recall() error {
	b, err := io.ReadAll(l.store)
	if err != nil {
		return fmt.Errorf("read the file of events: %w", err)
	}
	whole := strings.LastIndexByte(string(b), '\n') + 1
	if whole < len(b) {
		if err := l.store.Truncate(int64(whole)); err != nil {
			return fmt.Errorf("cut off half a line of the file of events: %w", err)
		}
	}
	for line := range strings.Lines(string(b[:whole])) {
		var r struct {
			ID string `json:"webhook_id"`
		}
		if json.Unmarshal([]byte(line), &r) == nil && r.ID != "" {
			l.seen.add(r.ID)
		}
	}
	return nil
}

// run serves until ctx ends.
func (l *listener) run(ctx context.Context, status io.Writer) error {
	if l.store != nil {
		defer l.store.Close()
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.cfg.listen)
	if err != nil {
		return fmt.Errorf("receive on %s: %w; is something else running there? choose another --listen", l.cfg.listen, err)
	}
	fmt.Fprintf(status, "receiving on http://%s/ (%s)\n", ln.Addr(), l.fault.mode)
	srv := &http.Server{Handler: l, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive on %s: %w", l.cfg.listen, err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/stats", "/control":
		if !local(r) {
			http.Error(w, "only from this machine", http.StatusForbidden)
			return
		}
		l.serveLocal(w, r)
	default:
		if r.Method != http.MethodPost {
			http.Error(w, "post a webhook here", http.StatusMethodNotAllowed)
			return
		}
		l.receive(w, r)
	}
}

// local reports whether a request comes from this machine and is meant for it;
// a page in a browser that was led here by name is neither.
func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return false
	}
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return (name == "localhost" || ip != nil && ip.IsLoopback()) && r.Header.Get("Origin") == ""
}

func (l *listener) serveLocal(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/control" {
		if r.Method != http.MethodPost {
			http.Error(w, "post {\"mode\": …} here", http.StatusMethodNotAllowed)
			return
		}
		f, err := readFault(http.MaxBytesReader(w, r.Body, 4096))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.mu.Lock()
		l.fault = f
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Mode = l.fault.mode
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l.stats)
}

// receive handles one message: verify, fail on purpose, drop duplicates, store,
// answer, show.
func (l *listener) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = l.verify.Verify(r.Header, body, l.now())
	}
	l.mu.Lock()
	l.stats.Requests++
	if err != nil {
		l.stats.Refused++
		l.mu.Unlock()
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	f, failing := l.fault.next()
	if failing {
		l.stats.Failed++
	}
	l.mu.Unlock()
	if failing && f.act(w, r) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := r.Header.Get(webhook.HeaderID)
	if l.seen.has(id) {
		l.stats.Duplicates++
		w.WriteHeader(http.StatusNoContent)
		return
	}
	m := readReceived(id, r.Header.Get("Content-Type"), l.now(), body)
	if err := l.keep(&m); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	l.seen.add(id)
	l.stats.Accepted++
	l.stats.Types[m.Type]++
	l.stats.LastID = id
	w.WriteHeader(http.StatusNoContent)
	if l.cfg.json {
		_ = json.NewEncoder(l.out).Encode(&m)
		return
	}
	fmt.Fprintln(l.out, m.line(l.cfg.lang))
}

// keep appends a message to the file and waits until it is on disk.
func (l *listener) keep(m *received) error {
	if l.store == nil {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := appendLine(l.store, b, &l.torn); err != nil {
		return fmt.Errorf("store the event: %w", err)
	}
	return l.store.Sync()
}

// appendLine writes a line. torn says that the last one was written in part: it
// is ended first, so that the new one does not become part of it.
func appendLine(w io.Writer, line []byte, torn *bool) error {
	line = append(line, '\n')
	if *torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.Write(line)
	*torn = err != nil && (n > 0 || *torn)
	return err
}

// recent remembers the last so many identifiers.
type recent struct {
	known map[string]bool
	ring  []string
	next  int
}

func newRecent(n int) *recent { return &recent{known: make(map[string]bool), ring: make([]string, n)} }

func (r *recent) has(id string) bool { return r.known[id] }

func (r *recent) add(id string) {
	if r.known[id] {
		return
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next], r.known[id] = id, true
	r.next = (r.next + 1) % len(r.ring)
}

func parseStatus(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 200 && n <= 599
}
