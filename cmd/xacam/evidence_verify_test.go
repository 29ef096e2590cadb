package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// someDrafts is a fixed list of drafts.
type someDrafts struct{ list []evidence.Draft }

func (d *someDrafts) DraftIDs(context.Context) ([]string, error) {
	var out []string
	for i := range d.list {
		out = append(out, d.list[i].Event.ID)
	}
	slices.Sort(out)
	return out, nil
}

func (d *someDrafts) Draft(id string) (evidence.Draft, error) {
	for i := range d.list {
		if d.list[i].Event.ID == id {
			return d.list[i], nil
		}
	}
	return evidence.Draft{}, events.ErrNotFound
}
func (d *someDrafts) RemoveDraft(string) error { return nil }

// anyAudit takes everything.
type anyAudit struct{}

func (anyAudit) Append(context.Context, string, string, string, string, map[string]any) error {
	return nil
}

// sealedServer is a data folder and a database with sealed events.
type sealedServer struct {
	data, config, key string
	dsn               string
	events            []events.Event
	store             *pgstore.Store
	exporter          *evidence.Exporter
}

func newSealedServer(t *testing.T, n int, viewer evidence.Viewer) *sealedServer {
	t.Helper()
	dsn := eventstest.Database(t)
	s := &sealedServer{data: t.TempDir(), dsn: dsn}
	var err error
	s.store, err = pgstore.Open(t.Context(), dsn, pgstore.Config{})
	require.NoError(t, err)
	t.Cleanup(s.store.Close)
	require.NoError(t, s.store.Migrate(t.Context()))
	keys, err := vault.Open(filepath.Join(s.data, "keys"))
	require.NoError(t, err)
	s.key = filepath.Join(s.data, "keys", vault.PublicFile)
	s.config = filepath.Join(s.data, "xacam.yaml")
	quoted, err := json.Marshal(dsn)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.config, []byte("data: .\ndatabase: {dsn: "+string(quoted)+"}\n"), 0o600))
	media, err := evidence.Open(filepath.Join(s.data, "media"))
	require.NoError(t, err)
	drafts := &someDrafts{}
	for i := range n {
		at := time.Date(2026, 11, 23, 15, 14, i, 0, time.UTC)
		key := events.Key{Source: "gate", Kind: "intrusion", Rule: "dem"}
		e := events.Event{
			ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
			Source: events.Source{Type: "camera", ID: "gate", Name: "Cổng \x1b[31m chợ"}, Place: events.Place{Commune: "31615"}, Rule: events.RuleRef{Name: "dem", Version: 1}, OccurredAt: at,
		}
		require.NoError(t, s.store.Commit(t.Context(), []events.Change{{Event: e}}))
		ref, err := media.Put("track", "gate-"+e.ID+".jsonl", at, []byte("{}\n"))
		require.NoError(t, err)
		drafts.list = append(drafts.list, evidence.Draft{Event: e, Files: []events.EvidenceRef{ref}, Started: at, Ready: true})
	}
	sealer, err := evidence.NewSealer(evidence.SealerConfig{Store: media, Drafts: drafts, Chain: s.store, Signer: keys, Kept: &evidence.HeadFolder{Dir: s.data}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sealer.Run(ctx) }()
	require.Eventually(t, func() bool {
		head, err := s.store.ManifestHead(ctx)
		return err == nil && head.Number == int64(n)
	}, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	for _, d := range drafts.list {
		e, err := s.store.Event(t.Context(), d.Event.ID)
		require.NoError(t, err)
		s.events = append(s.events, e)
	}
	s.exporter, err = evidence.NewExporter(evidence.ExporterConfig{Store: media, Keys: keys, Audit: anyAudit{}, Viewer: viewer})
	require.NoError(t, err)
	return s
}

// export writes the package of the n-th event, from 1, through the API's way.
func (s *sealedServer) export(t *testing.T, n int) string {
	t.Helper()
	write, err := exportAPI{s.exporter}.Export(t.Context(), s.events[n-1], api.ExportRequest{By: "Lan", Reason: "hồ sơ 7"})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "p.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, write(t.Context(), f))
	require.NoError(t, f.Close())
	return path
}

func TestEvidenceVerify(t *testing.T) {
	t.Parallel()
	s := newSealedServer(t, 3, nil)
	one, two, three := s.export(t, 1), s.export(t, 2), s.export(t, 3)
	b, err := os.ReadFile(two)
	require.NoError(t, err)
	at := bytes.Index(b, s.sig(t, 2))
	require.Positive(t, at)
	b[at+5] ^= 1
	broken := filepath.Join(t.TempDir(), "broken.zip")
	require.NoError(t, os.WriteFile(broken, b, 0o600))
	other := newSealedServer(t, 2, nil)
	forged := other.export(t, 2)
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"good", []string{one, "--key", s.key}, 0, []string{"VERIFIED", "manifest 1 of", "1 file", `taken by "Lan"`, `"hồ sơ 7"`, `Cổng \x1b[31m chợ`}},
		{"no key", []string{one}, 1, []string{"the key inside, which anybody", "NOT VERIFIED", "give it with --key"}},
		{"chain", []string{three, "--previous", two, "--key", s.key}, 0, []string{"VERIFIED"}},
		{"chain of many", []string{three, one, two, "--key", s.key}, 0, []string{"VERIFIED"}},
		{"not the one before", []string{three, "--previous", one, "--key", s.key}, 1, []string{"chain: " + three, "so the one before is not"}},
		{"forged before", []string{three, forged}, 1, []string{"it does not follow " + forged}},
		{"broken", []string{broken, "--key", s.key}, 1, []string{"WRONG: manifest.sig: changed", "NOT VERIFIED"}},
		{"other key", []string{one, "--key", other.key}, 1, []string{"WRONG: manifest.sig: it claims to be by the key"}},
		{"no package", nil, 2, []string{"which package?"}},
		{"no such key", []string{one, "--key", one + "x"}, 2, []string{"read the key"}},
		{"no key in it", []string{one, "--key", s.config}, 2, []string{"not a public key"}},
		{"no zip", []string{s.config, "--key", s.key}, 1, []string{"it is not a ZIP file"}},
		{"missing", []string{one + "x", "--key", s.key}, 1, []string{"no such file"}},
		{"all and one", []string{one, "--all"}, 2, []string{"takes no packages"}},
		{"all", []string{"--all", "-c", s.config}, 0, []string{"3 manifests, 3 files, 0 of them gone", "VERIFIED"}},
		{"all with another key", []string{"--all", "-c", s.config, "--key", other.key}, 1, []string{"NOT VERIFIED: 5 faults"}},
	} {
		var out bytes.Buffer
		code := execute(t.Context(), append([]string{"evidence", "verify"}, c.args...), strings.NewReader(""), &out, &out)
		assert.Equal(t, c.code, code, "%s: %s", c.name, out.String())
		for _, want := range c.want {
			assert.Contains(t, out.String(), want, c.name)
		}
		assert.NotContains(t, out.String(), "\x1b", "nothing foreign reaches the terminal")
	}
	var out, head bytes.Buffer
	require.Equal(t, 0, execute(t.Context(), []string{"evidence", "head", "-c", s.config}, strings.NewReader(""), &head, &out), out.String())
	file := filepath.Join(t.TempDir(), "head.json")
	require.NoError(t, os.WriteFile(file, head.Bytes(), 0o600))
	assert.Equal(t, 0, execute(t.Context(), []string{"evidence", "verify", "--all", "-c", s.config, "--head", file}, strings.NewReader(""), &out, &out), out.String())
	otherHead := filepath.Join(other.data, "evidence-head.json")
	out.Reset()
	assert.Equal(t, 1, execute(t.Context(), []string{"evidence", "verify", "--all", "-c", s.config, "--head", otherHead}, strings.NewReader(""), &out, &out))
	assert.Contains(t, out.String(), "WRONG: evidence-head.json: its signature is not one of this server's")
	assert.Equal(t, 2, execute(t.Context(), []string{"evidence", "verify", "--all", "-c", s.config, "--head", s.config}, strings.NewReader(""), &out, &out))
	assert.Equal(t, 2, execute(t.Context(), []string{"evidence", "verify", one, "--head", file}, strings.NewReader(""), &out, &out))

	require.NoError(t, os.Remove(filepath.Join(s.data, "media", filepath.FromSlash(s.events[1].Evidence[0].Path))))
	out.Reset()
	assert.Equal(t, 1, execute(t.Context(), []string{"evidence", "verify", "--all", "-c", s.config}, strings.NewReader(""), &out, &out))
	assert.Contains(t, out.String(), "WRONG: manifest 2 (event "+s.events[1].ID+"), track.jsonl: ")
}

// sig is the signature of the n-th manifest.
func (s *sealedServer) sig(t *testing.T, n int) []byte {
	t.Helper()
	for _, ref := range s.events[n-1].Evidence {
		if ref.Type == evidence.TypeSignature {
			b, err := os.ReadFile(filepath.Join(s.data, "media", filepath.FromSlash(ref.Path)))
			require.NoError(t, err)
			return b
		}
	}
	t.Fatal("no signature")
	return nil
}
