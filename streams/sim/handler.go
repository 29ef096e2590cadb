package sim

import (
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// handler answers requests.
type handler struct {
	s     *Server
	bound chan struct{} // closed when the streams are known; the port is open before

	mu      sync.Mutex
	playing map[*gortsplib.ServerConn]joining // PLAY asked, answer not yet sent
}

// joining is a reader that is about to play.
type joining struct {
	stream  *Stream
	session *gortsplib.ServerSession
}

var (
	_ gortsplib.ServerHandlerOnDescribe         = (*handler)(nil)
	_ gortsplib.ServerHandlerOnSetup            = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPlay             = (*handler)(nil)
	_ gortsplib.ServerHandlerOnResponse         = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPause            = (*handler)(nil)
	_ gortsplib.ServerHandlerOnSessionClose     = (*handler)(nil)
	_ gortsplib.ServerHandlerOnStreamWriteError = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPacketsLost      = (*handler)(nil)
	_ gortsplib.ServerHandlerOnDecodeError      = (*handler)(nil)
)

// find checks the log-in and the path.
func (h *handler) find(c *gortsplib.ServerConn, req *base.Request, path string) (*Stream, *base.Response, error) {
	if h.s.cfg.User != "" && !h.loggedIn(c, req) {
		return nil, &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	<-h.bound
	st := h.s.streams[strings.Trim(path, "/")]
	if st == nil || st.out == nil {
		return nil, &base.Response{StatusCode: base.StatusNotFound}, nil
	}
	return st, &base.Response{StatusCode: base.StatusOK}, nil
}

func (h *handler) loggedIn(c *gortsplib.ServerConn, req *base.Request) bool {
	if h.s.cfg.Auth == Basic {
		// gortsplib splits at every colon, but a password may hold one (RFC 7617, 2).
		token, ok := strings.CutPrefix(strings.Join(req.Header["Authorization"], ""), "Basic ")
		plain, err := base64.StdEncoding.DecodeString(token)
		want := []byte(h.s.cfg.User + ":" + h.s.cfg.Password)
		return ok && err == nil && subtle.ConstantTimeCompare(plain, want) == 1
	}
	return c.VerifyCredentials(req, h.s.cfg.User, h.s.cfg.Password)
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	st, res, err := h.find(ctx.Conn, ctx.Request, ctx.Path)
	if st == nil {
		return res, nil, err
	}
	return res, st.out, nil
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	st, res, err := h.find(ctx.Conn, ctx.Request, ctx.Path)
	if st == nil {
		return res, nil, err
	}
	return res, st.out, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	if st := h.s.streams[strings.Trim(ctx.Path, "/")]; st != nil {
		h.mu.Lock()
		h.playing[ctx.Conn] = joining{stream: st, session: ctx.Session}
		h.mu.Unlock()
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse implements gortsplib.ServerHandlerOnResponse. Only now does the
// session get what is written to the stream; before, it would miss the key
// frame that the first reader starts.
func (h *handler) OnResponse(c *gortsplib.ServerConn, _ *base.Response) {
	h.mu.Lock()
	j, ok := h.playing[c]
	delete(h.playing, c)
	h.mu.Unlock()
	if ok {
		j.stream.join(j.session)
	}
}

// OnPause implements gortsplib.ServerHandlerOnPause.
func (h *handler) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	h.leave(ctx.Session)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) { h.leave(ctx.Session) }

func (h *handler) leave(s *gortsplib.ServerSession) {
	for _, st := range h.s.streams {
		st.leave(s)
	}
}

// OnStreamWriteError implements gortsplib.ServerHandlerOnStreamWriteError. A
// reader that cannot follow loses packets, like behind a real camera.
func (h *handler) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	h.s.cfg.Log.Debug("reader of a simulated camera cannot follow", "error", ctx.Error)
}

// OnPacketsLost implements gortsplib.ServerHandlerOnPacketsLost.
func (*handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError implements gortsplib.ServerHandlerOnDecodeError.
func (*handler) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}
