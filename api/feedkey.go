package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// feedKeyJSON is the wire form of a key of the feed.
type feedKeyJSON struct {
	Name      string         `json:"name"`
	Filter    feedFilterJSON `json:"filter"`
	PerMinute int            `json:"per_minute"`
	Created   *string        `json:"created_at"`
	Expires   *string        `json:"expires_at"`
	LastUsed  *string        `json:"last_used_at"`
	Key       string         `json:"key,omitempty"` // in the answer to its creation only
}

type feedFilterJSON struct {
	Kinds    []events.Kind   `json:"kinds,omitempty"`
	Severity events.Severity `json:"severity,omitempty"`
	Hamlets  []string        `json:"hamlets,omitempty"`
	Sources  []string        `json:"sources,omitempty"`
	Steps    []events.Step   `json:"steps,omitempty"`
	Schedule string          `json:"schedule,omitempty"`
}

func (s *Server) feedKeyJSON(k *outbox.FeedKey) feedKeyJSON {
	return feedKeyJSON{
		Name: k.Name, Filter: feedFilterJSON(k.Filter), PerMinute: k.PerMinute,
		Created: s.timeJSON(k.Created), Expires: s.timeJSON(k.Expires), LastUsed: s.timeJSON(k.LastUsed),
	}
}

// createFeedKey makes a key and shows it, once.
func (s *Server) createFeedKey(c *gin.Context) {
	if !s.hasFeed(c) {
		return
	}
	var by string
	var filter feedFilterJSON
	var expires *time.Time
	k := outbox.FeedKey{Created: s.cfg.Now().UTC()}
	err := decodeBody(c.Request, map[string]any{
		"by": &by, "name": &k.Name, "filter": &filter, "per_minute": &k.PerMinute, "expires_at": &expires,
	})
	if _, wrong := errors.AsType[*events.FieldError](err); err != nil && !wrong {
		s.fail(c, err)
		return
	}
	act, aerr := s.actor(c, by)
	errs := []error{err, aerr}
	k.Filter = outbox.Filter(filter)
	if expires != nil {
		if k.Expires = expires.UTC(); !k.Expires.After(k.Created) {
			errs = append(errs, &events.FieldError{Field: "expires_at", Reason: "must be in the future"})
		}
	}
	if err := errors.Join(append(errs, k.Check())...); err != nil {
		s.fail(c, err)
		return
	}
	secret := outbox.NewFeedSecret()
	k.Hash, _ = outbox.HashFeedSecret(secret)
	ctx, cancel := s.request(c)
	defer cancel()
	made, repeated, err := s.cfg.Feed.CreateFeedKey(ctx, k, act)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := s.feedKeyJSON(&made)
	if !repeated { // else the key was shown before, and is not known any more
		out.Key = secret
	}
	s.writeJSON(c, http.StatusCreated, out)
}

// listFeedKeys answers every key, without what is secret.
func (s *Server) listFeedKeys(c *gin.Context) {
	if !s.hasFeed(c) {
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	found, err := s.cfg.Feed.FeedKeys(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Items []feedKeyJSON `json:"items"`
	}{make([]feedKeyJSON, len(found))}
	for i := range found {
		out.Items[i] = s.feedKeyJSON(&found[i])
	}
	s.writeJSON(c, http.StatusOK, out)
}

func revokeParams() []string { return []string{"by"} }

// revokeFeedKey ends a key at once.
func (s *Server) revokeFeedKey(c *gin.Context) {
	if !s.hasFeed(c) {
		return
	}
	var by string
	err := eachParam(c.Request.URL.RawQuery, revokeParams(), func(_, v string) string {
		by = v
		return ""
	})
	act, aerr := s.actor(c, by)
	if err == nil {
		err = aerr
	}
	name := c.Param("name")
	if err == nil && !isName(name) {
		err = &refusal{Status: http.StatusNotFound, Detail: "there is no such key"}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	if err := s.cfg.Feed.RevokeFeedKey(ctx, name, act); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
}

// hasFeed reports whether there is a feed. After false the request has been
// answered.
func (s *Server) hasFeed(c *gin.Context) bool {
	if s.cfg.Feed == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server has no feed"})
		return false
	}
	return true
}
