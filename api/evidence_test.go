package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// exportFunc is an Exporter.
type exportFunc func(events.Event, ExportRequest) (func(context.Context, io.Writer) error, error)

func (f exportFunc) Export(_ context.Context, ev events.Event, r ExportRequest) (func(context.Context, io.Writer) error, error) {
	return f(ev, r)
}

// withEvidence returns an event in log with the files of a package.
func withEvidence(log *memLog, cfg Config) (events.Event, error) {
	ev := testEvent(1)
	var errs []error
	for i, f := range [][2]string{
		{"snapshot", "gate-1.jpg"},
		{"still", "gate-1-act.jpg"},
		{"clip", "gate-1.mp4"},
		{"track", "gate-1.jsonl"},
		{"record", "gate-1.json"},
		{"signature", "1.manifest.sig"},
		{"manifest", "1.manifest.json"},
	} {
		data := []byte("bytes of " + f[1])
		if strings.HasSuffix(f[1], ".json") {
			data = []byte(`{"x":1}`)
		}
		errs = append(errs, cfg.Media.WriteFile(f[1], data, 0o600))
		ev.Evidence = append(ev.Evidence, events.EvidenceRef{
			Type: f[0], Path: f[1], SHA256: strings.Repeat(string(rune('a'+i%6)), 64), Bytes: int64(len(data)),
		})
	}
	ev.Evidence[1].Gone = time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)
	return log.commit(ev), errors.Join(errs...)
}

func TestEvidenceFiles(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	ev, err := withEvidence(log, cfg)
	require.NoError(t, err)
	p := serve(t, cfg)
	base := "/api/v1/events/" + ev.ID

	a, body := p.get(base + "/evidence")
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Contains(t, body, `"sealed":true`)
	assert.Contains(t, body, `{"type":"still","name":"still-act.jpg","url":"","sha256":"`+strings.Repeat("b", 64)+`","bytes":23,"gone_at":"2026-11-25T08:02:03.000+07:00"}`)
	assert.Contains(t, body, `{"type":"clip","name":"clip.mp4","url":"`+base+`/evidence/clip.mp4",`)
	_, body = p.get(base)
	assert.Contains(t, body, `{"type":"snapshot","url":"`+base+`/snapshot",`)
	assert.Contains(t, body, `{"type":"still","url":"",`, "a file that is gone has no address")
	assert.Contains(t, body, `{"type":"manifest","url":"`+base+`/evidence/manifest.json",`)

	for _, c := range []struct {
		name, contentType, want string
		status                  int
		headers                 []string
	}{
		{"snapshot.jpg", "image/jpeg", "bytes of gate-1.jpg", 200, nil},
		{"clip.mp4", "video/mp4", "bytes of gate-1.mp4", 200, nil},
		{"clip.mp4", "video/mp4", "of gate", 206, []string{"Range", "bytes=6-12"}},
		{"clip.mp4", "", "", 304, []string{"If-None-Match", `"` + strings.Repeat("c", 64) + `"`}},
		{"clip.mp4", "application/problem+json", `"status":416`, 416, []string{"Range", "bytes=900-"}},
		{"track.jsonl", "application/jsonl", "bytes of gate-1.jsonl", 200, nil},
		{"record.json", "application/json", `{"x":1}`, 200, nil},
		{"manifest.json", "application/json", `{"x":1}`, 200, nil},
		{"signature.sig", "application/octet-stream", "bytes of 1.manifest.sig", 200, nil},
		{"still-act.jpg", "application/problem+json", "no longer kept", 404, nil},
		{"gate-1.mp4", "application/problem+json", "no such file", 404, nil},
		{"..%2fsnapshot.jpg", "application/problem+json", `"status":404`, 404, nil},
	} {
		a, body := p.do("GET", base+"/evidence/"+c.name, c.headers...)
		assert.Equal(t, c.status, a.StatusCode, "%s %v", c.name, c.headers)
		assert.Contains(t, body, c.want, c.name)
		assert.Equal(t, c.contentType, a.Header.Get("Content-Type"), c.name)
		if c.status == 200 {
			assert.Regexp(t, `^inline; filename="[a-f]{8}-`+c.name+`"$`, a.Header.Get("Content-Disposition"))
		}
	}
	a, _ = p.do("HEAD", base+"/evidence/clip.mp4")
	assert.Equal(t, "19", a.Header.Get("Content-Length"))
	a, _ = p.get("/api/v1/events/" + testEvent(7).ID + "/evidence")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
	a, _ = p.get("/api/v1/events/x/evidence/clip.mp4")
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
}

func TestExport(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	ev, err := withEvidence(log, cfg)
	require.NoError(t, err)
	var asked ExportRequest
	var fault error
	var cut bool
	cfg.Export = exportFunc(func(got events.Event, r ExportRequest) (func(context.Context, io.Writer) error, error) {
		assert.Equal(t, ev.ID, got.ID)
		asked = r
		return func(_ context.Context, w io.Writer) error {
			assert.Implements(t, (*interface{ Flush() })(nil), w, "so that something comes while copies are made")
			if _, err := w.Write(make([]byte, 3*maxPart+1)); err != nil || !cut {
				return err
			}
			return errors.New("disk")
		}, fault
	})
	p := serve(t, cfg)
	url := "/api/v1/events/" + ev.ID + "/evidence.zip"

	a, body := p.get(url + "?by=Nguy%E1%BB%85n+A&reason=12/2026&blur=others")
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "application/zip", a.Header.Get("Content-Type"))
	assert.Equal(t, `attachment; filename="evidence-`+ev.ID+`.zip"`, a.Header.Get("Content-Disposition"))
	assert.Len(t, body, 3*maxPart+1)
	assert.Equal(t, ExportRequest{By: "Nguyễn A", Reason: "12/2026", Blur: "others"}, asked)

	for query, want := range map[string]string{
		"":                                     `"field":"by"`,
		"?by=a":                                `"field":"reason"`,
		"?by=+&reason=x":                       `"field":"by"`,
		"?by=a&by=b&reason=x":                  `"field":"by"`,
		"?by=a&reason=x&blur=much":             `"field":"blur"`,
		"?by=a&reason=x&format=tar":            `"field":"format"`,
		"?by=a&reason=x;y":                     `"field":"query"`,
		"?by=" + strings.Repeat("x", maxQuery): `"field":"query"`,
	} {
		a, body := p.get(url + query)
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, query)
		assert.Contains(t, body, want, query)
	}
	for status, err := range map[int]error{409: events.ErrConflict, 503: events.ErrUnavailable, 500: errors.New("manifest changed"), 422: &events.FieldError{Field: "by", Reason: "is required"}} {
		fault = err
		a, body := p.get(url + "?by=a&reason=x")
		assert.Equal(t, status, a.StatusCode, body)
	}
	fault = nil
	a, _ = p.do("HEAD", url+"?by=a&reason=x")
	assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode, "what is logged must be asked for")
	a, _ = p.get("/api/v1/events/" + testEvent(7).ID + "/evidence.zip?by=a&reason=x")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)

	cut = true
	resp, err := http.Get(p.base + url + "?by=a&reason=x")
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.Error(t, err, "a part is not taken for the whole")

	none := serve(t, testConfig(t, log))
	a, _ = none.get(url + "?by=a&reason=x")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
}

func TestExportsAreLimited(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	ev, err := withEvidence(log, cfg)
	require.NoError(t, err)
	cfg.MaxExports = 1
	begun, end := make(chan struct{}), make(chan struct{})
	cfg.Export = exportFunc(func(events.Event, ExportRequest) (func(context.Context, io.Writer) error, error) {
		return func(context.Context, io.Writer) error {
			close(begun)
			<-end
			return nil
		}, nil
	})
	p := serve(t, cfg)
	url := "/api/v1/events/" + ev.ID + "/evidence.zip?by=a&reason=x"
	first := make(chan int, 1)
	go func() {
		a, _ := p.get(url)
		first <- a.StatusCode
	}()
	<-begun
	a, body := p.get(url)
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode, body)
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	close(end)
	assert.Equal(t, http.StatusOK, <-first)
}
