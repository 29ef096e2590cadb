package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// maxBody bounds what a request may send; a rule to be tried is the largest.
const maxBody = 64 << 10

// outer answers HEAD like GET without a body (RFC 9110, 9.3.2), which net/http
// cuts off by itself, and bounds the body. HEAD of an endless stream, or of a
// package, which is logged, is left to the router, which refuses it.
func outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if r.Method == http.MethodHead && r.URL.Path != pathStream && !strings.HasSuffix(r.URL.Path, zipSuffix) {
			r = r.WithContext(r.Context()) // a copy: net/http must go on seeing HEAD
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// measure counts every request, also those that end by a panic.
func (s *Server) measure(c *gin.Context) {
	start := time.Now()
	defer func() { s.metrics.answered(c.FullPath(), c.Writer.Status(), time.Since(start)) }()
	c.Next()
}

// guard turns a panic of a handler into a 500 problem; the stack goes to the
// log only. Once a part of the answer is out, the connection is cut, so that
// the client does not take the part for the whole.
func (s *Server) guard(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.cfg.Log.ErrorContext(c.Request.Context(), "handler panicked",
			"route", c.FullPath(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		writeProblem(c, problem{Status: http.StatusInternalServerError})
	}()
	c.Next()
}

// secure sets the headers that keep a browser from doing anything with an
// answer but show it to our own pages.
func (s *Server) secure(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	c.Next()
}

// public reports whether a route may be asked for under the name that receivers
// know: signed links, the feed, which has keys of its own, and schemas.
func public(route string) bool {
	switch route {
	case pathMedia, pathFeed, pathSchemas, pathSchema:
		return true
	}
	return false
}

// checkHost refuses requests that were meant for another name.
func (s *Server) checkHost(c *gin.Context) {
	if !hostAllowed(c.Request.Host, s.cfg.Hosts) && (!public(c.FullPath()) || !s.cfg.MediaLinks.names(c.Request.Host)) {
		s.fail(c, &refusal{
			Status: http.StatusMisdirectedRequest,
			Detail: "this server does not answer to the host name of the request; use localhost or 127.0.0.1",
		})
		return
	}
	c.Next()
}
