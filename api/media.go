package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// MediaLinks makes addresses of evidence files that work without an account
// until they expire, for the receivers of events. The zero value makes none. It
// is safe for concurrent use.
type MediaLinks struct {
	Base string           // address of the server as receivers see it, "https://xacam.example"; "" makes no links
	Key  []byte           // at least 32 bytes; another key makes all links void
	TTL  time.Duration    // default 7 d
	Now  func() time.Time // default time.Now
}

// defaultLinkTTL is as long as a delivery may wait, see outbox.Endpoint.
const defaultLinkTTL = 7 * 24 * time.Hour

// minMediaKey is the shortest key that signs.
const minMediaKey = 32

// URL returns the address of a file in the media folder, "" without a base.
func (l *MediaLinks) URL(file string) string {
	if l.Base == "" || len(l.Key) < minMediaKey {
		return ""
	}
	ttl := l.TTL
	if ttl <= 0 {
		ttl = defaultLinkTTL
	}
	return strings.TrimSuffix(l.Base, "/") + "/api/v1/media/" + l.token(file, l.now().Add(ttl))
}

// names reports whether host is that of the links.
func (l *MediaLinks) names(host string) bool {
	u, err := url.Parse(l.Base)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (l *MediaLinks) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// token is the signature, the time of expiry in seconds and the path, each part
// in base64 without signs that addresses must escape.
func (l *MediaLinks) token(file string, expires time.Time) string {
	payload := strconv.FormatInt(expires.Unix(), 10) + " " + file
	return base64.RawURLEncoding.EncodeToString(l.mac(payload)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
}

func (l *MediaLinks) mac(payload string) []byte {
	h := hmac.New(sha256.New, l.Key)
	h.Write([]byte("xacam media link v1\n"))
	h.Write([]byte(payload))
	return h.Sum(nil)
}

// path returns the file of a token, "" when it was not signed here, and whether
// it has expired. The comparison takes the same time for every signature.
func (l *MediaLinks) path(token string) (file string, expired bool) {
	sig, body, ok := strings.Cut(token, ".")
	if !ok || len(l.Key) < minMediaKey {
		return "", false
	}
	strict := base64.RawURLEncoding.Strict() // else a signature could be written in several ways
	mac, err := strict.DecodeString(sig)
	payload, perr := strict.DecodeString(body)
	if err != nil || perr != nil || !hmac.Equal(mac, l.mac(string(payload))) {
		return "", false
	}
	until, file, ok := strings.Cut(string(payload), " ")
	seconds, err := strconv.ParseInt(until, 10, 64)
	if err != nil || !ok {
		return "", false
	}
	return file, !l.now().Before(time.Unix(seconds, 0))
}

// getMedia answers a file to whoever has a link to it.
func (s *Server) getMedia(c *gin.Context) {
	file, expired := s.cfg.MediaLinks.path(c.Param("token"))
	switch {
	case file == "":
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this link was not made here, or is incomplete"})
		return
	case expired:
		s.fail(c, &refusal{Status: http.StatusGone, Detail: "this link has expired; the event's evidence can be asked for by who may see it"})
		return
	}
	f := s.kept(c, events.EvidenceRef{Path: file})
	if f == nil {
		return
	}
	defer f.Close()
	h := c.Writer.Header()
	h.Set("Content-Type", contentType(file))
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // the receiver shows it on its own pages
	h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": path.Base(file)}))
	// A receiver on a weak line may take longer than an answer of the API should.
	http.ServeContent(&problemWriter{c: c, w: patientWriter(c)}, c.Request, "", time.Time{}, f)
}
